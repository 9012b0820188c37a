"""What a network that labels every pixel of an image offers to training and prediction."""

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional


class SegmentationNetwork(nn.Module, ABC):
    """A network from raw pixels (N, channels, H, W), any H and W, to logits (N, C, H, W).

    Attributes:
        precision: type of the arithmetic on CUDA, where it runs under autocast; logits are float32 in any case.
        mean: of the pixels it is trained on, shape (1, channels, 1, 1).
        std: their standard deviation, of the same shape.
        in_channels: channels of the image.
        stride: pixels per cell of the last map.
    """

    precision: ClassVar[torch.dtype] = torch.bfloat16

    mean: torch.Tensor
    std: torch.Tensor
    stride: int

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.register_buffer("mean", torch.zeros(1, in_channels, 1, 1))
        self.register_buffer("std", torch.ones(1, in_channels, 1, 1))

    def set_statistics(self, mean: npt.NDArray[np.float32], std: npt.NDArray[np.float32]) -> None:
        """Set the mean and standard deviation of each channel that standardise the pixels; shape (channels,)."""
        self.mean.copy_(torch.from_numpy(mean)[None, :, None, None])
        self.std.copy_(torch.from_numpy(std)[None, :, None, None])

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

    def padded(self, pixels: torch.Tensor) -> torch.Tensor:
        """Standardised pixels, extended at the lower right to a multiple of `stride` by repeating the border."""
        height, width = pixels.shape[-2:]
        x = (pixels - self.mean) / self.std
        if height % self.stride or width % self.stride:
            x = functional.pad(x, (0, -width % self.stride, 0, -height % self.stride), mode="replicate")
        return x

    def auxiliary(self, maps: list[torch.Tensor], size: tuple[int, int]) -> torch.Tensor | None:
        """Logits of a head that helps training only; None if there is none."""
        return None

    def layers_above(self, name: str) -> int:
        """How many layers lie between a parameter and the decoder, for the layer-wise decay of the learning rate."""
        return 0
