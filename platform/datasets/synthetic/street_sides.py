"""The still parts of a generated street: sky, ground, and the rows of houses, trees, walls and fences beside it."""

from dataclasses import dataclass

import numpy as np

from decomp.platform.datasets.synthetic.street_canvas import Canvas, Colour
from decomp.platform.datasets.synthetic.street_things import ID, Rng, grey, near, paint_leaves

FAR = 120.0  # metres; beyond it one house or wood ends the street


@dataclass(frozen=True)
class Look:
    """What the frames of a city have in common.

    Attributes:
        facade: mean colour of its houses.
        green: share of its streets' sides that is green.
        leaves: mean colour of its trees.
    """

    facade: Colour
    green: float
    leaves: Colour

    @classmethod
    def of(cls, rng: Rng) -> "Look":
        """A city at random."""
        facade = np.array([150.0, 135.0, 118.0]) + rng.normal(0, (18, 12, 14))
        return cls(facade, rng.uniform(0.4, 0.65), np.array([62.0, 88.0, 45.0]) + rng.normal(0, 7, 3))


@dataclass(frozen=True)
class Plan:
    """Cross-section of a street, in metres from the camera: the kerbs, and the pavements' outer edges."""

    kerbs: tuple[float, float]
    edges: tuple[float, float]

    @classmethod
    def of(cls, rng: Rng) -> "Plan":
        """A street at random, the camera in its right half."""
        left, right = -rng.uniform(5.0, 9.0), rng.uniform(3.0, 5.5)
        return cls((left, right), (left - rng.uniform(2.5, 6.5), right + rng.uniform(2.5, 6.5)))

    def kerb(self, side: int) -> float:
        """The kerb of the left (-1) or right (1) side."""
        return self.kerbs[(side + 1) // 2]

    def edge(self, side: int) -> float:
        """The pavement's outer edge on a side."""
        return self.edges[(side + 1) // 2]


def paint_sky(canvas: Canvas, sky: Colour) -> None:
    """Paint all of the canvas, lighter downwards."""
    aspect = canvas.shape[1] / canvas.shape[0]
    for k in range(24):
        shade = sky * (0.86 + 0.14 * k / 23)
        canvas.outline(ID["sky"], shade, [(0, k / 24), (aspect, k / 24), (aspect, 1), (0, 1)])


def _strip(canvas: Canvas, id: int, colour: Colour, xs: tuple[float, float], zs: tuple[float, float]) -> None:
    """Paint ground between two lines along the street."""
    (left, right), (first, last) = xs, zs
    corners = [(left, 0.0, first), (right, 0.0, first), (right, 0.0, last), (left, 0.0, last)]
    canvas.polygon(id, colour, corners, depth=first + 6)


def paint_ground(canvas: Canvas, plan: Plan, rng: Rng) -> None:
    """Paint grass, pavements and the road with its kerbs, marks and shadows."""
    road = grey(rng.uniform(88, 118))
    pavement = np.array([140.0, 134.0, 128.0]) * rng.uniform(0.85, 1.12)
    _strip(canvas, ID["terrain"], near(rng, np.array([98.0, 112.0, 62.0]), 0.1), (-400, 400), (1, 600))
    _strip(canvas, ID["sidewalk"], pavement, plan.edges, (1, 500))
    _strip(canvas, ID["road"], road, plan.kerbs, (1, 500))
    if rng.random() < 0.25:
        inner = plan.kerb(1) - 2.2
        _strip(canvas, ID["parking"], road * 1.08, (inner, plan.kerb(1)), (8, rng.uniform(25, 60)))
    for kerb in plan.kerbs:
        _strip(canvas, ID["sidewalk"], pavement * 1.18, (kerb - 0.08, kerb + 0.08), (1, 200))
    start = rng.uniform(2, 8)
    middle = 0.5 * sum(plan.kerbs) - 0.2
    for z in np.arange(start, 90, 8.0):
        _strip(canvas, ID["road"], grey(205), (middle - 0.08, middle + 0.08), (z, z + 4))
    if rng.random() < 0.2:
        z = rng.uniform(9, 22)
        for x in np.arange(plan.kerbs[0] + 0.4, plan.kerbs[1] - 0.6, 1.0):
            _strip(canvas, ID["road"], grey(200), (x, x + 0.5), (z, z + 3))
    for _ in range(rng.poisson(1.2)):  # shadows
        z, x = rng.uniform(6, 40), rng.uniform(*plan.kerbs)
        _strip(
            canvas, ID["road"], road * 0.72, (x, min(x + rng.uniform(1, 5), plan.kerbs[1])), (z, z + rng.uniform(1, 5))
        )


def paint_side(canvas: Canvas, plan: Plan, side: int, look: Look, rng: Rng) -> None:
    """A row of houses, trees, walls and fences along the street, far ones first."""
    pieces: list[tuple[str, float, float]] = []
    z = rng.uniform(2, 5)
    while z < FAR:
        house = 1 - look.green
        kind = str(rng.choice(["building", "trees", "wall", "fence"], p=[house, look.green - 0.22, 0.1, 0.12]))
        length = rng.uniform(8, 22) if kind == "building" else rng.uniform(6, 16)
        pieces.append((kind, z, z + length))
        z += length + (rng.uniform(2, 5) if rng.random() < 0.15 else 0)
    end = "building" if rng.random() < 0.5 else "trees"
    for kind, first, last in [*pieces, (end, FAR, FAR + 60)][::-1]:
        x = plan.edge(side) + side * (rng.uniform(0, 3) if kind == "building" and rng.random() < 0.4 else 0.1)
        match kind:
            case "building":
                _paint_house(canvas, x, side, (first, last), look, rng)
            case "trees":
                _paint_wood(canvas, x, side, (first, last), look, rng)
            case "wall":
                _paint_wood(canvas, x + 3 * side, side, (first, last), look, rng)
                _paint_barrier(canvas, "wall", x, (first, last), rng)
            case "fence":
                _paint_wood(canvas, x + 5 * side, side, (first, last), look, rng)
                _paint_barrier(canvas, "fence", x, (first, last), rng)


def _face(canvas: Canvas, id: int, colour: Colour, x: float, zs: tuple[float, float], ys: tuple[float, float]) -> None:
    """Paint a face along the street."""
    (first, last), (low, high) = zs, ys
    corners = [(x, low, first), (x, low, last), (x, high, last), (x, high, first)]
    canvas.polygon(id, colour, corners, depth=0.5 * (first + last))


def _paint_house(canvas: Canvas, x: float, side: int, zs: tuple[float, float], look: Look, rng: Rng) -> None:
    first, last = zs
    floors = int(rng.integers(3, 7))
    height, colour = 3.2 * floors + rng.uniform(0.5, 3), near(rng, look.facade, 0.22)
    gable = [(x, 0.0, first), (x + 14 * side, 0.0, first), (x + 14 * side, height, first), (x, height, first)]
    canvas.polygon(ID["building"], colour * 0.82, gable)
    _face(canvas, ID["building"], colour, x, zs, (0, height))
    _face(canvas, ID["building"], colour * 0.6, x, zs, (height - 0.5, height))
    if first > 70:
        return
    glass, n = near(rng, np.array([70.0, 78.0, 88.0]), 0.2), max(1, int((last - first) / rng.uniform(2.4, 3.6)))
    step = (last - first) / n
    for floor in range(floors):
        for column in range(n):
            start, low = first + (column + 0.25) * step, 3.2 * floor + (0.3 if floor == 0 else 1.0)
            shade = glass * rng.uniform(0.75, 1.35)
            _face(
                canvas, ID["building"], shade, x, (start, start + 0.5 * step), (low, low + (2.3 if floor == 0 else 1.6))
            )


def _paint_wood(canvas: Canvas, x: float, side: int, zs: tuple[float, float], look: Look, rng: Rng) -> None:
    """Trees and bushes side by side."""
    first, last = zs
    for z in np.sort(rng.uniform(first, last, max(3, int(last - first) // 2)))[::-1]:
        height = rng.uniform(3, 12)
        paint_leaves(canvas, (x + side * rng.uniform(1.5, 7), 0.5 * height, float(z)), 0.5 * height, look.leaves, rng)


def _paint_barrier(canvas: Canvas, kind: str, x: float, zs: tuple[float, float], rng: Rng) -> None:
    """A wall or a fence; both are grey or brown and equally high."""
    base = np.array([[140.0, 134.0, 126.0], [112.0, 92.0, 74.0]])[int(rng.random() < 0.5)]
    colour, height = near(rng, base, 0.15), rng.uniform(1.3, 2.8)
    _face(canvas, ID[kind], colour, x, zs, (0, height))
    if kind == "fence":
        for z in np.arange(zs[0], min(zs[1], 60), 0.35):
            _face(canvas, ID[kind], colour * 0.62, x, (float(z), float(z) + 0.12), (0, height))
    else:
        _face(canvas, ID[kind], colour * 1.15, x, zs, (height - 0.15, height))
