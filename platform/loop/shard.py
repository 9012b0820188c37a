"""A shard of the pool: predicts its images, reduces the predictions to counts, chooses regions in them.

Engine-free; `decomp.actors` runs shards in Ray actors, `decomp.platform.loop.workers` runs a single one in-process.
"""

from collections.abc import Collection, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from decomp.platform.components import build_measure
from decomp.platform.datasets.base import IGNORE, Dataset, is_finite, not_finite
from decomp.platform.errors import UserError
from decomp.platform.grid import Component
from decomp.platform.learners.base import Learner, Predictor
from decomp.platform.ledger import Annotation, Ledger
from decomp.platform.loop.kept import KeptMaps, PartitionCache, Shortlist
from decomp.platform.loop.proposals import Proposals
from decomp.platform.loop.tasks import Checkpoint, ChooseTask, PassStreams, PredictTask, RegionRequest
from decomp.platform.measures import OwnMeasure
from decomp.platform.predictions import Measure, PoolCounts, Prediction, Wanted
from decomp.platform.prefetch import prefetch
from decomp.platform.randomness import stream
from decomp.platform.regions import Region
from decomp.platform.samplers import ImageView, JointRegionSelector, Need, RegionSelector
from decomp.platform.samplers.contract import Site, choices_of, scores_of
from decomp.platform.samplers.weights import confidence_histogram


class StaleShard(Exception):
    """The shard does not hold the predictions it is asked about (it was restarted); predict again, then ask again."""


class PoolShard:
    """Owner of a slice of the pool's images.

    For the images that can still be selected, `predict` keeps what choosing regions will need (see `Shortlist`): the
    choice itself where it needs no class weights, compressed maps otherwise.
    """

    def __init__(self, dataset: Dataset, learner: Learner, device: str) -> None:
        self.dataset = dataset
        self.learner = learner
        self.device = device
        self._predictors: dict[Checkpoint, Predictor] = {}
        self._predicted_by: Checkpoint | None = None
        self._kept = Shortlist()
        self._partitions = PartitionCache(dataset)

    def predict(self, task: PredictTask) -> pa.RecordBatch:
        """Predict the images, keep what choosing regions will need, return `PoolCounts` as an Arrow batch.

        Of the images in `task.annotated_only` nothing is kept, and their counts are no candidates'.

        Raises:
            RuntimeError: naming image and model, if the model's output is not finite.
        """
        self._predicted_by, self._kept = None, Shortlist(None if task.ranking is None else task.n_image)
        with closing(self._read(task.images)) as pixels:
            counts = [self._predict_one(*read, task) for read in zip(task.images, pixels, strict=True)]
        self._predicted_by = task.model
        return PoolCounts.stacked(counts).to_arrow()

    def choose(self, task: ChooseTask) -> pa.Table:
        """Choose regions in each of the images; returns `Proposals` as an Arrow table.

        Raises:
            StaleShard: if the predictions are not those of `task.model`.
        """
        if task.model is not None and self._predicted_by != task.model:
            raise StaleShard
        if task.request.at_once:
            return pa.concat_tables([self._kept[image] for image in task.images])
        tables = []
        for image in task.images:
            kept = self._kept[image] if task.request.selector.needs.predictions else KeptMaps()
            annotated, maps = task.annotated.get(image, ()), kept.fields()
            rows = self._choose_in(image, annotated, kept.again, task.request, weights=task.weights, **maps)
            predicted_class = _predicted_class(task.request.selector, maps["labels"], rows)
            tables.append(Proposals(Ledger.of(rows), predicted_class=predicted_class).to_arrow())
        return pa.concat_tables(tables)

    def prediction(self, model: Checkpoint, image: str, wanted: Wanted, passes: PassStreams | None) -> Prediction:
        """What a model predicts of one image, for people to look at."""
        pixels = self.dataset.image(image)
        with _named(image, pixels, model):
            return self._predictor_of(model, passes, image).predict(pixels, wanted)

    def held(self) -> dict[str, int]:
        """Size of what the last `predict` keeps: number of images, bytes of their maps and choices."""
        return {"images": len(self._kept), "bytes": self._kept.nbytes}

    def count_classes(self, images: Sequence[str]) -> npt.NDArray[np.int64]:
        """True pixels of each class in each of the images, shape (N, C)."""
        n_classes = len(self.dataset.classes)
        labels = (self.dataset.labels(image) for image in images)
        return np.array([np.bincount(of.ravel(), minlength=n_classes)[:n_classes] for of in labels], np.int64)

    def evaluate(
        self, model: Checkpoint, images: Sequence[str], passes: PassStreams | None = None
    ) -> npt.NDArray[np.int64]:
        """Confusion matrix of the model for each of the images, shape (N, C, C); see `Workers.evaluate`."""
        n_classes = len(self.dataset.classes)
        confusion = np.zeros((len(images), n_classes, n_classes), np.int64)
        with closing(self._read(images)) as read:
            for number, (image, pixels) in enumerate(zip(images, read, strict=True)):
                with _named(image, pixels, model):
                    predictor = self._predictor_of(model, passes, image)
                    confusion[number] = predictor.evaluate(self.dataset, image, pixels)
        return confusion

    def _read(self, images: Sequence[str]) -> Generator[Any, None, None]:
        """What the learner reads of the images, in order, the next ones read in the background."""

        def read(image: str) -> Any:
            try:
                return self.dataset.image(image)
            except Exception as error:
                error.add_note(f"while reading image {image!r}")
                raise

        return prefetch((partial(read, image) for image in images), self.dataset.readers, self.dataset.readers)

    def _predict_one(self, image: str, pixels: Any, task: PredictTask) -> PoolCounts:
        wanted = self._wanted(image, task)
        with _named(image, pixels, task.model):
            prediction = self._predictor_of(task.model, task.passes, image).predict(pixels, wanted)
        counts = PoolCounts.of(image, prediction, task.image_features)
        is_candidate = image not in task.annotated_only
        if task.histogram and is_candidate:
            counts = replace(counts, histogram=self._histogram(prediction, wanted.annotated))
        needs, again = task.request.selector.needs, list[Region]()
        if needs.predictions and is_candidate and (task.selected is None or image in task.selected):
            again = self._uncertain(image, prediction, wanted.annotated, task.reselect_below)
            self._keep(image, prediction, counts, again, task)
        if Need.ANNOTATED in needs:
            assert prediction.regions is not None
            regions = [region for region in wanted.annotated if region not in again]
            counts = replace(counts, annotated=(prediction.regions.features(regions),))
        return counts

    def _wanted(self, image: str, task: PredictTask) -> Wanted:
        needs, annotated = task.needs, task.annotated.get(image, ())
        if image in task.annotated_only:
            return Wanted(tau=task.tau, annotated=annotated, regions=True)
        return Wanted(
            tau=task.tau,
            annotated=annotated,
            measure=self._measure(task.measure) if Need.UNCERTAINTY in needs else None,
            confidence=task.histogram
            or task.reselect_below is not None
            or (len(self.dataset.shape(image)) == 1 and Need.LABELS in needs),
            regions=bool((Need.FEATURES | Need.GRADIENTS) & needs),
            maps=Need.MAPS in needs,
        )

    def _keep(
        self, image: str, prediction: Prediction, counts: PoolCounts, again: Sequence[Region], task: PredictTask
    ) -> None:
        """Keep what choosing regions will need, unless the image falls behind those of higher score."""
        score, request = 0.0, task.request
        if task.ranking is not None:
            score = float(scores_of(task.ranking, counts, None, request.background, request.cycle)[0])
        if self._kept.admits(score):
            self._kept.add(image, score, self._reduce(image, prediction, again, task))

    def _histogram(self, prediction: Prediction, annotated: Sequence[Region]) -> npt.NDArray[np.int64]:
        assert prediction.confidence is not None
        counted = np.ones(prediction.labels.shape, np.bool_)
        for region in annotated:
            region.mark(counted, False)
        n_classes = len(self.dataset.classes)
        return confidence_histogram(prediction.labels, prediction.confidence, counted, n_classes)

    def _measure(self, wanted: Measure | Component | None) -> Measure | OwnMeasure:
        return build_measure(wanted) if isinstance(wanted, Component) else wanted or self.learner.measure(self.dataset)

    def _reduce(
        self, image: str, prediction: Prediction, again: Sequence[Region], task: PredictTask
    ) -> pa.Table | KeptMaps:
        """What choosing regions will need of a prediction: the choice itself if it can be made at once, or the maps."""
        needs = task.request.selector.needs
        if not task.request.at_once:
            return KeptMaps.of(prediction, needs, again)
        rows = self._choose_in(
            image,
            task.annotated.get(image, ()),
            again,
            task.request,
            labels=prediction.labels,
            uncertainty=prediction.uncertainty,
            predicted=prediction.predicted,
            confidence=prediction.confidence if prediction.labels.ndim == 1 else None,
            maps=prediction.maps,
        )
        features = residuals = None
        regions = [row.region for row in rows]
        if Need.FEATURES in needs:
            assert prediction.regions is not None
            features = prediction.regions.features(regions)
        elif Need.GRADIENTS in needs:
            assert prediction.regions is not None
            features, residuals = prediction.regions.gradients(regions)
        predicted_class = _predicted_class(task.request.selector, prediction.labels, rows)
        return Proposals(Ledger.of(rows), features, residuals, predicted_class).to_arrow()

    def _uncertain(
        self, image: str, prediction: Prediction, annotated: Sequence[Region], below: float | None
    ) -> list[Region]:
        """Annotated regions of whose labelled pixels the model is still so uncertain that they are offered again.

        Where nothing has a label, as where annotators skip a region, a model learns nothing and stays uncertain.
        """
        if below is None or not annotated:
            return []
        assert prediction.confidence is not None
        labels = self.dataset.labels(image)
        uncertain = []
        for region in annotated:
            confidence = region.of(prediction.confidence)[region.of(labels) != IGNORE]
            if len(confidence) and confidence.mean(dtype=np.float64) < below:
                uncertain.append(region)
        return uncertain

    def _choose_in(
        self,
        image: str,
        annotated: Sequence[Region],
        again: Collection[Region],
        request: RegionRequest,
        **of_prediction: Any,
    ) -> list[Annotation]:
        """Choose regions in one image; `of_prediction` holds the predicted fields of `ImageView`."""
        places = self._partitions.places(image, request.region_shape, annotated, again)
        body = partial(self.dataset.body, image)
        view = ImageView(
            places,
            truth=partial(self.dataset.labels, image),
            background=request.background,
            body=body,
            cycle=request.cycle,
            n_region=request.n_region,
            **of_prediction,
        )
        rng = stream(request.seed, "regions", fold=request.fold, cycle=request.cycle, image=image)
        window = None if isinstance(request.region_shape, Component) else request.region_shape
        site = Site(self.dataset.shape(image), window, annotated, again)
        n = request.n_candidates(len(self.dataset.classes))
        choices = choices_of(request.selector, view, n, rng, site)
        return [
            Annotation(choice.region, request.cycle, rank, choice.drawn_class, choice.score)
            for rank, choice in enumerate(choices)
        ]

    def _predictor_of(self, model: Checkpoint, passes: PassStreams | None, image: str) -> Predictor:
        """The model, or all models of an ensemble, ready to predict an image; they stay in memory until others come."""
        members = model.members if passes else model.members[:1]
        # Others go before these come.
        self._predictors = {member: self._predictors[member] for member in members if member in self._predictors}
        for member in members:
            if member not in self._predictors:
                self._predictors[member] = self._load(member)
        predictors = [self._predictors[member] for member in members]
        if passes is None:
            return predictors[0]
        from decomp.platform.learners.inference.passes import FoldedPredictor  # imports torch

        return FoldedPredictor(predictors, passes.passes.method, passes.seeds(image))

    def _load(self, model: Checkpoint) -> Predictor:
        with model.file.reading(model.sha256) as file:
            return self.learner.load(file, self.dataset, self.device)


def _predicted_class(
    selector: RegionSelector, labels: npt.NDArray[np.uint8] | None, rows: Sequence[Annotation]
) -> npt.NDArray[np.int64] | None:
    """The class that most pixels of each region are predicted as, shape (R,); None unless the selector reads it."""
    if labels is None or not isinstance(selector, JointRegionSelector) or Need.LABELS not in selector.needs:
        return None
    return np.array([np.bincount(row.region.of(labels)).argmax() for row in rows], np.int64)


@contextmanager
def _named(image: str, pixels: Any, model: Checkpoint) -> Iterator[None]:
    """Make errors tell which image was being predicted, by which model, and whether the image was at fault."""
    try:
        yield
    except FloatingPointError as error:
        if not is_finite(pixels):
            raise UserError(not_finite(image)) from error
        raise RuntimeError(f"Image {image!r}, model {model.file}: {error}") from error
    except Exception as error:
        error.add_note(f"while predicting image {image!r} with the model {model.file}")
        raise
