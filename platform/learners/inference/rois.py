"""Prediction with a network that classifies ROIs."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.nn import functional
from typing_extensions import override

from decomp.platform.learners.inference.bottleneck import Bottleneck
from decomp.platform.learners.inference.passes import ForwardPredictor
from decomp.platform.learners.networks.rois import Inputs, RoiNetwork


class RoiPredictor(ForwardPredictor):
    """A trained network for ROIs.

    Args:
        network: the network, on the device.
        inputs: makes ROIs ready for the network on a device.
        device: where it computes.
        threads: CPU threads.
    """

    network: RoiNetwork

    def __init__(
        self,
        network: RoiNetwork,
        inputs: Callable[[RoiNetwork, Sequence[Any], torch.device], Inputs],
        device: torch.device,
        threads: int,
    ) -> None:
        super().__init__(network, device, threads)
        self._inputs = inputs

    @override
    def forward(self, image: Any, regions: bool = False) -> tuple[torch.Tensor, Bottleneck]:
        """Logits of the n ROIs of a slide, shape (C, n), and their penultimate activations, of Euclidean norm 1.

        Raises:
            UserError: if the ROIs are not of the kind trained on.
        """
        inputs, order = self._inputs(self.network, image, self.device), torch.arange(len(image))
        embedded = torch.cat([self.network.embed(batch) for batch in inputs.batches(order, inputs.chunks())])
        logits = self.network.classify(embedded).T.contiguous()
        return logits, Bottleneck(functional.normalize(embedded).T.contiguous(), (1.0,))
