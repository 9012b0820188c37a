"""What a network that classifies ROIs offers to training and prediction."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import torch
from torch import nn
from torch.nn import functional

Descend = Callable[[Any, torch.Tensor], torch.Tensor]


class Inputs(Protocol):
    """ROIs as a network reads them, on its device."""

    def batches(self, order: torch.Tensor, sizes: list[int]) -> Iterable[Any]:
        """What the network is given for each batch.

        Args:
            order: numbers of the ROIs, shape (n,), int64, on the CPU.
            sizes: ROIs per batch, taken in this order; the sizes sum to n.
        """

    def chunks(self) -> list[int]:
        """Sizes of batches that fit in memory in prediction; together they hold all ROIs in their own order."""


class RoiNetwork(nn.Module, ABC):
    """A network from the inputs of B ROIs to logits, shape (B, C).

    Attributes:
        options: arguments that describe the network in its checkpoint, of the types that JSON has.
    """

    options: dict[str, Any]

    @abstractmethod
    def embed(self, inputs: Any) -> torch.Tensor:
        """Activations of the penultimate layer, shape (B, D)."""

    @abstractmethod
    def classify(self, embedded: torch.Tensor) -> torch.Tensor:
        """Logits of the last layer, shape (B, C), from what `embed` gave."""

    def forward(self, inputs: Any) -> torch.Tensor:
        """Logits, shape (B, C)."""
        return self.classify(self.embed(inputs))

    def descent(self) -> Descend:
        """A function of a batch's inputs and labels, shape (B,), int64, made once per training.

        It returns the mean cross-entropy and leaves the gradients in the parameters' `grad`.
        """

        def descend(inputs: Any, labels: torch.Tensor) -> torch.Tensor:
            self.zero_grad(set_to_none=True)
            loss = functional.cross_entropy(self(inputs), labels)
            loss.backward()  # type: ignore[no-untyped-call]
            return loss.detach()

        return descend
