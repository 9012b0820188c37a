"""Describes regions by the encoder's bottleneck, for the feature samplers (Sec. 6 of the method notes).

BADGE: Ash, Zhang, Krishnamurthy, Langford and Agarwal, "Deep Batch Active Learning by Diverse, Uncertain Gradient
Lower Bounds", ICLR 2020.
"""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from decomp.platform.predictions import RegionReader
from decomp.platform.regions import Region

ROUNDING = 1e-6  # pixels; an overlap below it comes from a stride that is not a whole number


@dataclass(frozen=True)
class Bottleneck:
    """The encoder's last feature map of one image.

    Attributes:
        values: shape (D, *cells), float, on any device.
        stride: pixels per cell and axis: cell k covers pixels [k * stride, (k + 1) * stride). The cells cover the
            image and may reach beyond its end.
    """

    values: torch.Tensor
    stride: tuple[float, ...]


class ForwardRegions(RegionReader):
    """Reads regions from the logits and the bottleneck of one image.

    Each axis is treated by itself. Where the region extends over at least one stride, each cell is weighted by the
    share of the region's pixels that it holds; where it is smaller, the map is interpolated linearly between the
    centres of the cells, at the region's centroid, and constant beyond the outermost centres. An irregular region is
    treated as its bounding box would be, but with its own pixels and centroid: a mask without holes gives the window's
    values. An image of ROIs has one axis of stride 1, and ROI k the feature of cell k.

    A row depends on its region alone, bit for bit: batching the regions would let their number choose the kernel.

    Args:
        logits: shape (C, *axes), float, on any device; kept, not copied, and read when regions are asked for.
        labels: predicted classes Y, shape (*axes), uint8.
        bottleneck: of the same image.

    Raises:
        ValueError: if the three do not describe the same image.
    """

    def __init__(self, logits: torch.Tensor, labels: npt.NDArray[np.uint8], bottleneck: Bottleneck) -> None:
        cells, stride = tuple(bottleneck.values.shape[1:]), bottleneck.stride
        if tuple(logits.shape[1:]) != labels.shape or not len(cells) == len(stride) == labels.ndim:
            raise ValueError(
                f"Logits {tuple(logits.shape)}, labels {labels.shape} and a bottleneck of {cells} cells with strides "
                f"{stride} do not belong together; give those of one image."
            )
        if any(k * step < n - ROUNDING for k, step, n in zip(cells, stride, labels.shape, strict=True)):
            raise ValueError(f"{cells} cells with strides {stride} do not cover {labels.shape} pixels; pad the image.")
        self._logits, self._labels, self._values, self._stride = logits, labels, bottleneck.values, stride

    def features(self, regions: Sequence[Region]) -> npt.NDArray[np.float32]:
        """Bottleneck features averaged over each region, shape (R, D), float32."""
        rows = self._rows(len(regions), len(self._values))
        with torch.inference_mode():
            for index, region in enumerate(regions):
                values, shares = self._cells(region)
                rows[index] = (values * shares).sum(1)
        return rows.cpu().numpy()

    def gradients(self, regions: Sequence[Region]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """The two factors of BADGE's gradient embedding, their outer product.

        With f a pixel's feature, f (one-hot(Y) - p)^T is minus the gradient of the cross-entropy against the
        prediction Y, with respect to the weights of a last linear layer.

        Returns:
            Maximum of the bottleneck over the cells that each region overlaps, shape (R, D), float32 (after
            interpolation along the axes that need it); mean over each region of one-hot(Y) - p, shape (R, C), float32.
        """
        n_classes = len(self._logits)
        pooled, probabilities = self._rows(len(regions), len(self._values)), self._rows(len(regions), n_classes)
        predicted = np.empty((len(regions), n_classes), np.float32)
        with torch.inference_mode():
            for index, region in enumerate(regions):
                values, shares = self._cells(region)
                pooled[index] = values.where(shares > 0, -math.inf).amax(1)
                probabilities[index] = self._logits_of(region).softmax(0).mean(1)
                labels = region.of(self._labels)
                predicted[index] = np.bincount(labels, minlength=n_classes) / labels.size
        return pooled.cpu().numpy(), predicted - probabilities.cpu().numpy()

    def _rows(self, n_rows: int, n_columns: int) -> torch.Tensor:
        return torch.empty((n_rows, n_columns), dtype=torch.float32, device=self._values.device)

    def _cells(self, region: Region) -> tuple[torch.Tensor, torch.Tensor]:
        """Features of the cells that the region overlaps, shape (D, k), and its share in each, shape (k,)."""
        footprint = _footprint(region, tuple(self._values.shape[1:]), self._stride)
        values = self._values[(slice(None), *footprint.cells)]  # promoted to float32 by the weights
        for axis, weights in footprint.blends.items():
            column = weights.reshape(-1, *[1] * (values.ndim - axis - 2))
            values = (values * self._to_device(column)).sum(axis + 1, keepdim=True)
        return values.flatten(1), self._to_device(footprint.shares.ravel())

    def _logits_of(self, region: Region) -> torch.Tensor:
        """Logits of the region's pixels, shape (C, area), float32."""
        window = self._logits[(slice(None), *region.slices)].flatten(1)
        if region.mask is not None:
            window = window[:, torch.from_numpy(np.flatnonzero(region.inside)).to(window.device)]
        return window.float()

    def _to_device(self, array: npt.NDArray[np.float64]) -> torch.Tensor:
        return torch.from_numpy(array.astype(np.float32)).to(self._values.device)


class _Footprint(NamedTuple):
    """The cells that describe a region.

    Attributes:
        cells: index of the cells in the map.
        blends: weights of these cells along the axes that are interpolated, by axis, shape (1,) or (2,), float64.
        shares: share of the region's pixels in each cell, float64, shape of the cells but 1 along those axes.
    """

    cells: tuple[slice, ...]
    blends: dict[int, npt.NDArray[np.float64]]
    shares: npt.NDArray[np.float64]


def _footprint(region: Region, n_cells: tuple[int, ...], stride: tuple[float, ...]) -> _Footprint:
    inside = None if region.mask is None else region.inside
    cells: list[slice] = []
    blends: dict[int, npt.NDArray[np.float64]] = {}
    overlaps: list[npt.NDArray[np.float64]] = []
    for axis, size in enumerate(region.size):
        others = tuple(other for other in range(len(region.size)) if other != axis)
        counts = np.ones(size, np.int64) if inside is None else np.count_nonzero(inside, axis=others)
        pixels = region.start[axis] + np.arange(size)
        occupied = pixels[counts > 0]
        if occupied[-1] + 1 - occupied[0] >= stride[axis]:
            where, overlap = _overlaps(pixels, n_cells[axis], stride[axis])
        else:
            centre = float(np.average(pixels, weights=counts)) + 0.5
            where, blends[axis] = _neighbours(centre, n_cells[axis], stride[axis])
            overlap = np.ones((1, size))
        cells.append(where)
        overlaps.append(overlap)
    if inside is None:
        shares = functools.reduce(np.multiply.outer, [overlap.sum(1) for overlap in overlaps])
    else:
        shares = inside.astype(np.float64)
        for overlap in overlaps:  # each takes the first axis away and appends its own
            shares = np.tensordot(shares, overlap, axes=(0, 1))
    return _Footprint(tuple(cells), blends, shares / shares.sum())


def _overlaps(pixels: npt.NDArray[np.int64], n_cells: int, stride: float) -> tuple[slice, npt.NDArray[np.float64]]:
    """Cells along an axis that consecutive pixels overlap, and how much of each pixel each holds (cells, pixels)."""
    first, last = int(pixels[0] // stride), min(math.ceil((pixels[-1] + 1) / stride), n_cells)
    cells = np.arange(first, last)[:, None]
    overlap = np.minimum(pixels + 1, (cells + 1) * stride) - np.maximum(pixels, cells * stride)
    return slice(first, last), np.where(overlap > ROUNDING, overlap, 0.0)


def _neighbours(centre: float, n_cells: int, stride: float) -> tuple[slice, npt.NDArray[np.float64]]:
    """Cells along an axis whose centres enclose the point `centre`, in pixels, and their weights."""
    position = min(max(centre / stride - 0.5, 0.0), n_cells - 1.0)
    first = int(position)
    weights = np.array([first + 1 - position, position - first])[: n_cells - first]
    return slice(first, first + len(weights)), weights
