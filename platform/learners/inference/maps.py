"""What every implementation of decoding gives: maps of the pixels of one image."""

from typing import NamedTuple

import torch


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
