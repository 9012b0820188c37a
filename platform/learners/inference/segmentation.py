"""Prediction of whole 2-D images."""

import numpy as np
import numpy.typing as npt
import torch
from typing_extensions import override

from decomp.platform.errors import UserError
from decomp.platform.learners.base import Predictor
from decomp.platform.learners.devices import autocast, to_device
from decomp.platform.learners.inference.bottleneck import Bottleneck
from decomp.platform.learners.inference.decode import decode
from decomp.platform.learners.networks.segmentation import SegmentationNetwork
from decomp.platform.learners.reproducible import reproducible
from decomp.platform.predictions import Prediction, Wanted


class SegmentationPredictor(Predictor):
    """A trained network for images; `Learner.load` makes it.

    Args:
        network: in evaluation mode, on its device.
        device: where the network is.
        title: what the learner is called in messages.
        threads: CPU threads.
        strict: as in `reproducible`.
    """

    def __init__(
        self, network: SegmentationNetwork, device: torch.device, title: str, threads: int, strict: bool = True
    ) -> None:
        self._network, self._device, self._title = network, device, title
        self._threads, self._strict = threads, strict

    @override
    def predict(self, image: npt.NDArray[np.generic], wanted: Wanted) -> Prediction:
        """Predict a whole image of shape (H, W, channels), any H and W; regions are read from the deepest map.

        Raises:
            UserError: if the image's number of channels is not that of the training images.
            FloatingPointError: if the network's output is not finite.
        """
        with torch.inference_mode(), reproducible(self._threads, self._device, strict=self._strict):
            logits, bottleneck = self.forward(image)
            return decode(logits, wanted, bottleneck)

    def forward(self, image: npt.NDArray[np.generic]) -> tuple[torch.Tensor, Bottleneck]:
        """Logits, shape (C, H, W), float32, and the deepest map, still on the device; raises as `predict` does."""
        network = self._network
        if image.ndim != 3 or image.shape[2] != network.in_channels:
            raise UserError(
                f"The {self._title} was trained on images of shape (H, W, {network.in_channels}), not {image.shape}."
            )
        kind = np.uint8 if image.dtype == np.uint8 else np.float32
        pixels = to_device(np.ascontiguousarray(image[None], kind), self._device).permute(0, 3, 1, 2).float()
        with autocast(self._device, network.precision):
            maps = network.encode(pixels)
            logits = network.decode(maps, (image.shape[0], image.shape[1]))
        stride = float(network.stride)
        return logits[0].contiguous(), Bottleneck(maps[-1][0], (stride, stride))
