"""Every pair of samplers compared over the repeats they share (Sec. 9 of the method notes).

Every difference of a pair (first, second) is first minus second, and is taken over blocks (see `design`), which are
repeats unless folds share training images. Cycle 1 is left out: its regions and model are common to all samplers. A
family, over which p is corrected after Holm, is all pairs under a budget that the design tests for the area under the
curve, and these pairs and cycles from 2 under a budget for the score by cycle.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from decomp.experiments.report.comparison import Comparison
from decomp.experiments.report.learning_curves import JoinedCurves
from decomp.experiments.report.power import repeats_needed
from decomp.experiments.report.run_history import Repeat
from decomp.experiments.report.statistics import LEVEL, Paired, holm, smallest_p


class Verdict(StrEnum):
    """What the adjusted p of a comparison says at `LEVEL`."""

    SIGNIFICANT = "significant"
    NOT_SIGNIFICANT = "not significant"
    TOO_FEW = "too few repeats"


@dataclass(frozen=True)
class Pair:
    """A pair of samplers under one budget.

    Attributes:
        budget: label of the budget.
        first: name of a sampler.
        second: name of another.
        cycle: the cycle whose scores are compared; None for the areas under the curves.
        paired: differences, first minus second, over the blocks of both.
        p_holm: p after Holm's correction.
        least_p_holm: the smallest that it can be for so many repeats.
        family: number of comparisons that the correction is over.
    """

    budget: str
    first: str
    second: str
    cycle: int | None
    paired: Paired
    p_holm: float = 1.0
    least_p_holm: float = 1.0
    family: int = 1

    @property
    def significant(self) -> bool:
        """Whether p after correction is at most `LEVEL`."""
        return self.p_holm <= LEVEL

    @property
    def verdict(self) -> Verdict:
        """Too few repeats is not the same as no significant difference."""
        if self.significant:
            return Verdict.SIGNIFICANT
        return Verdict.TOO_FEW if self.least_p_holm > LEVEL else Verdict.NOT_SIGNIFICANT


@dataclass(frozen=True)
class Wins:
    """How often samplers beat each other under one budget.

    Attributes:
        budget: label of the budget.
        samplers: their names, length S.
        counts: entry ``[row][column]`` is in how many (repeat, cycle) pairs, from cycle 2, the sampler of the row
            scores higher than that of the column; ties count for neither; shape (S, S), zero on the diagonal.
        compared: entry ``[row][column]`` is how many there are of both, shape (S, S).
    """

    budget: str
    samplers: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]
    compared: tuple[tuple[int, ...], ...]


def pairs_overall(comparison: Comparison) -> tuple[Pair, ...]:
    """Areas under the curves of every pair whose areas are over one range, over the repeats that both have finished."""
    pairs: list[Pair] = []
    for result in comparison.budgets:
        areas = {sampler.sampler: sampler.areas for sampler in result.samplers}
        ranges = {sampler.sampler: sampler.budget for sampler in result.samplers}
        family = []
        for first, second in comparison.design.pairs(list(areas)):
            both = areas[first].keys() & areas[second].keys() if ranges[first] == ranges[second] else ()
            differences = comparison.design.by_block({r: areas[first][r] - areas[second][r] for r in both})
            if differences:
                family.append(Pair(result.budget, first, second, None, Paired.of(list(differences.values()))))
        pairs += corrected(family)
    return tuple(pairs)


def pairs_by_cycle(comparison: Comparison) -> tuple[Pair, ...]:
    """Scores of every pair at every cycle from 2, over the repeats that both have brought to it."""
    pairs: list[Pair] = []
    for result in comparison.budgets:
        joined = JoinedCurves.of(comparison.of_budget(result.budget))
        family = []
        for cycle in range(2, 1 + max(len(sampler.cycles) for sampler in result.samplers)):
            for first, second in comparison.design.pairs(joined.samplers):
                differences = {r: a - b for r, (a, b) in _scores(joined, first, second, cycle).items()}
                if differences:
                    paired = Paired.of(list(comparison.design.by_block(differences).values()))
                    family.append(Pair(result.budget, first, second, cycle, paired))
        pairs += corrected(family)
    return tuple(pairs)


def wins(comparison: Comparison) -> tuple[Wins, ...]:
    """The pairwise win matrix of every budget, oracle baselines left out: the row beats the column."""
    matrices = []
    for result in comparison.budgets:
        curves = comparison.of_budget(result.budget)
        joined = JoinedCurves.of([curve for curve in curves if curve.sampler not in comparison.oracles])
        cycles = range(2, 1 + max(len(sampler.cycles) for sampler in result.samplers))
        table = [
            [
                [scores for cycle in cycles for scores in _scores(joined, row, column, cycle).values()]
                for column in joined.samplers
            ]
            for row in joined.samplers
        ]
        counts = tuple(tuple(sum(a > b for a, b in scores) for scores in row) for row in table)
        matrices.append(Wins(result.budget, joined.samplers, counts, tuple(tuple(map(len, row)) for row in table)))
    return tuple(matrices)


def family_notes(pairs: Sequence[Pair]) -> list[str]:
    """A sentence per budget: what p is corrected over and, if nothing can be significant, how many repeats would do."""
    notes = []
    for budget in dict.fromkeys(pair.budget for pair in pairs):
        family = [pair for pair in pairs if pair.budget == budget]
        least_n, n = (bound(pair.paired.difference.n for pair in family) for bound in (min, max))
        note = f"Budget {budget}: {n if n == least_n else f'{least_n} to {n}'} repeat(s), {len(family)} comparison(s)"
        if all(pair.verdict is Verdict.TOO_FEW for pair in family):
            least = min(pair.least_p_holm for pair in family)
            note += (
                f"; too few repeats: with {n} the smallest possible p is {smallest_p(n):.3g} ({least:.3g} corrected), "
                f"so nothing can be significant; {repeats_needed(len(family))} would do"
            )
        notes.append(f"{note}.")
    return notes


def _scores(joined: JoinedCurves, first: str, second: str, cycle: int) -> dict[Repeat, tuple[float, float]]:
    """Scores of both samplers at a cycle, in the repeats that both have brought to it."""
    both = {r: (joined.score(first, r, cycle), joined.score(second, r, cycle)) for r in joined.planned}
    return {r: (a, b) for r, (a, b) in both.items() if a is not None and b is not None}


def corrected(family: Sequence[Pair]) -> list[Pair]:
    """The pairs of a family with p after Holm's correction over it."""
    adjusted = holm([pair.paired.p for pair in family])
    least = holm([smallest_p(pair.paired.difference.n) for pair in family])
    return [
        replace(pair, p_holm=p, least_p_holm=q, family=len(family))
        for pair, p, q in zip(family, adjusted, least, strict=True)
    ]
