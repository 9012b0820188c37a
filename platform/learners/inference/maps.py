"""What every implementation of decoding gives: maps of the pixels of one image."""

from typing import NamedTuple

import torch

from decomp.platform.predictions import LEVELS, UncertaintyMap


class Maps(NamedTuple):
    """What decoding gives for P pixels and C classes, on the logits' device.

    Attributes:
        labels: shape (P,), uint8.
        confidence: shape (P,), float32; None unless needed.
        levels: of uncertainty, shape (P,), uint16 on the CPU and int32 on CUDA; None unless wanted.
        counts: shape (3, C), integer, as in `Prediction`; None where they are still to be made from the maps.
    """

    labels: torch.Tensor
    confidence: torch.Tensor | None
    levels: torch.Tensor | None
    counts: torch.Tensor | None = None


def not_finite() -> FloatingPointError:
    """The error of a diverged model; callers that know its name add it, and those with the image look there for NaN."""
    return FloatingPointError("The model gives NaN or infinite values; lower learning_rate.")


def levels_type(device: torch.device) -> torch.dtype:
    """Type of levels of uncertainty on a device."""
    return torch.uint16 if device.type == "cpu" else torch.int32


def uncertainty_map(levels: torch.Tensor, greatest: float) -> UncertaintyMap:
    """An uncertainty in levels of `levels_type`, shape (*axes), whose greatest value is `greatest`."""
    return UncertaintyMap(levels if levels.is_cuda else levels.numpy(), greatest / LEVELS)


def self_scaled(values: torch.Tensor) -> UncertaintyMap:
    """Values of 0 or more, shape (*axes), float32, in levels up to their own greatest, so that tiny ones differ."""
    greatest = float(values.amax()) or 1.0
    return UncertaintyMap(quantised(values / greatest, 1.0).levels, greatest / LEVELS)


def quantised(values: torch.Tensor, greatest: float) -> UncertaintyMap:
    """An uncertainty of shape (*axes), float32 from 0 to `greatest`, in levels."""
    levels = (values * (LEVELS / greatest)).round_().clamp_(0, LEVELS)
    return uncertainty_map(levels.to(levels_type(levels.device)), greatest)
