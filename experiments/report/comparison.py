"""What a comparison of samplers reports, from committed cycles (Sec. 9 of the method notes).

A repeat is one seed and fold. Repeats of different samplers are joined by (seed, fold), never by order: a cycle is
compared over the repeats that every sampler of its budget has reached, a summary over those that all have finished.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from decomp.experiments.report.axes import Axis, axes_of
from decomp.experiments.report.cohorts import finished_references
from decomp.experiments.report.learning_curves import (
    JoinedCurves,
    LearningCurve,
    amount_needed,
    area_under_curve,
    common_range,
)
from decomp.experiments.report.run_history import Repeat, RunHistory
from decomp.experiments.report.statistics import Spread

FULL_SHARE = 0.95
"""The share of the full-annotation score that `Needed` asks for."""


@dataclass(frozen=True)
class Needed:
    """Annotation at which a curve first reaches the target score.

    Attributes:
        amount: over the repeats, where all of them reach the target; None otherwise ("not reached").
        reached: repeats that reach it.
        repeats: repeats looked at.
    """

    amount: Spread | None
    reached: int
    repeats: int


@dataclass(frozen=True)
class CycleResult:
    """One cycle of a sampler over the joined repeats.

    Attributes:
        cycle: the cycle, from 1.
        amount: annotation, as the comparison's axis measures it.
        score: test metric.
    """

    cycle: int
    amount: Spread
    score: Spread


@dataclass(frozen=True)
class SamplerResult:
    """A sampler under one budget; the summaries are None while no repeat is finished by all samplers.

    Attributes:
        sampler: its name.
        cycles: results of each cycle.
        final: score of the last cycle.
        area: area under the budget curve, see `area_under_curve`.
        areas: the same of each repeat, in order of the repeats; empty where there is no area.
        needed: annotation for `FULL_SHARE` of the full-annotation score; None also where no reference is finished.
    """

    sampler: str
    cycles: tuple[CycleResult, ...]
    final: Spread | None = None
    area: Spread | None = None
    areas: tuple[float, ...] = ()
    needed: Needed | None = None


@dataclass(frozen=True)
class BudgetResult:
    """All samplers under one budget.

    Attributes:
        budget: its label.
        samplers: a result for each sampler, in order of their first run.
        repeats: seeds and folds that all samplers have finished, sorted; the summaries are over these.
        span: least and most annotation that all their curves cover; None without such a range.
        missing: one sentence for each repeat that is not compared to its end.
    """

    budget: str
    samplers: tuple[SamplerResult, ...]
    repeats: tuple[Repeat, ...]
    span: tuple[float, float] | None
    missing: tuple[str, ...]


@dataclass(frozen=True)
class Comparison:
    """Everything that tables and figures show.

    Attributes:
        metric: name of the test metric.
        axis: what measures the annotation.
        reference: its value at full annotation; None where no reference is finished.
        target: `FULL_SHARE` times the mean of `reference`.
        budgets: a result for each budget, in order of their first run.
        curves: the learning curves behind them, in order of the runs.
        missing: one sentence for each unfinished reference.
    """

    metric: str
    axis: Axis
    reference: Spread | None
    target: float | None
    budgets: tuple[BudgetResult, ...]
    curves: tuple[LearningCurve, ...]
    missing: tuple[str, ...]

    @property
    def unfinished(self) -> tuple[str, ...]:
        """One sentence for everything that is not compared to its end."""
        return (*self.missing, *(f"budget {b.budget}, {line}" for b in self.budgets for line in b.missing))

    @property
    def caveats(self) -> tuple[str, ...]:
        """What limits every comparison of repeats, a sentence each."""
        if len({curve.repeat[1] for curve in self.curves}) < 2:
            return ()
        return (
            "Folds share training images, so repeats are not independent: p values and intervals are too optimistic.",
        )

    def of_budget(self, budget: str) -> tuple[LearningCurve, ...]:
        """The curves under a budget."""
        return tuple(curve for curve in self.curves if curve.budget == budget)


def compare(histories: Sequence[RunHistory], metric: str, axis: Axis | None = None) -> Comparison:
    """Compare the committed cycles of runs of one experiment; shared first cycles among them are skipped.

    Args:
        histories: of runs and references; of unfinished and not yet started ones too, so that they are named.
        metric: the test metric.
        axis: what measures the annotation; by default the metric's first of `axes_of`.

    Raises:
        ValueError: if two runs are the same sampler, budget, seed and fold, e.g. because results of different
            experiment files are mixed.
    """
    curves = tuple(LearningCurve.of(run, metric) for run in histories if run.spec.kind == "run")
    _check_unique([(curve.sampler, curve.budget, curve.repeat) for curve in curves])
    references = [run for run in histories if run.spec.kind == "reference"]
    _check_unique([run.repeat for run in references])
    scores = [run.cycles[-1].record.metrics[metric] for run in finished_references(references)]
    reference = Spread.of(scores) if scores else None
    comparison = Comparison(
        metric,
        axes_of(metric)[0],
        reference,
        FULL_SHARE * reference.mean if reference else None,
        (),
        curves,
        tuple(f"full annotation: {_name(run.repeat)} is not finished." for run in references if not run.finished),
    )
    return compare_over(axis or comparison.axis, comparison)


def compare_over(axis: Axis, comparison: Comparison) -> Comparison:
    """The same curves compared over another axis."""
    budgets = dict.fromkeys(curve.budget for curve in comparison.curves)
    results = tuple(compare_budget(comparison.of_budget(budget), axis, comparison.target) for budget in budgets)
    return replace(comparison, axis=axis, budgets=results)


def compare_budget(curves: Sequence[LearningCurve], axis: Axis, target: float | None) -> BudgetResult:
    """Compare the samplers under one budget.

    Args:
        curves: at least one curve, all of the same budget.
        axis: what measures the annotation.
        target: score that `Needed` asks for; None where unknown.
    """
    joined = JoinedCurves.of(curves)
    finished = joined.finished()
    span = common_range([joined.curves[s, r].amounts(axis) for s in joined.samplers for r in finished])
    results = []
    for sampler in joined.samplers:
        result = SamplerResult(sampler, _cycles(sampler, joined, axis))
        results.append(_summarised(result, [joined.curves[sampler, r] for r in finished], axis, span, target))
    unfinished = [
        _missing(sampler, repeat, joined.curves.get((sampler, repeat)))
        for sampler in joined.samplers
        for repeat in joined.planned
        if (sampler, repeat) not in joined.curves or not joined.curves[sampler, repeat].finished
    ]
    return BudgetResult(curves[0].budget, tuple(results), finished, span, tuple(unfinished))


def _cycles(sampler: str, joined: JoinedCurves, axis: Axis) -> tuple[CycleResult, ...]:
    results = []
    for cycle in range(1, 1 + max(len(curve.scores) for (name, _), curve in joined.curves.items() if name == sampler)):
        curves = [joined.curves[sampler, repeat] for repeat in joined.at(cycle)]
        curves = [curve for curve in curves if len(curve.scores) >= cycle]
        if not curves:
            break
        amount = Spread.of([axis.amount(curve.annotated[cycle - 1]) for curve in curves])
        results.append(CycleResult(cycle, amount, Spread.of([curve.scores[cycle - 1] for curve in curves])))
    return tuple(results)


def _summarised(
    result: SamplerResult,
    curves: Sequence[LearningCurve],
    axis: Axis,
    span: tuple[float, float] | None,
    target: float | None,
) -> SamplerResult:
    if not curves:
        return result
    arrays = [(curve.amounts(axis), np.asarray(curve.scores)) for curve in curves]
    result = replace(result, final=Spread.of([curve.scores[-1] for curve in curves]))
    if span is not None:
        areas = tuple(area_under_curve(x, y, *span) for x, y in arrays)
        result = replace(result, area=Spread.of(areas), areas=areas)
    if target is not None:
        amounts = [amount for x, y in arrays if (amount := amount_needed(x, y, target)) is not None]
        everywhere = Spread.of(amounts) if len(amounts) == len(arrays) else None
        result = replace(result, needed=Needed(everywhere, len(amounts), len(arrays)))
    return result


def _missing(sampler: str, repeat: Repeat, curve: LearningCurve | None) -> str:
    if curve is None:
        return f"{sampler}: {_name(repeat)} is missing."
    return f"{sampler}: {_name(repeat)} has {len(curve.scores)} cycle(s) and is not finished."


def _name(repeat: Repeat) -> str:
    return f"seed {repeat[0]} fold {repeat[1]}"


def _check_unique(keys: Sequence[object]) -> None:
    for key in keys:
        if keys.count(key) > 1:
            raise ValueError(f"Several runs are {key}; pass the runs of one experiment file only.")
