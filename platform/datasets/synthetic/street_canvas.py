"""A canvas on which things of a street, given in metres, are painted as a camera on a car sees them."""

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

FOCAL = 2.2  # focal length and camera height of Cityscapes, in heights of the image and in metres
CAMERA_HEIGHT = 1.25
NEAR = 1.5  # metres; what is nearer is drawn at this depth
HAZE_DEPTH = 220.0  # metres at which two thirds of a colour are the haze's
SUBPIXEL = 4  # binary digits

Colour = npt.NDArray[np.float64]
Floats = npt.NDArray[np.float32]
Point = tuple[float, float, float]
"""Metres to the right of the camera, above the ground, and ahead."""


class Canvas:
    """An RGB image and the label id of each of its pixels; what is painted later hides what is there.

    Args:
        shape: height and width in pixels.
        vanishing: where the street vanishes, from the upper left corner, in heights of the image: down, right.
        haze: colour of the far distance, shape (3,).
    """

    def __init__(self, shape: tuple[int, int], vanishing: tuple[float, float], haze: Colour) -> None:
        self.shape = shape
        self.pixels = np.zeros((*shape, 3), np.uint8)
        self.ids = np.zeros(shape, np.uint8)
        self._vanishing = vanishing
        self._haze = haze

    def scale(self, depth: float) -> float:
        """Heights of the image per metre at that depth."""
        return FOCAL / max(depth, NEAR)

    def project(self, point: Point) -> tuple[float, float]:
        """Where a point is seen: right, down, in heights of the image."""
        x, y, z = point
        return self._vanishing[1] + x * self.scale(z), self._vanishing[0] + (CAMERA_HEIGHT - y) * self.scale(z)

    def polygon(self, id: int, colour: Colour, points: Sequence[Point], depth: float | None = None) -> None:
        """Paint a plane polygon; haze is that of its nearest point or of `depth`."""
        near = min(z for _, _, z in points) if depth is None else depth
        self.outline(id, self._hazed(colour, near), [self.project(point) for point in points])

    def outline(self, id: int, colour: Colour, points: Sequence[tuple[float, float]]) -> None:
        """Paint a polygon given as it is seen, in heights of the image."""
        corners = np.rint(np.array(points) * self.shape[0] * 2**SUBPIXEL).astype(np.int32)[None]
        shade = tuple(float(value) for value in np.clip(colour, 0, 255))
        cv2.fillPoly(self.pixels, corners, shade, lineType=cv2.LINE_AA, shift=SUBPIXEL)
        cv2.fillPoly(self.ids, corners, (id,), shift=SUBPIXEL)

    def upright(self, id: int, colour: Colour, left: Point, width: float, height: float) -> None:
        """Paint a rectangle that faces the camera, from its lower left corner; metres."""
        x, y, z = left
        self.polygon(id, colour, [(x, y, z), (x + width, y, z), (x + width, y + height, z), (x, y + height, z)])

    def disc(self, id: int, colour: Colour, centre: Point, radii: tuple[float, float]) -> None:
        """Paint an ellipse that faces the camera; radii to the right and upwards in metres."""
        x, y, z = centre
        turn = np.linspace(0, 2 * np.pi, 20, endpoint=False)
        across, up = radii[0] * np.cos(turn), radii[1] * np.sin(turn)
        self.polygon(id, colour, [(x + dx, y + dy, z) for dx, dy in zip(across, up, strict=True)])

    def line(self, id: int, colour: Colour, ends: tuple[Point, Point], width: float) -> None:
        """Paint a line `width` metres wide."""
        z = ends[0][2]
        marks = [self.project(end) for end in ends]
        (x1, y1), (x2, y2) = marks
        length = max(1e-6, float(np.hypot(x2 - x1, y2 - y1)))
        half = max(0.5 * width * self.scale(z), 0.5 / self.shape[0])  # never thinner than a pixel
        dx, dy = -(y2 - y1) / length * half, (x2 - x1) / length * half
        corners = [(x1 + dx, y1 + dy), (x2 + dx, y2 + dy), (x2 - dx, y2 - dy), (x1 - dx, y1 - dy)]
        self.outline(id, self._hazed(colour, z), corners)

    def box(self, id: int, colours: Sequence[Colour], corner: Point, size: tuple[float, float, float]) -> None:
        """Paint the two visible faces of a box that stands along the street.

        Args:
            id: label id.
            colours: of the face towards the camera and of the face along the street.
            corner: lower left corner of the face towards the camera.
            size: width, height and length along the street, metres.
        """
        (x, y, z), (width, height, length) = corner, size
        inner = x if x > 0 else x + width
        if x > 0 or x + width < 0:  # else only the face towards the camera is seen
            top = y + height
            side = [(inner, y, z), (inner, y, z + length), (inner, top, z + length), (inner, top, z)]
            self.polygon(id, colours[1], side)
        self.upright(id, colours[0], corner, width, height)

    def _hazed(self, colour: Colour, depth: float) -> Colour:
        clear = np.exp(-depth / HAZE_DEPTH)
        return np.asarray(clear * colour + (1 - clear) * self._haze)


def clouds(rng: np.random.Generator, shape: tuple[int, int], cell: float) -> Floats:
    """Smooth noise of unit variance, with features of about `cell` pixels."""
    rows, columns = (int(np.ceil(n / max(cell, 1.0))) + 2 for n in shape)
    grid = rng.standard_normal((rows, columns), np.float32)
    field = cv2.resize(grid, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC)
    return np.asarray(field / max(float(field.std()), 1e-6), np.float32)
