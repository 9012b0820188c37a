"""Layers that move the channels of a map, as members of a sequence."""

import torch
from torch import nn


class ToChannelsLast(nn.Module):
    """(N, C, H, W) to (N, H, W, C), without a copy."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Move the axis."""
        return x.permute(0, 2, 3, 1)


class ToChannelsFirst(nn.Module):
    """(N, H, W, C) to (N, C, H, W), without a copy."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Move the axis."""
        return x.permute(0, 3, 1, 2)
