"""One bottleneck map of a volume from those of overlapping windows."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from decomp.platform.learners.inference.bottleneck import Bottleneck


class Mosaic:
    """Puts the bottleneck maps of sliding windows together.

    The map has cells of the windows' own size, the first at the volume's first voxel. A cell is described by the window
    whose centre is nearest to its own: it is the mean of the window's cells that it overlaps, each weighted by its
    share; beyond the window the outermost cells are repeated. Windows lie on a product of places per axis, so all of
    this is done axis by axis.

    Args:
        shape: voxels of the volume per axis, without padding.
        padding: voxels that were added before the first one, per axis.
        starts: first voxel of every window per axis, in the padded volume, in the order of the network's calls.
        size: voxels of a window per axis.
    """

    def __init__(
        self, shape: Sequence[int], padding: Sequence[int], starts: Sequence[Sequence[int]], size: Sequence[int]
    ) -> None:
        self._shape, self._padding, self._size = tuple(shape), tuple(padding), tuple(size)
        self._starts = [tuple(start) for start in starts]
        self._places = [sorted(set(axis)) for axis in zip(*self._starts, strict=True)]
        self._values: torch.Tensor | None = None
        self._next = 0

    def add(self, features: torch.Tensor) -> None:
        """The bottleneck of the next window, shape (D, *cells)."""
        if self._values is None:
            self._stride = [n / k for n, k in zip(self._size, features.shape[1:], strict=True)]
            cells = [-int(-n // step) for n, step in zip(self._shape, self._stride, strict=True)]
            self._values = torch.zeros((len(features), *cells), dtype=torch.float32, device=features.device)
        start = self._starts[self._next]
        self._next += 1
        box: list[slice] = [slice(None)]
        values = features.float()
        for axis in range(len(self._shape)):
            cells_of_it, weights = self._share(axis, start[axis], self._values.shape[axis + 1], values.shape[axis + 1])
            if cells_of_it.stop == cells_of_it.start:
                return
            box.append(cells_of_it)
            matrix = torch.from_numpy(weights).to(values.device)
            values = torch.tensordot(values.movedim(axis + 1, -1), matrix, dims=([-1], [1])).movedim(-1, axis + 1)
        self._values[tuple(box)] = values

    def bottleneck(self) -> Bottleneck:
        """The whole map; ValueError unless every window has been added."""
        if self._values is None or self._next != len(self._starts):
            raise ValueError(f"{self._next} of {len(self._starts)} windows were added.")
        return Bottleneck(self._values, tuple(self._stride))

    def _share(self, axis: int, start: int, n_cells: int, k: int) -> tuple[slice, npt.NDArray[np.float32]]:
        """The cells of the map that a window describes along an axis, and how its k cells make each, shape (n, k)."""
        centres = (np.arange(n_cells) + 0.5) * self._stride[axis] + self._padding[axis]
        places = np.array(self._places[axis])
        nearest = np.abs(centres[:, None] - places - self._size[axis] / 2).argmin(1)
        cells = np.flatnonzero(places[nearest] == start)
        if not len(cells):
            return slice(0, 0), np.empty((0, k), np.float32)
        position = np.clip((centres[cells] - start) / self._stride[axis] - 0.5, 0, k - 1)
        # The share of the overlap with a neighbour falls linearly with the distance of the centres.
        weights = np.maximum(0, 1 - np.abs(position[:, None] - np.arange(k)))
        return slice(int(cells[0]), int(cells[-1]) + 1), weights.astype(np.float32)
