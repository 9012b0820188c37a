"""Predictions and what is left of them once a shard has reduced them to counts."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from decomp.platform.arrow import column_of, matrix_of, narrowed
from decomp.platform.measures import OwnMeasure
from decomp.platform.regions import Region

LEVELS = 65535
"""Steps of a quantised uncertainty."""


class Measure(StrEnum):
    """Uncertainty of a pixel with probabilities p, the greatest being p_1 and p_2 (Sec. 6 of the method notes)."""

    ENTROPY = "entropy"
    """-sum_c p_c ln p_c, from 0 to ln C."""
    LEAST_CONFIDENCE = "least_confidence"
    """1 - p_1, from 0 to 1."""
    MARGIN = "margin"
    """1 - (p_1 - p_2), from 0 to 1."""
    EXPECTED_ENTROPY = "expected_entropy"
    """Mean entropy of several predictions of the pixel, from 0 to ln C (Sec. 10); that of the only one if it is one."""
    MUTUAL_INFORMATION = "mutual_information"
    """Entropy of the mean of several predictions less their mean entropy (BALD), from 0 to ln C (Sec. 10)."""

    @property
    def over_passes(self) -> bool:
        """Whether it compares several predictions of an image."""
        return self in (Measure.EXPECTED_ENTROPY, Measure.MUTUAL_INFORMATION)

    def greatest(self, n_classes: int) -> float:
        """The value that stands for `LEVELS` steps."""
        bounded = self in (Measure.LEAST_CONFIDENCE, Measure.MARGIN)
        return 1.0 if bounded else float(np.log(max(n_classes, 2)))


@dataclass(frozen=True)
class Wanted:
    """What is wanted of a prediction besides the labels; nothing else is computed.

    Attributes:
        tau: confidence threshold of Eq. 1; None where no counts are wanted.
        annotated: annotated regions of the image, whose pixels are counted apart.
        measure: the uncertainty wanted, if any.
        confidence: whether the confidence map is wanted.
        regions: whether features of regions will be read.
        maps: whether further maps will be read, while the forward pass is in memory.
    """

    tau: float | None = None
    annotated: Sequence[Region] = ()
    measure: Measure | OwnMeasure | None = None
    confidence: bool = False
    regions: bool = False
    maps: bool = False

    @property
    def built_in(self) -> Measure | None:
        """The measure, unless it is one of a user's own, of which `decode` takes care."""
        return None if isinstance(self.measure, OwnMeasure) else self.measure


@dataclass(frozen=True)
class UncertaintyMap:
    """Uncertainty of every pixel, quantised so that sums over windows are exact and ties are ties.

    Attributes:
        levels: shape (*axes); uint16 in memory, or an int32 tensor that is still on the device.
        unit: uncertainty of one level.
    """

    levels: Any
    unit: float

    @property
    def mean(self) -> float:
        """Mean uncertainty of the image."""
        levels = self.levels
        if isinstance(levels, np.ndarray):
            return float(levels.sum(dtype=np.int64) / max(levels.size, 1)) * self.unit
        return float(levels.sum().item() / max(levels.numel(), 1)) * self.unit


class RegionReader(Protocol):
    """Describes regions from the forward pass of a prediction (Sec. 6 of the method notes); R regions, D features."""

    def features(self, regions: Sequence[Region]) -> npt.NDArray[np.float32]:
        """Bottleneck features averaged over each region, shape (R, D), float32."""

    def gradients(self, regions: Sequence[Region]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """The two factors whose outer product is BADGE's gradient embedding.

        Returns:
            Bottleneck features max-pooled over each region, shape (R, D), float32; mean over each region of
            one-hot(Y) - p, shape (R, C), float32.
        """


class MapReader(Protocol):
    """Makes maps of a prediction one by one while its forward pass is in memory, so that they never are all at once.

    Attributes:
        n_classes: number of classes C.
    """

    n_classes: int

    def measure(self, measure: Measure) -> UncertaintyMap:
        """An uncertainty of every pixel."""

    def class_entropy(self, class_: int) -> UncertaintyMap:
        """The class's share p_c H(p) of every pixel's entropy (Sec. 10 of the method notes).

        Its unit is such that the greatest value of the map has `LEVELS` levels: of a rare class all may be tiny.
        """


@dataclass(frozen=True)
class Prediction:
    """Prediction of one image (Sec. 2 of the method notes), made from logits by `decomp.platform.learners.inference`.

    Attributes:
        labels: predicted class Y(j) of every pixel, shape (*axes), uint8.
        counts: pixels predicted as each class, shape (3, C), int64: annotated ones; others whose confidence does not
            exceed tau; others whose confidence does. None unless wanted.
        uncertainty: None unless wanted.
        confidence: probability P(j) of the predicted class, shape (*axes), float32; None unless wanted.
        regions: reads features of regions; None unless wanted. Holds the forward pass in memory.
        maps: makes further maps; None unless wanted. Holds the forward pass in memory.
    """

    labels: npt.NDArray[np.uint8]
    counts: npt.NDArray[np.int64] | None = None
    uncertainty: UncertaintyMap | None = None
    confidence: npt.NDArray[np.float32] | None = None
    regions: RegionReader | None = None
    maps: MapReader | None = None

    @property
    def predicted(self) -> npt.NDArray[np.int64]:
        """Pixels predicted as each class in the whole image, shape (C,), int64; only where counts were wanted."""
        assert self.counts is not None
        return np.asarray(self.counts.sum(axis=0))


@dataclass(frozen=True)
class PoolCounts:
    """What a shard sends to the coordinator: per-image counts of N images and C classes, sorted by image id.

    Attributes:
        images: ids, length N.
        pixels: pixels (ROIs) of each image, shape (N,), int64.
        predicted: pixels predicted as each class in the whole image, shape (N, C), int64.
        open: the same over the unannotated pixels, shape (N, C), int64.
        confident: those of `open` whose confidence exceeds tau, shape (N, C), int64.
        uncertainty: mean uncertainty of each image, shape (N,), float64; NaN where no selector asked for it.
        axes: number of spatial axes of the images; 1 where their pixels are ROIs.
        features: bottleneck features averaged over each image, shape (N, D), float32; None where no image selector
            asked for them.
        histogram: unannotated pixels of all images by class and confidence, see `weights.confidence_histogram`, shape
            (C, BINS), int64; None unless the threshold of Eq. 1 is a quantile.
        annotated: features of the annotated regions of each image, N arrays of shape (A_i, D), float32; None unless
            the region selector reads them.
    """

    images: tuple[str, ...]
    pixels: npt.NDArray[np.int64]
    predicted: npt.NDArray[np.int64]
    open: npt.NDArray[np.int64]
    confident: npt.NDArray[np.int64]
    uncertainty: npt.NDArray[np.float64]
    axes: int = 2
    features: npt.NDArray[np.float32] | None = None
    histogram: npt.NDArray[np.int64] | None = None
    annotated: tuple[npt.NDArray[np.float32], ...] | None = None

    @classmethod
    def of(cls, image: str, prediction: Prediction, features: bool = False) -> "PoolCounts":
        """Counts of one image, from a prediction made with counts, and its features from one that reads regions."""
        assert prediction.counts is not None
        _, unsure, confident = prediction.counts[:, None]
        uncertainty = np.nan if prediction.uncertainty is None else prediction.uncertainty.mean
        whole = Region(image, (0,) * prediction.labels.ndim, prediction.labels.shape)
        return cls(
            (image,),
            np.array([prediction.labels.size], np.int64),
            prediction.predicted[None],
            unsure + confident,
            confident,
            np.array([uncertainty], np.float64),
            prediction.labels.ndim,
            prediction.regions.features([whole]) if features and prediction.regions else None,
        )

    @classmethod
    def stacked(cls, counts: Sequence["PoolCounts"]) -> "PoolCounts":
        """Counts of the images one after the other, at least one."""

        def matrix(name: str) -> npt.NDArray[Any]:
            return np.concatenate([getattr(one, name) for one in counts])

        return cls(
            tuple(image for one in counts for image in one.images),
            matrix("pixels"),
            matrix("predicted"),
            matrix("open"),
            matrix("confident"),
            matrix("uncertainty"),
            counts[0].axes,
            None if counts[0].features is None else matrix("features"),
            _total([one.histogram for one in counts]),
            None
            if counts[0].annotated is None
            else tuple(features for one in counts for features in one.annotated or ()),
        )

    def rows(self, numbers: Sequence[int]) -> "PoolCounts":
        """Some of the images, in the given order; the histogram stays that of all."""
        some = np.asarray(numbers, np.int64)
        return replace(
            self,
            images=tuple(self.images[k] for k in numbers),
            pixels=self.pixels[some],
            predicted=self.predicted[some],
            open=self.open[some],
            confident=self.confident[some],
            uncertainty=self.uncertainty[some],
            features=None if self.features is None else self.features[some],
            annotated=None if self.annotated is None else tuple(self.annotated[k] for k in numbers),
        )

    def to_arrow(self) -> pa.RecordBatch:
        """One row per image; counts are int32 where they fit."""
        columns: dict[str, Any] = {"image": pa.array(self.images, pa.string()), "pixels": self.pixels}
        for name in ("predicted", "open", "confident"):
            columns[name] = column_of(narrowed(getattr(self, name)))
        columns["uncertainty"] = self.uncertainty
        if self.features is not None:
            columns["features"] = column_of(np.asarray(self.features, np.float32))
        if self.annotated is not None:
            ends = np.cumsum([0, *map(len, self.annotated)])
            features = column_of(np.asarray(np.concatenate(self.annotated), np.float32))
            columns["annotated"] = pa.ListArray.from_arrays(pa.array(ends, pa.int32()), features)
        metadata: dict[str, str | bytes] = {"axes": str(self.axes)}
        if self.histogram is not None:
            metadata["histogram"] = self.histogram.tobytes()
        return pa.record_batch(columns).replace_schema_metadata(metadata)

    @classmethod
    def from_arrow(cls, batches: Sequence[pa.RecordBatch]) -> "PoolCounts":
        """Join the answers of all shards, in any order."""
        images = pa.concat_arrays([batch["image"] for batch in batches])
        order = pc.array_sort_indices(images)
        places = np.empty(len(images), np.int64)
        places[order.to_numpy()] = np.arange(len(images))

        ends = np.cumsum([len(batch) for batch in batches])

        def joined(columns: Sequence[npt.NDArray[Any]], dtype: type[np.generic]) -> npt.NDArray[Any]:
            # Every row goes to its place at once: sorting tables would take several times the memory.
            rows = np.empty((len(images), *columns[0].shape[1:]), dtype)
            for column, places_of_shard in zip(columns, np.split(places, ends[:-1]), strict=True):
                rows[places_of_shard] = column
            return rows

        def counts(name: str) -> npt.NDArray[np.int64]:
            return joined([matrix_of(batch[name]) for batch in batches], np.int64)

        return cls(
            tuple(images.take(order).to_pylist()),
            joined([batch["pixels"].to_numpy() for batch in batches], np.int64),
            counts("predicted"),
            counts("open"),
            counts("confident"),
            joined([batch["uncertainty"].to_numpy() for batch in batches], np.float64),
            int(batches[0].schema.metadata[b"axes"]),
            joined([matrix_of(batch["features"]) for batch in batches], np.float32)
            if "features" in batches[0].schema.names
            else None,
            _total([_histogram(batch) for batch in batches]),
            _of_images([batch["annotated"] for batch in batches], order)
            if "annotated" in batches[0].schema.names
            else None,
        )


def _histogram(batch: pa.RecordBatch) -> npt.NDArray[np.int64] | None:
    content = batch.schema.metadata.get(b"histogram")
    n_classes = batch["predicted"].type.list_size
    return None if content is None else np.frombuffer(content, np.int64).reshape(n_classes, -1)


def _of_images(columns: Sequence[pa.Array], order: pa.Array) -> tuple[npt.NDArray[np.float32], ...]:
    """The matrix of each image, of the columns' rows in an order."""
    rows = pa.concat_arrays(columns).take(order)
    return tuple(np.split(matrix_of(rows.flatten()), np.cumsum(rows.value_lengths().to_numpy())[:-1]))


def _total(histograms: Sequence[npt.NDArray[np.int64] | None]) -> npt.NDArray[np.int64] | None:
    known = [histogram for histogram in histograms if histogram is not None]
    return np.asarray(np.sum(known, axis=0), np.int64) if known else None
