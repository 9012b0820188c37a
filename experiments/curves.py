"""Learning curves over the annotated share, and the numbers that sum one up (Sec. 9 of the method notes)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from decomp.platform.store import RunStore

Floats = npt.NDArray[np.float64]
Repeat = tuple[int, int]
"""Seed and fold."""


@dataclass(frozen=True)
class Axis:
    """What learning curves are drawn over.

    Attributes:
        field: field of `decomp.platform.records.Annotated`, a share in [0, 1].
        label: what it is a share of.
        short: heading of a column.
    """

    field: str
    label: str
    short: str


AXES = {
    "miou": (Axis("share", "annotated share of the training pixels", "annotated"),),
    "dice": (Axis("share", "annotated share of the training voxels", "annotated"),),
    "weighted_f1": (
        Axis("image_share", "processed share of the slides", "slides"),
        Axis("share", "annotated share of the ROIs", "ROIs"),
    ),
}
"""Axes by test metric; summaries are computed over the first."""


@dataclass(frozen=True)
class Curve:
    """Learning curve of one run; all sequences have length T, the number of committed cycles.

    Attributes:
        sampler: name of the sampler.
        budget: label of the budget.
        repeat: seed and fold.
        shares: annotated share at each cycle in the sense of the axis, in [0, 1].
        images: images with an annotated region.
        regions: annotated regions.
        pixels: annotated pixels.
        scores: test metric at each cycle.
        finished: whether no cycle is left to compute.
    """

    sampler: str
    budget: str
    repeat: Repeat
    shares: tuple[float, ...]
    images: tuple[int, ...]
    regions: tuple[int, ...]
    pixels: tuple[int, ...]
    scores: tuple[float, ...]
    finished: bool


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


def read_curve(run: RunStore, metric: str, axis: Axis) -> Curve:
    """Learning curve of the committed cycles of a run over an axis."""
    if run.spec.sampler is None or run.spec.budget is None:
        raise ValueError(f"{run.spec.label} has no sampler or budget, hence no learning curve; pass runs.")
    records = [folder.record for folder in run.committed()]
    return Curve(
        run.spec.sampler.name,
        run.spec.budget.label,
        (run.spec.seed, run.spec.fold),
        tuple(getattr(record.annotated, axis.field) for record in records),
        tuple(record.annotated.images for record in records),
        tuple(record.annotated.regions for record in records),
        tuple(record.annotated.pixels for record in records),
        tuple(record.metrics[metric] for record in records),
        run.finished,
    )


def common_range(shares: Sequence[Floats]) -> tuple[float, float] | None:
    """Lowest and highest annotated share that all curves cover; None where that is no range.

    Args:
        shares: annotated share at each cycle, one array of shape (T,) per curve, non-decreasing.
    """
    if not shares or any(len(curve) == 0 for curve in shares):
        return None
    low, high = max(float(curve[0]) for curve in shares), min(float(curve[-1]) for curve in shares)
    return (low, high) if low < high else None


def area_under_curve(shares: Floats, scores: Floats, low: float, high: float) -> float:
    """Mean height of the learning curve between two annotated shares, with the unit of the score.

    ``1 / (high - low) * integral from low to high of score(share) d share`` by the trapezoidal rule, the curve being
    linear between cycles.

    Args:
        shares: annotated share at each cycle, shape (T,), non-decreasing, covering [low, high].
        scores: score at each cycle, shape (T,).
        low: where to begin.
        high: where to end, above `low`.
    """
    inside = (shares > low) & (shares < high)
    x = np.concatenate([[low], shares[inside], [high]])
    ends = np.interp([low, high], shares, scores)
    y = np.concatenate([ends[:1], scores[inside], ends[1:]])
    return float(np.trapezoid(y, x) / (high - low))


def share_needed(shares: Floats, scores: Floats, target: float) -> float | None:
    """Annotated share at which the learning curve first reaches the target; None if it never does.

    With t the first cycle whose score is at least the target,
    ``share[t-1] + (target - score[t-1]) / (score[t] - score[t-1]) * (share[t] - share[t-1])``, or the first share where
    the first cycle reaches it already.

    Args:
        shares: annotated share at each cycle, shape (T,), non-decreasing.
        scores: score at each cycle, shape (T,).
        target: score to reach.
    """
    reached = np.flatnonzero(scores >= target)
    if len(reached) == 0:
        return None
    t = int(reached[0])
    if t == 0:
        return float(shares[0])
    fraction = (target - scores[t - 1]) / (scores[t] - scores[t - 1])
    return float(shares[t - 1] + fraction * (shares[t] - shares[t - 1]))
