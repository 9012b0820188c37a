"""Windows of one size at every position: window sums, and `Places` made of them.

All maps of windows are indexed by the window's start, so a map over windows of `size` (h, w) in an image of `shape`
(H, W) has shape (H - h + 1, W - w + 1).
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from decomp.platform.predictions import LEVELS, UncertaintyMap
from decomp.platform.regions import Region
from decomp.platform.samplers.places import Block, Peaks, Place, Places


def window_sums(values: Any, size: Sequence[int], greatest: int) -> Any:
    """Sum of `values` over every window; the cost is linear in pixels, whatever the window's size.

    Args:
        values: shape (*axes) with two or three axes, integers from 0 to `greatest`; uint8 or uint16, or an int32
            tensor, whose sums are then computed on its device.
        size: window size per axis.
        greatest: greatest value that may occur.

    Returns:
        Exact sums: int32 where they cannot exceed its range, else float64 or, of tensors, int64.
    """
    wide = greatest * math.prod(size) > np.iinfo(np.int32).max
    if not isinstance(values, np.ndarray):
        return _window_sums_of_tensor(values.long() if wide else values, size)
    *_, rows, columns = values.shape
    height, width = size[-2:]
    depth = cv2.CV_64F if wide else cv2.CV_32S
    if wide:  # of integers OpenCV would take the sums in int32, whatever they are stored as
        values = values.astype(np.float64)
    # All slices of a volume at once, stacked; windows across two slices are cut away below.
    stack = _box_filter(values.reshape(-1, columns), depth, (width, height)).reshape(values.shape)
    sums = stack[..., : rows - height + 1, : columns - width + 1]
    if values.ndim == 3 and size[0] > 1:
        slices = sums.shape[0]
        flat = np.ascontiguousarray(sums).reshape(slices, -1)
        sums = _box_filter(flat, depth, (1, size[0])).reshape(sums.shape)[: slices - size[0] + 1]
    return sums


def _box_filter(values: npt.NDArray[Any], depth: int, size: tuple[int, int]) -> npt.NDArray[Any]:
    sums = cv2.boxFilter(values, depth, size, anchor=(0, 0), normalize=False, borderType=cv2.BORDER_CONSTANT)
    return np.asarray(sums)


def _window_sums_of_tensor(values: Any, size: Sequence[int]) -> Any:
    # Sums along an axis may wrap around in between; differences of wrapped sums are right all the same.
    for axis, extent in enumerate(size):
        if extent > 1:
            total, n = values.cumsum(axis, dtype=values.dtype), values.shape[axis]
            values = total.narrow(axis, extent - 1, n - extent + 1).clone()
            values.narrow(axis, 1, n - extent).sub_(total.narrow(axis, 0, n - extent))
    return values


class Windows(Places):
    """Windows of `size` at every position (stride 1): squares and rectangles, windows in a slice, boxes, single ROIs.

    Args:
        image: id of the image.
        shape: its spatial shape, one to three axes.
        size: size of a window per axis; of a volume, 1 along the first axis means windows in axial slices.
        annotated: regions that are annotated; windows that overlap their bounding boxes are taken.
    """

    def __init__(self, image: str, shape: Sequence[int], size: Sequence[int], annotated: Iterable[Region]) -> None:
        in_slices = len(shape) == 3 and size[0] == 1
        super().__init__(image, len(shape), shape[0] if in_slices else 1)
        self._size = tuple(size)
        # Arrays of one axis are handled as a single row.
        self._row = (1,) if len(shape) == 1 else ()
        self._full_size = (*self._row, *size)
        self._starts = tuple(n - k + 1 for n, k in zip((*self._row, *shape), self._full_size, strict=True))
        self.taken = [self._block((*((0,) * len(self._row)), *r.start), (*self._row, *r.size)) for r in annotated]

    def any_free(self) -> bool:
        """Whether a place is left."""
        blocked = sum(math.prod(axis.stop - axis.start for axis in block) for block in self.taken)
        if blocked < math.prod(self._starts):
            return True
        free = np.ones(self._starts, np.bool_)
        for block in self.taken:
            free[block] = False
        return bool(free.any())

    def uniform(self) -> Peaks:
        """See `Places.uniform`."""
        return Peaks(np.zeros(self._starts, np.int8), self.taken)

    def of_class(self, labels: npt.NDArray[np.uint8], class_: int, layer: int) -> Peaks:
        """See `Places.of_class`; only windows near the class are looked at, in volumes only the layer's slice."""
        if labels.ndim == 3 and self.layers == 1:
            mask = (labels == class_).view(np.uint8)
            return Peaks(window_sums(mask, self._full_size, 1), self.taken)
        plane = labels[layer] if labels.ndim == 3 else labels.reshape(-1, labels.shape[-1])
        mask = (plane == class_).view(np.uint8)
        left, top, width, height = cv2.boundingRect(mask)
        low = [max(0, first - k + 1) for first, k in zip((top, left), self._full_size[-2:], strict=True)]
        high = [
            min(n, first + extent)
            for n, first, extent in zip(self._starts[-2:], (top, left), (height, width), strict=True)
        ]
        lead = () if labels.ndim < 3 else (layer,)
        if width == 0:
            return Peaks(np.zeros((*(1,) * len(lead), 1, 1), np.int8), self.taken, (*lead, 0, 0))
        rows, columns = (slice(a, b + k - 1) for a, b, k in zip(low, high, self._full_size[-2:], strict=True))
        sums = window_sums(np.ascontiguousarray(mask[rows, columns]), self._full_size[-2:], 1)
        return Peaks(sums[None] if lead else sums, self.taken, (*lead, *low))

    def means(self, uncertainty: UncertaintyMap) -> Peaks:
        """See `Places.means`."""
        levels = uncertainty.levels
        levels = levels.reshape(1, -1) if levels.ndim == 1 else levels
        sums = window_sums(levels, self._full_size, LEVELS)
        return Peaks(sums, self.taken, unit=uncertainty.unit / math.prod(self._size))

    def take(self, place: Place) -> Region:
        """See `Places.take`."""
        self.taken.append(self._block(place, self._full_size))
        return Region(self.image, place[len(self._row) :], self._size)

    def _block(self, start: Sequence[int], size: Sequence[int]) -> Block:
        """Starts of all windows that overlap a box."""
        return tuple(
            slice(max(0, a - k + 1), min(a + n, limit))
            for a, n, k, limit in zip(start, size, self._full_size, self._starts, strict=True)
        )
