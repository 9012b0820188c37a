"""What a comparison of samplers reports, from committed cycles (Sec. 9 of the method notes).

A repeat is one seed and fold. Repeats of different samplers are joined by (seed, fold), never by order: a cycle is
compared over the repeats that every sampler of its budget has reached, a summary over those that all have finished.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from decomp.experiments.curves import (
    AXES,
    Axis,
    Curve,
    Repeat,
    Spread,
    area_under_curve,
    common_range,
    read_curve,
    share_needed,
)
from decomp.platform.store import RunStore

FULL_SHARE = 0.95
"""The share of the full-annotation score that `Needed` asks for."""


@dataclass(frozen=True)
class Needed:
    """Annotated share at which a curve first reaches the target score.

    Attributes:
        share: over the repeats, where all of them reach the target; None otherwise ("not reached").
        reached: repeats that reach it.
        repeats: repeats looked at.
    """

    share: Spread | None
    reached: int
    repeats: int


@dataclass(frozen=True)
class CycleResult:
    """One cycle of a sampler over the joined repeats.

    Attributes:
        cycle: the cycle, from 1.
        share: annotated share of the training pixels.
        score: test metric.
    """

    cycle: int
    share: Spread
    score: Spread


@dataclass(frozen=True)
class SamplerResult:
    """A sampler under one budget; the summaries are None while no repeat is finished by all samplers.

    Attributes:
        sampler: its name.
        cycles: results of each cycle.
        final: score of the last cycle.
        area: area under the budget curve, see `area_under_curve`.
        needed: annotation for `FULL_SHARE` of the full-annotation score; None also where no reference is finished.
    """

    sampler: str
    cycles: tuple[CycleResult, ...]
    final: Spread | None = None
    area: Spread | None = None
    needed: Needed | None = None


@dataclass(frozen=True)
class BudgetResult:
    """All samplers under one budget.

    Attributes:
        budget: its label.
        samplers: a result for each sampler, in order of their first run.
        repeats: seeds and folds that all samplers have finished, sorted; the summaries are over these.
        shares: lowest and highest annotated share that all their curves cover; None without such a range.
        missing: one sentence for each repeat that is not compared to its end.
    """

    budget: str
    samplers: tuple[SamplerResult, ...]
    repeats: tuple[Repeat, ...]
    shares: tuple[float, float] | None
    missing: tuple[str, ...]


@dataclass(frozen=True)
class Comparison:
    """Everything that tables and figures show.

    Attributes:
        metric: name of the test metric.
        axis: what shares are shares of.
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
    curves: tuple[Curve, ...]
    missing: tuple[str, ...]


def compare(runs: Sequence[RunStore], metric: str, axis: Axis | None = None) -> Comparison:
    """Compare the committed cycles of runs of one experiment; shared first cycles among them are passed over.

    Args:
        runs: stores with the planned number of cycles; unfinished and not yet started ones too, so that they are named.
        metric: the test metric.
        axis: what the curves run over; by default the metric's first of `AXES`.

    Raises:
        ValueError: if two runs are the same sampler, budget, seed and fold, e.g. because results of different
            experiment files are mixed.
    """
    axis = axis or AXES[metric][0]
    curves = tuple(read_curve(run, metric, axis) for run in runs if run.spec.kind == "run")
    _check_unique([(curve.sampler, curve.budget, curve.repeat) for curve in curves])
    references = [run for run in runs if run.spec.kind == "reference"]
    _check_unique([(run.spec.seed, run.spec.fold) for run in references])
    scores = [run.committed()[-1].record.metrics[metric] for run in references if run.finished]
    reference = Spread.of(scores) if scores else None
    target = FULL_SHARE * reference.mean if reference else None
    budgets = dict.fromkeys(curve.budget for curve in curves)
    return Comparison(
        metric,
        axis,
        reference,
        target,
        tuple(compare_budget([curve for curve in curves if curve.budget == budget], target) for budget in budgets),
        curves,
        tuple(
            f"full annotation: {_name((run.spec.seed, run.spec.fold))} is not finished."
            for run in references
            if not run.finished
        ),
    )


def compare_budget(curves: Sequence[Curve], target: float | None) -> BudgetResult:
    """Compare the samplers under one budget.

    Args:
        curves: at least one curve, all of the same budget.
        target: score that `Needed` asks for; None where unknown.
    """
    samplers = list(dict.fromkeys(curve.sampler for curve in curves))
    by_key = {(curve.sampler, curve.repeat): curve for curve in curves}
    planned = sorted({curve.repeat for curve in curves})
    finished = [r for r in planned if all((s, r) in by_key and by_key[s, r].finished for s in samplers)]
    compared = [by_key[sampler, repeat] for sampler in samplers for repeat in finished]
    shares = common_range([np.asarray(curve.shares) for curve in compared])
    results = []
    for sampler in samplers:
        own = [by_key[sampler, repeat] for repeat in finished]
        result = SamplerResult(sampler, _cycles(sampler, by_key, samplers, planned))
        results.append(_summarised(result, own, shares, target))
    unfinished = [
        _missing(sampler, repeat, by_key.get((sampler, repeat)))
        for sampler in samplers
        for repeat in planned
        if (sampler, repeat) not in by_key or not by_key[sampler, repeat].finished
    ]
    return BudgetResult(curves[0].budget, tuple(results), tuple(finished), shares, tuple(unfinished))


def _cycles(
    sampler: str, curves: dict[tuple[str, Repeat], Curve], samplers: Sequence[str], planned: Sequence[Repeat]
) -> tuple[CycleResult, ...]:
    results = []
    for t in range(max(len(curve.scores) for (name, _), curve in curves.items() if name == sampler)):
        # A run that has ended early, for want of regions, is not waited for.
        joined = [
            repeat
            for repeat in planned
            if all(
                (name, repeat) in curves and (t < len(curves[name, repeat].scores) or curves[name, repeat].finished)
                for name in samplers
            )
            and t < len(curves[sampler, repeat].scores)
        ]
        if not joined:
            break
        own = [curves[sampler, repeat] for repeat in joined]
        share, score = Spread.of([c.shares[t] for c in own]), Spread.of([c.scores[t] for c in own])
        results.append(CycleResult(t + 1, share, score))
    return tuple(results)


def _summarised(
    result: SamplerResult, curves: Sequence[Curve], shares: tuple[float, float] | None, target: float | None
) -> SamplerResult:
    if not curves:
        return result
    arrays = [(np.asarray(curve.shares), np.asarray(curve.scores)) for curve in curves]
    result = replace(result, final=Spread.of([curve.scores[-1] for curve in curves]))
    if shares is not None:
        result = replace(result, area=Spread.of([area_under_curve(x, y, *shares) for x, y in arrays]))
    if target is not None:
        found = [share for x, y in arrays if (share := share_needed(x, y, target)) is not None]
        everywhere = Spread.of(found) if len(found) == len(arrays) else None
        result = replace(result, needed=Needed(everywhere, len(found), len(arrays)))
    return result


def _missing(sampler: str, repeat: Repeat, curve: Curve | None) -> str:
    if curve is None:
        return f"{sampler}: {_name(repeat)} is missing."
    return f"{sampler}: {_name(repeat)} has {len(curve.scores)} cycle(s) and is not finished."


def _name(repeat: Repeat) -> str:
    return f"seed {repeat[0]} fold {repeat[1]}"


def _check_unique(keys: Sequence[object]) -> None:
    for key in keys:
        if keys.count(key) > 1:
            raise ValueError(f"Several runs are {key}; pass the runs of one experiment file only.")
