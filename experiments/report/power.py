"""What a number of repeats can show: the least corrected p, the power of the sign-flip test, the repeats still needed.

Power is that of the first step of Holm's correction over the family, so that it is never overstated: the chance that
the p of one comparison is at most `LEVEL` divided by the number of comparisons. Differences are taken as normal.
"""

import math
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit

from decomp.experiments.report.statistics import LEVEL, sign_flip_tests, smallest_p
from decomp.platform.randomness import stream

POWER = 0.8
"""The chance to find an effect that repeats are planned for."""

FEWEST = 3
"""Repeats from which a standard deviation is estimated."""

SIMULATED = 12
"""Most repeats for which the exact test is simulated; with more it is as powerful as Student's t test within 0.02."""

DRAWS = 2_000
"""Simulated experiments; the standard error of a power is at most 0.011."""

MOST_REPEATS = 10_000
"""Where more repeats would be needed, no number is given."""


def least_corrected_p(n: int, family: int) -> float:
    """The smallest p after Holm's correction that any of a family of comparisons over n repeats can have."""
    return min(1.0, family * smallest_p(n))


def repeats_needed(family: int) -> int:
    """The smallest number of repeats with which a comparison in a family of this size can be significant."""
    return math.ceil(1 + math.log2(family / LEVEL))


def power(effect: float, n: int, family: int) -> float:
    """The chance that a difference is called significant.

    Args:
        effect: its mean in units of its standard deviation over repeats, Cohen's d_z; of either sign.
        n: number of repeats.
        family: number of comparisons that are corrected for.
    """
    if n < repeats_needed(family):
        return 0.0
    level = LEVEL / family
    if n <= SIMULATED:
        return float((sign_flip_tests(_noise(n) + abs(effect)) <= level).mean())
    from scipy.stats import nct  # takes half a second to load

    critical, shift = float(stdtrit(n - 1, 1 - level / 2)), abs(effect) * math.sqrt(n)
    wrong_way = np.nan_to_num(nct.cdf(-critical, n - 1, shift))  # scipy gives NaN where it is less than 1e-16
    return float(nct.sf(critical, n - 1, shift) + wrong_way)


def repeats_for(effect: float, family: int) -> int | None:
    """The smallest number of repeats with which an effect is found with a chance of `POWER`.

    None where `MOST_REPEATS` are too few. Arguments as in `power`.
    """
    low, high = repeats_needed(family), MOST_REPEATS
    if power(effect, high, family) < POWER:
        return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if power(effect, middle, family) >= POWER else (middle + 1, high)
    return low


def detectable(n: int, family: int) -> float | None:
    """The smallest effect, in units of its standard deviation, that n repeats find with a chance of `POWER`."""
    if n < repeats_needed(family):
        return None
    low, high = 0.0, 64.0
    while high - low > 1e-3:
        middle = (low + high) / 2
        low, high = (low, middle) if power(middle, n, family) >= POWER else (middle, high)
    return high


@lru_cache(maxsize=SIMULATED)
def _noise(n: int) -> npt.NDArray[np.float64]:
    """Differences of repeats without an effect, shape (`DRAWS`, n)."""
    return stream(0, "power").standard_normal((DRAWS, n))
