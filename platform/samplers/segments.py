"""Irregular regions: the segments of a given partition of the image, e.g. superpixels, as `Places`."""

from collections.abc import Collection, Iterable

import numpy as np
import numpy.typing as npt
from typing_extensions import override

from decomp.platform.predictions import UncertaintyMap
from decomp.platform.regions import Region
from decomp.platform.samplers.places import TAKEN, Block, MapPeaks, Peaks, Place, Places


class Segments(Places):
    """The segments of a partition; each can be annotated once.

    Args:
        image: id of the image.
        partition: number of the segment of every pixel, from 0, shape (*axes), int32.
        annotated: regions that are annotated; segments that overlap them are taken.
        again: those of them that may be annotated again: the very segment that is such a region is free.
    """

    def __init__(
        self,
        image: str,
        partition: npt.NDArray[np.int32],
        annotated: Iterable[Region],
        again: Collection[Region] = (),
    ) -> None:
        super().__init__(image)
        self._partition = partition
        self._numbers = partition.ravel()
        self._areas = np.bincount(self._numbers)
        # Numbers that no pixel has are not places.
        self.taken = [_block(int(k)) for k in np.flatnonzero(self._areas == 0)]
        for region in annotated:
            numbers = np.unique(region.of(partition))
            is_segment = len(numbers) == 1 and region.area == self._areas[numbers[0]]
            if not (is_segment and region in again):
                self.taken += [_block(int(k)) for k in numbers]

    @override
    def uniform(self, body: npt.NDArray[np.bool_] | None = None) -> Peaks:
        """All segments alike, or those of which at least half lies in the body."""
        values = np.zeros(len(self._areas), np.int8)
        if body is not None:
            covered = np.bincount(self._numbers[body.ravel()], minlength=len(self._areas))
            values[2 * covered < self._areas] = TAKEN
        return self._peaks(values)

    @override
    def of_class(self, labels: npt.NDArray[np.uint8], class_: int, layer: int) -> Peaks:
        members = self._numbers[labels.ravel() == class_]
        return self._peaks(np.bincount(members, minlength=len(self._areas)))

    @override
    def means(self, uncertainty: UncertaintyMap) -> Peaks:
        return self._peaks(self._mean_levels(uncertainty), unit=uncertainty.unit)

    @override
    def mean_values(self, uncertainty: UncertaintyMap) -> npt.NDArray[np.float64]:
        return self._mean_levels(uncertainty)[None] * uncertainty.unit

    @override
    def holding(self, pixel: Place) -> Peaks:
        values = np.full(len(self._areas), TAKEN, np.int8)
        values[self._partition[pixel]] = 0
        return self._peaks(values)

    @override
    def reach(self) -> npt.NDArray[np.bool_]:
        free = np.ones((1, len(self._areas)), np.bool_)
        for block in self.taken:
            free[block] = False
        return np.asarray(free[0, self._partition])

    @override
    def take(self, place: Place) -> Region:
        number = place[-1]
        self.taken.append(_block(number))
        pixels = np.unravel_index(np.flatnonzero(self._numbers == number), self._partition.shape)
        start = tuple(int(axis.min()) for axis in pixels)
        inside = np.zeros([int(axis.max()) - a + 1 for axis, a in zip(pixels, start, strict=True)], np.bool_)
        inside[tuple(axis - a for axis, a in zip(pixels, start, strict=True))] = True
        return Region.of_mask(self.image, start, inside)

    def _mean_levels(self, uncertainty: UncertaintyMap) -> npt.NDArray[np.float64]:
        levels = uncertainty.levels
        levels = levels if isinstance(levels, np.ndarray) else levels.cpu().numpy()
        # Sums of integers, exact in the float64 that bincount gives.
        sums = np.bincount(self._numbers, weights=levels.ravel(), minlength=len(self._areas))
        return np.asarray(sums / np.maximum(self._areas, 1))

    def _peaks(self, values: npt.NDArray[np.generic], unit: float = 1.0) -> Peaks:
        return MapPeaks(values[None], self.taken, unit=unit)


def _block(number: int) -> Block:
    return slice(0, 1), slice(number, number + 1)
