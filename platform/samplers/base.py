"""What a sampler is: an image selector paired with a region selector (Sec. 6 of the method notes).

Once per cycle the coordinator asks the image selector for a score of every candidate image, takes the `n_image`
highest, and has the region selector choose up to `n_region` windows in each. Both are pure functions of arrays and a
keyed random stream; what they need is declared, so that nothing else is computed or kept.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Flag, auto
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from decomp.platform.predictions import PoolCounts
from decomp.platform.regions import Region


class Need(Flag):
    """What a selector reads of the model's predictions."""

    NOTHING = 0
    COUNTS = auto()
    """Class counts of all candidates, hence class confidence and weights."""
    LABELS = auto()
    """The label map of a selected image."""
    UNCERTAINTY = auto()
    """The uncertainty map of a selected image, or the mean uncertainty of every candidate."""


class ImageSelector(ABC):
    """Scores candidate images.

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
    """One selected image, as a region selector sees it.

    Attributes:
        image: its id.
        shape: its spatial shape.
        size: size of a region per axis.
        annotated: regions that are annotated already.
        labels: predicted classes, shape `shape`, uint8; None unless `Need.LABELS` is declared.
        uncertainty: uncertainty of every pixel, shape `shape`, float32; None unless `Need.UNCERTAINTY` is declared.
        weights: class weights w of Eq. 2, shape (C,); None unless `Need.COUNTS` is declared.
    """

    image: str
    shape: tuple[int, ...]
    size: tuple[int, ...]
    annotated: Sequence[Region]
    labels: npt.NDArray[np.uint8] | None = None
    uncertainty: npt.NDArray[np.float32] | None = None
    weights: npt.NDArray[np.float64] | None = None


@dataclass(frozen=True)
class Choice:
    """A chosen region and why: `start` per axis, the drawn class and the score of `ledger.Annotation`."""

    start: tuple[int, ...]
    drawn_class: int | None = None
    score: float | None = None


class RegionSelector(ABC):
    """Chooses regions within one image.

    Attributes:
        needs: what `choose` reads.
    """

    needs: ClassVar[Need] = Need.NOTHING

    @abstractmethod
    def choose(self, view: ImageView, n_region: int, rng: np.random.Generator) -> list[Choice]:
        """Choose up to `n_region` windows that overlap neither each other nor annotated regions.

        Fewer are given only where no more fit; at least one, since an image without a free window is no candidate.

        Args:
            view: the image.
            n_region: how many windows are wanted.
            rng: the stream of this decision; the only source of randomness.
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
