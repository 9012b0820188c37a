"""Predictions and what is left of them once a shard has reduced them to counts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from decomp.platform.regions import Region


@dataclass(frozen=True)
class Prediction:
    """Prediction of one image (Sec. 2 of the method notes).

    Attributes:
        labels: predicted class Y(j) of every pixel, shape (*axes), uint8.
        confidence: its probability P(j), shape (*axes), float32.
        uncertainty: uncertainty of every pixel (Sec. 6), shape (*axes), float32; None where it was not asked for.
    """

    labels: npt.NDArray[np.uint8]
    confidence: npt.NDArray[np.float32]
    uncertainty: npt.NDArray[np.float32] | None = None


@dataclass(frozen=True)
class PoolCounts:
    """What a shard sends to the coordinator: per-image counts of N images and C classes, sorted by image id.

    Attributes:
        images: ids, length N.
        pixels: pixels of each image, shape (N,), int64.
        predicted: pixels predicted as each class in the whole image, shape (N, C), int64.
        open: the same over the unannotated pixels, shape (N, C), int64.
        confident: those of `open` whose confidence exceeds tau, shape (N, C), int64.
        uncertainty: mean uncertainty of each image, shape (N,), float64; NaN where no selector asked for it.
    """

    images: tuple[str, ...]
    pixels: npt.NDArray[np.int64]
    predicted: npt.NDArray[np.int64]
    open: npt.NDArray[np.int64]
    confident: npt.NDArray[np.int64]
    uncertainty: npt.NDArray[np.float64]

    def to_arrow(self) -> pa.RecordBatch:
        """One row per image."""
        n_classes = self.predicted.shape[1]
        columns: dict[str, Any] = {"image": pa.array(self.images, pa.string()), "pixels": self.pixels}
        for name in ("predicted", "open", "confident"):
            flat = pa.array(getattr(self, name).ravel(), pa.int64())
            columns[name] = pa.FixedSizeListArray.from_arrays(flat, n_classes)
        columns["uncertainty"] = self.uncertainty
        return pa.record_batch(columns)

    @classmethod
    def from_arrow(cls, batches: Sequence[pa.RecordBatch]) -> "PoolCounts":
        """Join the answers of all shards, in any order."""
        table = pa.Table.from_batches(batches).sort_by("image").combine_chunks()

        def matrix(name: str) -> npt.NDArray[np.int64]:
            column = table[name].combine_chunks()
            flat = column.flatten().to_numpy()
            return np.asarray(flat.reshape(len(column), column.type.list_size), np.int64)

        return cls(
            tuple(table["image"].to_pylist()),
            table["pixels"].to_numpy(),
            matrix("predicted"),
            matrix("open"),
            matrix("confident"),
            table["uncertainty"].to_numpy(),
        )


def count_classes(
    prediction: Prediction, annotated: Sequence[Region], tau: float, n_classes: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Reduce a prediction to the counts of Eq. 1 and Eq. 3.

    Returns:
        `predicted`, `open` and `confident` of `PoolCounts` for this image, each of shape (C,), int64.
    """
    # The confident flag is folded into the label, so that both counts come from one pass.
    folded = prediction.labels + np.uint16(n_classes) * (prediction.confidence > np.float32(tau))
    counts = _histogram(folded, n_classes)
    predicted = counts.sum(axis=0)
    for region in annotated:  # regions of one image never overlap
        counts -= _histogram(folded[region.slices], n_classes)
    return predicted, counts.sum(axis=0), counts[1]


def _histogram(folded: npt.NDArray[np.integer[Any]], n_classes: int) -> npt.NDArray[np.int64]:
    return np.bincount(folded.ravel(), minlength=2 * n_classes).reshape(2, n_classes)
