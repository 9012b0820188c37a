"""Where the voxels of a volume and those of its grid lie; both cover the same space."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from decomp.platform.regions import Region

ROUNDING = 1e-6  # voxels; an overlap below it comes from rounding


class Geometry(NamedTuple):
    """Geometry of a volume or of its grid.

    Attributes:
        shape: voxels along z, y and x.
        voxel: size of a voxel along z, y and x in millimetres.
    """

    shape: tuple[int, ...]
    voxel: tuple[float, ...]

    def resampled(self, spacing: Sequence[float]) -> "Geometry":
        """The grid of this volume.

        Args:
            spacing: of the grid in millimetres, along z, y and x, or along y and x where slices are kept.
        """
        voxel = (*self.voxel[: 3 - len(spacing)], *spacing)
        # As nnU-Net computes it, down to the order of the operations, which decides ties.
        shape = (int(round(old / new * n)) for old, new, n in zip(self.voxel, voxel, self.shape, strict=True))  # noqa: RUF046
        return Geometry(tuple(shape), voxel)


def nearest(array: npt.NDArray[Any], shape: Sequence[int]) -> npt.NDArray[Any]:
    """Resample to another shape by the nearest voxel."""
    places = [((np.arange(new) + 0.5) * old / new).astype(int) for old, new in zip(array.shape, shape, strict=True)]
    return array[np.ix_(*places)]


def covered(region: Region, grid: Sequence[int], volume: Sequence[int]) -> Region:
    """The voxels of a volume that a region of its grid covers, even if in part.

    Along an axis where the region is one voxel thick, only voxels centred within it count, or else the nearest one:
    a window in one slice stays a window in one slice if the volume's slices are that thick.

    Args:
        region: in voxels of the grid.
        grid: shape of the grid.
        volume: shape of the volume.
    """
    starts, sizes, places = [], [], []
    for start, size, old, new in zip(region.start, region.size, volume, grid, strict=True):
        ratio = old / new  # voxels of the volume per voxel of the grid
        lower, upper = start * ratio, (start + size) * ratio
        if size > 1:
            first, last = math.floor(lower + ROUNDING), math.ceil(upper - ROUNDING)
        else:
            first, last = math.ceil(lower - 0.5 - ROUNDING), math.ceil(upper - 0.5 - ROUNDING)
            if first >= last:
                first = min(int((lower + upper) / 2), old - 1)
                last = first + 1
        starts.append(first)
        sizes.append(last - first)
        places.append(np.clip(((np.arange(first, last) + 0.5) / ratio).astype(int) - start, 0, size - 1))
    if region.mask is None:
        return Region(region.image, tuple(starts), tuple(sizes))
    return Region.of_mask(region.image, tuple(starts), region.inside[np.ix_(*places)])
