"""Sums over the classes of logits on the CPU, and on CUDA without Triton, for chunks of pixels (see `decode`)."""

from collections.abc import Iterator

import cv2
import torch

from decomp.platform.learners.inference.maps import not_finite

CHUNK = {"cpu": 2**17, "cuda": 2**27}
"""Logits treated at once: on the CPU half a megabyte, of which a few intermediates fit a second-level cache."""


def chunks_of(logits: torch.Tensor) -> Iterator[slice]:
    """Chunks of the pixels of logits (C, P)."""
    n_classes, n_pixels = logits.shape
    size = max(1, CHUNK[logits.device.type] // n_classes)
    for first in range(0, n_pixels, size):
        yield slice(first, first + size)


def shifted(logits: torch.Tensor, chunk: slice) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits of a chunk less the greatest of each pixel, shape (C, p), and that, shape (p,); float32.

    Args:
        logits: shape (C, P).
        chunk: of its pixels.

    Raises:
        FloatingPointError: if the model's output is not finite, as `decode` says.
    """
    part = logits[:, chunk].float()
    top = part.amax(0)
    if float((top * 0).sum()) != 0:  # NaN where any is NaN or infinite
        raise not_finite()
    return part - top, top


def class_sum(values: torch.Tensor) -> torch.Tensor:
    """Sum over the first axis of (C, P)."""
    if values.device.type == "cpu":  # PyTorch's order of summation depends on the pixel's place in the chunk
        return torch.from_numpy(cv2.reduce(values.numpy(), 0, cv2.REDUCE_SUM)[0])
    return values.sum(0)


def entropy_of(shifted: torch.Tensor, exponentials: torch.Tensor, total: torch.Tensor) -> torch.Tensor:
    """ln z - sum_c e_c s_c / z, named as in `decode`, shape (P,); overwrites `shifted`."""
    # The bound matters only to a logit of -inf, whose 0 * inf would be NaN.
    moment = class_sum(shifted.clamp_(min=-100).mul_(exponentials))
    return total.log().sub_(moment.div_(total))
