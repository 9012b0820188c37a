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
from typing_extensions import override

from decomp.platform.predictions import MapReader, PoolCounts, UncertaintyMap
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
        features: bottleneck features averaged over each image, shape (N, D), float32; requires `Need.FEATURES`.
        background: the class that is not sampled (the experiment's `background`), whose weight is 0, or None.
        cycle: the cycle whose images are selected; 2 is the first after the start.
    """

    images: tuple[str, ...]
    pixels: npt.NDArray[np.int64]
    axes: int
    predicted: Declared[npt.NDArray[np.int64]] = Declared(Need.COUNTS)
    open: Declared[npt.NDArray[np.int64]] = Declared(Need.COUNTS)
    confident: Declared[npt.NDArray[np.int64]] = Declared(Need.COUNTS)
    uncertainty: Declared[npt.NDArray[np.float64]] = Declared(Need.UNCERTAINTY)
    features: Declared[npt.NDArray[np.float32]] = Declared(Need.FEATURES)
    background: int | None = None
    cycle: int = 2

    @classmethod
    def of(cls, pool: PoolCounts, needs: Need, background: int | None = None, cycle: int = 2) -> "PoolView":
        """What a selector of these needs may read of the pool."""
        read = (pool.predicted, pool.open, pool.confident, pool.uncertainty, pool.features)
        return declared(cls(pool.images, pool.pixels, pool.axes, *read, background, cycle), needs)


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


class JointImageSelector(ImageSelector):
    """An image selector whose choice of an image depends on the others that are chosen, e.g. core-set over images.

    Attributes:
        local: never; see `ImageSelector`.

    Example:
        >>> class Everywhere(JointImageSelector):
        ...     def select(self, pool, n_image, rng):
        ...         return np.linspace(0, len(pool.images) - 1, n_image).astype(int)
    """

    local = False

    @override
    def scores(self, pool: PoolView, weights: npt.NDArray[np.float64] | None) -> npt.NDArray[np.float64]:
        raise NotImplementedError(f"{type(self).__name__} selects images jointly, without a score of each.")

    @abstractmethod
    def select(self, pool: PoolView, n_image: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
        """Choose `n_image` of the N >= n_image candidates.

        Called once per cycle from the second on, in the coordinator, in place of `scores`.

        Args:
            pool: the N candidates.
            n_image: how many to choose.
            rng: the stream of this decision.

        Returns:
            Their numbers, distinct, shape (n_image,), int64, in order of choice.
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
        maps: makes further maps of the prediction one by one; requires `Need.MAPS`.
        truth: reads the true labels, shape (*axes), uint8, `IGNORE` where there is none; requires `Need.TRUTH`.
        background: the class that is never drawn (the experiment's `background`), or None.
        body: reads the mask of where regions may be drawn at random, shape (*axes), bool, or None for everywhere.
        cycle: the cycle whose regions are chosen; 2 is the first after the start.
        n_region: regions of an image that the budget allows, which for a `JointRegionSelector` are fewer than it is
            asked for.
    """

    places: Places
    labels: Declared[npt.NDArray[np.uint8]] = Declared(Need.LABELS)
    uncertainty: Declared[UncertaintyMap] = Declared(Need.UNCERTAINTY)
    weights: Declared[npt.NDArray[np.float64]] = Declared(Need.COUNTS)
    predicted: Declared[npt.NDArray[np.int64]] = Declared(Need.LABELS)
    confidence: Declared[npt.NDArray[np.float32] | None] = Declared(Need.LABELS, beside="labels")
    maps: Declared[MapReader] = Declared(Need.MAPS)
    truth: Declared[Callable[[], npt.NDArray[np.uint8]]] = Declared(Need.TRUTH)
    background: int | None = None
    body: Callable[[], npt.NDArray[np.bool_] | None] = lambda: None
    cycle: int = 2
    n_region: int = 1


@dataclass(frozen=True)
class Choice:
    """A chosen region and why: the drawn class and the score of `ledger.Annotation`.

    With a budget for the whole pool, the regions of highest score of all images are annotated.
    """

    region: Region
    drawn_class: int | None = None
    score: float | None = None


class RegionSelector(ABC):
    """Chooses regions within one image. Its options in the experiment file are the fields of the (data)class.

    It is built in the coordinator of a run, anew in every cycle, and travels to the shards; so it holds options and
    nothing else.

    Attributes:
        needs: what `choose` reads.
        comparable: whether the scores of regions of two images may be compared, as a budget for the whole pool does;
            choices without a score are taken from all images in turn.

    Example:
        >>> class Anywhere(RegionSelector):
        ...     def choose(self, view, n_region, rng):
        ...         return [Choice(view.places.take(view.places.uniform().best(rng)))]
    """

    needs: ClassVar[Need] = Need.NOTHING
    comparable: ClassVar[bool] = True

    @property
    def reads_truth(self) -> bool:
        """Whether it is an oracle baseline."""
        return Need.TRUTH in self.needs

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
        uncertainty: score of each, which is its mean uncertainty in DIVERS and BADGE, shape (N,), float64; NaN for
            those without a score.
        drawn_class: class for which each was chosen (`Choice.drawn_class`), shape (N,), int64; -1 for none.
        features: bottleneck features, shape (N, D), float32: averaged over the region if `Need.FEATURES` is declared,
            max-pooled if `Need.GRADIENTS` is.
        residuals: mean of one-hot(Y) - p, shape (N, C), float32; requires `Need.GRADIENTS`.
        predicted_class: class that most of its pixels are predicted as, shape (N,), int64; requires `Need.LABELS`.
        annotated: features of all that is annotated already, also in images that are no candidates, but for regions
            that are offered again; by image id, there in order of annotation, shape (A, D), float32; requires
            `Need.ANNOTATED`.
        background: the class that is never drawn (the experiment's `background`), or None.
        cycle: the cycle whose regions are chosen; 2 is the first after the start.
        n_region: regions of an image that the budget allows.
    """

    image: npt.NDArray[np.int64]
    uncertainty: npt.NDArray[np.float64]
    drawn_class: npt.NDArray[np.int64]
    features: Declared[npt.NDArray[np.float32]] = Declared(Need.FEATURES, Need.GRADIENTS)
    residuals: Declared[npt.NDArray[np.float32]] = Declared(Need.GRADIENTS)
    predicted_class: Declared[npt.NDArray[np.int64]] = Declared(Need.LABELS)
    annotated: Declared[npt.NDArray[np.float32]] = Declared(Need.ANNOTATED)
    background: int | None = None
    cycle: int = 2
    n_region: int = 1


class JointRegionSelector(RegionSelector):
    """A region selector whose choices in one image depend on those in the others (DIVERS, BADGE).

    `choose` gives up to `n_candidates` candidate regions of one image, each with its score if it has one; `select` then
    picks among the candidate regions of all selected images or, with a budget for the whole pool, of all images.

    Attributes:
        factor: candidate regions per region of the budget.

    Example:
        >>> class MostUncertainOfAll(UncertaintyRegions, JointRegionSelector):
        ...     def select(self, candidates, n, rng):
        ...         return np.argsort(-candidates.uncertainty, kind="stable")[:n]
    """

    factor: int = 3

    def n_candidates(self, n_region: int, n_classes: int) -> int:
        """Candidate regions that an image may propose where the budget allows `n_region`; `factor` times as many."""
        return self.factor * n_region

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
