"""Folds several predictions of one image into their mean, pass by pass (Sec. 10 of the method notes).

Kept are the running sum of the probabilities, C maps, and that of the entropies, one map, never K predictions. What
is decoded in the end is the logarithm of the mean, as if it were the logits of a single pass.

As in `decode`, two implementations stand behind `Fold`: chunks of pixels, and one Triton kernel on CUDA.
"""

from collections.abc import Callable
from functools import cache

import torch

from decomp.platform.learners.inference.softmax import chunks_of, class_sum, entropy_of, shifted
from decomp.platform.predictions import LEVELS, Measure

Sums = tuple[torch.Tensor, torch.Tensor | None]
"""Sums of the probabilities, shape (C, P), and of the entropies, shape (P,), both float32; of the entropies if
wanted."""


class Fold:
    """The passes of one image so far.

    Args:
        entropies: whether the mean of their entropies is wanted.
    """

    def __init__(self, entropies: bool) -> None:
        self._entropies = entropies
        self._passes = 0

    def add(self, logits: torch.Tensor) -> None:
        """Add a pass.

        Args:
            logits: shape (C, *axes); float32, bfloat16 or float16, on the CPU or CUDA. They are left as they are.

        Raises:
            FloatingPointError: if the logits of a pixel contain NaN or +inf, or are all -inf.
        """
        n_classes, *axes = logits.shape
        flat = logits.detach().reshape(n_classes, -1)
        if not self._passes:
            self._axes = axes
            self._sums: Sums = (
                torch.zeros(flat.shape, device=flat.device),
                torch.zeros(flat.shape[1], device=flat.device) if self._entropies else None,
            )
        kernel = _kernel() if flat.is_cuda else None
        (kernel or add_chunks)(flat, *self._sums)
        self._passes += 1

    def mean_logits(self) -> torch.Tensor:
        """Logits whose softmax is the mean of the probabilities, shape (C, *axes), float32; ends the fold."""
        return self._sums[0].log_().reshape(-1, *self._axes)

    def expected_entropy(self) -> torch.Tensor | None:
        """Mean of the entropies in levels, shape (*axes), int32; None unless wanted."""
        probabilities, entropies = self._sums
        if entropies is None:
            return None
        scale = LEVELS / (self._passes * Measure.EXPECTED_ENTROPY.greatest(len(probabilities)))
        return (entropies * scale).round_().clamp_(0, LEVELS).int().reshape(self._axes)


def add_chunks(logits: torch.Tensor, probabilities: torch.Tensor, entropies: torch.Tensor | None) -> None:
    """Add the probabilities and entropies of one pass to the sums, chunk by chunk.

    Args:
        logits: shape (C, P), any float type, on any device.
        probabilities: sum over the passes so far, shape (C, P), float32.
        entropies: likewise, shape (P,), float32; None if not wanted.

    Raises:
        FloatingPointError: as `Fold.add` does.
    """
    for chunk in chunks_of(logits):
        gaps, _ = shifted(logits, chunk)
        exponentials = gaps.exp()
        total = class_sum(exponentials)
        probabilities[:, chunk].addcdiv_(exponentials, total)
        if entropies is not None:
            entropies[chunk] += entropy_of(gaps, exponentials, total)


@cache
def _kernel() -> Callable[[torch.Tensor, torch.Tensor, torch.Tensor | None], None] | None:
    """The Triton kernel, where Triton is installed."""
    try:
        from decomp.platform.learners.inference.fused_fold import add_pixels
    except ImportError:
        return None
    return add_pixels
