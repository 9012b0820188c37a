"""Prediction with a network that classifies ROIs."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.nn import functional
from typing_extensions import override

from decomp.platform.learners.base import Predictor
from decomp.platform.learners.inference.bottleneck import Bottleneck
from decomp.platform.learners.inference.decode import decode
from decomp.platform.learners.networks.rois import Inputs, RoiNetwork
from decomp.platform.learners.reproducible import reproducible
from decomp.platform.predictions import Prediction, Wanted


class RoiPredictor(Predictor):
    """A trained network for ROIs.

    Args:
        network: the network, on the device.
        inputs: makes ROIs ready for the network on a device.
        device: where it computes.
        threads: CPU threads.
    """

    def __init__(
        self,
        network: RoiNetwork,
        inputs: Callable[[RoiNetwork, Sequence[Any], torch.device], Inputs],
        device: torch.device,
        threads: int,
    ) -> None:
        self._network, self._inputs, self._device, self._threads = network, inputs, device, threads

    @override
    def predict(self, image: Any, wanted: Wanted) -> Prediction:
        """Predict the n ROIs of a slide; the features of a ROI are the penultimate activations, of Euclidean norm 1.

        Raises:
            UserError: if the ROIs are not of the kind trained on.
            FloatingPointError: if the network's output is not finite.
        """
        with torch.inference_mode(), reproducible(self._threads, self._device):
            inputs, order = self._inputs(self._network, image, self._device), torch.arange(len(image))
            embedded = torch.cat([self._network.embed(batch) for batch in inputs.batches(order, inputs.chunks())])
            logits = self._network.classify(embedded).T.contiguous()
            features = functional.normalize(embedded).T.contiguous()
            return decode(logits, wanted, Bottleneck(features, (1.0,)))
