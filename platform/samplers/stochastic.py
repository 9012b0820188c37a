"""Stochastic batches: scores of regions or images with Gumbel noise (Sec. 11 of the method notes).

The n regions of highest score are often alike; n draws by score are not. With g a Gumbel variable of scale 1 / beta,
the regions of highest log s + g are a sample without replacement with probabilities in proportion to s ** beta. Noise
is put on the scores of whole regions or images, not on pixels, whose mean has hardly any noise left.

References:
    Kirsch, Farquhar, Atighehchian, Jesson, Branchaud-Charron and Gal, "Stochastic Batch Acquisition: A Simple Baseline
    for Deep Active Learning", TMLR 2023.
"""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import Field
from typing_extensions import override

from decomp.platform.randomness import stream
from decomp.platform.samplers.base import (
    CandidateRegions,
    Choice,
    ImageView,
    JointImageSelector,
    JointRegionSelector,
    PoolView,
    RegionSelector,
)
from decomp.platform.samplers.needs import Need
from decomp.platform.samplers.places import Places
from decomp.platform.samplers.uncertainty import UncertaintyRegions
from decomp.platform.schedule import Schedule, value_at

Floats = npt.NDArray[np.float64]


def power(scores: Floats, beta: float, rng: np.random.Generator) -> Floats:
    """log s + g, -inf where s is 0; `scores` of 0 or more, any shape."""
    return _log(scores) + rng.gumbel(scale=1 / beta, size=scores.shape)


def softmax(scores: Floats, beta: float, rng: np.random.Generator) -> Floats:
    """s + g; `scores` of any shape."""
    return scores + rng.gumbel(scale=1 / beta, size=scores.shape)


def softrank(scores: Floats, beta: float, rng: np.random.Generator) -> Floats:
    """-log r + g, r being the rank of s from 1, the greatest first, ties in seeded order; `scores` of shape (N,)."""
    return _log_ranks(scores, rng) + rng.gumbel(scale=1 / beta, size=len(scores))


def best_of(
    places: Places, scores: Floats, n: int, rng: np.random.Generator, class_: int | None = None
) -> list[Choice]:
    """The `n` free places of highest score, greedily without overlap.

    Args:
        places: the places; those chosen are taken.
        scores: score of each place, any number or -inf, as `Places.mean_values` gives them.
        n: how many at most.
        rng: breaks ties.
        class_: the class for which they are chosen, if any.
    """
    # Peaks are of numbers of 0 or more; what is -inf comes last all the same.
    finite = scores[np.isfinite(scores)]
    least = finite.min(initial=0.0)
    peaks = places.peaks(np.where(np.isfinite(scores), scores - least + 1.0, 0.0))
    chosen: list[Choice] = []
    while len(chosen) < n and (place := peaks.best(rng)) is not None:
        chosen.append(Choice(places.take(place), class_, float(scores[place])))
    return chosen


@dataclass(frozen=True)
class _NoisyRegions(RegionSelector):
    """Regions of highest mean uncertainty with Gumbel noise, greedily without overlap."""

    beta: Schedule = 1.0
    """Inverse scale of the noise, or a schedule of it: {2: 1, 10: 4} is 1 from cycle 2 on and 4 from cycle 10 on."""

    needs = Need.UNCERTAINTY

    @abstractmethod
    def noisy(self, scores: Floats, beta: float, rng: np.random.Generator) -> Floats:
        """Scores with noise."""

    @override
    def choose(self, view: ImageView, n_region: int, rng: np.random.Generator) -> list[Choice]:
        scores = self.noisy(view.places.mean_values(view.uncertainty), value_at(self.beta, view.cycle), rng)
        return best_of(view.places, scores, n_region, rng)


@dataclass(frozen=True)
class PowerRegions(_NoisyRegions):
    """Regions of highest log s + g, s being their mean uncertainty and g Gumbel noise of scale 1 / beta.

    With `uncertainty: mutual_information` this is PowerBALD, with entropy PowerPE.
    """

    @override
    def noisy(self, scores: Floats, beta: float, rng: np.random.Generator) -> Floats:
        return power(scores, beta, rng)


@dataclass(frozen=True)
class SoftmaxRegions(_NoisyRegions):
    """Regions of highest s + g, s being their mean uncertainty and g Gumbel noise of scale 1 / beta."""

    @override
    def noisy(self, scores: Floats, beta: float, rng: np.random.Generator) -> Floats:
        return softmax(scores, beta, rng)


@dataclass(frozen=True)
class SoftrankRegions(UncertaintyRegions, JointRegionSelector):
    """Regions of highest -log r + g, r being their rank by mean uncertainty and g Gumbel noise of scale 1 / beta.

    A rank is one among the candidate regions of all images, so the coordinator draws: each image proposes its most
    uncertain regions, greedily without overlap.
    """

    beta: Schedule = 1.0
    """Inverse scale of the noise, or a schedule of it: {2: 1, 10: 4} is 1 from cycle 2 on and 4 from cycle 10 on."""

    factor: Annotated[int, Field(ge=1)] = 3
    """Candidate regions per region of the budget."""

    needs = Need.UNCERTAINTY

    @override
    def select(self, candidates: CandidateRegions, n: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
        """Those of highest noisy rank, the highest first."""
        scores = softrank(candidates.uncertainty, value_at(self.beta, candidates.cycle), rng)
        return np.argsort(-scores, kind="stable")[:n]


@dataclass(frozen=True)
class _NoisyImages(JointImageSelector):
    """Images of highest mean uncertainty with Gumbel noise, that of an image from a stream of its own."""

    beta: Schedule = 1.0
    """Inverse scale of the noise, or a schedule of it: {2: 1, 10: 4} is 1 from cycle 2 on and 4 from cycle 10 on."""

    needs = Need.UNCERTAINTY

    @abstractmethod
    def without_noise(self, scores: Floats, rng: np.random.Generator) -> Floats:
        """What the noise is added to."""

    @override
    def select(self, pool: PoolView, n_image: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
        """Those of highest noisy score, the highest first; ties, as of scores of -inf, in seeded order."""
        key = int(rng.integers(2**63))
        noise = np.array([stream(key, "noise", image=image).gumbel() for image in pool.images])
        scores = self.without_noise(pool.uncertainty, rng) + noise / value_at(self.beta, pool.cycle)
        return np.lexsort((rng.permutation(len(scores)), -scores))[:n_image]


@dataclass(frozen=True)
class PowerImages(_NoisyImages):
    """Images of highest log s + g, s being their mean uncertainty and g Gumbel noise of scale 1 / beta.

    With `uncertainty: mutual_information` this is PowerBALD over images, with entropy PowerPE.
    """

    @override
    def without_noise(self, scores: Floats, rng: np.random.Generator) -> Floats:
        return _log(scores)


@dataclass(frozen=True)
class SoftmaxImages(_NoisyImages):
    """Images of highest s + g, s being their mean uncertainty and g Gumbel noise of scale 1 / beta."""

    @override
    def without_noise(self, scores: Floats, rng: np.random.Generator) -> Floats:
        return scores


@dataclass(frozen=True)
class SoftrankImages(_NoisyImages):
    """Images of highest -log r + g, r being their rank by mean uncertainty and g Gumbel noise of scale 1 / beta.

    With `uncertainty: mutual_information` this is SoftrankBALD over images.
    """

    @override
    def without_noise(self, scores: Floats, rng: np.random.Generator) -> Floats:
        return _log_ranks(scores, rng)


def _log_ranks(scores: Floats, rng: np.random.Generator) -> Floats:
    """-log r, r being the rank from 1, the greatest score first, ties in seeded order."""
    order = np.lexsort((rng.permutation(len(scores)), -scores))
    ranks = np.empty(len(scores))
    ranks[order] = np.arange(1, len(scores) + 1)
    return -np.log(ranks)


def _log(scores: Floats) -> Floats:
    return np.log(scores, where=scores > 0, out=np.full(scores.shape, -np.inf))
