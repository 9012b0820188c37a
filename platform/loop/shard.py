"""A shard of the pool: predicts its images, reduces the predictions to counts, chooses regions in them.

Engine-free; `decomp.actors` runs shards in Ray actors, `decomp.platform.loop.workers` runs a single one in-process.
"""

from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from decomp.platform.components import build_partition
from decomp.platform.datasets.base import IGNORE, Dataset
from decomp.platform.learners.base import Learner, Predictor
from decomp.platform.ledger import Annotation, Ledger
from decomp.platform.loop.oracle import Revealed, clicks
from decomp.platform.loop.proposals import Proposals
from decomp.platform.predictions import Measure, PoolCounts, Prediction, UncertaintyMap, Wanted
from decomp.platform.prefetch import prefetch
from decomp.platform.randomness import stream
from decomp.platform.regions import Region
from decomp.platform.samplers import ImageSelector, ImageView, JointRegionSelector, Need, RegionSelector
from decomp.platform.samplers.contract import Site, choices_of, scores_of
from decomp.platform.samplers.places import Places
from decomp.platform.samplers.segments import Segments
from decomp.platform.samplers.windows import Windows
from decomp.platform.spec import Component, RegionShape
from decomp.platform.storage.location import Location, reading


@dataclass(frozen=True)
class Checkpoint:
    """A trained model: its file and the digest of its bytes, which tells versions of a shard's state apart."""

    file: Location
    sha256: str


@dataclass(frozen=True)
class Choosing:
    """How regions are chosen in the images of a cycle.

    Attributes:
        selector: the region selector.
        shape: shape of the regions.
        n_region: regions per image.
        background: class that is never drawn, or None.
        seed, fold, cycle: key of the random streams.
    """

    selector: RegionSelector
    shape: RegionShape
    n_region: int
    background: int | None
    seed: int
    fold: int
    cycle: int

    @property
    def wanted(self) -> int:
        """Regions that the selector is asked for in one image."""
        return self.n_region * (self.selector.factor if isinstance(self.selector, JointRegionSelector) else 1)

    @property
    def at_once(self) -> bool:
        """Whether regions are chosen while the prediction is in memory: the selector needs it, but not the weights."""
        return bool(self.selector.needs) and Need.COUNTS not in self.selector.needs


@dataclass(frozen=True)
class PredictTask:
    """What a shard is told to predict.

    Attributes:
        model: the model of the cycle before.
        images: ids of the shard's candidates.
        annotated: annotated regions of those that have any.
        tau: confidence threshold of Eq. 1.
        measure: how uncertainty is measured; None for the learner's own way.
        needs: what the selectors read.
        ranking: the image selector if images can be ranked within a shard, else None.
        selected: ids of the selected images, if they are known already.
        n_image: how many images will be selected in the whole pool.
        choosing: how regions will be chosen.
    """

    model: Checkpoint
    images: tuple[str, ...]
    annotated: Mapping[str, Sequence[Region]]
    tau: float
    measure: Measure | None
    needs: Need
    ranking: ImageSelector | None
    selected: Collection[str] | None
    n_image: int
    choosing: Choosing


@dataclass(frozen=True)
class ChooseTask:
    """In which images a shard is told to choose regions, and how.

    Attributes:
        model: the model of the preceding `PredictTask`; None where the selector needs no prediction.
        images: ids of selected images that the shard owns.
        annotated: annotated regions of those that have any.
        weights: class weights w, shape (C,), or None.
        choosing: how regions are chosen.
    """

    model: Checkpoint | None
    images: tuple[str, ...]
    annotated: Mapping[str, Sequence[Region]]
    weights: npt.NDArray[np.float64] | None
    choosing: Choosing


class StaleShard(Exception):
    """The shard does not hold the predictions it is asked about (it was restarted); predict again, then ask again."""


class PoolShard:
    """Owner of a slice of the images.

    Of the images that can still be selected `predict` keeps what choosing regions will need: the choice itself where
    it needs no class weights, compressed maps otherwise. Where the image selector is local, these are the shard's own
    top `n_image` images, since the global top `n_image` is a subset of the union of the local ones.
    """

    def __init__(self, dataset: Dataset, learner: Learner, device: str) -> None:
        self.dataset = dataset
        self.learner = learner
        self.device = device
        self._model: Checkpoint | None = None
        self._predictor: Predictor | None = None
        self._predicted_by: Checkpoint | None = None
        self._kept: dict[str, _Kept] = {}
        self._partitions = _Partitions(dataset)

    def predict(self, task: PredictTask) -> pa.RecordBatch:
        """Predict the images, keep what choosing regions will need, return `PoolCounts` as an Arrow batch.

        Raises:
            RuntimeError: naming image and model, if the model's output is not finite.
        """
        self._predicted_by, self._kept = None, {}
        with closing(self._read(task.images)) as pixels:
            parts = [self._predict_one(*read, task) for read in zip(task.images, pixels, strict=True)]
        self._predicted_by = task.model
        axes = len(self.dataset.shape(task.images[0])) if task.images else 2
        return _stack(task.images, parts, len(self.dataset.classes), axes).to_arrow()

    def choose(self, task: ChooseTask) -> pa.Table:
        """Choose regions in each of the images; returns `Proposals` as an Arrow table.

        Raises:
            StaleShard: if the predictions are not those of `task.model`.
        """
        if task.model is not None and self._predicted_by != task.model:
            raise StaleShard
        if task.choosing.at_once:
            return pa.concat_tables([self._kept[image].proposals for image in task.images])
        rows: list[Annotation] = []
        for image in task.images:
            annotated = task.annotated.get(image, ())
            kept = self._kept[image].maps() if task.choosing.selector.needs else {}
            places = self._partitions.places(image, task.choosing.shape, annotated)
            body = partial(self.dataset.body, image)
            view = ImageView(places, weights=task.weights, background=task.choosing.background, body=body, **kept)
            rows += self._choices(view, annotated, task.choosing)
        return Proposals(Ledger.of(rows)).to_arrow()

    def held(self) -> dict[str, int]:
        """Size of what the last `predict` keeps: number of images, bytes of their maps and choices."""
        return {"images": len(self._kept), "bytes": sum(kept.nbytes for kept in self._kept.values())}

    def reveal(self, regions: Sequence[Region]) -> Revealed:
        """Ask the oracle what the regions hold and what annotating them takes."""
        counts, effort = np.zeros(IGNORE + 1, np.int64), 0
        for image, own in groupby(regions, key=lambda region: region.image):
            labels = self.dataset.labels(image)
            for region in own:
                counts += np.bincount(region.of(labels), minlength=IGNORE + 1)
                effort += clicks(labels, region)
        return Revealed(counts[: len(self.dataset.classes)], effort)

    def evaluate(self, model: Checkpoint, images: Sequence[str]) -> npt.NDArray[np.int64]:
        """Confusion matrix of the model for each of the images, shape (N, C, C)."""
        n_classes = len(self.dataset.classes)
        found = np.zeros((len(images), n_classes, n_classes), np.int64)
        with closing(self._read(images)) as read:
            for number, (image, pixels) in enumerate(zip(images, read, strict=True)):
                with _named(image, model):
                    found[number] = self._predictor_of(model).evaluate(self.dataset, image, pixels)
        return found

    def _read(self, images: Sequence[str]) -> Generator[Any, None, None]:
        """What the learner reads of the images, in order, the next ones read in the background."""

        def read(image: str) -> Any:
            try:
                return self.dataset.image(image)
            except Exception as error:
                error.add_note(f"while reading image {image!r}")
                raise

        return prefetch((partial(read, image) for image in images), self.dataset.readers, self.dataset.readers)

    def _predict_one(self, image: str, pixels: Any, task: PredictTask) -> "_Counts":
        annotated = task.annotated.get(image, ())
        wanted = Wanted(
            tau=task.tau,
            annotated=annotated,
            measure=(task.measure or self.learner.uncertainty) if Need.UNCERTAINTY in task.needs else None,
            confidence=len(self.dataset.shape(image)) == 1 and Need.LABELS in task.needs,
            regions=bool((Need.FEATURES | Need.GRADIENTS) & task.needs),
        )
        with _named(image, task.model):
            prediction = self._predictor_of(task.model).predict(pixels, wanted)
        part = _Counts.of(prediction)
        if task.choosing.selector.needs and (task.selected is None or image in task.selected):
            self._keep(image, prediction, part, task)
        return part

    def _keep(self, image: str, prediction: Prediction, part: "_Counts", task: PredictTask) -> None:
        score = None
        if task.ranking is not None:
            pool = _stack((image,), [part], len(self.dataset.classes), prediction.labels.ndim)
            score = float(scores_of(task.ranking, pool, None)[0])
            # Images that tie with the last of the top stay too: the global tie-break is not the shard's business.
            if score < self._bar(task.n_image):
                return
        self._kept[image] = self._at_once(image, prediction, score, task) or _Kept.of(prediction, score, task)
        if score is not None:
            bar = self._bar(task.n_image)
            self._kept = {name: kept for name, kept in self._kept.items() if kept.score >= bar}

    def _bar(self, n_image: int) -> float:
        """Score below which an image can't be selected any more."""
        scores = sorted((kept.score for kept in self._kept.values()), reverse=True)
        return scores[n_image - 1] if len(scores) >= n_image else -np.inf

    def _at_once(self, image: str, prediction: Prediction, score: float | None, task: PredictTask) -> "_Kept | None":
        choosing, needs = task.choosing, task.choosing.selector.needs
        if not choosing.at_once:
            return None
        annotated = task.annotated.get(image, ())
        view = ImageView(
            self._partitions.places(image, choosing.shape, annotated),
            labels=prediction.labels,
            uncertainty=prediction.uncertainty,
            predicted=_predicted(prediction),
            confidence=prediction.confidence,
            background=choosing.background,
            body=partial(self.dataset.body, image),
        )
        rows = self._choices(view, annotated, choosing)
        features = residuals = None
        regions = [row.region for row in rows]
        if Need.FEATURES in needs:
            assert prediction.regions is not None
            features = prediction.regions.features(regions)
        elif Need.GRADIENTS in needs:
            assert prediction.regions is not None
            features, residuals = prediction.regions.gradients(regions)
        return _Kept(score or 0.0, proposals=Proposals(Ledger.of(rows), features, residuals).to_arrow())

    def _choices(self, view: ImageView, annotated: Sequence[Region], choosing: Choosing) -> list[Annotation]:
        image = view.places.image
        rng = stream(choosing.seed, "regions", fold=choosing.fold, cycle=choosing.cycle, image=image)
        window = None if isinstance(choosing.shape, Component) else choosing.shape
        site = Site(self.dataset.shape(image), window, annotated)
        choices = choices_of(choosing.selector, view, choosing.wanted, rng, site)
        return [
            Annotation(choice.region, choosing.cycle, rank, choice.drawn_class, choice.score)
            for rank, choice in enumerate(choices)
        ]

    def _predictor_of(self, model: Checkpoint) -> Predictor:
        if self._predictor is None or self._model != model:
            with reading(model.file, model.sha256) as file:
                self._predictor = self.learner.load(file, self.dataset, self.device)
            self._model = model
        return self._predictor


@contextmanager
def _named(image: str, model: Checkpoint) -> Iterator[None]:
    """Errors tell which image was being predicted, and by which model."""
    try:
        yield
    except FloatingPointError as error:
        raise RuntimeError(f"Image {image!r}, model {model.file}: {error}") from error
    except Exception as error:
        error.add_note(f"while predicting image {image!r} with the model {model.file}")
        raise


class _Partitions:
    """Makes `Places`; keeps the partitions of irregular regions, compressed, since they never change."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        self._component: Component | None = None
        self._maps: dict[str, _CompressedMap] = {}

    def places(self, image: str, shape: RegionShape, annotated: Sequence[Region]) -> Places:
        """The places of an image that are still free."""
        if not isinstance(shape, Component):
            return Windows(image, self._dataset.shape(image), shape, annotated)
        if shape != self._component:
            self._component, self._maps = shape, {}
        if image not in self._maps:
            self._maps[image] = _CompressedMap.of(self._checked(build_partition(shape).of(self._dataset, image), image))
        return Segments(image, self._maps[image].array, annotated)

    def _checked(self, partition: npt.NDArray[Any], image: str) -> npt.NDArray[np.int32]:
        shape = self._dataset.shape(image)
        if partition.shape != shape or partition.dtype.kind not in "iu" or partition.min(initial=0) < 0:
            raise ValueError(
                f"The partition of image {image!r} must be integers from 0 of shape {shape}, not {partition.dtype} of "
                f"shape {partition.shape} from {partition.min(initial=0)}."
            )
        return partition.astype(np.int32)


@dataclass(frozen=True)
class _Counts:
    """`PoolCounts` of one image."""

    pixels: int
    predicted: npt.NDArray[np.int64]
    open: npt.NDArray[np.int64]
    confident: npt.NDArray[np.int64]
    uncertainty: float

    @classmethod
    def of(cls, prediction: Prediction) -> "_Counts":
        assert prediction.counts is not None
        _, unsure, confident = prediction.counts
        mean = np.nan if prediction.uncertainty is None else prediction.uncertainty.mean
        return cls(prediction.labels.size, _predicted(prediction), unsure + confident, confident, mean)


def _predicted(prediction: Prediction) -> npt.NDArray[np.int64]:
    assert prediction.counts is not None
    return np.asarray(prediction.counts.sum(axis=0))


def _stack(images: tuple[str, ...], parts: Sequence[_Counts], n_classes: int, axes: int) -> PoolCounts:
    def matrix(name: str) -> npt.NDArray[np.int64]:
        return np.array([getattr(part, name) for part in parts], np.int64).reshape(len(parts), n_classes)

    return PoolCounts(
        images,
        np.array([part.pixels for part in parts], np.int64),
        matrix("predicted"),
        matrix("open"),
        matrix("confident"),
        np.array([part.uncertainty for part in parts], np.float64),
        axes,
    )


@dataclass(frozen=True)
class _Kept:
    """What is kept of a prediction: the choice of regions as an Arrow table, or the maps that it will need."""

    score: float
    proposals: pa.Table | None = None
    labels: "_CompressedMap | None" = None
    predicted: npt.NDArray[np.int64] | None = None
    levels: "_CompressedMap | None" = None
    unit: float = 1.0
    confidence: npt.NDArray[np.float32] | None = None

    @classmethod
    def of(cls, prediction: Prediction, score: float | None, task: PredictTask) -> "_Kept":
        needs, uncertainty = task.choosing.selector.needs, prediction.uncertainty
        kept: dict[str, Any] = {}
        if Need.LABELS in needs:
            kept = {
                "labels": _CompressedMap.of(prediction.labels),
                "predicted": _predicted(prediction),
                "confidence": prediction.confidence,
            }
        if Need.UNCERTAINTY in needs:
            assert uncertainty is not None
            levels = uncertainty.levels if isinstance(uncertainty.levels, np.ndarray) else uncertainty.levels.cpu()
            kept |= {"levels": _CompressedMap.of(np.asarray(levels, np.uint16)), "unit": uncertainty.unit}
        return cls(score or 0.0, **kept)

    @property
    def nbytes(self) -> int:
        """Size of it all."""
        maps = sum(len(kept.data) for kept in (self.labels, self.levels) if kept is not None)
        return maps + (self.proposals.nbytes if self.proposals is not None else 0)

    def maps(self) -> dict[str, Any]:
        """Fields of `ImageView`."""
        return {
            "labels": self.labels and self.labels.array,
            "predicted": self.predicted,
            "uncertainty": self.levels and UncertaintyMap(self.levels.array, self.unit),
            "confidence": self.confidence,
        }


@dataclass(frozen=True)
class _CompressedMap:
    """A map under LZ4."""

    data: bytes
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @classmethod
    def of(cls, values: npt.NDArray[Any]) -> "_CompressedMap":
        return cls(pa.compress(np.ascontiguousarray(values), codec="lz4", asbytes=True), values.shape, values.dtype)

    @property
    def array(self) -> npt.NDArray[Any]:
        size = int(np.prod(self.shape)) * self.dtype.itemsize
        raw = pa.decompress(self.data, decompressed_size=size, codec="lz4", asbytes=True)
        return np.frombuffer(raw, self.dtype).reshape(self.shape)
