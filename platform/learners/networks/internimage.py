"""InternImage, an image encoder of deformable convolutions.

Wang et al., "InternImage: Exploring Large-Scale Vision Foundation Models with Deformable Convolutions", CVPR 2023.
The defaults are InternImage-T. Parameters are named as in the released weights, which therefore load.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from decomp.platform.learners.networks.channels import ToChannelsFirst, ToChannelsLast
from decomp.platform.learners.networks.dcnv3 import DeformableConv

EPSILON = 1e-6  # of all layer norms
MLP_RATIO = 4
LAYER_SCALE = 1.0  # initial value

Contexts = Callable[[], tuple[AbstractContextManager[object], AbstractContextManager[object]]]
"""Gives the contexts of a forward pass and of its recomputation in backward."""


class InternImage(nn.Module):
    """The encoder: (N, in_channels, H, W) to maps at 1/4, 1/8, 1/16 and 1/32 of the resolution.

    Maps are channels-last inside; H and W are arbitrary, and each stride rounds up.

    Args:
        in_channels: channels of the image.
        channels: channels C of the first stage; each stage has twice as many as the one before.
        depths: blocks per stage.
        groups: groups of the deformable convolutions per stage.
        drop_path: share of samples that skip a residual branch of the last block in training; less in earlier ones.
        checkpointing: `context_fn` of `torch.utils.checkpoint.checkpoint`, where backward is to recompute each block
            instead of keeping its activations; None where it is not.
    """

    def __init__(
        self,
        in_channels: int = 3,
        channels: int = 64,
        depths: Sequence[int] = (4, 4, 18, 4),
        groups: Sequence[int] = (4, 8, 16, 32),
        drop_path: float = 0.2,
        checkpointing: Contexts | None = None,
    ) -> None:
        super().__init__()
        self.depths = tuple(depths)
        self.widths = tuple(channels * 2**stage for stage in range(len(depths)))
        self.patch_embed = Stem(in_channels, channels)
        rates = iter(torch.linspace(0, drop_path, sum(depths), device="cpu").tolist())
        self.levels = nn.ModuleList(
            Stage(width, [next(rates) for _ in range(depth)], group, width != self.widths[-1], checkpointing)
            for width, depth, group in zip(self.widths, depths, groups, strict=True)
        )
        self.apply(_initialise)
        for module in self.modules():
            if isinstance(module, DeformableConv):
                module.reset_parameters()

    def forward(self, pixels: torch.Tensor) -> list[torch.Tensor]:
        """Normalised maps of the stages, shapes (N, C * 2 ** s, h, w), in channels-last memory."""
        x = self.patch_embed(pixels)
        maps: list[torch.Tensor] = []
        for level in self.levels:
            assert isinstance(level, Stage)
            x = level(x)
            maps.append(x.permute(0, 3, 1, 2))
            if level.downsample is not None:
                x = level.downsample(x)
        return maps


class Stem(nn.Module):
    """Two convolutions of stride 2: (N, in_channels, H, W) to (N, h, w, C)."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels // 2, 3, stride=2, padding=1)
        self.norm1 = nn.Sequential(ToChannelsLast(), nn.LayerNorm(channels // 2, eps=EPSILON), ToChannelsFirst())
        self.act = nn.GELU()
        self.conv2 = nn.Conv2d(channels // 2, channels, 3, stride=2, padding=1)
        self.norm2 = nn.Sequential(ToChannelsLast(), nn.LayerNorm(channels, eps=EPSILON))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Embed overlapping patches of 4 x 4 pixels."""
        x: torch.Tensor = self.norm2(self.conv2(self.act(self.norm1(self.conv1(pixels)))))
        return x


class Stage(nn.Module):
    """Blocks of one resolution, (N, h, w, C) to the same shape, and the layer that leads to the next resolution."""

    def __init__(
        self, channels: int, drop_path: Sequence[float], groups: int, downsample: bool, checkpointing: Contexts | None
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(channels, groups, rate) for rate in drop_path)
        self.norm = nn.Sequential(nn.LayerNorm(channels, eps=EPSILON))
        self.downsample = Downsample(channels) if downsample else None
        self.checkpointing = checkpointing

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply the blocks and the last norm."""
        for block in self.blocks:
            if self.checkpointing is not None and torch.is_grad_enabled():
                x = checkpoint(block, x, use_reentrant=False, context_fn=self.checkpointing)
            else:
                x = block(x)
        normalised: torch.Tensor = self.norm(x)
        return normalised


class Block(nn.Module):
    """Deformable convolution and multilayer perceptron, each with a norm before and a scaled residual around it."""

    def __init__(self, channels: int, groups: int, drop_path: float) -> None:
        super().__init__()
        self.norm1 = nn.Sequential(nn.LayerNorm(channels, eps=EPSILON))
        self.dcn = DeformableConv(channels, groups)
        self.drop_path = DropPath(drop_path)
        self.norm2 = nn.Sequential(nn.LayerNorm(channels, eps=EPSILON))
        self.mlp = Mlp(channels)
        self.gamma1 = nn.Parameter(torch.full((channels,), LAYER_SCALE))
        self.gamma2 = nn.Parameter(torch.full((channels,), LAYER_SCALE))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Filter a batch of channels-last maps."""
        x = x + self.drop_path(self.gamma1 * self.dcn(self.norm1(x)))
        x = x + self.drop_path(self.gamma2 * self.mlp(self.norm2(x)))
        return x


class Mlp(nn.Module):
    """Two linear layers along the channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, MLP_RATIO * channels)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(MLP_RATIO * channels, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Transform each pixel."""
        x = self.fc2(self.act(self.fc1(x)))
        return x


class Downsample(nn.Module):
    """Convolution of stride 2 to twice the channels, channels-last."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, 2 * channels, 3, stride=2, padding=1, bias=False)
        self.norm = nn.Sequential(ToChannelsLast(), nn.LayerNorm(2 * channels, eps=EPSILON))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Halve the resolution, rounding up."""
        x = self.norm(self.conv(x.permute(0, 3, 1, 2)))
        return x


class DropPath(nn.Module):
    """Stochastic depth: in training a sample's branch is 0 with probability `rate`, and scaled up otherwise.

    Huang et al., "Deep Networks with Stochastic Depth", ECCV 2016.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, branch: torch.Tensor) -> torch.Tensor:
        """Drop whole samples of a batch."""
        if not self.training or self.rate == 0:
            return branch
        keep = branch.new_empty(len(branch), *[1] * (branch.ndim - 1)).bernoulli_(1 - self.rate)
        return branch * (keep / (1 - self.rate))


def layers_below(name: str, depths: Sequence[int]) -> int:
    """How many layers lie before the one of an encoder's parameter, as layer-wise learning-rate decay counts them.

    The stem is layer 0 and the k-th block of the encoder, from 0, layer k + 1. A stage's last norm and its downsampling
    belong to the next stage's first block; the last stage's norm to that stage's first block, as published.
    """
    kind, *path = name.split(".")
    if kind != "levels":
        return 0
    stage = int(path[0])
    before = sum(depths[:stage])
    if path[1] == "blocks":
        return before + int(path[2]) + 1
    return before + 1 + (depths[stage] if stage < len(depths) - 1 else 0)


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)
