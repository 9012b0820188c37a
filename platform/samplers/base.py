"""What a sampler is: an image selector paired with a region selector (Sec. 6 of the method notes).

Once per cycle the coordinator asks the image selector for a score of every candidate image, takes the `n_image`
highest, and has the region selector choose regions in them. Both are pure functions of arrays and a keyed random
stream; what they need is declared, so that nothing else is computed or kept. An image is predicted once: a region
selector that needs no class weights chooses while the prediction is in memory, so that no map is kept for it.

`decomp.platform.testing` checks a selector of your own against these contracts, as does `decomp check` before a run.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from decomp.platform.predictions import PoolCounts, UncertaintyMap
from decomp.platform.regions import Region
from decomp.platform.samplers.needs import Declared, Need, declared
from decomp.platform.samplers.places import Places


@dataclass(frozen=True, eq=False, repr=False)
class PoolView:
    """The candidate images of a cycle, as an image selector sees them: N images, sorted by id, and C classes.

    What the selector does not declare raises `UndeclaredNeed` when it is read.

    Attributes:
        images: ids, length N.
        pixels: pixels (ROIs) of each image, shape (N,), int64.
        axes: number of spatial axes of the images; 1 where their pixels are ROIs.
        predicted: pixels predicted as each class in the whole image, shape (N, C), int64; requires `Need.COUNTS`.
        open: the same over the unannotated pixels, shape (N, C), int64; requires `Need.COUNTS`.
        confident: those of `open` whose confidence exceeds tau, shape (N, C), int64; requires `Need.COUNTS`.
        uncertainty: mean uncertainty of each image, shape (N,), float64; requires `Need.UNCERTAINTY`.
        background: the class that is not sampled (the experiment's `background`), whose weight is 0, or None.
    """

    images: tuple[str, ...]
    pixels: npt.NDArray[np.int64]
    axes: int
    predicted: Declared[npt.NDArray[np.int64]] = Declared(Need.COUNTS)
    open: Declared[npt.NDArray[np.int64]] = Declared(Need.COUNTS)
    confident: Declared[npt.NDArray[np.int64]] = Declared(Need.COUNTS)
    uncertainty: Declared[npt.NDArray[np.float64]] = Declared(Need.UNCERTAINTY)
    background: int | None = None

    @classmethod
    def of(cls, pool: PoolCounts, needs: Need, background: int | None = None) -> "PoolView":
        """What a selector of these needs may read of the pool."""
        counts = (pool.predicted, pool.open, pool.confident)
        return declared(cls(pool.images, pool.pixels, pool.axes, *counts, pool.uncertainty, background), needs)


class ImageSelector(ABC):
    """Scores candidate images. Its options in the experiment file are the fields of the (data)class.

    It is built from the experiment file in the coordinator of a run, anew in every cycle, and travels to the shards;
    so it holds options and nothing else.

    Attributes:
        needs: what `scores` reads.
        local: whether an image's score depends on that image alone, so that a shard can rank its own images. A selector
            that reads the class weights is not local: they come from the whole pool.

    Example:
        >>> class LargestImages(ImageSelector):
        ...     def scores(self, pool, weights):
        ...         return pool.pixels.astype(float)
    """

    needs: ClassVar[Need] = Need.NOTHING
    local: ClassVar[bool] = True

    @abstractmethod
    def scores(self, pool: PoolView, weights: npt.NDArray[np.float64] | None) -> npt.NDArray[np.float64]:
        """Score the candidates; the highest are selected, and ties are broken by the seeded random order.

        Called once per cycle from the second on, in the coordinator, for all candidates; where `local`, also in the
        shards, for each of their images alone and without class weights.

        Args:
            pool: the N candidates.
            weights: class weights w of Eq. 2, shape (C,); None in shards, and unless `needs` has `Need.COUNTS`.

        Returns:
            Scores, shape (N,), none of them NaN.
        """


@dataclass(frozen=True, eq=False, repr=False)
class ImageView:
    """One candidate image, as a region selector sees it.

    What the selector does not declare raises `UndeclaredNeed` when it is read.

    Attributes:
        places: the regions that can still be annotated; `Places.take` marks one as chosen.
        labels: predicted classes, shape (*axes), uint8; requires `Need.LABELS`.
        uncertainty: uncertainty of every pixel; requires `Need.UNCERTAINTY`.
        weights: class weights w of Eq. 2, shape (C,); requires `Need.COUNTS`.
        predicted: pixels predicted as each class, shape (C,), int64; requires `Need.LABELS`.
        confidence: probability of the predicted class of every ROI, shape (n,), float32; requires `Need.LABELS`; None
            unless the image is a set of ROIs.
        background: the class that is never drawn (the experiment's `background`), or None.
        body: reads the mask of where regions may be drawn at random, shape (*axes), bool, or None for everywhere.
    """

    places: Places
    labels: Declared[npt.NDArray[np.uint8]] = Declared(Need.LABELS)
    uncertainty: Declared[UncertaintyMap] = Declared(Need.UNCERTAINTY)
    weights: Declared[npt.NDArray[np.float64]] = Declared(Need.COUNTS)
    predicted: Declared[npt.NDArray[np.int64]] = Declared(Need.LABELS)
    confidence: Declared[npt.NDArray[np.float32] | None] = Declared(Need.LABELS, beside="labels")
    background: int | None = None
    body: Callable[[], npt.NDArray[np.bool_] | None] = lambda: None


@dataclass(frozen=True)
class Choice:
    """A chosen region and why: the drawn class and the score of `ledger.Annotation`."""

    region: Region
    drawn_class: int | None = None
    score: float | None = None


class RegionSelector(ABC):
    """Chooses regions within one image. Its options in the experiment file are the fields of the (data)class.

    It is built in the coordinator of a run, anew in every cycle, and travels to the shards; so it holds options and
    nothing else.

    Attributes:
        needs: what `choose` reads.

    Example:
        >>> class Anywhere(RegionSelector):
        ...     def choose(self, view, n_region, rng):
        ...         return [Choice(view.places.take(view.places.uniform().best(rng)))]
    """

    needs: ClassVar[Need] = Need.NOTHING

    @abstractmethod
    def choose(self, view: ImageView, n_region: int, rng: np.random.Generator) -> list[Choice]:
        """Choose up to `n_region` regions that overlap neither each other nor annotated ones.

        Called in the shard that owns the image, once per image and cycle, from the second cycle on: for each
        selected image or, without `Need.COUNTS`, for each image that may yet be selected, right after its prediction.

        Fewer are given only where no more fit, or where the classes that may be drawn are not predicted.

        Args:
            view: the image.
            n_region: how many regions are wanted.
            rng: the stream of this decision; the only source of randomness.

        Returns:
            The regions in order of choice, each as `Places.take` gives it.
        """


@dataclass(frozen=True, eq=False, repr=False)
class CandidateRegions:
    """Candidate regions of all selected images, N of them, from which the coordinator chooses.

    What the selector does not declare raises `UndeclaredNeed` when it is read.

    Attributes:
        image: number of the image of each, shape (N,), int64.
        uncertainty: score of each, which is its mean uncertainty in DIVERS and BADGE, shape (N,), float64.
        features: bottleneck features, shape (N, D), float32: averaged over the region if `Need.FEATURES` is declared,
            max-pooled if `Need.GRADIENTS` is.
        residuals: mean of one-hot(Y) - p, shape (N, C), float32; requires `Need.GRADIENTS`.
    """

    image: npt.NDArray[np.int64]
    uncertainty: npt.NDArray[np.float64]
    features: Declared[npt.NDArray[np.float32]] = Declared(Need.FEATURES, Need.GRADIENTS)
    residuals: Declared[npt.NDArray[np.float32]] = Declared(Need.GRADIENTS)


class JointRegionSelector(RegionSelector):
    """A region selector whose choices in one image depend on those in the others (DIVERS, BADGE).

    `choose` gives `factor * n_region` candidate regions of one image, each with its score; `select` then picks among
    the candidate regions of all selected images.

    Attributes:
        factor: candidate regions per region of the budget.

    Example:
        >>> class MostUncertainOfAll(UncertaintyRegions, JointRegionSelector):
        ...     def select(self, candidates, n, rng):
        ...         return np.argsort(-candidates.uncertainty, kind="stable")[:n]
    """

    factor: int = 3

    @abstractmethod
    def select(self, candidates: CandidateRegions, n: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
        """Choose `n` of the N > n candidate regions.

        Called once per cycle from the second on, in the coordinator; not if there are `n` of them or fewer, which
        are then all annotated.

        Args:
            candidates: the candidate regions, in an order that does not depend on the shards.
            n: how many to choose.
            rng: the stream of this decision.

        Returns:
            Their numbers, distinct, shape (n,), int64, in order of choice.
        """


def select_images(
    images: Sequence[str], scores: npt.NDArray[np.float64], n_image: int, rng: np.random.Generator
) -> list[str]:
    """The `n_image` images of highest score, best first; ties are broken by a seeded random order.

    Args:
        images: ids, sorted, length N.
        scores: shape (N,).
        n_image: how many to take; all of them if there are fewer.
        rng: the stream of this decision.
    """
    order = np.lexsort((rng.permutation(len(images)), -scores))
    return [images[i] for i in order[:n_image]]
