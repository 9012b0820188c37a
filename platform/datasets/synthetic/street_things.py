"""What stands and moves on a generated street: one painter per kind of thing, sizes in metres."""

import itertools
from collections.abc import Callable

import numpy as np

from decomp.platform.datasets.cityscapes import LABEL_IDS, VOID_IDS
from decomp.platform.datasets.synthetic.street_canvas import Canvas, Colour, Point

ID = LABEL_IDS | VOID_IDS
Rng = np.random.Generator
Painter = Callable[[Canvas, float, float, Rng], None]
"""Paints a thing at a place, metres to the right and ahead."""

SKIN = np.array([205.0, 165.0, 140.0])
PAINTS = np.array(
    [[200, 202, 205], [60, 62, 66], [110, 114, 120], [34, 36, 40], [140, 28, 30], [34, 56, 110], [230, 230, 228]], float
)
CLOTHES = np.array(
    [[45, 48, 60], [80, 82, 88], [130, 60, 55], [60, 80, 120], [165, 160, 150], [90, 95, 65], [30, 30, 34]], float
)
SIGNS = np.array([[205, 30, 35], [30, 70, 165], [240, 240, 238], [235, 200, 40]], float)
GLASS = np.array([52.0, 58.0, 66.0])


def grey(value: float) -> Colour:
    """A cool grey."""
    return np.array([value, value, 1.03 * value])


def near(rng: Rng, colour: Colour, spread: float) -> Colour:
    """A colour like that one, varying more in lightness than in hue."""
    return np.asarray(colour * np.exp(rng.normal(0, spread)) + rng.normal(0, 25 * spread, 3))


def paint_leaves(canvas: Canvas, centre: Point, radius: float, colour: Colour, rng: Rng) -> None:
    """The crown of a tree, or a bush."""
    x, y, z = centre
    leaves = near(rng, colour, 0.12)
    canvas.disc(ID["vegetation"], leaves * 0.7, centre, (0.8 * radius, radius))
    for _ in range(14):
        dx, dy = rng.normal(0, 0.45 * radius, 2)
        size = radius * rng.uniform(0.25, 0.5)
        lit = leaves * (1 + 0.35 * dy / radius + rng.normal(0, 0.12))
        canvas.disc(ID["vegetation"], lit, (x + dx, max(y + dy, size), z), (size, size))


def _wheels(canvas: Canvas, id: int, x: float, z: float, width: float, length: float, radius: float) -> None:
    inner = x if x > 0 else x + width
    if x > 0 or x + width < 0:
        for along in (0.18, 0.82):
            centre = z + along * length
            turn = np.linspace(0, 2 * np.pi, 14, endpoint=False)
            rim = [(inner, radius + radius * np.sin(a), centre + radius * np.cos(a)) for a in turn]
            canvas.polygon(id, grey(26), rim)
    for left in (x + 0.08, x + width - 0.3):
        canvas.upright(id, grey(22), (left, 0.0, z), 0.22, 0.45)


def _shadow(canvas: Canvas, x: float, z: float, width: float, length: float) -> None:
    corners = [(x - 0.1, 0.02, z - 0.1), (x + width + 0.1, 0.02, z - 0.1)]
    canvas.polygon(ID["road"], grey(46), [*corners, (x + width, 0.02, z + length), (x, 0.02, z + length)])


def _lamps(canvas: Canvas, id: int, x: float, z: float, width: float, height: float, oncoming: bool) -> None:
    lamp = np.array([245.0, 240.0, 220.0]) if oncoming else np.array([190.0, 24.0, 22.0])
    for left in (x + 0.08, x + width - 0.38):
        canvas.upright(id, lamp, (left, height, z), 0.3, 0.16)


def _car(canvas: Canvas, x: float, z: float, rng: Rng) -> None:
    width, length, high = rng.uniform(1.65, 1.85), rng.uniform(3.6, 4.7), rng.uniform(1.38, 1.65)
    x -= width / 2
    paint = near(rng, PAINTS[rng.integers(len(PAINTS))], 0.12)
    id = ID["car"]
    _shadow(canvas, x, z, width, length)
    canvas.box(id, (paint * 0.9, paint * 0.78), (x, 0.28, z), (width, 0.65, length))
    cabin = (x + 0.14, 0.9, z + 0.25)
    canvas.box(id, (GLASS, GLASS * 1.15), cabin, (width - 0.28, high - 0.98, 0.7 * length))
    canvas.box(id, (paint, paint * 0.85), (cabin[0], high - 0.1, cabin[2]), (width - 0.28, 0.1, 0.7 * length))
    _wheels(canvas, id, x, z, width, length, 0.31)
    _lamps(canvas, id, x, z, width, 0.68, x < -1.5 and rng.random() < 0.7)
    canvas.upright(id, grey(215), (x + width / 2 - 0.25, 0.5, z), 0.5, 0.11)


def _long_vehicle(kind: str) -> Painter:
    """Buses, trains, trucks and their kin: boxes whose colours and windows tell them apart."""

    def paint(canvas: Canvas, x: float, z: float, rng: Rng) -> None:
        id, width = ID[kind], 2.5
        x -= width / 2
        livery = near(
            rng, np.array([[205.0, 200, 190], [170, 40, 40], [40, 70, 140], [190, 160, 50]])[rng.integers(4)], 0.1
        )
        length = {"bus": 11.0, "train": 28.0, "truck": 8.0}.get(kind, 5.0) * rng.uniform(0.9, 1.1)
        high = {"bus": 3.0, "train": 3.4, "truck": rng.uniform(2.8, 3.7)}.get(kind, 2.5)
        _shadow(canvas, x, z, width, length)
        if kind == "truck":
            cargo = near(rng, np.array([[215.0, 213, 206], [120, 122, 125], [60, 84, 120]])[rng.integers(3)], 0.1)
            canvas.box(id, (cargo, cargo * 0.8), (x, 0.9, z), (width, high - 0.9, length))
            canvas.box(id, (grey(48), grey(40)), (x + 0.1, 0.35, z), (width - 0.2, 0.55, length))
            canvas.upright(id, cargo * 0.72, (x + width / 2 - 0.03, 1.0, z), 0.06, high - 1.2)
        else:
            canvas.box(id, (livery, livery * 0.82), (x, 0.35, z), (width, high - 0.35, length))
            band = (x, 1.35, z)
            canvas.box(id, (GLASS * 1.2, GLASS), band, (width, 0.45 * high - 0.2, length))
            canvas.upright(id, livery * 0.9, (x, 1.35, z), 0.14, 1.2)
            canvas.upright(id, livery * 0.9, (x + width - 0.14, 1.35, z), 0.14, 1.2)
            if kind == "train":
                canvas.box(id, (livery * 0.5, livery * 0.45), (x, high - 0.3, z), (width, 0.3, length))
        if kind != "train":
            _wheels(canvas, id, x, z, width, length, 0.48)
        _lamps(canvas, id, x, z, width, 0.7, x < -1.5)

    return paint


def _body(canvas: Canvas, id: int, x: float, z: float, feet: float, height: float, rng: Rng, stride: float) -> None:
    """Legs, trunk, arms and head."""
    coat, trousers = (near(rng, CLOTHES[rng.integers(len(CLOTHES))], 0.15) for _ in range(2))
    hip, neck = feet + 0.48 * height, feet + 0.82 * height
    for foot in (-stride, stride):
        canvas.line(id, trousers * (0.85 if foot < 0 else 1.0), ((x + foot, feet, z), (x + foot / 4, hip, z)), 0.16)
    shoulders = 0.23 * height / 1.75
    trunk = [(x - 0.16, hip - 0.08, z), (x + 0.16, hip - 0.08, z), (x + shoulders, neck, z), (x - shoulders, neck, z)]
    canvas.polygon(id, coat, trunk)
    for arm in (-1, 1):
        hand = x + arm * (shoulders + 0.07)
        canvas.line(id, coat * 0.8, ((hand, hip, z), (x + arm * shoulders * 0.9, neck - 0.03, z)), 0.1)
    canvas.disc(id, near(rng, SKIN, 0.1), (x, neck + 0.12, z), (0.1, 0.13))
    canvas.disc(id, near(rng, np.array([60.0, 46, 36]), 0.3), (x, neck + 0.19, z), (0.1, 0.08))


def _person(canvas: Canvas, x: float, z: float, rng: Rng) -> None:
    _body(canvas, ID["person"], x, z, 0.0, rng.uniform(1.45, 1.9), rng, rng.uniform(0.05, 0.3))


def _two_wheeler(kind: str, ridden: bool) -> Painter:
    """A bicycle or a motorcycle, seen from the side or nearly from behind."""

    def paint(canvas: Canvas, x: float, z: float, rng: Rng) -> None:
        id, seen = ID[kind], rng.uniform(0.25, 1.0)  # share of its length that is seen
        half, radius = 0.52 * seen, 0.33
        frame = near(rng, PAINTS[rng.integers(len(PAINTS))] * 0.7, 0.2)
        for end in (-half, half):
            canvas.disc(id, grey(30), (x + end, radius, z), (radius * max(seen, 0.2), radius))
            canvas.disc(id, grey(112), (x + end, radius, z), (0.78 * radius * max(seen - 0.1, 0.1), 0.78 * radius))
        joints = [(x - half, radius, z), (x - 0.2 * seen, 0.85, z), (x + 0.6 * half, 0.9, z), (x + half, radius, z)]
        if kind == "motorcycle":
            canvas.polygon(
                id, frame, [(x - half, 0.45, z), (x + 0.9 * half, 0.4, z), (x + 0.7 * half, 1.0, z), (x - half, 0.8, z)]
            )
            canvas.disc(id, frame * 1.2, (x + 0.2 * seen, 0.85, z), (0.28 * max(seen, 0.4), 0.17))
        for ends in itertools.pairwise(joints):
            canvas.line(id, frame, ends, 0.09)
        canvas.line(id, frame, ((x - 0.1 * seen, 0.35, z), (x - 0.2 * seen, 0.95, z)), 0.09)
        canvas.line(id, grey(40), ((x + 0.6 * half - 0.22, 1.02, z), (x + 0.6 * half + 0.22, 1.02, z)), 0.08)
        if ridden:
            _body(canvas, ID["rider"], x - 0.1 * seen, z, 0.4, rng.uniform(1.3, 1.5), rng, 0.12)
            if kind == "motorcycle":
                canvas.disc(
                    ID["rider"],
                    near(rng, PAINTS[rng.integers(len(PAINTS))], 0.1),
                    (x - 0.1 * seen, 1.72, z),
                    (0.16, 0.17),
                )

    return paint


def _post(canvas: Canvas, x: float, z: float, height: float, width: float = 0.13) -> None:
    canvas.line(ID["pole"], grey(112), ((x, 0.0, z), (x, height, z)), width)


def _pole(canvas: Canvas, x: float, z: float, rng: Rng) -> None:
    height = rng.uniform(5, 8)
    _post(canvas, x, z, height, rng.uniform(0.14, 0.26))
    if rng.random() < 0.6:
        reach = -np.sign(x) * rng.uniform(1.2, 2.6)
        canvas.line(ID["pole"], grey(105), ((x, height, z), (x + reach, height + 0.2, z)), 0.1)


def _traffic_light(canvas: Canvas, x: float, z: float, rng: Rng) -> None:
    low = rng.uniform(2.1, 2.8)
    _post(canvas, x, z, low + 1.0)
    canvas.upright(ID["traffic light"], grey(28), (x - 0.22, low, z), 0.44, 1.15)
    lit = int(rng.integers(3))
    for k, lamp in enumerate(np.array([[40.0, 200, 120], [235, 170, 40], [225, 40, 36]])):
        colour = lamp if k == lit else grey(48)
        canvas.disc(ID["traffic light"], colour, (x, low + 0.2 + 0.36 * k, z), (0.13, 0.13))


def _traffic_sign(canvas: Canvas, x: float, z: float, rng: Rng) -> None:
    low = rng.uniform(1.9, 2.5)
    _post(canvas, x, z, low + 0.6, 0.09)
    size, colour, id = rng.uniform(0.32, 0.5), near(rng, SIGNS[rng.integers(len(SIGNS))], 0.08), ID["traffic sign"]
    match int(rng.integers(4)):
        case 0:
            canvas.disc(id, colour, (x, low + size, z), (size, size))
            canvas.disc(id, grey(238), (x, low + size, z), (0.65 * size, 0.65 * size))
        case 1:
            corners = [(x - size, low, z), (x + size, low, z), (x, low + 1.7 * size, z)]
            canvas.polygon(id, SIGNS[0], corners)
            canvas.disc(id, grey(238), (x, low + 0.55 * size, z), (0.35 * size, 0.3 * size))
        case 2:
            canvas.upright(id, colour, (x - size, low, z), 2 * size, 1.4 * size)
        case _:
            canvas.upright(id, SIGNS[1], (x - 2 * size, low, z), 4 * size, 1.6 * size)
            canvas.upright(id, grey(235), (x - 1.6 * size, low + 0.6 * size, z), 2.8 * size, 0.25 * size)


def _tree(canvas: Canvas, x: float, z: float, rng: Rng) -> None:
    trunk, radius = rng.uniform(1.8, 3.0), rng.uniform(1.4, 2.8)
    canvas.line(
        ID["vegetation"], np.array([74.0, 62, 50]), ((x, 0.0, z), (x, trunk + radius, z)), rng.uniform(0.2, 0.4)
    )
    paint_leaves(canvas, (x, trunk + radius, z), radius, np.array([60.0, 86, 44]), rng)


def _static(canvas: Canvas, x: float, z: float, rng: Rng) -> None:
    width, colour = rng.uniform(0.5, 1.6), near(rng, np.array([[70.0, 76, 70], [120, 96, 66]])[rng.integers(2)], 0.2)
    canvas.box(ID["static"], (colour, colour * 0.8), (x, 0.0, z), (width, rng.uniform(0.6, 1.4), 0.8))


def _dynamic(canvas: Canvas, x: float, z: float, rng: Rng) -> None:
    colour = near(rng, CLOTHES[rng.integers(len(CLOTHES))], 0.2)
    canvas.box(ID["dynamic"], (colour, colour * 0.8), (x, 0.15, z), (0.5, 0.6, 0.6))
    canvas.disc(ID["dynamic"], grey(30), (x + 0.1, 0.13, z), (0.12, 0.12))


PAINTERS: dict[str, Painter] = {
    "car": _car,
    "parked car": _car,
    "truck": _long_vehicle("truck"),
    "bus": _long_vehicle("bus"),
    "train": _long_vehicle("train"),
    "caravan": _long_vehicle("caravan"),
    "trailer": _long_vehicle("trailer"),
    "person": _person,
    "cyclist": _two_wheeler("bicycle", ridden=True),
    "motorcyclist": _two_wheeler("motorcycle", ridden=True),
    "bicycle": _two_wheeler("bicycle", ridden=False),
    "motorcycle": _two_wheeler("motorcycle", ridden=False),
    "pole": _pole,
    "traffic light": _traffic_light,
    "traffic sign": _traffic_sign,
    "tree": _tree,
    "static": _static,
    "dynamic": _dynamic,
}
"""Painter of each kind of thing."""
