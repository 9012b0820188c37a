"""Prediction of whole 2-D images."""

import numpy as np
import numpy.typing as npt
import torch
from typing_extensions import override

from decomp.platform.errors import UserError
from decomp.platform.learners.devices import autocast, to_device
from decomp.platform.learners.inference.bottleneck import Bottleneck
from decomp.platform.learners.inference.passes import ForwardPredictor
from decomp.platform.learners.networks.segmentation import SegmentationNetwork


class SegmentationPredictor(ForwardPredictor):
    """A trained network for images; `Learner.load` makes it.

    Args:
        network: in evaluation mode, on its device.
        device: where the network is.
        title: what the learner is called in messages.
        threads: CPU threads.
        strict: as in `reproducible`.
    """

    network: SegmentationNetwork

    def __init__(
        self, network: SegmentationNetwork, device: torch.device, title: str, threads: int, strict: bool = True
    ) -> None:
        super().__init__(network, device, threads, strict)
        self._title = title

    @override
    def forward(self, image: npt.NDArray[np.generic], regions: bool = False) -> tuple[torch.Tensor, Bottleneck]:
        """Logits, shape (C, H, W), float32, and the deepest map, still on the device.

        Args:
            image: shape (H, W, channels), any H and W.
            regions: makes no difference, since the map is there in any case.

        Raises:
            UserError: if the image's number of channels is not that of the training images.
        """
        network = self.network
        if image.ndim != 3 or image.shape[2] != network.in_channels:
            raise UserError(
                f"The {self._title} was trained on images of shape (H, W, {network.in_channels}), not {image.shape}."
            )
        kind = np.uint8 if image.dtype == np.uint8 else np.float32
        pixels = to_device(np.ascontiguousarray(image[None], kind), self.device).permute(0, 3, 1, 2).float()
        with autocast(self.device, network.precision):
            maps = network.encode(pixels)
            logits = network.decode(maps, (image.shape[0], image.shape[1]))
        stride = float(network.stride)
        return logits[0].contiguous(), Bottleneck(maps[-1][0], (stride, stride))
