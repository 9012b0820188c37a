"""The multilayer perceptron on one feature vector per ROI."""

import itertools
import math
from collections.abc import Iterable

import torch
from torch import nn
from torch.nn import functional
from typing_extensions import override

from decomp.platform.learners.networks.rois import Descend, Inputs, RoiNetwork

Layers = list[tuple[torch.Tensor, torch.Tensor]]
"""Weight, shape (m, n), and bias, shape (m,), of each layer."""


class Dropout(nn.Dropout):
    """As torch's, but faster."""

    @override
    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Drop single activations in training."""
        if not (self.training and self.p):
            return input
        return input * torch.rand_like(input).gt_(self.p).div_(1 - self.p)


class Network(RoiNetwork):
    """The network: standardised features (B, F) to logits (B, C).

    All weights lie in one vector and the gradients are written out, because at this size autograd and an optimiser of
    many tensors cost several times the arithmetic.

    Args:
        n_features: number of features F.
        n_classes: number of classes C.
        widths: neurons per hidden layer.
        dropout: share of the hidden activations that are dropped in training.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, n_features: int, n_classes: int, widths: tuple[int, ...], dropout: float = 0.0) -> None:
        super().__init__()
        self.n_features, self.drop = n_features, Dropout(dropout)
        self.options = {"n_features": n_features, "widths": list(widths)}
        sizes = (n_features, *widths, n_classes)
        self.shapes = [shape for n, m in itertools.pairwise(sizes) for shape in ((m, n), (m,))]
        self.register_buffer("mean", torch.zeros(n_features))
        self.register_buffer("std", torch.ones(n_features))
        # Uniform within 1 / sqrt(fan in), as nn.Linear has it.
        bounds = [1 / math.sqrt(n) for n in sizes[:-1] for _ in range(2)]
        tensors = [torch.empty(math.prod(s)).uniform_(-b, b) for s, b in zip(self.shapes, bounds, strict=True)]
        self.weights = nn.Parameter(torch.cat(tensors))

    @override
    def embed(self, inputs: torch.Tensor) -> torch.Tensor:
        """Activations of the last hidden layer, shape (B, D)."""
        return self._hidden(self._layers(self.weights), inputs)[-1]

    @override
    def classify(self, embedded: torch.Tensor) -> torch.Tensor:
        """Logits, shape (B, C)."""
        weight, bias = self._layers(self.weights)[-1]
        return functional.linear(embedded, weight, bias)

    @override
    def descent(self) -> Descend:
        """As for any `RoiNetwork`, but without autograd."""
        self.weights.grad = torch.zeros_like(self.weights)
        # The views are made once, because making them costs as much as the arithmetic.
        layers, gradients = self._layers(self.weights.detach()), self._layers(self.weights.grad)
        one_hot = torch.eye(len(layers[-1][1]), device=self.weights.device)

        def descend(inputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
            activations = self._hidden(layers, inputs)
            log_p = functional.linear(activations[-1], *layers[-1]).log_softmax(1)
            loss = functional.nll_loss(log_p, labels)
            slope = log_p.exp_().sub_(one_hot[labels]).div_(len(labels))  # the loss's gradient at the logits
            for k in reversed(range(len(layers))):
                torch.mm(slope.T, activations[k], out=gradients[k][0])
                torch.sum(slope, 0, out=gradients[k][1])
                if k > 0:  # an activation is 0 where it was rectified or dropped, and the others were enlarged
                    slope = torch.mm(slope, layers[k][0]).mul_(activations[k] > 0).div_(1 - self.drop.p)
            return loss

        return descend

    def _hidden(self, layers: Layers, inputs: torch.Tensor) -> list[torch.Tensor]:
        """The inputs and the activations of each hidden layer."""
        activations = [inputs]
        for weight, bias in layers[:-1]:
            activations.append(self.drop(functional.linear(activations[-1], weight, bias).relu_()))
        return activations

    def _layers(self, flat: torch.Tensor) -> Layers:
        """Views of `flat`."""
        flats = torch.split(flat, [math.prod(shape) for shape in self.shapes])
        views = [one.view(shape) for one, shape in zip(flats, self.shapes, strict=True)]
        return list(zip(views[::2], views[1::2], strict=True))


class Rows(Inputs):
    """Feature vectors on a device, shape (n, F)."""

    def __init__(self, features: torch.Tensor) -> None:
        self._features = features

    @override
    def batches(self, order: torch.Tensor, sizes: list[int]) -> Iterable[torch.Tensor]:
        return torch.split(self._features[order.to(self._features.device)], sizes)

    @override
    def chunks(self) -> list[int]:
        return [len(self._features)]
