"""Losses over the annotated pixels of a batch."""

import torch
from torch.nn import functional

from decomp.platform.datasets.base import IGNORE


def weighted_cross_entropy(
    logits: torch.Tensor, labels: torch.Tensor, class_weights: torch.Tensor, total_weight: float
) -> torch.Tensor:
    """Cross-entropy averaged over the annotated pixels of the global batch, of which these may be a part.

    Args:
        logits: shape (N, C, H, W), float.
        labels: shape (N, H, W), int64, `IGNORE` where not annotated.
        class_weights: shape (C,), float32.
        total_weight: sum of the class weights of all labels of the global batch.

    Returns:
        This part's share of the mean: the shares of all parts sum to it.
    """
    # Averaged here, because the built-in average of a 2-D loss is not reproducible on CUDA.
    losses = functional.cross_entropy(logits, labels, weight=class_weights, ignore_index=IGNORE, reduction="none")
    return losses.sum() / total_weight
