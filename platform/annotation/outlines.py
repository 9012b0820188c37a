"""Outlines of classes along the edges of pixels, and back: a pixel belongs to an outline if its centre lies inside.

Coordinates are x and y in pixels from the upper left corner of the image, so the pixel in row r and column c covers the
square from (c, r) to (c + 1, r + 1), and its centre is (c + 1/2, r + 1/2). Outlines of a map, filled again, give the
same map.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Ring = npt.NDArray[np.float64]
"""Corners x and y of a closed line, shape (n, 2), float64; the first corner is not repeated at the end."""

STEPS = ((0, 1), (1, 0), (0, -1), (-1, 0))
"""Rows and columns to the next corner of a pixel: towards the right, down, left and up."""


def trace(inside: npt.NDArray[np.bool_]) -> list[list[Ring]]:
    """The polygons whose interior is where a map holds, each its outer ring and then its holes.

    There is a polygon for each group of pixels that hang together by their edges. Rings touch themselves nowhere, and
    each other in single points at most, so the polygons are valid by OpenGIS's Simple Features (ISO 19125), on which
    programs such as QuPath insist. Outer rings run clockwise as one sees them, holes counter-clockwise.

    Args:
        inside: shape (H, W), bool.
    """
    groups, n_groups = ndimage.label(np.pad(inside, 1))  # neighbours share an edge
    polygons: list[list[Ring]] = [[] for _ in range(n_groups)]
    for group, corners in _rings(groups):
        ring = np.array(corners, np.float64)
        is_outer = _signed_area(ring) > 0
        polygons[group - 1].insert(0 if is_outer else len(polygons[group - 1]), ring)
    return polygons


def fill(rings: Sequence[Ring], window: Sequence[tuple[int, int]]) -> npt.NDArray[np.bool_]:
    """The pixels of a window whose centres lie inside a polygon.

    Inside is what an odd number of rings surround, so a ring within another one is a hole, however the two run. A
    centre on a line belongs to the side to the right of it or, on a horizontal line, below it.

    Args:
        rings: all rings of a polygon; corners may lie anywhere, also beyond the image.
        window: start and stop of the rows and of the columns, half-open.

    Returns:
        Shape of the window, bool.
    """
    (top, bottom), (left, right) = window
    inside = np.zeros((bottom - top, right - left), np.bool_)
    corners = np.clip(np.concatenate(rings) - (left, top), 0, inside.shape[::-1])
    first_column, first_row = np.floor(corners.min(axis=0)).astype(int)
    last_column, last_row = np.ceil(corners.max(axis=0)).astype(int)
    part = inside[first_row:last_row, first_column:last_column]
    part[...] = _filled([ring - (left + first_column, top + first_row) for ring in rings], *part.shape)
    return inside


def _filled(rings: Sequence[Ring], height: int, width: int) -> npt.NDArray[np.bool_]:
    """`fill` for the window of a height and width in the upper left corner."""
    changes = np.zeros((height, width + 1), np.int64)
    for ring in rings:
        x, y = ring.T
        next_x, next_y = np.roll(x, -1), np.roll(y, -1)
        first = np.clip(np.ceil(np.minimum(y, next_y) - 0.5), 0, height).astype(np.int64)
        last = np.clip(np.ceil(np.maximum(y, next_y) - 0.5), 0, height).astype(np.int64)
        n_rows = last - first  # whose centres the side crosses
        side = np.repeat(np.arange(len(ring)), n_rows)
        rows = np.arange(len(side)) - np.repeat(np.cumsum(n_rows) - n_rows, n_rows) + first[side]
        slope = (next_x[side] - x[side]) / (next_y[side] - y[side])
        crossings = x[side] + (rows + 0.5 - y[side]) * slope
        columns = np.clip(np.ceil(crossings - 0.5), 0, width).astype(np.int64)
        np.add.at(changes, (rows, columns), 1)
    inside: npt.NDArray[np.bool_] = np.cumsum(changes, axis=1)[:, :width] % 2 == 1
    return inside


def _rings(groups: npt.NDArray[np.int32]) -> list[tuple[int, list[tuple[int, int]]]]:
    """All rings around groups of pixels: the group, and the corners x and y in pixels of the map without its margin.

    A side of a pixel leads from a corner in one of four directions, its own group on the right. Where two pixels of
    one group touch in a corner alone, the line turns left, so that what lies between them belongs to two rings.
    """
    height, width = groups.shape
    sides = np.zeros((4, height, width), np.int32)  # the group of the side that begins at the upper left of a pixel
    above, beside = groups[:-1, :], groups[:, :-1]
    below, next_to = groups[1:, :], groups[:, 1:]
    differs, varies = above != below, beside != next_to
    sides[0, 1:, :] = below * differs
    sides[2, 1:, 1:] = (above * differs)[:, :-1]
    sides[3, 1:, 1:] = (next_to * varies)[:-1, :]
    sides[1, :, 1:] = beside * varies
    flat = sides.reshape(4, -1)
    directions, corners = np.nonzero(flat)
    own = flat[directions, corners]
    ends = corners + np.array([rows * width + columns for rows, columns in STEPS])[directions]
    turned = (directions + 1) % 4  # to the right, unless another side goes on
    for turn in (0, 3):
        candidate = (directions + turn) % 4
        turned = np.where(flat[candidate, ends] == own, candidate, turned)
    number = np.zeros(flat.shape, np.int64)
    number[directions, corners] = np.arange(len(corners))
    followers: list[int] = number[turned, ends].tolist()
    is_corner: list[bool] = (turned != directions).tolist()
    places = np.stack([ends % width - 1, ends // width - 1], axis=1).tolist()
    seen = [False] * len(followers)
    rings = []
    for start in range(len(followers)):
        side, ring = start, []
        while not seen[side]:
            seen[side] = True
            if is_corner[side]:
                ring.append(tuple(places[side]))
            side = followers[side]
        if ring:
            rings.append((int(own[start]), ring))
    return rings


def _signed_area(ring: Ring) -> float:
    """Positive where the ring runs clockwise, y being counted downwards."""
    x, y = ring.T
    return float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y)) / 2
