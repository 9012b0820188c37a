"""Windows of one size at every position: window sums, and `Places` made of them.

All maps of windows are indexed by the window's start, so a map over windows of `region_shape` (h, w) in an image of
`shape` (H, W) has shape (H - h + 1, W - w + 1).
"""

import math
import weakref
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from typing_extensions import override

from decomp.platform.predictions import LEVELS, UncertaintyMap
from decomp.platform.regions import Region
from decomp.platform.samplers.places import TAKEN, Block, MapPeaks, Peaks, Place, Places


def window_sums(values: Any, size: Sequence[int], greatest: int) -> Any:
    """Sum of `values` over every window; the cost is linear in pixels, whatever the window's size.

    Args:
        values: shape (*axes) with two or three axes, integers from 0 to `greatest`; uint8 or uint16, or an int32
            tensor, whose sums are then computed on its device.
        size: window size per axis.
        greatest: greatest value that may occur.

    Returns:
        Exact sums: int32 where they cannot exceed its range, else float64 or, for tensors, int64.
    """
    wide = greatest * math.prod(size) > np.iinfo(np.int32).max
    if not isinstance(values, np.ndarray):
        return _window_sums_of_tensor(values.long() if wide else values, size)
    *_, rows, columns = values.shape
    height, width = size[-2:]
    depth = cv2.CV_64F if wide else cv2.CV_32S
    if wide:  # OpenCV would sum integers in int32, whatever the sums are stored as
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
    """Windows of `region_shape` at every position (stride 1): rectangles, windows in a slice, boxes, single ROIs.

    Args:
        image: id of the image.
        shape: its spatial shape, one to three axes.
        region_shape: pixels of a window per axis; in a volume, 1 along the first axis means windows in axial slices.
        annotated: regions that are annotated; windows that overlap their bounding boxes are taken.
        again: those of them that may be annotated again: the very window of such a region is free.
    """

    def __init__(
        self,
        image: str,
        shape: Sequence[int],
        region_shape: Sequence[int],
        annotated: Iterable[Region],
        again: Collection[Region] = (),
    ) -> None:
        in_slices = len(shape) == 3 and region_shape[0] == 1
        super().__init__(image, shape[0] if in_slices else 1)
        self._region_shape = tuple(region_shape)
        # Arrays of one axis are handled as a single row.
        self._row = (1,) if len(shape) == 1 else ()
        self._full_shape = (*self._row, *region_shape)
        self._starts = tuple(n - k + 1 for n, k in zip((*self._row, *shape), self._full_shape, strict=True))
        self._integral = _Integral()
        self.taken = []
        for region in annotated:
            start = (*((0,) * len(self._row)), *region.start)
            block = self._block(start, (*self._row, *region.size))
            is_window = region.size == self._region_shape and region.mask is None
            self.taken += _around(block, start) if is_window and region in again else [block]

    def any_free(self) -> bool:
        """Whether a place is left."""
        blocked = sum(math.prod(axis.stop - axis.start for axis in block) for block in self.taken)
        if blocked < math.prod(self._starts):
            return True
        return bool(self._free().any())

    @override
    def uniform(self, body: npt.NDArray[np.bool_] | None = None) -> Peaks:
        """All windows alike; windows that reach out of the body come only when none within it is left."""
        if body is None:
            return MapPeaks(np.zeros(self._starts, np.int8), self.taken)
        covered = window_sums(body.astype(np.uint8), self._full_shape, 1)
        covered[covered == 0] = TAKEN
        return MapPeaks(covered, self.taken)

    @override
    def of_class(self, labels: npt.NDArray[np.uint8], class_: int, layer: int) -> Peaks:
        """Pixels of the class in the windows near it; in a volume, only in those of the layer's slice."""
        if labels.ndim == 3 and self.layers == 1:
            mask = (labels == class_).view(np.uint8)
            return MapPeaks(window_sums(mask, self._full_shape, 1), self.taken)
        plane = labels[layer] if labels.ndim == 3 else labels.reshape(-1, labels.shape[-1])
        left, top, width, height = cv2.boundingRect((plane == class_).view(np.uint8))
        first, size = (top, left), self._full_shape[-2:]
        low = [max(0, a - k + 1) for a, k in zip(first, size, strict=True)]
        high = [min(n, a + m) for n, a, m in zip(self._starts[-2:], first, (height, width), strict=True)]
        lead = () if labels.ndim < 3 else (layer,)
        if width == 0:
            return MapPeaks(np.zeros((*(1,) * len(lead), 1, 1), np.int8), self.taken, (*lead, 0, 0))
        rows, columns = (slice(a, b + k - 1) for a, b, k in zip(low, high, size, strict=True))
        counts = _Counts(plane[rows, columns], class_, size, self._integral)
        return _ClassPeaks(counts, self.taken, (*lead, *low))

    @override
    def means(self, uncertainty: UncertaintyMap) -> Peaks:
        levels = uncertainty.levels
        levels = levels.reshape(1, -1) if levels.ndim == 1 else levels
        sums = window_sums(levels, self._full_shape, LEVELS)
        return MapPeaks(sums, self.taken, unit=uncertainty.unit / math.prod(self._region_shape))

    @override
    def mean_values(self, uncertainty: UncertaintyMap) -> npt.NDArray[np.float64]:
        levels = uncertainty.levels
        sums = window_sums(levels.reshape(1, -1) if levels.ndim == 1 else levels, self._full_shape, LEVELS)
        sums = sums if isinstance(sums, np.ndarray) else sums.cpu().numpy()
        return np.asarray(sums * (uncertainty.unit / math.prod(self._region_shape)), np.float64)

    @override
    def holding(self, pixel: Place) -> Peaks:
        full = (*(0,) * len(self._row), *pixel)
        first = [max(0, p - k + 1) for p, k in zip(full, self._full_shape, strict=True)]
        last = [min(p, n - 1) for p, n in zip(full, self._starts, strict=True)]
        extents = [b - a + 1 for a, b in zip(first, last, strict=True)]
        return MapPeaks(np.zeros(extents, np.int8), self.taken, tuple(first))

    @override
    def reach(self) -> npt.NDArray[np.bool_]:
        margins = [(k - 1, k - 1) for k in self._full_shape]
        held = window_sums(np.pad(self._free(), margins).view(np.uint8), self._full_shape, 1) > 0
        return np.asarray(held[0] if self._row else held)

    @override
    def take(self, place: Place) -> Region:
        self.taken.append(self._block(place, self._full_shape))
        return Region(self.image, place[len(self._row) :], self._region_shape)

    def _free(self) -> npt.NDArray[np.bool_]:
        free = np.ones(self._starts, np.bool_)
        for block in self.taken:
            free[block] = False
        return free

    def _block(self, start: Sequence[int], size: Sequence[int]) -> Block:
        """Starts of all windows that overlap a box."""
        return tuple(
            slice(max(0, a - k + 1), min(a + n, limit))
            for a, n, k, limit in zip(start, size, self._full_shape, self._starts, strict=True)
        )


def _around(block: Block, place: Place) -> list[Block]:
    """All of a block but one place in it, as blocks that do not overlap."""
    parts = []
    for axis, at in enumerate(place):
        parts += [(*block[:axis], side, *block[axis + 1 :]) for side in _sides(block[axis], at)]
        block = (*block[:axis], slice(at, at + 1), *block[axis + 1 :])
    return parts


def _sides(extent: slice, at: int) -> list[slice]:
    return [side for side in (slice(extent.start, at), slice(at + 1, extent.stop)) if side.start < side.stop]


class _Integral:
    """Memory for one integral image, used for one class after the other."""

    def __init__(self) -> None:
        self._memory = np.empty(0, np.int32)
        # Weak, because in a cycle the memory would live on until the next garbage collection, and fresh memory is slow.
        self._held: weakref.ref[_Counts] | None = None

    def of(self, counts: "_Counts") -> npt.NDArray[np.int32]:
        """Pixels of the class above and to the left of every corner, shape (H + 1, W + 1), int32."""
        height, width = counts.labels.shape
        n = (height + 1) * (width + 1)
        if len(self._memory) < n:
            self._memory, self._held = np.empty(n, np.int32), None
        integral = self._memory[:n].reshape(height + 1, width + 1)
        if self._held is None or self._held() is not counts:
            cv2.integral((counts.labels == counts.class_).view(np.uint8), integral)
            self._held = weakref.ref(counts)
        return integral


@dataclass(frozen=True, eq=False)
class _Counts:
    """Pixels of a class in windows of an image, row by row of window starts.

    A class is drawn once or twice per image, so to make its integral image anew costs less than to keep the window
    sums of all classes drawn so far, whose memory would have to be fetched from the system for each image.
    """

    labels: npt.NDArray[np.uint8]
    class_: int
    size: tuple[int, ...]
    memory: _Integral

    def rows(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
        """Counts of all windows that start in the rows, shape (k, n), int32."""
        height, width = self.size
        integral = self.memory.of(self)
        between = integral[rows + height]
        between -= integral[rows]
        return np.asarray(between[:, width:] - between[:, :-width])


PROBES = 8
"""Rows of window starts, per height of a window, whose counts bound those of the rows between them."""


class _ClassPeaks(Peaks):
    """Peaks of the number of pixels of a class: from one row of window starts to the next it changes by at most w."""

    def __init__(self, counts: _Counts, taken: list[Block], origin: Place) -> None:
        n = counts.labels.shape[0] - counts.size[0] + 1
        step = max(1, counts.size[0] // PROBES)
        probes = np.unique(np.append(np.arange(0, n, step), n - 1))
        tops = counts.rows(probes).max(axis=1).astype(np.int64)
        rows = np.arange(n)
        after = np.searchsorted(probes, rows)  # the probe at or after each row
        before = np.maximum(after - 1, 0)
        width = counts.size[1]
        bounds = np.minimum(
            tops[after] + width * (probes[after] - rows), tops[before] + width * np.abs(rows - probes[before])
        )
        super().__init__(bounds.reshape(*(1,) * (len(origin) - 2), n), taken, origin)
        self._counts = counts
        self._blocks: list[Block] = []

    @override
    def _rows(self, rows: tuple[npt.NDArray[np.int64], ...]) -> npt.NDArray[np.int32]:
        values = self._counts.rows(rows[-1])
        for *_, lines, columns in self._blocks:
            inside = (rows[-1] >= lines.start) & (rows[-1] < lines.stop)
            if inside.any():
                values[inside, columns] = TAKEN
        return values

    @override
    def _block(self, inside: Block) -> None:
        *lead, _, _ = inside
        if all(axis.start == 0 < axis.stop for axis in lead):  # in a volume, only blocks in this layer
            self._blocks.append(inside)
