"""Where the voxels of a volume's file lie in space, and how a format of such files is read."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from nibabel.orientations import io_orientation

from decomp.platform.regions import Region

MAX_SHIFT = 0.1
"""Farthest that two affines of one grid may place a voxel apart, in voxels."""

Voxels = npt.NDArray[Any]


class DamageError(Exception):
    """What is wrong with a file, to be read after its name: ``is missing``.

    Attributes:
        mend: what to do about it, where that is known here; None where the data set knows.
    """

    def __init__(self, what: str, mend: str | None = None) -> None:
        super().__init__(what)
        self.mend = mend


@dataclass(frozen=True, eq=False)
class Grid:
    """The voxels of a file.

    Attributes:
        shape: voxels per axis of the file, shape (3,).
        affine: from the file's voxel indices to millimetres towards right, anterior, superior; shape (4, 4), float64.
        spacing: size of a voxel per axis of the file, mm, shape (3,), as nnU-Net's reader takes it.
        axes: which axes of the file are z (closest to inferior-superior), y (anterior-posterior) and x (left-right).
    """

    shape: tuple[int, int, int]
    affine: npt.NDArray[np.float64]
    spacing: tuple[float, float, float]
    axes: tuple[int, int, int]

    @property
    def falling(self) -> tuple[bool, bool, bool]:
        """Whether the voxels' indices along z, y and x grow towards inferior, posterior and left."""
        z, y, x = (bool(self.affine[2 - place, axis] < 0) for place, axis in enumerate(self.axes))
        return z, y, x


@dataclass(frozen=True)
class Turn:
    """How the voxels of a file are turned: its axes in another order, some of them counted from their end.

    Attributes:
        axes: axis of the file for each axis of the result.
        flips: whether each axis of the result is counted from its end.
    """

    axes: tuple[int, int, int]
    flips: tuple[bool, bool, bool] = (False, False, False)

    @classmethod
    def of(cls, grid: Grid, across: int, reorient: bool) -> "Turn":
        """The turn to z, y and x, with one of them, 0 to 2, first; `reorient` flips what falls (`Grid.falling`)."""
        first, second, third = across, *(axis for axis in range(3) if axis != across)
        falling = grid.falling if reorient else (False, False, False)
        return cls(
            (grid.axes[first], grid.axes[second], grid.axes[third]), (falling[first], falling[second], falling[third])
        )

    def of_file(self, voxels: Voxels) -> Voxels:
        """A file's voxels, turned."""
        return np.flip(voxels.transpose(self.axes), self._flipped)

    def to_file_voxels(self, voxels: Voxels) -> Voxels:
        """Inverse of `of_file`."""
        return np.flip(voxels, self._flipped).transpose([self.axes.index(axis) for axis in range(3)])

    def to_file(self, region: Region, shape: Sequence[int]) -> Region:
        """The voxels of the file that a region of the turned voxels, of a shape, has."""
        starts = [
            n - a - k if flip else a for a, k, n, flip in zip(region.start, region.size, shape, self.flips, strict=True)
        ]
        order = [self.axes.index(axis) for axis in range(3)]
        start = tuple(starts[k] for k in order)
        if region.mask is None:
            return Region(region.image, start, tuple(region.size[k] for k in order))
        inside = np.flip(region.inside, self._flipped)
        return Region.of_mask(region.image, start, inside.transpose(order))

    @property
    def _flipped(self) -> tuple[int, ...]:
        return tuple(axis for axis, flip in enumerate(self.flips) if flip)


class VolumeFormat(ABC):
    """A format of volumes' files."""

    @abstractmethod
    def grid(self, file: Path) -> Grid:
        """Where the voxels of a file lie, without reading them where possible; `DamageError` if it cannot be read."""

    @abstractmethod
    def voxels(self, file: Path) -> Voxels:
        """Voxels of a file, shape (channels, *axes of the file); `DamageError` if it cannot be read whole."""

    @abstractmethod
    def check(self, file: Path) -> None:
        """Look for damage without reading the voxels where possible; `DamageError` if there is any."""

    @abstractmethod
    def state(self, file: Path) -> Any:
        """What tells the contents of a file from those of others, as JSON has it; for a damaged file, its damage."""


def axes_of(affine: npt.NDArray[np.float64]) -> tuple[int, int, int]:
    """Which axes of a file are z, y and x; `DamageError` if two of them lie along one direction."""
    # Per axis of the file: 0 left-right, 1 posterior-anterior, 2 inferior-superior.
    world = io_orientation(affine)[:, 0]
    if not np.array_equal(np.sort(world), (0, 1, 2)):
        raise DamageError("has an affine that maps two axes to one direction")
    z, y, x = (int(np.flatnonzero(world == direction)[0]) for direction in (2, 1, 0))
    return z, y, x


def same_place(first: Grid, second: Grid) -> bool:
    """Whether two files of the same shape place their voxels alike, to a tenth of a voxel."""
    corners = np.array(
        [(*(index * n for index, n in zip(corner, first.shape, strict=True)), 1) for corner in np.ndindex(2, 2, 2)]
    )
    shifts = np.linalg.norm(corners @ (first.affine - second.affine)[:3].T, axis=1)
    return bool(shifts.max() <= MAX_SHIFT * min(first.spacing))
