"""A drawn abdomen: generated CT of the trunk with kidneys, tumours and cysts among organs of similar density.

Everything is drawn in millimetres on whatever grid is asked for, so a patient can be drawn coarsely or finely. The axes
are those of a CT slice on the screen: z from the head down, y from front to back, x from the patient's right to the
left.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from decomp.platform.datasets.synthetic.volume_canvas import Canvas, Mask
from decomp.platform.randomness import stream

KIDNEY, TUMOUR, CYST = 1, 2, 3

# Calibrated so that nnU-Net with 40,000 weights, trained on patches of 16 x 48 x 48 of 8 whole cases of about
# 48 x 64 x 64 voxels for 3000 iterations, reaches a mean Dice of the nested classes of 0.81 on 8 others (kidney and
# masses 0.89, masses 0.75, tumour 0.80). Blood, marrow, liver, spleen and contrast medium in the bowel overlap in
# density with kidneys, and every soft border against fat with tumours.

EXTENT = 270.0  # millimetres from the first to the last slice, on average
FIELD = (370.0, 430.0)  # diameter of the field of view, mm
PADDINGS = (-1024, -2048, -3024)  # HU that scanners write outside the field of view
BLUR = 0.45  # standard deviation of the scanner's blur, voxels
NOISE = (6.0, 10.0)  # standard deviation of the noise, HU

TUMOURS = (0.90, 0.30)  # probability of a first and of a second tumour
CYSTS = (0.60, 0.20)
TUMOUR_RADII, CYST_RADII = (24.0, 38.0), (17.0, 24.0)  # mm

FAT, MUSCLE, BONE = -100.0, 50.0, 230.0

Place = npt.NDArray[np.float64]
"""Along z, y and x, mm."""


@dataclass(frozen=True)
class Scan:
    """A generated scan.

    Attributes:
        hu: Hounsfield units, shape (z, y, x), int16.
        labels: 0 background, 1 kidney, 2 tumour, 3 cyst; shape (z, y, x), uint8.
        body: the body without couch and air, gas within it included; shape (z, y, x), bool.
        voxel: size of a voxel along z, y and x, mm.
    """

    hu: npt.NDArray[np.int16]
    labels: npt.NDArray[np.uint8]
    body: Mask
    voxel: tuple[float, float, float]


def draw_scan(seed: int, patient: str, size: tuple[int, int, int]) -> Scan:
    """The scan of one patient, which depends on the arguments only.

    Args:
        seed: seed of the patients.
        patient: the patient's id.
        size: slices, rows and columns; the number of slices varies by a fifth around the first.
    """
    rng = stream(seed, "phantom", image=patient)
    field = rng.uniform(*FIELD)
    shape = (round(size[0] * rng.uniform(0.8, 1.2)), size[1], size[2])
    thickness = EXTENT / shape[0] * rng.uniform(0.9, 1.1)
    voxel = (round(thickness, 3), round(field / size[1], 3), round(field / size[2], 3))
    canvas = Canvas(shape, voxel, middle=(0.0, *rng.uniform((0, -8), (16, 8))))
    trunk = _Trunk.of(rng, field)
    _draw_trunk(canvas, trunk, rng)
    belly = canvas.within(trunk.ellipse(trunk.fat + 16), -4) & (canvas.hu < 0)
    _draw_organs(canvas, trunk, belly, rng)
    _draw_kidneys(canvas, trunk, belly, rng)
    body = canvas.within(trunk.ellipse(0))
    _draw_couch(canvas, trunk, rng)
    return Scan(_scanned(canvas, field, rng), canvas.labels, body, voxel)


@dataclass(frozen=True)
class _Trunk:
    """Half axes of the trunk along y and x and thickness of the fat under the skin, mm; the same in all slices."""

    y: float
    x: float
    fat: float

    @classmethod
    def of(cls, rng: np.random.Generator, field: float) -> "_Trunk":
        x = field * rng.uniform(0.38, 0.455)
        return cls(x * rng.uniform(0.66, 0.76), x, rng.uniform(10, 26))

    def ellipse(self, depth: float) -> tuple[float, float]:
        """Half axes along y and x of the surface that lies `depth` mm under the skin."""
        return self.y - depth, self.x - depth


def _draw_trunk(canvas: Canvas, trunk: _Trunk, rng: np.random.Generator) -> None:
    """Skin, fat, the muscular wall with ribs, fat of the belly, spine and the muscles beside it."""
    canvas.cylinder((0, 0), trunk.ellipse(0), 20.0)
    canvas.cylinder((0, 0), trunk.ellipse(3), FAT)
    canvas.cylinder((0, 0), trunk.ellipse(trunk.fat), MUSCLE)
    _draw_ribs(canvas, trunk)
    canvas.cylinder((-4, 0), trunk.ellipse(trunk.fat + 15), FAT)
    back = trunk.y - trunk.fat
    for side in (-1, 1):
        canvas.cylinder((back - 26, side * 36), (23, 32), MUSCLE)  # erector spinae
        canvas.cylinder((back - 62, side * 38), (21, 19), MUSCLE - 3)  # psoas
    discs = np.cos(2 * np.pi * (canvas.axes[0] + rng.uniform(0, 36)) / 36) > 0.85
    canvas.cylinder((back - 66, 0), (21, 25), BONE, slices=~discs)
    canvas.cylinder((back - 66, 0), (16, 20), BONE - 70, slices=~discs)
    canvas.cylinder((back - 66, 0), (20, 24), 70.0, slices=discs)
    canvas.cylinder((back - 22, 0), (18, 6), BONE + 60)  # spinous processes
    canvas.cylinder((back - 36, 0), (10, 15), BONE + 90)  # vertebral arch
    canvas.cylinder((back - 38, 0), (7, 10), 25.0)  # spinal canal


def _draw_ribs(canvas: Canvas, trunk: _Trunk) -> None:
    wall = canvas.within(trunk.ellipse(trunk.fat + 3)) & ~canvas.within(trunk.ellipse(trunk.fat + 13))
    z, y = canvas.axes[0][:, None, None], canvas.axes[1][None, :, None]
    # They run down from the spine to the front and end at the costal arch.
    slope = z + 0.35 * (y - trunk.y)
    canvas.hu[wall & (slope % 30 < 10) & (z < 25 + 0.5 * y)] = BONE + 40


def _draw_organs(canvas: Canvas, trunk: _Trunk, belly: Mask, rng: np.random.Generator) -> None:
    """What surrounds the kidneys: liver, spleen, stomach, bowel, vessels, and the lungs above them."""
    depth = trunk.fat + 16
    room_y, room_x = trunk.y - depth, trunk.x - depth
    spine = (trunk.y - trunk.fat - 66) - 21
    for _ in range(70):
        centre = rng.uniform((-60, -0.9 * room_y, -0.75 * room_x), (170, spine - 30, 0.75 * room_x))
        radii = rng.uniform((10, 9, 12), (24, 17, 26))
        contrast = rng.random() < 0.15
        content = rng.uniform(130, 220) if contrast else rng.uniform(38, 60)
        canvas.ellipsoid(centre, radii, content, inside=belly)
        if rng.random() < 0.3:
            gas = (float(centre[0]), float(centre[1] - 0.4 * radii[1]), float(centre[2]))
            canvas.ellipsoid(gas, 0.5 * radii, -850.0, inside=belly)
    for y, x, radius, hu in ((spine - 10, 12, 10, rng.uniform(160, 230)), (spine - 9, -20, 11, rng.uniform(110, 170))):
        canvas.cylinder((y, x), (radius, radius), float(hu))  # aorta, vena cava
    texture = 6 * canvas.clouds(rng, 14)
    top = float(canvas.axes[0][0])
    stomach = (top + rng.uniform(50, 70), -0.35 * room_y, 0.38 * room_x)
    canvas.ellipsoid(stomach, (45, 34, 0.42 * room_x), 30 + texture, inside=belly)
    canvas.ellipsoid((stomach[0], stomach[1] - 15, stomach[2]), (30, 14, 0.28 * room_x), -870.0, inside=belly)
    liver = (top + rng.uniform(60, 80), -0.12 * room_y, -0.45 * room_x)
    hu = rng.uniform(124, 140)
    lumps = 0.08 * canvas.clouds(rng, 60)
    canvas.ellipsoid(liver, (95, 0.85 * room_y, 0.62 * room_x), hu + texture, lumps=lumps, inside=belly)
    for _ in range(int(rng.integers(4, 9))):  # its vessels
        centre = np.array(liver) + rng.uniform((-50, -35, -35), (40, 35, 35))
        canvas.ellipsoid(centre, rng.uniform((5, 4, 4), (22, 9, 16)), float(hu + 45), inside=belly)
    if rng.random() < 0.3:  # a cyst of the liver, which is no cyst of a kidney
        centre = np.array(liver) + rng.uniform((-40, -30, -30), (40, 30, 30))
        canvas.ellipsoid(centre, (13, 13, 13), 8.0, inside=belly)
    spleen = (top + rng.uniform(65, 85), 0.3 * room_y, 0.72 * room_x)
    canvas.ellipsoid(spleen, (55, 40, 27), float(hu + rng.uniform(5, 20)) + texture, lumps=lumps, inside=belly)
    for side, floor in ((-1, rng.uniform(20, 40)), (1, rng.uniform(25, 45))):
        lung = (top - 30, 0.15 * room_y, side * 0.52 * room_x)
        canvas.ellipsoid(lung, (30 + floor, 0.8 * room_y, 0.44 * room_x), -830 + 4 * texture, inside=belly)


def _draw_kidneys(canvas: Canvas, trunk: _Trunk, belly: Mask, rng: np.random.Generator) -> None:
    """Both kidneys in their fat, with the tumours and cysts that grow in and out of them."""
    hu = rng.uniform(180, 205)
    back = trunk.y - trunk.fat
    texture, pyramids = 7 * canvas.clouds(rng, 10), 12 * canvas.clouds(rng, 17)
    kidneys: list[tuple[Place, Place]] = []
    for side in (-1, 1):
        centre = np.array([rng.uniform(5, 30) - 10 * side, back - rng.uniform(66, 76), side * rng.uniform(76, 86)])
        radii = rng.uniform((52, 29, 27), (62, 34, 32))
        tilt = 0.22 * side
        canvas.ellipsoid(centre, radii + 11, FAT + texture, tilt=tilt, inside=belly)
        lumps = 0.05 * canvas.clouds(rng, 25)
        canvas.ellipsoid(centre, radii, hu + texture, label=KIDNEY, lumps=lumps, tilt=tilt)
        canvas.ellipsoid(centre, 0.72 * radii, hu - 22 + pyramids + texture, tilt=tilt)
        sinus = centre - (0, 0, side * 0.62 * radii[2])
        canvas.ellipsoid(sinus, 0.42 * radii, -55.0, label=0, tilt=tilt)
        vessel = centre - (0, 4, side * 1.2 * radii[2])
        canvas.ellipsoid(vessel, (5.0, 5.0, 0.75 * radii[2]), 175.0)
        kidneys.append((centre, radii))
    for probability in CYSTS:
        if rng.random() < probability:
            _draw_cyst(canvas, *kidneys[rng.integers(2)], rng)
    for probability in TUMOURS:
        if rng.random() < probability:
            _draw_tumour(canvas, *kidneys[rng.integers(2)], rng)


def _draw_cyst(canvas: Canvas, centre: Place, radii: Place, rng: np.random.Generator) -> None:
    """A ball of water."""
    radius = rng.uniform(*CYST_RADII)
    place = _on_surface(centre, radii, rng)
    canvas.ellipsoid(place, (radius, radius, radius), float(rng.uniform(-4, 6)), label=CYST)


def _draw_tumour(canvas: Canvas, centre: Place, radii: Place, rng: np.random.Generator) -> None:
    """A lumpy mass that takes up less contrast than the kidney; large ones are necrotic inside."""
    radius = rng.uniform(*TUMOUR_RADII)
    place = _on_surface(centre, radii, rng)
    hu = float(rng.uniform(84, 94)) + 6 * canvas.clouds(rng, 12)
    shape = radius * rng.uniform(0.85, 1.15, 3)
    canvas.ellipsoid(place, shape, hu, label=TUMOUR, lumps=0.07 * canvas.clouds(rng, 20))
    if radius > 22:
        core = place + rng.uniform(-0.25, 0.25, 3) * radius
        canvas.ellipsoid(core, 0.45 * shape, hu - 28)


def _on_surface(centre: Place, radii: Place, rng: np.random.Generator) -> Place:
    """A place near a kidney's surface, on the side away from the spine and not at its very back."""
    side = np.sign(centre[2])
    direction = np.array([rng.uniform(-0.8, 0.8), rng.uniform(-0.9, 0.35), side * rng.uniform(0.15, 0.8)])
    direction *= rng.uniform(0.75, 1.0) / np.linalg.norm(direction)
    return np.asarray(centre + direction * radii + np.array([0, 0, 0.22 * side * direction[0] * radii[0]]))


def _draw_couch(canvas: Canvas, trunk: _Trunk, rng: np.random.Generator) -> None:
    """A curved plate under the back: two shells with foam between them."""
    y, x = canvas.axes[1][:, None], canvas.axes[2][None, :]
    below = y - (trunk.y + rng.uniform(2, 10) - 0.0016 * x**2)
    shell = max(4.0, canvas.voxel[1])
    free = (np.abs(x) < 210) & (canvas.hu[0] < -900)
    for start, end, hu in ((0, 45, -900.0), (0, shell, -60.0), (45, 45 + shell, 20.0)):
        canvas.hu[:, (below >= start) & (below < end) & free] = hu


def _scanned(canvas: Canvas, field: float, rng: np.random.Generator) -> npt.NDArray[np.int16]:
    """Blur, noise and the round field of view."""
    from scipy import ndimage  # takes a while to import

    hu = ndimage.gaussian_filter(canvas.hu, BLUR)
    noise = rng.standard_normal(canvas.shape, np.float32)
    hu += np.float32(rng.uniform(*NOISE)) * noise
    scanned: npt.NDArray[np.int16] = np.clip(np.rint(hu), -1024, 3071).astype(np.int16)
    y, x = canvas.axes[1][:, None], canvas.axes[2][None, :]
    y, x = y - y.mean(), x - x.mean()
    scanned[:, y**2 + x**2 > (0.5 * field) ** 2] = rng.choice(PADDINGS)
    return scanned
