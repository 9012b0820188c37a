"""Selection of one cycle: predict, weigh the classes, select images, choose regions in them."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from decomp.platform.components import build_selectors
from decomp.platform.datasets.base import Split
from decomp.platform.grid import Budget, Component, Sampler
from decomp.platform.ledger import Ledger
from decomp.platform.loop.oracle import Selection
from decomp.platform.loop.proposals import Proposals
from decomp.platform.loop.tasks import Checkpoint, ChooseTask, PassStreams, PredictTask, RegionRequest
from decomp.platform.loop.workers import Workers
from decomp.platform.passes import Passes
from decomp.platform.predictions import PoolCounts
from decomp.platform.randomness import stream
from decomp.platform.regions import Region
from decomp.platform.samplers import (
    CandidateRegions,
    ImageSelector,
    JointImageSelector,
    JointRegionSelector,
    Need,
    RegionSelector,
    class_confidence,
    class_weights,
    select_images,
)
from decomp.platform.samplers.contract import scores_of, selected_images_of, selected_of
from decomp.platform.samplers.weights import above_quantile
from decomp.platform.samplers.whole_pool import AllImages

Timed = Callable[[str], AbstractContextManager[None]]
"""Measures the wall time of a phase by name."""

FIRST_CYCLE = Sampler("first-cycle", Component("random"), Component("random"))
"""The first cycle of every sampler (Sec. 1 of the method notes)."""

FIRST_CYCLE_OF_POOL = Sampler("first-cycle", Component("all"), Component("random"))
"""The same with a budget for the whole pool (Sec. 12)."""


@dataclass(frozen=True)
class SelectionStep:
    """The selection of one cycle in one split.

    Attributes:
        sampler: the sampler.
        budget: budget per cycle.
        classes: names of the classes.
        split: the split whose images are selected.
        seed, fold, cycle: key of the random streams.
        weights: class weights of the training pool, shape (C,); None to compute them from the candidates.
        passes: the passes in which images are predicted; None for a single one.
    """

    sampler: Sampler
    budget: Budget
    classes: Sequence[str]
    split: Split
    seed: int
    fold: int
    cycle: int
    weights: npt.NDArray[np.float64] | None = None
    passes: Passes | None = None

    def run(
        self,
        workers: Workers,
        timed: Timed,
        candidates: Sequence[str],
        shapes: Mapping[str, Sequence[int]],
        ledger: Ledger,
        model: Checkpoint | None,
    ) -> Selection:
        """Select regions among the candidates.

        Only what the two selectors declare is predicted: nothing for RAND; the selected images alone where the images
        are selected without a prediction and the regions need no class weights; all candidates otherwise; and every
        image that has annotated regions, if the region selector reads their features.

        Args:
            workers: the run's workers.
            timed: measures the phases ``predict`` and ``select``.
            candidates: ids of the candidates, sorted; if there are none, nothing is selected.
            shapes: spatial shape of every image of the split.
            ledger: all annotated regions.
            model: the model of the cycle before; None in the first cycle.
        """
        by_image, by_region = build_selectors(self.sampler)
        needs = by_image.needs | by_region.needs
        if not candidates:
            unpredicted = np.zeros(len(self.classes))
            weighed = (unpredicted, self._weights(unpredicted)) if Need.COUNTS in needs else (None, None)
            return Selection((), Ledger(), *weighed)
        request = self._request(by_region)
        selected: Sequence[str] | None = None
        if isinstance(by_image, AllImages):
            selected = candidates
        elif not by_image.needs:
            selected = self._images(by_image, _unpredicted(candidates, shapes), None)
        delta, weights, annotated = None, self.weights, None
        if needs.predictions:
            assert model is not None
            by_all = Need.COUNTS in needs and weights is None  # class weights follow from all candidates
            predicted = candidates if selected is None or by_all else selected
            further = _annotated_only(by_region, ledger, shapes, predicted)
            predict = PredictTask(
                model=model,
                images=tuple(sorted([*predicted, *further])),
                annotated=_within(ledger, [*predicted, *further]),
                tau=self.sampler.tau_of(self.cycle),
                measure=self.sampler.uncertainty,
                needs=needs,
                histogram=self.sampler.tau_quantile is not None and by_all,
                image_features=Need.FEATURES in by_image.needs,
                ranking=by_image if by_image.needs and by_image.local else None,
                selected=None if selected is None else frozenset(selected),
                n_image=self.budget.n_image or len(candidates),
                request=request,
                passes=PassStreams.of(self.passes, "dropout", self.seed, self.fold, self.cycle),
                reselect_below=self.sampler.reselect_below,
                annotated_only=further,
            )
            with timed("predict"):
                pool = workers.predict(predict)
            if pool.annotated is not None:
                annotated = np.concatenate(pool.annotated)
                pool = pool.rows([k for k, image in enumerate(pool.images) if image not in further])
            if by_all:
                delta = class_confidence(pool.open.sum(axis=0), self._confident(pool))
                weights = self._weights(delta)
            if selected is None:
                selected = self._images(by_image, pool, weights)
        assert selected is not None
        choose = ChooseTask(
            model=model if needs.predictions else None,
            images=tuple(selected),
            annotated=_within(ledger, selected),
            weights=weights,
            request=request,
        )
        with timed("select"):
            proposals = replace(workers.choose(choose), annotated=annotated)
            chosen = self._among(proposals, by_region, selected, len(shapes[selected[0]]))
        if self.budget.total is not None:
            selected = list(chosen.by_image)
        return Selection(tuple(selected), chosen, delta, weights)

    def _weights(self, delta: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        emphasis = np.array([self.sampler.emphasis.get(name, 1.0) for name in self.classes])
        return class_weights(delta, emphasis, self._background())

    def _confident(self, pool: PoolCounts) -> npt.NDArray[np.int64]:
        """Pixels of each class above the threshold, shape (C,)."""
        if self.sampler.tau_quantile is None or pool.histogram is None:
            return np.asarray(pool.confident.sum(axis=0))
        return above_quantile(pool.histogram, self.sampler.tau_quantile, self._background())

    def _images(self, selector: ImageSelector, pool: PoolCounts, weights: npt.NDArray[np.float64] | None) -> list[str]:
        """Select images among the candidates, best first."""
        assert self.budget.n_image is not None
        rng = stream(self.seed, self._purpose("images"), fold=self.fold, cycle=self.cycle)
        if isinstance(selector, JointImageSelector):
            n = min(self.budget.n_image, len(pool.images))
            return [pool.images[k] for k in selected_images_of(selector, pool, n, rng, self._background(), self.cycle)]
        scores = scores_of(selector, pool, weights, self._background(), self.cycle)
        return select_images(pool.images, scores, self.budget.n_image, rng)

    def _request(self, selector: RegionSelector) -> RegionRequest:
        return RegionRequest(
            selector=selector,
            region_shape=self.budget.region,
            n_region=self.budget.n_region,
            background=self._background(),
            seed=self.seed,
            fold=self.fold,
            cycle=self.cycle,
        )

    def _among(self, proposals: Proposals, selector: RegionSelector, images: Sequence[str], axes: int) -> Ledger:
        """The regions of this cycle: all proposals, the best of the pool, or what a `JointRegionSelector` selects."""
        total, n_region = self.budget.total, self.budget.n_region
        rng = stream(self.seed, self._purpose("pool"), fold=self.fold, cycle=self.cycle)
        if not isinstance(selector, JointRegionSelector):
            return proposals.ledger if total is None else proposals.take(proposals.best(total, rng), None)
        if total is not None:
            return proposals.take(self._of_pool(proposals, selector, total, rng), None)
        n = len(images) * n_region
        chosen: Sequence[int] = range(len(proposals.ledger))
        if len(chosen) > n:
            chosen = selected_of(selector, self._candidates(proposals), n, rng)
        # Where regions are ROIs, no image gives more than its share (Sec. 6 of the method notes).
        return proposals.take(chosen, n_region if axes == 1 else None)

    def _of_pool(
        self, proposals: Proposals, selector: JointRegionSelector, total: int, rng: np.random.Generator
    ) -> list[int]:
        """Numbers of `total` regions, at most `n_region` of an image; those that are too many are selected anew."""
        image = self._candidates(proposals).image
        given, chosen, left = Counter[int](), list[int](), np.arange(len(image))
        while len(left) and len(chosen) < total:
            counts = Counter(image[left].tolist())
            room = sum(min(count, self.budget.n_region - given[k]) for k, count in counts.items())
            n = min(total - len(chosen), room)
            numbers = list(range(len(left)))
            if len(left) > n:
                numbers = selected_of(selector, self._candidates(proposals.rows(left)), n, rng)
            for number in left[numbers].tolist():
                if given[int(image[number])] < self.budget.n_region:
                    given[int(image[number])] += 1
                    chosen.append(number)
            full = np.array([given[k] >= self.budget.n_region for k in image[left].tolist()])
            left = left[~full & ~np.isin(left, chosen)]
        return chosen[:total]

    def _candidates(self, proposals: Proposals) -> CandidateRegions:
        return proposals.candidates(self._background(), self.cycle, self.budget.n_region)

    def _purpose(self, decision: str) -> str:
        return decision if self.split == "train" else f"{self.split} {decision}"

    def _background(self) -> int | None:
        return None if self.sampler.background is None else self.classes.index(self.sampler.background)


def _within(ledger: Ledger, images: Sequence[str]) -> dict[str, tuple[Region, ...]]:
    """Annotated regions of those images that have any, each once."""
    return {image: tuple(dict.fromkeys(ledger.by_image[image])) for image in images if image in ledger.by_image}


def _annotated_only(
    selector: RegionSelector, ledger: Ledger, shapes: Mapping[str, Sequence[int]], predicted: Sequence[str]
) -> frozenset[str]:
    """Images of the split that are predicted besides, since the selector reads features of all annotated regions."""
    if Need.ANNOTATED not in selector.needs:
        return frozenset()
    return frozenset(ledger.by_image.keys() & shapes.keys()) - set(predicted)


def _unpredicted(images: Sequence[str], shapes: Mapping[str, Sequence[int]]) -> PoolCounts:
    """Counts of images of which nothing is known but their size."""
    nothing = np.zeros((len(images), 0), np.int64)
    pixels = np.array([int(np.prod(shapes[image])) for image in images], np.int64)
    axes = len(shapes[images[0]])
    return PoolCounts(tuple(images), pixels, nothing, nothing, nothing, np.full(len(images), np.nan), axes)
