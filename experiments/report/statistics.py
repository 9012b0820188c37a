"""Statistics of paired differences, for few repeats and many comparisons (Sec. 9 of the method notes).

The test is the exact sign-flip (paired permutation) test of the mean difference. Under the hypothesis that two
samplers are exchangeable within a repeat, both signs of a difference are equally likely, so the distribution of the
mean is known without any assumption about its shape. It is preferred to Wilcoxon's signed-rank test because it tests
the very mean that is reported, and because equal scores need no convention: a difference of zero is unchanged by its
sign. With n repeats neither test can give less than 2 / 2^n.

References:
    Fisher, The Design of Experiments, 1935 (the test); Holm, A simple sequentially rejective multiple test procedure,
    1979; Kerby, The simple difference formula, 2014 (matched-pairs rank-biserial correlation).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache, reduce

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit

from decomp.platform.randomness import stream

LEVEL = 0.05
"""Largest adjusted p that is called significant; intervals cover 1 - LEVEL."""

COVER = f"{1 - LEVEL:.0%}"
"""Cover of intervals, as text."""

EXACT = 20
"""Most non-zero differences whose signs are enumerated."""

FLIPS = 99_999
"""Sign flips that are drawn where there are too many to enumerate; with the observed one 100,000."""

AT_ONCE = 2**21
"""Most sums that are held at once."""

Floats = npt.NDArray[np.float64]
Signs = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Spread:
    """A quantity over n repeats.

    Attributes:
        mean: arithmetic mean.
        sd: sample standard deviation, sqrt(sum (x - mean)^2 / (n - 1)); None for a single repeat.
        n: number of repeats.
    """

    mean: float
    sd: float | None
    n: int

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Mean and sample standard deviation of at least one value."""
        array = np.asarray(values, float)
        sd = float(array.std(ddof=1)) if len(array) > 1 else None
        return cls(float(array.mean()), sd, len(array))

    @classmethod
    def of_defined(cls, values: Iterable[float | None]) -> "Spread | None":
        """Mean and sample standard deviation of the values that are not None; None where all are."""
        defined = [float(value) for value in values if value is not None]
        return cls.of(defined) if defined else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """Student's t interval of the mean at 1 - `LEVEL`, ``mean -+ t(n - 1) sd / sqrt(n)``; None for one repeat."""
        if self.sd is None:
            return None
        half = float(stdtrit(self.n - 1, 1 - LEVEL / 2)) * self.sd / self.n**0.5
        return self.mean - half, self.mean + half


@dataclass(frozen=True)
class Paired:
    """Differences of n pairs.

    Attributes:
        difference: mean and standard deviation.
        p: two-sided p of `sign_flip_test`.
        d_z: Cohen's d of paired differences, mean / sd; None for a single pair, or where all pairs differ by the same.
        rank_biserial: see `rank_biserial`.
        wins: differences above zero.
        ties: differences of zero.
        losses: differences below zero.
    """

    difference: Spread
    p: float
    d_z: float | None
    rank_biserial: float | None
    wins: int
    ties: int
    losses: int

    @classmethod
    def of(cls, differences: Sequence[float]) -> "Paired":
        """Statistics of at least one difference."""
        array = np.asarray(differences, float)
        spread = Spread.of(differences)
        return cls(
            spread,
            sign_flip_test(array),
            spread.mean / spread.sd if spread.sd and spread.sd > 1e-12 * abs(spread.mean) else None,
            rank_biserial(array),
            int((array > 0).sum()),
            int((array == 0).sum()),
            int((array < 0).sum()),
        )


def sign_flip_test(differences: Floats) -> float:
    """Two-sided p of a mean difference as far from zero as this one if every sign is as likely as the other.

    The share of all 2^m assignments of signs to the m non-zero differences whose absolute sum is at least the observed
    one. With more than `EXACT` of them, ``(1 + count) / (1 + FLIPS)`` of `FLIPS` assignments drawn from a keyed stream,
    so the same differences always give the same p.

    Args:
        differences: shape (n,).
    """
    moved = differences[differences != 0]
    return float(sign_flip_tests(moved[None])[0]) if len(moved) else 1.0


def sign_flip_tests(differences: Floats, flips: int = FLIPS) -> Floats:
    """`sign_flip_test` of many samples of one size; zeros count as differences where it is asked how many there are.

    Args:
        differences: shape (m, n).
        flips: how many are drawn where n is above `EXACT`.

    Returns:
        Shape (m,).
    """
    m, n = differences.shape
    rows = max(1, AT_ONCE // (2 ** (n - 1) if n <= EXACT else flips))
    chunks = [differences[start : start + rows] for start in range(0, m, rows)]
    tested = [_exact(chunk) if n <= EXACT else _drawn(chunk, flips) for chunk in chunks]
    return np.concatenate(tested) if m else np.zeros(0)


def smallest_p(n: int) -> float:
    """The smallest p that `sign_flip_test` can give for n differences."""
    return 2.0 ** (1 - n) if 1 <= n <= EXACT else 1 / (1 + FLIPS) if n else 1.0


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Adjusted p of every test of a family, in their order, which control the family-wise error rate.

    In ascending order ``max over j <= i of min(1, (m - j + 1) p_j)`` for the i-th of m tests (Holm, 1979).
    """
    adjusted, running = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = running
    return tuple(adjusted)


def rank_biserial(differences: Floats) -> float | None:
    """Matched-pairs rank-biserial correlation, in [-1, 1]; None where all differences are zero.

    ``(W+ - W-) / (W+ + W-)`` with the sums of the ranks of the absolute non-zero differences, of either sign.
    """
    from scipy.stats import rankdata  # takes half a second to load, and `decomp check` needs no ranks

    moved = differences[differences != 0]
    if len(moved) == 0:
        return None
    ranks = rankdata(np.abs(moved))
    return float((np.sign(moved) * ranks).sum() / ranks.sum())


def _exact(differences: Floats) -> Floats:
    """The share of all signs, up to a common one, which changes no absolute sum."""
    sums = reduce(
        lambda sums, column: np.concatenate([sums + column[:, None], sums - column[:, None]], axis=1),
        differences.T[1:],
        differences[:, :1],
    )
    return np.asarray(_extreme(sums, differences).mean(axis=1))


def _drawn(differences: Floats, flips: int) -> Floats:
    """The share of drawn signs and the observed ones."""
    sums = differences.sum(axis=1, keepdims=True) - 2 * (differences @ _negative(differences.shape[1], flips).T)
    return np.asarray((1 + _extreme(sums, differences).sum(axis=1)) / (1 + flips))


def _extreme(sums: Floats, differences: Floats) -> Signs:
    """Which sums are as far from zero as the observed one; those equal on paper differ in their last bits."""
    observed = np.abs(differences.sum(axis=1, keepdims=True))
    return np.asarray(np.abs(sums) >= observed - 1e-12 * np.abs(differences).sum(axis=1, keepdims=True))


@lru_cache(maxsize=4)
def _negative(n: int, flips: int) -> Signs:
    """Which of n differences a drawn assignment makes negative, shape (flips, n)."""
    return stream(0, "sign flips").integers(0, 2, (flips, n), dtype=np.uint8).astype(bool)
