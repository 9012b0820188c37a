"""Several predictions of one image (Sec. 10 of the method notes): how they are made, and how many.

Ensembles: Lakshminarayanan, Pritzel and Blundell, "Simple and Scalable Predictive Uncertainty Estimation using Deep
Ensembles", NeurIPS 2017. MC dropout: Gal and Ghahramani, "Dropout as a Bayesian Approximation", ICML 2016. Test-time
augmentation: Wang et al., "Aleatoric uncertainty estimation with test-time augmentation for medical image segmentation
with convolutional neural networks", Neurocomputing 2019.
"""

import itertools
from typing import Annotated, Any, Literal

import pydantic
from pydantic import Field, StrictInt
from pydantic.dataclasses import dataclass

from decomp.platform.errors import UserError

Method = Literal["ensemble", "mc-dropout", "test-time-augmentation"]

MOST = 100
"""Most passes of an image, where nothing else bounds them."""


@dataclass(frozen=True, config={"extra": "forbid"})
class Passes:
    """The passes in which every image is predicted."""

    method: Method
    """``ensemble``: n models, trained on the same regions with random streams of their own. ``mc-dropout``: n passes of
    one model with its dropout on. ``test-time-augmentation``: n flips of the image, whose predictions are mapped back.
    """

    n: Annotated[StrictInt, Field(ge=2, le=MOST)] = 5
    """Number of passes."""

    evaluate: Literal["first", "mean"] = "first"
    """What is scored on the test images: the ``first`` model in one pass without dropout, or the ``mean`` of the
    passes."""

    @pydantic.model_validator(mode="before")
    @classmethod
    def _from_file(cls, written: Any) -> Any:
        """In a file, the method alone stands for five passes."""
        return {"method": written} if isinstance(written, str) else written

    def check(self, *, dropout: float, flips: int) -> None:
        """Check that a learner can predict in these passes.

        Args:
            dropout: the learner's option, the share that its dropout drops.
            flips: number of flips that an image of its kind has; 0 for images that cannot be flipped.

        Raises:
            UserError: if it cannot, naming the key and the remedy.
        """
        if self.method == "mc-dropout" and dropout == 0:
            raise UserError("learner.dropout: is 0, so that the passes of mc-dropout would be equal; give e.g. 0.2.")
        if self.method == "test-time-augmentation" and flips == 0:
            raise UserError("passes.method: sets of ROIs cannot be flipped; choose ensemble or mc-dropout.")
        if self.method == "test-time-augmentation" and self.n > flips:
            raise UserError(f"passes.n: these images have {flips} flips, not {self.n}; give at most {flips}.")

    @property
    def members(self) -> int:
        """Models that are trained in each cycle."""
        return self.n if self.method == "ensemble" else 1

    @property
    def in_reference(self) -> "Passes | None":
        """The passes of a full annotation, from whose model nothing is selected; None where they change nothing."""
        return self if self.evaluate == "mean" else None

    @property
    def in_first_cycle(self) -> "Passes | None":
        """The passes of a first cycle, in which nothing is predicted but test images; None where they change nothing.

        A run goes on from all models of an ensemble.
        """
        return self if self.members > 1 else self.in_reference


def flips(axes: int) -> list[tuple[int, ...]]:
    """The flips of test-time augmentation, each a set of axes to flip; the last axis is flipped first.

    Of images: none, horizontal, vertical, both. Of volumes: the same in every slice, then the same with the slices in
    reverse order.

    Args:
        axes: number of spatial axes.
    """
    flags = itertools.product((False, True), repeat=axes)
    return [tuple(axis for axis, flipped in enumerate(one) if flipped) for one in flags]
