"""The network of a small U-Net.

Ronneberger, Fischer and Brox, "U-Net: Convolutional Networks for Biomedical Image Segmentation", MICCAI 2015.
"""

from typing import ClassVar

import torch
from torch import nn
from torch.nn import functional
from typing_extensions import override

from decomp.platform.learners.networks.segmentation import SegmentationNetwork


class Network(SegmentationNetwork):
    """U-Net with a stride-2 stem; 195k parameters at the learner's default widths.

    Args:
        in_channels: channels of the image.
        n_classes: number of classes C.
        widths: channels at 1/2, 1/4, ... of the resolution.
        dropout: share of the channels of each map that are dropped in training before the decoder enlarges it.
    """

    precision: ClassVar[torch.dtype] = torch.float32

    def __init__(self, in_channels: int, n_classes: int, widths: tuple[int, ...], dropout: float = 0.0) -> None:
        super().__init__(in_channels)
        self.n_classes, self.widths = n_classes, widths
        self.stride = 2 ** len(widths)
        pairs = list(zip((in_channels, *widths), widths, strict=False))
        self.down = nn.ModuleList(nn.Sequential(_block(a, b, stride=2), _block(b, b)) for a, b in pairs)
        self.up = nn.ModuleList(_block(a + b, a) for a, b in reversed(pairs[1:]))
        self.drop = nn.Dropout2d(dropout)
        self.head = nn.Conv2d(widths[0], n_classes, 1)

    @override
    def encode(self, pixels: torch.Tensor) -> list[torch.Tensor]:
        """Feature maps at 1/2, 1/4, ... of the padded image's resolution, shapes (N, width, h, w)."""
        x = self.padded(pixels)
        maps: list[torch.Tensor] = []
        for down in self.down:
            x = down(x)
            maps.append(x)
        return maps

    @override
    def decode(self, maps: list[torch.Tensor], size: tuple[int, int]) -> torch.Tensor:
        *skips, x = maps
        for up, skip in zip(self.up, reversed(skips), strict=True):
            x = up(torch.cat([functional.interpolate(self.drop(x), scale_factor=2, mode="nearest"), skip], dim=1))
        x = functional.interpolate(self.head(x), scale_factor=2, mode="bilinear", align_corners=False)
        return x[..., : size[0], : size[1]]


def _block(in_channels: int, out_channels: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )
