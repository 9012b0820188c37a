"""The network of UperNet, with InternImage as its encoder.

Xiao et al., "Unified Perceptual Parsing for Scene Understanding", ECCV 2018; pyramid pooling: Zhao et al., "Pyramid
Scene Parsing Network", CVPR 2017. Parameters are named as in mmsegmentation, so that released models load.
"""

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional
from typing_extensions import override

from decomp.platform.learners.networks.internimage import InternImage, layers_below
from decomp.platform.learners.networks.segmentation import SegmentationNetwork

POOL_SCALES = (1, 2, 3, 6)
AUXILIARY_STAGE = 2


class Network(SegmentationNetwork):
    """UperNet: an encoder of images, a pyramid of its maps, and an auxiliary head for training.

    Args:
        backbone: the encoder.
        in_channels: channels of the image.
        n_classes: number of classes C.
        decoder_channels: channels of the decoder.
        auxiliary_channels: channels of the auxiliary head.
        dropout: share of the channels that are dropped before the last layer of each head in training.
    """

    def __init__(
        self,
        backbone: InternImage,
        in_channels: int,
        n_classes: int,
        decoder_channels: int,
        auxiliary_channels: int,
        dropout: float = 0.1,
    ) -> None:
        super().__init__(in_channels)
        self.stride = 2 ** (1 + len(backbone.widths))
        self.backbone = backbone
        self.decode_head = UperHead(backbone.widths, decoder_channels, n_classes, dropout)
        self.auxiliary_head = FcnHead(backbone.widths[AUXILIARY_STAGE], auxiliary_channels, n_classes, dropout)

    @override
    def encode(self, pixels: torch.Tensor) -> list[torch.Tensor]:
        """Maps at 1/4 to 1/32 of the resolution, rounded up."""
        maps: list[torch.Tensor] = self.backbone((pixels - self.mean) / self.std)
        return maps

    @override
    def decode(self, maps: list[torch.Tensor], size: tuple[int, int]) -> torch.Tensor:
        """Logits at 1/4 of the resolution, interpolated to `size`."""
        return resized(self.decode_head(maps), size)

    @override
    def auxiliary(self, maps: list[torch.Tensor], size: tuple[int, int]) -> torch.Tensor:
        """Logits of the third stage, interpolated to `size`."""
        return resized(self.auxiliary_head(maps[AUXILIARY_STAGE]), size)

    @override
    def layers_above(self, name: str) -> int:
        """As published: the decoder is one layer beyond the one that follows the last block."""
        depths = self.backbone.depths
        if not name.startswith("backbone."):
            return 0
        return sum(depths) + 1 - layers_below(name.removeprefix("backbone."), depths)


class UperHead(nn.Module):
    """The decoder: pyramid pooling on the last map, a feature pyramid over all maps, and their fusion at 1/4."""

    def __init__(self, widths: Sequence[int], channels: int, n_classes: int, dropout: float) -> None:
        super().__init__()
        self.psp_modules = nn.ModuleList(
            nn.Sequential(nn.AdaptiveAvgPool2d(scale), ConvBlock(widths[-1], channels, 1)) for scale in POOL_SCALES
        )
        self.bottleneck = ConvBlock(widths[-1] + len(POOL_SCALES) * channels, channels, 3)
        self.lateral_convs = nn.ModuleList(ConvBlock(width, channels, 1) for width in widths[:-1])
        self.fpn_convs = nn.ModuleList(ConvBlock(channels, channels, 3) for _ in widths[:-1])
        self.fpn_bottleneck = ConvBlock(len(widths) * channels, channels, 3)
        self.dropout = nn.Dropout2d(dropout)
        self.conv_seg = _classifier(channels, n_classes)

    def forward(self, maps: Sequence[torch.Tensor]) -> torch.Tensor:
        """Logits in float32 at the resolution of the first map."""
        *fine, deepest = maps
        pooled = [resized(module(deepest), deepest.shape[-2:]) for module in self.psp_modules]
        x = self.bottleneck(torch.cat([deepest, *pooled], 1))
        pyramid = [x]
        for lateral, features, smooth in reversed(list(zip(self.lateral_convs, fine, self.fpn_convs, strict=True))):
            x = lateral(features) + resized(x, features.shape[-2:])
            pyramid.insert(0, smooth(x))
        size = pyramid[0].shape[-2:]
        fused = self.fpn_bottleneck(torch.cat([pyramid[0], *(resized(level, size) for level in pyramid[1:])], 1))
        return _in_float32(self.conv_seg, self.dropout(fused))


class FcnHead(nn.Module):
    """The auxiliary head: one convolution and a classifier."""

    def __init__(self, width: int, channels: int, n_classes: int, dropout: float) -> None:
        super().__init__()
        self.convs = nn.Sequential(ConvBlock(width, channels, 3))
        self.dropout = nn.Dropout2d(dropout)
        self.conv_seg = _classifier(channels, n_classes)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Logits in float32 at the resolution of the map."""
        return _in_float32(self.conv_seg, self.dropout(self.convs(features)))


class ConvBlock(nn.Module):
    """Convolution, batch norm and rectifier."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(out_channels)
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Filter a map."""
        x = functional.relu(self.bn(self.conv(x)), inplace=True)
        return x


def resized(x: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    """Bilinear interpolation to rows and columns `size`, corners not aligned."""
    return functional.interpolate(x, (size[0], size[1]), mode="bilinear", align_corners=False)


def _classifier(channels: int, n_classes: int) -> nn.Conv2d:
    layer = nn.Conv2d(channels, n_classes, 1)
    nn.init.normal_(layer.weight, std=0.01)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer


def _in_float32(classifier: nn.Conv2d, x: torch.Tensor) -> torch.Tensor:
    # bfloat16 would leave steps of 1/8 between large logits, and percent-sized ones between confidences.
    with torch.autocast(x.device.type, enabled=False):
        logits: torch.Tensor = classifier(x.float())
    return logits
