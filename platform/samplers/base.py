"""What a sampler is: an image selector paired with a region selector (Sec. 6 of the method notes).

Once per cycle the coordinator asks the image selector for a score of every candidate image, takes the `n_image`
highest, and has the region selector choose regions in them. Both are pure functions of arrays and a keyed random
stream; what they need is declared, so that nothing else is computed or kept. An image is predicted once: a region
selector that does without the class weights chooses while the prediction is in memory, so that no map is kept for it.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Flag, auto
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from decomp.platform.predictions import PoolCounts, UncertaintyMap
from decomp.platform.regions import Region
from decomp.platform.samplers.places import Places


class Need(Flag):
    """What a selector reads of the model's predictions."""

    NOTHING = 0
    COUNTS = auto()
    """Class counts of all candidates, hence class confidence and weights."""
    LABELS = auto()
    """The label map of a selected image."""
    UNCERTAINTY = auto()
    """The uncertainty map of a selected image, or the mean uncertainty of every candidate."""
    FEATURES = auto()
    """Bottleneck features of the regions in the pool of a `JointRegionSelector`."""
    GRADIENTS = auto()
    """Gradient factors of the regions in the pool of a `JointRegionSelector`."""


class ImageSelector(ABC):
    """Scores candidate images. Its options in the experiment file are the fields of the (data)class.

    Attributes:
        needs: what `scores` reads.
        local: whether an image's score depends on that image alone, so that a shard can rank its own images.
    """

    needs: ClassVar[Need] = Need.NOTHING
    local: ClassVar[bool] = True

    @abstractmethod
    def scores(self, pool: PoolCounts, weights: npt.NDArray[np.float64] | None) -> npt.NDArray[np.float64]:
        """Score the candidates; the highest are selected, ties are broken by the seeded random order.

        Args:
            pool: counts of N candidates.
            weights: class weights w of Eq. 2, shape (C,); None unless `needs` has `Need.COUNTS`.

        Returns:
            Scores, shape (N,).
        """


@dataclass(frozen=True)
class ImageView:
    """One candidate image, as a region selector sees it.

    Attributes:
        places: the regions that can still be annotated; `Places.take` marks one as chosen.
        labels: predicted classes, shape (*axes), uint8; None unless `Need.LABELS` is declared.
        uncertainty: uncertainty of every pixel; None unless `Need.UNCERTAINTY` is declared.
        weights: class weights w of Eq. 2, shape (C,); None unless `Need.COUNTS` is declared.
        predicted: pixels predicted as each class, shape (C,), int64; None unless `Need.LABELS` is declared.
        confidence: probability of the predicted class of every ROI, shape (n,), float32; None unless the image is a
            set of ROIs and `Need.LABELS` is declared.
        background: the class that is never drawn (the experiment's `background`), or None.
        body: reads where regions drawn at random lie, shape (*axes), bool, or None for everywhere.
    """

    places: Places
    labels: npt.NDArray[np.uint8] | None = None
    uncertainty: UncertaintyMap | None = None
    weights: npt.NDArray[np.float64] | None = None
    predicted: npt.NDArray[np.int64] | None = None
    confidence: npt.NDArray[np.float32] | None = None
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

    Attributes:
        needs: what `choose` reads.
    """

    needs: ClassVar[Need] = Need.NOTHING

    @abstractmethod
    def choose(self, view: ImageView, n_region: int, rng: np.random.Generator) -> list[Choice]:
        """Choose up to `n_region` regions that overlap neither each other nor annotated ones.

        Fewer are given only where no more fit, or where the classes that may be drawn are not predicted.

        Args:
            view: the image.
            n_region: how many regions are wanted.
            rng: the stream of this decision; the only source of randomness.
        """


@dataclass(frozen=True)
class CandidateRegions:
    """Candidate regions of all selected images, N of them, from which the coordinator chooses.

    Attributes:
        image: number of the image of each, shape (N,), int64.
        uncertainty: mean uncertainty of each, shape (N,), float64.
        features: bottleneck features, shape (N, D), float32: averaged over the region if `Need.FEATURES` is declared,
            max-pooled if `Need.GRADIENTS` is.
        residuals: mean of one-hot(Y) - p, shape (N, C), float32; None unless `Need.GRADIENTS` is declared.
    """

    image: npt.NDArray[np.int64]
    uncertainty: npt.NDArray[np.float64]
    features: npt.NDArray[np.float32]
    residuals: npt.NDArray[np.float32] | None = None


class JointRegionSelector(RegionSelector):
    """A region selector whose choices in one image depend on those in the others (DIVERS, BADGE).

    `choose` gives a pool of `factor * n_region` candidates of one image, each with its score; `select` then picks
    among the candidates of all selected images, in the coordinator.

    Attributes:
        factor: candidates per region of the budget.
    """

    factor: ClassVar[int] = 3

    @abstractmethod
    def select(self, pool: CandidateRegions, n: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
        """Choose `n` of the N > n candidates.

        Args:
            pool: the candidates, in an order that does not depend on the shards.
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
