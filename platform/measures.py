"""Measures of uncertainty of a user's own, in place of those of `Measure`."""

from abc import ABC, abstractmethod
from typing import Any


class OwnMeasure(ABC):
    """A measure of uncertainty over the passes of an image, of which a single prediction has one.

    It is named in the experiment file in place of a built-in measure, `uncertainty: "mine:Disagreement"`. An instance
    is made for every image; it is given the passes one by one, so that they never are all in memory.

    Attributes:
        greatest: upper bound of its values, which are kept in 65,535 steps from 0 to it.

    Example:
        >>> class Doubt(OwnMeasure):
        ...     def add(self, probabilities): pass
        ...     def values(self, mean): return 1 - mean.amax(0)
    """

    greatest: float = 1.0

    @abstractmethod
    def add(self, probabilities: Any) -> None:
        """Take note of one pass.

        Called in the workers, once for each pass, on the device of the model.

        Args:
            probabilities: of P pixels, shape (C, P), a float32 tensor of torch.
        """

    @abstractmethod
    def values(self, mean: Any) -> Any:
        """The uncertainty of every pixel, shape (P,), a float tensor from 0 to `greatest`.

        Called once, after the last pass.

        Args:
            mean: mean of the probabilities over the passes, shape (C, P), float32.
        """
