"""What networks that label every pixel of an image share, and how they predict."""

from abc import ABC, abstractmethod

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from decomp.platform.errors import UserError
from decomp.platform.learners.base import Predictor
from decomp.platform.learners.inference.bottleneck import Bottleneck
from decomp.platform.learners.inference.decode import decode
from decomp.platform.learners.reproducible import reproducible
from decomp.platform.predictions import Prediction, Wanted


class SegmentationNetwork(nn.Module, ABC):
    """A network from raw pixels (N, channels, H, W), any H and W, to logits (N, C, H, W).

    Attributes:
        mean: of the pixels it is trained on, shape (1, channels, 1, 1).
        std: their standard deviation, of the same shape.
        in_channels: channels of the image.
        stride: pixels per cell of the last map.
    """

    mean: torch.Tensor
    std: torch.Tensor
    stride: int

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.register_buffer("mean", torch.zeros(1, in_channels, 1, 1))
        self.register_buffer("std", torch.ones(1, in_channels, 1, 1))

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """What training needs: logits of a batch, and those of `auxiliary`."""
        size = (pixels.shape[-2], pixels.shape[-1])
        maps = self.encode(pixels)
        return self.decode(maps, size), self.auxiliary(maps, size)

    @abstractmethod
    def encode(self, pixels: torch.Tensor) -> list[torch.Tensor]:
        """Feature maps, the deepest last, whose cells cover the image."""

    @abstractmethod
    def decode(self, maps: list[torch.Tensor], size: tuple[int, int]) -> torch.Tensor:
        """Logits, shape (N, C, *size), float32, of images of this size from what `encode` gave."""

    def auxiliary(self, maps: list[torch.Tensor], size: tuple[int, int]) -> torch.Tensor | None:
        """Logits of a head that helps training only; None if there is none."""
        return None

    def layers_above(self, name: str) -> int:
        """How many layers lie between a parameter and the decoder, for the layer-wise decay of the learning rate."""
        return 0


class SegmentationPredictor(Predictor):
    """A trained network of images; `Segmentation.load` makes it.

    Args:
        network: in evaluation mode, on its device.
        device: where the network is.
        title: what the learner is called in messages.
        threads: CPU threads.
        strict: as in `reproducible`.
    """

    def __init__(
        self, network: SegmentationNetwork, device: torch.device, title: str, threads: int, strict: bool
    ) -> None:
        self._network, self._device, self._title = network, device, title
        self._threads, self._strict = threads, strict

    def predict(self, image: npt.NDArray[np.generic], wanted: Wanted) -> Prediction:
        """Predict a whole image of shape (H, W, channels), any H and W; regions are read from the deepest map.

        Raises:
            UserError: if the image has another number of channels than those trained on.
            FloatingPointError: if the network's output is not finite.
        """
        with torch.inference_mode(), reproducible(self._threads, self._device, strict=self._strict):
            logits, bottleneck = self.forward(image)
            return decode(logits, wanted, bottleneck)

    def forward(self, image: npt.NDArray[np.generic]) -> tuple[torch.Tensor, Bottleneck]:
        """Logits, shape (C, H, W), float32, and the deepest map, still on the device; errors as of `predict`."""
        network = self._network
        if image.ndim != 3 or image.shape[2] != network.in_channels:
            raise UserError(
                f"The {self._title} was trained on images of shape (H, W, {network.in_channels}), not {image.shape}."
            )
        kind = np.uint8 if image.dtype == np.uint8 else np.float32
        pixels = to_device(np.ascontiguousarray(image[None], kind), self._device).permute(0, 3, 1, 2).float()
        with autocast(self._device):
            maps = network.encode(pixels)
            logits = network.decode(maps, (image.shape[0], image.shape[1]))
        stride = float(network.stride)
        return logits[0].contiguous(), Bottleneck(maps[-1][0], (stride, stride))


def autocast(device: torch.device) -> torch.autocast:
    """bfloat16 on CUDA, and what the tensors are elsewhere."""
    return torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda")


def to_device(array: npt.NDArray[np.generic], device: torch.device) -> torch.Tensor:
    """A tensor of the array's values."""
    tensor = torch.from_numpy(array)
    # Only a copy from pinned memory is asynchronous.
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)
