"""Learning curves over annotation, and the numbers that sum one up (Sec. 9 of the method notes)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from decomp.experiments.report.axes import Axis
from decomp.experiments.report.run_history import Repeat, RunHistory
from decomp.platform.errors import UserError
from decomp.platform.storage.records import Annotated

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class LearningCurve:
    """Score over annotation of one run; all sequences have length T, the number of committed cycles.

    Attributes:
        sampler: name of the sampler.
        budget: label of the budget.
        repeat: seed and fold.
        annotated: what is annotated at each cycle.
        scores: test metric at each cycle.
        finished: whether no cycle is left to compute.
        spends: label of its own budget, where `budget` names several that are compared as one; None otherwise.
    """

    sampler: str
    budget: str
    repeat: Repeat
    annotated: tuple[Annotated, ...]
    scores: tuple[float, ...]
    finished: bool
    spends: str | None = None

    @classmethod
    def of(cls, history: RunHistory, metric: str) -> "LearningCurve":
        """The learning curve of a run, which has a sampler and a budget, unlike a first cycle or a reference.

        Raises:
            UserError: if the run has no score, because people labelled its pool and no test image has labels.
        """
        spec, records = history.spec, history.records
        if spec.sampler is None or spec.budget is None:
            raise ValueError(f"{spec.label} has no sampler or budget, hence no learning curve; pass runs.")
        if any(metric not in record.metrics for record in records):
            raise UserError(
                f"{spec.label}: no test image has labels, so there is no score to compare; label some test images."
            )
        return cls(
            spec.sampler.name,
            spec.budget.label,
            history.repeat,
            tuple(record.annotated for record in records),
            tuple(record.metrics[metric] for record in records),
            history.finished,
        )

    def amounts(self, axis: Axis) -> Floats:
        """Annotation at each cycle as an axis measures it, shape (T,), non-decreasing."""
        return np.array([axis.amount(annotated) for annotated in self.annotated], float)


@dataclass(frozen=True)
class JoinedCurves:
    """The curves under one budget, joined by (seed, fold), never by order.

    Attributes:
        curves: curve by sampler and repeat.
        samplers: names, in order of their first run.
        planned: repeats that any sampler has or will have, sorted.
    """

    curves: Mapping[tuple[str, Repeat], LearningCurve]
    samplers: tuple[str, ...]
    planned: tuple[Repeat, ...]

    @classmethod
    def of(cls, curves: Sequence[LearningCurve]) -> "JoinedCurves":
        """Join curves of the same budget, each sampler and repeat at most once."""
        return cls(
            {(curve.sampler, curve.repeat): curve for curve in curves},
            tuple(dict.fromkeys(curve.sampler for curve in curves)),
            tuple(sorted({curve.repeat for curve in curves})),
        )

    def finished(self) -> dict[str, tuple[Repeat, ...]]:
        """By sampler, the repeats that it has finished."""
        return {
            sampler: tuple(r for r in self.planned if (sampler, r) in self.curves and self.curves[sampler, r].finished)
            for sampler in self.samplers
        }

    def at(self, cycle: int) -> dict[str, tuple[Repeat, ...]]:
        """By sampler, the repeats that it has brought to a cycle; those that ended earlier, out of regions, too."""
        return {
            sampler: tuple(
                repeat
                for repeat in self.planned
                if (curve := self.curves.get((sampler, repeat))) is not None
                and (curve.finished or len(curve.scores) >= cycle)
            )
            for sampler in self.samplers
        }

    def ranges(self, axis: Axis) -> dict[str, tuple[str, tuple[float, float] | None]]:
        """By sampler, what its areas are taken over.

        The label of the budget whose samplers share this range, which is their own one where the axis counts images;
        and the least and most annotation that all finished curves of these samplers cover, see `common_range`.
        """
        labels = {c.sampler: c.spends if axis.of_images and c.spends else c.budget for c in self.curves.values()}
        amounts: dict[str, list[Floats]] = {label: [] for label in labels.values()}
        for sampler, repeats in self.finished().items():
            amounts[labels[sampler]] += [self.curves[sampler, repeat].amounts(axis) for repeat in repeats]
        return {sampler: (label, common_range(amounts[label])) for sampler, label in labels.items()}

    def score(self, sampler: str, repeat: Repeat, cycle: int) -> float | None:
        """Test metric of a sampler at a cycle, from 1; None where it has not got that far."""
        curve = self.curves.get((sampler, repeat))
        return curve.scores[cycle - 1] if curve is not None and cycle <= len(curve.scores) else None


def keeping_up(done: Mapping[str, int]) -> tuple[str, ...]:
    """The samplers that have done at least half as much as the one that has done most; the others hold nobody back."""
    most = max(done.values(), default=0)
    return tuple(sampler for sampler, own in done.items() if 2 * own >= most)


def shared(repeats: Mapping[str, Sequence[Repeat]]) -> tuple[Repeat, ...]:
    """The repeats that all samplers which keep up have, sorted."""
    leading = keeping_up({sampler: len(own) for sampler, own in repeats.items()})
    return tuple(sorted(set.intersection(*(set(repeats[sampler]) for sampler in leading))))


def averaged(repeats: Mapping[str, Sequence[Repeat]]) -> dict[str, tuple[Repeat, ...]]:
    """By sampler, the repeats that its means are over: those of the shared ones that it has, or else all its own."""
    common = shared(repeats)
    return {s: tuple(r for r in common if r in own) or tuple(own) for s, own in repeats.items()}


def common_range(amounts: Sequence[Floats]) -> tuple[float, float] | None:
    """Least and most annotation that all curves cover; None where that is no range.

    Args:
        amounts: annotation at each cycle, one array of shape (T,) per curve, non-decreasing.
    """
    if not amounts or any(len(curve) == 0 for curve in amounts):
        return None
    low, high = max(float(curve[0]) for curve in amounts), min(float(curve[-1]) for curve in amounts)
    return (low, high) if low < high else None


def area_under_curve(amounts: Floats, scores: Floats, low: float, high: float) -> float:
    """Mean height of the learning curve between two amounts of annotation, with the unit of the score.

    ``1 / (high - low) * integral from low to high of score(x) dx`` by the trapezoidal rule, the curve being
    linear between cycles.

    Args:
        amounts: annotation at each cycle, shape (T,), non-decreasing, covering [low, high].
        scores: score at each cycle, shape (T,).
        low: where to begin.
        high: where to end, above `low`.
    """
    inside = (amounts > low) & (amounts < high)
    x = np.concatenate([[low], amounts[inside], [high]])
    ends = np.interp([low, high], amounts, scores)
    y = np.concatenate([ends[:1], scores[inside], ends[1:]])
    return float(np.trapezoid(y, x) / (high - low))


def amount_needed(amounts: Floats, scores: Floats, target: float) -> float | None:
    """Annotation at which the learning curve first reaches the target; None if it never does.

    With t the first cycle whose score is at least the target,
    ``amount[t-1] + (target - score[t-1]) / (score[t] - score[t-1]) * (amount[t] - amount[t-1])``, or the first amount
    where the first cycle reaches it already.

    Args:
        amounts: annotation at each cycle, shape (T,), non-decreasing.
        scores: score at each cycle, shape (T,).
        target: score to reach.
    """
    reached = np.flatnonzero(scores >= target)
    if len(reached) == 0:
        return None
    t = int(reached[0])
    if t == 0:
        return float(amounts[0])
    fraction = (target - scores[t - 1]) / (scores[t] - scores[t - 1])
    return float(amounts[t - 1] + fraction * (amounts[t] - amounts[t - 1]))
