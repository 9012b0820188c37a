"""A shard of the pool: predicts its images, reduces the predictions to counts, chooses regions in them.

Engine-free; `decomp.actors` runs shards in Ray actors, `decomp.platform.local` runs a single one in-process.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from decomp.platform.datasets.base import IGNORE, Dataset
from decomp.platform.learners.base import Learner, Predictor
from decomp.platform.ledger import Annotation, Ledger
from decomp.platform.metrics import confusion_matrix
from decomp.platform.predictions import PoolCounts, Prediction, count_classes
from decomp.platform.randomness import stream
from decomp.platform.regions import Region
from decomp.platform.samplers import Choice, ImageSelector, ImageView, Need, RegionSelector


@dataclass(frozen=True)
class Model:
    """A trained model: its file and the digest of its bytes, which tells versions of a shard's state apart."""

    checkpoint: Path
    sha256: str


@dataclass(frozen=True)
class PredictTask:
    """What a shard is told to predict.

    Attributes:
        model: the model of the cycle before.
        images: ids of the shard's candidates.
        annotated: annotated regions of those that have any.
        tau: confidence threshold of Eq. 1.
        needs: what the selectors read.
        ranking: the image selector if images can be ranked within a shard, else None.
        n_image: how many images will be selected in the whole pool.
    """

    model: Model
    images: tuple[str, ...]
    annotated: Mapping[str, Sequence[Region]]
    tau: float
    needs: Need
    ranking: ImageSelector | None
    n_image: int


@dataclass(frozen=True)
class ChooseTask:
    """In which images a shard is told to choose regions, and how.

    Attributes:
        model: the model of the preceding `PredictTask`; None where the selector needs no prediction.
        images: ids of selected images that the shard owns.
        annotated: annotated regions of those that have any.
        selector: the region selector.
        weights: class weights w, shape (C,), or None.
        size: region size per axis.
        n_region: regions per image.
        seed, fold, cycle: key of the random streams.
    """

    model: Model | None
    images: tuple[str, ...]
    annotated: Mapping[str, Sequence[Region]]
    selector: RegionSelector
    weights: npt.NDArray[np.float64] | None
    size: tuple[int, ...]
    n_region: int
    seed: int
    fold: int
    cycle: int


class StaleShard(Exception):
    """The shard does not hold the predictions it is asked about (it was restarted); predict again, then ask again."""


class PoolShard:
    """Owner of a slice of the images.

    Label maps of the last `predict` are kept compressed. Uncertainty maps are kept only for the images that can still
    be selected: where the image selector is local, the shard's own top `n_image`, since the global top `n_image` is a
    subset of the union of the local ones; else the few selected images are predicted once more when regions are
    chosen.
    """

    def __init__(self, dataset: Dataset, learner: Learner, device: str) -> None:
        self.dataset = dataset
        self.learner = learner
        self.device = device
        self._model: Model | None = None
        self._predictor: Predictor | None = None
        self._predicted_by: Model | None = None
        self._labels: dict[str, _CompressedMap] = {}
        self._uncertainty: dict[str, _RankedMap] = {}

    def predict(self, task: PredictTask) -> pa.RecordBatch:
        """Predict the images, keep what choosing regions will need, return `PoolCounts` as an Arrow batch."""
        self._predicted_by, self._labels, self._uncertainty = None, {}, {}
        parts = [self._predict_one(image, task) for image in task.images]
        self._predicted_by = task.model
        return _stack(task.images, parts, len(self.dataset.classes)).to_arrow()

    def choose(self, task: ChooseTask) -> pa.Table:
        """Choose regions in each of the images; returns rows of the ledger.

        Raises:
            StaleShard: if the predictions are not those of `task.model`.
        """
        if task.model is not None and self._predicted_by != task.model:
            raise StaleShard
        rows: list[Annotation] = []
        for image in task.images:
            annotated = task.annotated.get(image, ())
            rng = stream(task.seed, "regions", fold=task.fold, cycle=task.cycle, image=image)
            choices = task.selector.choose(self._view(image, annotated, task), task.n_region, rng)
            regions = _checked(image, choices, annotated, self.dataset.shape(image), task)
            rows += [
                Annotation(region, task.cycle, rank, choice.drawn_class, choice.score)
                for rank, (region, choice) in enumerate(zip(regions, choices, strict=True))
            ]
        return Ledger.of(rows).table

    def reveal(self, regions: Sequence[Region]) -> npt.NDArray[np.int64]:
        """Ask the oracle: pixels of each true class within the regions, shape (C,)."""
        counts = np.zeros(IGNORE + 1, np.int64)
        for region in regions:
            counts += np.bincount(self.dataset.labels(region.image)[region.slices].ravel(), minlength=IGNORE + 1)
        return counts[: len(self.dataset.classes)]

    def evaluate(self, model: Model, images: Sequence[str]) -> npt.NDArray[np.int64]:
        """Confusion matrix of the model over the images, shape (C, C)."""
        n_classes = len(self.dataset.classes)
        total = np.zeros((n_classes, n_classes), np.int64)
        for image in images:
            predicted = self._infer(model, image, uncertainty=False)
            total += confusion_matrix(self.dataset.labels(image), predicted.labels, n_classes)
        return total

    def _predict_one(self, image: str, task: PredictTask) -> "_Counts":
        prediction = self._infer(task.model, image, uncertainty=Need.UNCERTAINTY in task.needs)
        counts = count_classes(prediction, task.annotated.get(image, ()), task.tau, len(self.dataset.classes))
        if Need.LABELS in task.needs:
            self._labels[image] = _CompressedMap.of(prediction.labels)
        mean = np.nan
        if prediction.uncertainty is not None:
            mean = float(prediction.uncertainty.mean(dtype=np.float64))
        part = _Counts(prediction.labels.size, *counts, mean)
        if task.ranking is not None and prediction.uncertainty is not None:
            self._keep_if_on_top(image, part, prediction.uncertainty, task)
        return part

    def _keep_if_on_top(
        self, image: str, part: "_Counts", uncertainty: npt.NDArray[np.float32], task: PredictTask
    ) -> None:
        assert task.ranking is not None
        score = float(task.ranking.scores(_stack((image,), [part], len(self.dataset.classes)), None)[0])
        self._uncertainty[image] = _RankedMap(score, uncertainty)
        if len(self._uncertainty) > task.n_image:
            # Images that tie with the last of the top stay too: the global tie-break is not the shard's business.
            bar = sorted((kept.score for kept in self._uncertainty.values()), reverse=True)[task.n_image - 1]
            self._uncertainty = {name: kept for name, kept in self._uncertainty.items() if kept.score >= bar}

    def _view(self, image: str, annotated: Sequence[Region], task: ChooseTask) -> ImageView:
        needs = task.selector.needs
        labels = uncertainty = None
        if Need.LABELS in needs:
            labels = self._labels[image].array()
        if Need.UNCERTAINTY in needs:
            if image in self._uncertainty:
                uncertainty = self._uncertainty[image].uncertainty
            else:
                assert task.model is not None
                uncertainty = self._infer(task.model, image, uncertainty=True).uncertainty
        return ImageView(image, self.dataset.shape(image), task.size, annotated, labels, uncertainty, task.weights)

    def _infer(self, model: Model, image: str, *, uncertainty: bool) -> Prediction:
        if self._predictor is None or self._model != model:
            self._predictor = self.learner.load(model.checkpoint, self.dataset, self.device)
            self._model = model
        try:
            return self._predictor.predict(self.dataset.image(image), uncertainty=uncertainty)
        except Exception as error:
            error.add_note(f"while predicting image {image!r} with the model {model.checkpoint}")
            raise


@dataclass(frozen=True)
class _Counts:
    """`PoolCounts` of one image."""

    pixels: int
    predicted: npt.NDArray[np.int64]
    open: npt.NDArray[np.int64]
    confident: npt.NDArray[np.int64]
    uncertainty: float


def _stack(images: tuple[str, ...], parts: Sequence[_Counts], n_classes: int) -> PoolCounts:
    def matrix(name: str) -> npt.NDArray[np.int64]:
        return np.array([getattr(part, name) for part in parts], np.int64).reshape(len(parts), n_classes)

    return PoolCounts(
        images,
        np.array([part.pixels for part in parts], np.int64),
        matrix("predicted"),
        matrix("open"),
        matrix("confident"),
        np.array([part.uncertainty for part in parts], np.float64),
    )


@dataclass(frozen=True)
class _RankedMap:
    """An uncertainty map and the image's score."""

    score: float
    uncertainty: npt.NDArray[np.float32]


@dataclass(frozen=True)
class _CompressedMap:
    """A label map under LZ4."""

    data: bytes
    shape: tuple[int, ...]

    @classmethod
    def of(cls, labels: npt.NDArray[np.uint8]) -> "_CompressedMap":
        return cls(pa.compress(np.ascontiguousarray(labels), codec="lz4", asbytes=True), labels.shape)

    def array(self) -> npt.NDArray[np.uint8]:
        size = int(np.prod(self.shape))
        raw = pa.decompress(self.data, decompressed_size=size, codec="lz4", asbytes=True)
        return np.frombuffer(raw, np.uint8).reshape(self.shape)


def _checked(
    image: str, choices: Sequence[Choice], annotated: Sequence[Region], shape: Sequence[int], task: ChooseTask
) -> list[Region]:
    """The chosen regions, after checking the contract that a user's own selector might break."""
    name = type(task.selector).__name__
    regions: list[Region] = []
    for choice in choices:
        region = Region(image, tuple(choice.start), task.size)
        if any(a < 0 or a + n > k for a, n, k in zip(region.start, region.size, shape, strict=True)):
            raise ValueError(f"{name} chose a region at {region.start}, outside of image {image!r} of shape {shape}.")
        if any(region.overlaps(other) for other in (*annotated, *regions)):
            raise ValueError(f"{name} chose a region at {region.start} of image {image!r} that overlaps another one.")
        regions.append(region)
    if not 1 <= len(regions) <= task.n_region:
        raise ValueError(f"{name} chose {len(regions)} regions in image {image!r}; 1 to {task.n_region} are allowed.")
    return regions
