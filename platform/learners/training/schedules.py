"""How fast a network learns, and when it stops.

One-cycle schedule: Smith and Topin, "Super-Convergence", 2018; cosine annealing: Loshchilov and Hutter, "SGDR", ICLR
2017.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


def warmed_polynomial(iteration: int, total: int, warmup: int, warmup_ratio: float, power: float) -> float:
    """Share of the peak learning rate: (1 - iteration / total) ** power, times a linear warm-up from `warmup_ratio`.

    Args:
        iteration: from 0.
        total: iterations after which the learning rate is 0.
        warmup: iterations of the warm-up.
        warmup_ratio: factor of the first iteration.
        power: exponent of the decay.
    """
    share = math.pow(1 - iteration / total, power)
    if iteration < warmup:
        share *= 1 - (1 - iteration / warmup) * (1 - warmup_ratio)
    return share


def one_cycle(done: float, warmup: float) -> float:
    """Share of the peak learning rate: half a cosine up from 1/25, then half a cosine down to 0.

    Args:
        done: finished share of the training, in [0, 1].
        warmup: share of the training in which the learning rate rises, in [0, 1).
    """
    if done < warmup:
        return 0.52 - 0.48 * math.cos(math.pi * done / warmup)
    return cosine(done - warmup, 1 - warmup)


def cosine(done: float, total: float) -> float:
    """Share of the peak learning rate after `done` of `total` steps, or shares: half a cosine down to 0."""
    return 0.5 + 0.5 * math.cos(math.pi * done / total)


class Patience:
    """Watches the validation score of a training.

    Args:
        evaluations: how many in a row may bring no improvement before the training stops.
    """

    def __init__(self, evaluations: int) -> None:
        self._evaluations = evaluations
        self._best = float("-inf")
        self._without = 0

    def improved(self, score: float) -> bool:
        """Note the score of an evaluation; return whether it is better than all before."""
        if score > self._best:
            self._best, self._without = score, 0
            return True
        self._without += 1
        return False

    @property
    def exhausted(self) -> bool:
        """Whether the training should stop."""
        return self._without >= self._evaluations


def is_decayed(name: str, parameter: nn.Parameter) -> bool:
    """Whether weight decay applies: not to biases, norms and other vectors."""
    return parameter.ndim > 1 and not name.endswith(".bias") and "norm" not in name
