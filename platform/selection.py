"""Selection of one cycle: predict, weigh the classes, select images, choose regions in them."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from decomp.platform.components import build_selectors
from decomp.platform.ledger import Ledger
from decomp.platform.predictions import PoolCounts
from decomp.platform.randomness import stream
from decomp.platform.regions import Region
from decomp.platform.samplers import ImageSelector, Need, class_confidence, class_weights, select_images
from decomp.platform.shard import ChooseTask, Model, PredictTask
from decomp.platform.spec import Budget, SamplerSpec
from decomp.platform.workers import Workers

Timed = Callable[[str], AbstractContextManager[None]]
"""Measures the wall time of a phase by name."""

FIRST_CYCLE = SamplerSpec("first cycle", "random", "random")
"""The first cycle of every sampler (Sec. 1 of the method notes)."""


@dataclass(frozen=True)
class Selection:
    """The outcome: new rows of the ledger; delta and w, each of shape (C,), where the sampler needs them."""

    ledger: Ledger
    class_confidence: npt.NDArray[np.float64] | None
    class_weights: npt.NDArray[np.float64] | None


@dataclass(frozen=True)
class Selecting:
    """How to select in one cycle.

    Attributes:
        sampler: the sampler.
        budget: budget per cycle.
        seed, fold, cycle: key of the random streams.
    """

    sampler: SamplerSpec
    budget: Budget
    seed: int
    fold: int
    cycle: int

    def images(self, selector: ImageSelector, pool: PoolCounts, weights: npt.NDArray[np.float64] | None) -> list[str]:
        """Select images among the candidates, best first."""
        rng = stream(self.seed, "images", fold=self.fold, cycle=self.cycle)
        return select_images(pool.images, selector.scores(pool, weights), self.budget.n_image, rng)

    def run(
        self,
        workers: Workers,
        timed: Timed,
        candidates: Sequence[str],
        shapes: Mapping[str, Sequence[int]],
        ledger: Ledger,
        model: Model | None,
    ) -> Selection:
        """Select regions among the candidates.

        Only what the two selectors declare is predicted: nothing for RAND; the selected images alone where the images
        are selected without a prediction and the regions need no class weights; all candidates otherwise.

        Args:
            workers: the run's workers.
            timed: measures the phases ``predict`` and ``select``.
            candidates: ids of the candidates, sorted.
            shapes: spatial shape of every candidate.
            ledger: all annotated regions.
            model: the model of the cycle before; None in the first cycle.
        """
        by_image, by_region = build_selectors(self.sampler)
        needs = by_image.needs | by_region.needs
        selected = self.images(by_image, _unpredicted(candidates, shapes), None) if not by_image.needs else None
        delta = weights = None
        if needs:
            assert model is not None
            predicted = selected if selected is not None and Need.COUNTS not in needs else candidates
            predict = PredictTask(
                model=model,
                images=tuple(sorted(predicted)),
                annotated=_within(ledger, predicted),
                tau=self.sampler.tau,
                needs=needs,
                ranking=by_image if by_image.needs and by_image.local else None,
                n_image=self.budget.n_image,
            )
            with timed("predict"):
                pool = workers.predict(predict)
            if Need.COUNTS in needs:
                delta = class_confidence(pool.open.sum(axis=0), pool.confident.sum(axis=0))
                weights = class_weights(delta)
            if selected is None:
                selected = self.images(by_image, pool, weights)
        assert selected is not None
        choose = ChooseTask(
            model=model if needs else None,
            images=tuple(selected),
            annotated=_within(ledger, selected),
            selector=by_region,
            weights=weights,
            size=self.budget.region,
            n_region=self.budget.n_region,
            seed=self.seed,
            fold=self.fold,
            cycle=self.cycle,
        )
        with timed("select"):
            chosen = workers.choose(choose)
        return Selection(chosen, delta, weights)


def _within(ledger: Ledger, images: Sequence[str]) -> dict[str, tuple[Region, ...]]:
    return {image: ledger.by_image[image] for image in images if image in ledger.by_image}


def _unpredicted(images: Sequence[str], shapes: Mapping[str, Sequence[int]]) -> PoolCounts:
    """Counts of images that nothing is known of but their size."""
    nothing = np.zeros((len(images), 0), np.int64)
    pixels = np.array([int(np.prod(shapes[image])) for image in images], np.int64)
    return PoolCounts(tuple(images), pixels, nothing, nothing, nothing, np.full(len(images), np.nan))
