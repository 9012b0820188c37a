"""What a comparison of samplers reports, from committed cycles (Sec. 9 of the method notes).

A repeat is one seed and fold. Repeats of different samplers are joined by (seed, fold), never by order: means by cycle
are over the repeats that the samplers of a budget share, summaries over those that they have finished, pairs over those
that both have. A sampler that has less than half as many repeats as the one with most, such as one that fails, takes
nothing from the others; its own means are over those that it has (see `learning_curves.averaged`).

The annotation that a score needs is known in no repeat whose first cycle reaches it, only that it is no more than that
cycle's. All samplers share that cycle, so its amount, the same for all, leaves their order as it is; but the mean of
such amounts is an upper bound, given as "at most", without a deviation. Repeats that never reach it are counted.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from decomp.experiments.report.axes import Axis, axes_of, find_axis
from decomp.experiments.report.caveats import caveats_of
from decomp.experiments.report.cohorts import finished_references
from decomp.experiments.report.design import Design
from decomp.experiments.report.imported import imported_notes
from decomp.experiments.report.incomplete import repeat_name, unfinished_sentences, unranked_sentences
from decomp.experiments.report.joint_budgets import joins, joint_budgets
from decomp.experiments.report.learning_curves import (
    JoinedCurves,
    LearningCurve,
    amount_needed,
    area_under_curve,
    averaged,
    shared,
)
from decomp.experiments.report.run_history import Repeat, RunHistory
from decomp.experiments.report.statistics import Spread

FULL_SHARE = 0.95
"""The share of the full-annotation score that `Needed` asks for."""


@dataclass(frozen=True)
class Needed:
    """Annotation at which a curve first reaches the target score.

    Attributes:
        amount: over the repeats, where all of them reach the target after the first cycle; None otherwise.
        reached: repeats that reach it.
        repeats: repeats looked at.
        by_first: repeats that reach it by the first cycle already.
        at_most: upper bound of the mean where all repeats reach it, some by the first cycle; None otherwise.
    """

    amount: Spread | None
    reached: int
    repeats: int
    by_first: int = 0
    at_most: float | None = None

    @classmethod
    def of(cls, amounts: Sequence[float | None], by_first: int) -> "Needed":
        """Build it from the amount of every repeat, None where it does not reach the target."""
        known = [amount for amount in amounts if amount is not None]
        mean = Spread.of(known) if len(known) == len(amounts) else None
        if by_first:
            return cls(None, len(known), len(amounts), by_first, mean.mean if mean else None)
        return cls(mean, len(known), len(amounts))

    @property
    def bound(self) -> float | None:
        """What samplers are ranked by: the mean or its upper bound; None unless every repeat reaches the target."""
        return self.amount.mean if self.amount else self.at_most


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
    """A sampler under one budget; the summaries are None while it has finished no repeat.

    Attributes:
        sampler: its name.
        cycles: results of each cycle.
        budget: label of the budget whose samplers share the range of its areas: that under which it is compared, or
            its own on an axis of images. Areas under different ones are never compared.
        span: least and most annotation that all finished curves of these samplers cover; None without such a range.
        repeats: repeats that the summaries are over, sorted.
        final: score of the last cycle.
        area: area under the budget curve, see `area_under_curve`.
        areas: the same of each repeat that it has finished; empty where there is no area.
        needed: annotation for `FULL_SHARE` of the full-annotation score; None also where no reference is finished.
    """

    sampler: str
    cycles: tuple[CycleResult, ...]
    budget: str
    span: tuple[float, float] | None
    repeats: tuple[Repeat, ...] = ()
    final: Spread | None = None
    area: Spread | None = None
    areas: Mapping[Repeat, float] = field(default_factory=dict)
    needed: Needed | None = None


@dataclass(frozen=True)
class BudgetResult:
    """All samplers under one budget.

    Attributes:
        budget: its label.
        samplers: a result for each sampler, in order of their first run.
        repeats: seeds and folds that all samplers which keep up have finished, sorted.
        missing: what is not compared to its end, see `unfinished_sentences`.
    """

    budget: str
    samplers: tuple[SamplerResult, ...]
    repeats: tuple[Repeat, ...]
    missing: tuple[str, ...]

    @property
    def ranked(self) -> tuple[SamplerResult, ...]:
        """The samplers that are summed up over the same repeats, so that they can be ranked."""
        return tuple(sampler for sampler in self.samplers if self.repeats and sampler.repeats == self.repeats)

    @property
    def aside(self) -> tuple[str, ...]:
        """What is said of samplers that cannot be ranked, while others have finished repeats."""
        if not any(sampler.repeats for sampler in self.samplers):
            return ()
        if not self.repeats:
            return ("No repeat is finished by all samplers, so each is summed up over its own and none is ranked.",)
        behind = {each.sampler: len(each.repeats) for each in self.samplers if each not in self.ranked}
        return unranked_sentences(behind, len(self.repeats))


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
        design: which pairs are tested, over which blocks.
        imported: a sentence for each archive that runs were imported from.
        joint: by the label of a run's budget, that under which it is compared, see `joint_budgets`.
    """

    metric: str
    axis: Axis
    reference: Spread | None
    target: float | None
    budgets: tuple[BudgetResult, ...]
    curves: tuple[LearningCurve, ...]
    missing: tuple[str, ...]
    design: Design = field(default_factory=Design)
    imported: tuple[str, ...] = ()
    joint: Mapping[str, str] = field(default_factory=dict)

    @property
    def unfinished(self) -> tuple[str, ...]:
        """What is not compared to its end, in sentences."""
        return (*self.missing, *(f"budget {b.budget}, {line}" for b in self.budgets for line in b.missing))

    @property
    def oracles(self) -> tuple[str, ...]:
        """Those of the samplers that are oracle baselines."""
        samplers = {curve.sampler for curve in self.curves}
        return tuple(name for name in self.design.oracles if name in samplers)

    @property
    def oracle_note(self) -> str:
        """A sentence that names the oracle baselines; empty where there are none."""
        return f"Oracle baselines, which read the truth: {', '.join(self.oracles)}." if self.oracles else ""

    @property
    def caveats(self) -> tuple[str, ...]:
        """What limits every comparison of repeats, a sentence each."""
        full = self.reference.mean if self.reference else None
        return (*self.imported, *caveats_of(self.curves, self.metric, full, self.design, self.joint))

    def of_budget(self, budget: str) -> tuple[LearningCurve, ...]:
        """The curves under a budget."""
        return tuple(curve for curve in self.curves if curve.budget == budget)


def compare(
    histories: Sequence[RunHistory], metric: str, axis: Axis | None = None, design: Design | None = None
) -> Comparison:
    """Compare the committed cycles of runs of one experiment; shared first cycles among them are skipped.

    Args:
        histories: of runs and references, unfinished and not yet started ones included, so that they are named.
        metric: the test metric.
        axis: what measures the annotation; by default the metric's first of `axes_of`, or the annotated share where
            that counts images and budgets of images and of the whole pool are compared as one.
        design: which pairs are tested, over which blocks; all pairs by default, and all folds of a seed as one block.

    Raises:
        ValueError: if two runs are the same sampler, budget, seed and fold, e.g. because results of different
            experiment files are mixed.
    """
    joint = joint_budgets(run.spec for run in histories)
    own = [LearningCurve.of(run, metric) for run in histories if run.spec.kind == "run"]
    _check_unique([(curve.sampler, curve.budget, curve.repeat) for curve in own])
    curves = tuple(replace(curve, budget=joint[curve.budget], spends=curve.budget) for curve in own)
    default, share = axes_of(metric)[0], find_axis(axes_of(metric), "share")
    default = share if default.of_images and joins(joint) else default
    references = [run for run in histories if run.spec.kind == "reference"]
    _check_unique([run.repeat for run in references])
    scores = [run.cycles[-1].record.metrics[metric] for run in finished_references(references)]
    reference = Spread.of(scores) if scores else None
    comparison = Comparison(
        metric,
        default,
        reference,
        FULL_SHARE * reference.mean if reference else None,
        (),
        curves,
        tuple(f"full annotation: {repeat_name(run.repeat)} is not finished." for run in references if not run.finished),
        design or Design(),
        tuple(imported_notes(histories)),
        joint,
    )
    return compare_over(axis or default, comparison)


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
    ranges, cycles = joined.ranges(axis), _cycles(joined, axis)
    results = []
    for sampler, repeats in averaged(finished).items():
        curves_of = {r: joined.curves[sampler, r] for r in finished[sampler]}
        result = SamplerResult(sampler, cycles[sampler], *ranges[sampler], repeats)
        results.append(_summarised(result, curves_of, axis, target))
    cycles_of = {key: len(curve.scores) for key, curve in joined.curves.items()}
    unfinished = {
        (sampler, repeat): cycles_of.get((sampler, repeat))
        for sampler in joined.samplers
        for repeat in joined.planned
        if repeat not in finished[sampler]
    }
    return BudgetResult(curves[0].budget, tuple(results), shared(finished), unfinished_sentences(unfinished))


def _cycles(joined: JoinedCurves, axis: Axis) -> dict[str, tuple[CycleResult, ...]]:
    results: dict[str, tuple[CycleResult, ...]] = dict.fromkeys(joined.samplers, ())
    for cycle in range(1, 1 + max(len(curve.scores) for curve in joined.curves.values())):
        for sampler, repeats in averaged(joined.at(cycle)).items():
            curves = [joined.curves[sampler, repeat] for repeat in repeats]
            curves = [curve for curve in curves if len(curve.scores) >= cycle]
            if curves:
                amount = Spread.of([axis.amount(curve.annotated[cycle - 1]) for curve in curves])
                score = Spread.of([curve.scores[cycle - 1] for curve in curves])
                results[sampler] += (CycleResult(cycle, amount, score),)
    return results


def _summarised(
    result: SamplerResult,
    curves: Mapping[Repeat, LearningCurve],
    axis: Axis,
    target: float | None,
) -> SamplerResult:
    if not curves:
        return result
    arrays = {repeat: (curve.amounts(axis), np.asarray(curve.scores)) for repeat, curve in curves.items()}
    summed = [arrays[repeat] for repeat in result.repeats]
    result = replace(result, final=Spread.of([float(y[-1]) for _, y in summed]))
    if result.span is not None:
        areas = {repeat: area_under_curve(x, y, *result.span) for repeat, (x, y) in arrays.items()}
        result = replace(result, area=Spread.of([areas[repeat] for repeat in result.repeats]), areas=areas)
    if target is not None:
        amounts = [amount_needed(x, y, target) for x, y in summed]
        result = replace(result, needed=Needed.of(amounts, sum(bool(y[0] >= target) for _, y in summed)))
    return result


def _check_unique(keys: Sequence[object]) -> None:
    for key in keys:
        if keys.count(key) > 1:
            raise ValueError(f"Several runs are {key}; pass the runs of one experiment file only.")
