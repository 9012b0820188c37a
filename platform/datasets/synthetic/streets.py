"""Streets: generated scenes in the layout of Cityscapes, for tests and benchmarks without the data set.

A scene is seen from a car: a road with lanes, pavements and two rows of facades, trees, walls and fences, then poles,
signs, vehicles and people, painted from far to near in true perspective. Class shares are about as unequal as those of
Cityscapes, and what is confusable there is confusable here: riders and pedestrians, buses, trucks and trains, walls and
fences. The car's own bonnet, the border of the rectification and odd objects are void, under their own label ids.
"""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from decomp.platform.datasets.cityscapes import FOLDERS, IMAGE, MASK
from decomp.platform.datasets.synthetic.street_canvas import Canvas, Floats, clouds
from decomp.platform.datasets.synthetic.street_sides import Look, Plan, paint_ground, paint_side, paint_sky
from decomp.platform.datasets.synthetic.street_things import ID, PAINTERS, Rng, grey
from decomp.platform.randomness import stream

CITIES = {
    "train": ("aachen", "darmstadt", "bremen", "ulm", "hamburg", "zurich"),
    "val": ("frankfurt", "lindau", "munster"),
}
RATES = {  # mean number per scene
    "car": 4.0,
    "parked car": 3.5,
    "truck": 0.09,
    "bus": 0.08,
    "train": 0.07,
    "caravan": 0.02,
    "trailer": 0.02,
    "person": 9.0,
    "cyclist": 0.5,
    "motorcyclist": 0.15,
    "bicycle": 2.6,
    "motorcycle": 0.35,
    "pole": 3.5,
    "traffic light": 1.1,
    "traffic sign": 2.2,
    "tree": 3.5,
    "static": 1.6,
    "dynamic": 0.3,
}

REACH = {
    "person": (6, 30),
    "train": (18, 50),
    "bus": (12, 45),
    "truck": (12, 50),
    "traffic light": (9, 40),
    "car": (11, 70),
}
"""Depths between which a kind of thing is found, in metres; (7, 45) for all others."""

GRAIN = {  # strength of the texture by label id: fine, coarse; all others have that of label 0
    0: (0.025, 0.04),
    ID["road"]: (0.03, 0.05),
    ID["sidewalk"]: (0.05, 0.06),
    ID["building"]: (0.05, 0.09),
    ID["wall"]: (0.06, 0.10),
    ID["fence"]: (0.08, 0.10),
    ID["vegetation"]: (0.20, 0.22),
    ID["terrain"]: (0.12, 0.12),
    ID["sky"]: (0.006, 0.03),
}

Scene = tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]


def write_streets(
    root: Path, frames: Mapping[str, int], shape: tuple[int, int] = (128, 256), seed: int = 0, threads: int = 1
) -> None:
    """Write a tree that `decomp.platform.datasets.cityscapes.Cityscapes` reads.

    Args:
        root: the folder, made if missing; existing files are overwritten.
        frames: number of frames in ``train`` and ``val``, spread over the cities in turn.
        shape: height and width of the images; 1024 x 2048 are the real ones.
        seed: seed of the scenes; a scene depends on this, its name and `shape` only.
        threads: threads that draw.
    """
    jobs = [(folder, number) for folder in FOLDERS for number in range(frames.get(folder, 0))]
    with ThreadPoolExecutor(threads) as workers:
        list(workers.map(lambda job: _write(root, job[0], job[1], shape, seed), jobs))


def street(city: str, frame: str, shape: tuple[int, int], seed: int) -> Scene:
    """Draw one scene.

    Returns:
        Pixels, shape (H, W, 3), uint8, red first; label ids, shape (H, W), uint8.
    """
    look = Look.of(stream(seed, "streets-city", image=city))
    rng = stream(seed, "streets", image=frame)
    height, width = shape
    vanishing = (rng.uniform(0.40, 0.46), width / height * rng.uniform(0.42, 0.58))
    light = rng.uniform(0.75, 1.15)
    sky = np.array([[235, 238, 240], [190, 212, 238]])[int(rng.random() < 0.4)] * min(1.0, light + 0.1)
    canvas = Canvas(shape, vanishing, sky)
    plan = Plan.of(rng)
    paint_sky(canvas, sky)
    paint_ground(canvas, plan, rng)
    for side in (-1, 1):
        paint_side(canvas, plan, side, look, rng)
    _paint_things(canvas, plan, rng)
    _paint_bonnet(canvas, rng)
    pixels = _exposed(canvas, light, rng)
    _paint_border(pixels, canvas.ids)
    return pixels, canvas.ids


def _paint_things(canvas: Canvas, plan: Plan, rng: Rng) -> None:
    """Everything that stands and moves, far things first."""
    things: list[tuple[float, float, str]] = []
    for kind, rate in RATES.items():
        for _ in range(rng.poisson(rate)):
            z = float(rng.uniform(*REACH.get(kind, (7, 45))))
            things.append((z, _place(kind, plan, rng), kind))
    for z, x, kind in sorted(things, reverse=True):
        PAINTERS[kind](canvas, x, z, rng)


def _place(kind: str, plan: Plan, rng: Rng) -> float:
    """Where across the street a thing is; no vehicle is right before the camera."""
    side = int(rng.choice([-1, 1]))
    kerb, edge = plan.kerb(side), plan.edge(side)
    match kind:
        case "parked car":
            return kerb - side * rng.uniform(1.0, 1.2)
        case "car" | "truck" | "bus" | "caravan" | "trailer":
            return float(rng.choice([0.5 * plan.kerbs[0] - 0.6, rng.uniform(-0.6, 0.6)], p=[0.6, 0.4]))
        case "train":
            return plan.kerbs[0] + 1.8
        case "cyclist" | "motorcyclist":
            return kerb - side * rng.uniform(0.5, 2.0)
        case "pole" | "traffic light" | "traffic sign":
            return kerb + side * rng.uniform(0.3, 0.7)
        case "dynamic":
            return float(rng.uniform(*plan.edges))
        case "tree":
            return edge - side * 0.6
        case _:
            return float(rng.uniform(min(kerb, edge), max(kerb, edge)))


def _paint_bonnet(canvas: Canvas, rng: Rng) -> None:
    aspect = canvas.shape[1] / canvas.shape[0]
    across = np.linspace(-0.05, 1.05, 24)
    top = 0.905 + 0.42 * (across - 0.5) ** 2 + rng.uniform(-0.01, 0.01)
    rim = [(aspect * x, y) for x, y in zip(across.tolist(), top.tolist(), strict=True)]
    canvas.outline(ID["ego vehicle"], grey(34), [*rim, (aspect * 1.05, 1.1), (-aspect * 0.05, 1.1)])
    canvas.outline(
        ID["ego vehicle"], grey(120), [(aspect / 2 + dx, y) for dx, y in ((-0.012, 0.92), (0.012, 0.92), (0, 0.885))]
    )


def _exposed(canvas: Canvas, light: float, rng: Rng) -> npt.NDArray[np.uint8]:
    """Texture by label id, uneven light, and the sensor's noise."""
    shape = canvas.shape
    fine, coarse = (table[canvas.ids] for table in _grain_tables())
    leafy = clouds(rng, shape, shape[0] / 90) + clouds(rng, shape, shape[0] / 28)
    gain = 1 + fine * clouds(rng, shape, shape[0] / 340) + 0.7 * coarse * leafy
    gain *= light * (1 + 0.07 * clouds(rng, shape, shape[0] / 2))
    tint = np.asarray(1 + rng.normal(0, 0.03, 3), np.float32)
    noise = rng.standard_normal(shape, np.float32) * np.float32(1.6)
    exposed = canvas.pixels * gain[..., None] * tint + noise[..., None]
    return np.clip(np.rint(exposed), 0, 255).astype(np.uint8)


def _grain_tables() -> tuple[Floats, Floats]:
    table = np.tile(np.array(GRAIN[0], np.float32), (max(ID.values()) + 1, 1))
    for id, strengths in GRAIN.items():
        table[id] = strengths
    return table[:, 0], table[:, 1]


def _paint_border(pixels: npt.NDArray[np.uint8], ids: npt.NDArray[np.uint8]) -> None:
    """The rectification's border at the sides, and a line out of the region of interest."""
    width = max(1, ids.shape[0] // 200)
    for cut in (np.s_[:, :width], np.s_[:, -width:], np.s_[-width:]):
        pixels[cut], ids[cut] = 0, ID["rectification border"]
    ids[: max(1, width // 3)] = ID["out of roi"]


def _write(root: Path, folder: str, number: int, shape: tuple[int, int], seed: int) -> None:
    cities = CITIES[folder]
    city = cities[number % len(cities)]
    frame = f"{city}_{number // len(cities):06d}_000019"
    pixels, ids = street(city, frame, shape, seed)
    places = ((root / "leftImg8bit", IMAGE, pixels[..., ::-1]), (root / "gtFine", MASK, ids))
    for place, ending, values in places:
        file = place / folder / city / f"{frame}{ending}"
        file.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(file), values)
