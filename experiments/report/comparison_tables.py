"""The tables of a comparison: summary, crossings, cost, pairs of samplers and cycles."""

from collections.abc import Sequence

from decomp.experiments.report.axes import score_name
from decomp.experiments.report.comparison import FULL_SHARE, Comparison
from decomp.experiments.report.joint_budgets import joins
from decomp.experiments.report.pairs import Pair, family_notes, pairs_by_cycle, pairs_overall, wins
from decomp.experiments.report.statistics import COVER
from decomp.experiments.report.tables import Row, Table, mean_sd

TEST = (
    "Difference: first minus second, mean and sd over repeats joined by seed and fold, with Student's t interval "
    f"({COVER}). p: exact two-sided sign-flip test; p_holm: corrected after Holm over {{family}}. d_z: mean / sd; "
    "rank_biserial: matched-pairs rank-biserial correlation."
)


CENSORED = (
    "The mean is undefined unless every repeat reaches the target after the first cycle. Where the first cycle, which "
    "all samplers share, reaches it, less would do: its annotation enters needed_at_most, an upper bound of the mean."
)
"""What becomes of repeats whose need is known to be below or above some amount only."""

STATISTICS = (
    *("repeats", "difference", "sd", "low", "high", "p", "p_holm", "d_z", "rank_biserial"),
    *("wins", "ties", "losses", "verdict"),
)
"""Columns of `_statistics`."""


def comparison_tables(by_axis: Sequence[Comparison]) -> tuple[Table, ...]:
    """The tables of a comparison, in the order of a report.

    Args:
        by_axis: the same curves compared over each axis; tables over one axis are over the first.
    """
    comparison = by_axis[0]
    return (
        _summary(comparison),
        _crossings(by_axis),
        _cost(by_axis),
        _pairs_overall(by_axis),
        _pairs_by_cycle(comparison),
        _wins(comparison),
        _cycles(by_axis),
    )


def _summary(comparison: Comparison) -> Table:
    metric = comparison.metric
    heads = (
        *("budget", "sampler", "repeats", f"final_{metric}_mean", f"final_{metric}_sd", "area_mean", "area_sd"),
        *("area_from", "area_to", "target", "needed_mean", "needed_sd", "needed_at_most"),
        *("repeats_that_reach_target", "by_first_cycle"),
    )
    rows: list[Row] = []
    for result in comparison.budgets:
        for sampler in result.samplers:
            needed = sampler.needed
            rows.append(
                (
                    result.budget,
                    sampler.sampler,
                    len(sampler.repeats),
                    *mean_sd(sampler.final),
                    *mean_sd(sampler.area),
                    *(sampler.span or (None, None)),
                    comparison.target,
                    *mean_sd(needed.amount if needed else None),
                    *((needed.at_most, needed.reached, needed.by_first) if needed else [None] * 3),
                )
            )
    if comparison.reference is not None:
        rows.append((None, "full annotation", comparison.reference.n, *mean_sd(comparison.reference), *[None] * 10))
    note = (
        f"Area: mean height of the learning curve over the {comparison.axis.label} from area_from to area_to, which "
        f"all curves cover; needed: where a curve first reaches target, {FULL_SHARE:.0%} of full annotation. {CENSORED}"
    )
    return _table("summary", "Summary", heads, rows, [note, *_limits(comparison)])


def _crossings(by_axis: Sequence[Comparison]) -> Table:
    heads = (
        *("budget", "sampler", "axis", "target", "repeats", "reached", "by_first_cycle"),
        *("needed_mean", "needed_sd", "needed_low", "needed_high", "needed_at_most"),
    )
    rows: list[Row] = []
    for budget in range(len(by_axis[0].budgets)):
        for index in range(len(by_axis[0].budgets[budget].samplers)):
            for comparison in by_axis:
                result = comparison.budgets[budget]
                sampler = result.samplers[index]
                if sampler.needed is None:
                    continue
                needed = sampler.needed
                low_high = needed.amount.interval if needed.amount else None
                rows.append(
                    (
                        *(result.budget, sampler.sampler, comparison.axis.name, comparison.target),
                        *(needed.repeats, needed.reached, needed.by_first),
                        *(*mean_sd(needed.amount), *(low_high or (None, None)), needed.at_most),
                    )
                )
    note = (
        "Annotation where a learning curve first reaches the target, linear between cycles: shares in [0, 1], counts, "
        f"hours. Mean, sd and Student's t interval ({COVER}) over repeats. {CENSORED}"
    )
    title = f"Annotation for {FULL_SHARE:.0%} of the full-annotation score"
    return _table("crossings", title, heads, rows, [note, *_limits(by_axis[0])])


def _cost(by_axis: Sequence[Comparison]) -> Table:
    heads = (
        *("budget", "sampler", "cycle", "repeats", f"{by_axis[0].metric}_mean"),
        *(f"{comparison.axis.name}_{what}" for comparison in by_axis for what in ("mean", "sd")),
    )
    rows: list[Row] = []
    for budget, result in enumerate(by_axis[0].budgets):
        for index, sampler in enumerate(result.samplers):
            if sampler.cycles:
                last = sampler.cycles[-1]
                amounts = [each.budgets[budget].samplers[index].cycles[-1].amount for each in by_axis]
                cells = [cell for amount in amounts for cell in mean_sd(amount)]
                rows.append((result.budget, sampler.sampler, last.cycle, last.score.n, last.score.mean, *cells))
    return _table("cost", "Annotation spent until the last common cycle", heads, rows, _limits(by_axis[0]))


def _pairs_overall(by_axis: Sequence[Comparison]) -> Table:
    by_name = {comparison.axis.name: pairs_overall(comparison) for comparison in by_axis}
    rows = [
        (pair.budget, axis, pair.first, pair.second, *_statistics(pair))
        for axis, pairs in by_name.items()
        for pair in pairs
    ]
    heads = ("budget", "axis", "first", "second", *STATISTICS)
    family = f"{_tested(by_axis[0])} of a budget, for each axis by itself"
    notes = [TEST.format(family=family), *family_notes(by_name[by_axis[0].axis.name]), *_limits(by_axis[0])]
    if joins(by_axis[0].joint):
        notes.insert(1, "Over axes that count images, only samplers of one and the same budget are compared.")
    return _table("pairs_overall", "Pairs of samplers: area under the curve", heads, rows, notes)


def _pairs_by_cycle(comparison: Comparison) -> Table:
    pairs = pairs_by_cycle(comparison)
    rows = [(pair.budget, pair.cycle, pair.first, pair.second, *_statistics(pair)) for pair in pairs]
    heads = ("budget", "cycle", "first", "second", *STATISTICS)
    family = f"{_tested(comparison)} and cycles from 2 of a budget (cycle 1 is common to all samplers)"
    notes = [TEST.format(family=family), *family_notes(pairs), *_limits(comparison)]
    title = f"Pairs of samplers: test {score_name(comparison.metric)} by cycle"
    return _table("pairs_by_cycle", title, heads, rows, notes)


def _tested(comparison: Comparison) -> str:
    return "all pairs of samplers" if comparison.design.contrasts is None else "the declared pairs of samplers"


def _wins(comparison: Comparison) -> Table:
    matrices = wins(comparison)
    names = tuple(dict.fromkeys(name for matrix in matrices for name in matrix.samplers))
    rows: list[Row] = []
    for matrix in matrices:
        for i, row in enumerate(matrix.samplers):
            counts = dict(zip(matrix.samplers, matrix.counts[i], strict=True))
            cells = [None if name == row else counts.get(name) for name in names]
            others = [n for j, n in enumerate(matrix.compared[i]) if j != i]
            rows.append((matrix.budget, row, *cells, max(others, default=0)))
    note = (
        "The row beats the column: in how many (repeat, cycle) pairs the sampler of the row scores higher than that of "
        "the column; ties count for neither; compared: how many there are, from cycle 2, as cycle 1 is common to all."
    )
    heads = ("budget", "sampler", *names, "compared")
    return _table("wins", "Wins of the row over the column", heads, rows, [note, *_limits(comparison)])


def _cycles(by_axis: Sequence[Comparison]) -> Table:
    metric = by_axis[0].metric
    heads = (
        *("budget", "sampler", "cycle", "repeats", f"{metric}_mean", f"{metric}_sd"),
        *(f"{comparison.axis.name}_mean" for comparison in by_axis),
    )
    rows: list[Row] = []
    for budget, result in enumerate(by_axis[0].budgets):
        for index, sampler in enumerate(result.samplers):
            for t, cycle in enumerate(sampler.cycles):
                means = [each.budgets[budget].samplers[index].cycles[t].amount.mean for each in by_axis]
                score = mean_sd(cycle.score)
                rows.append((result.budget, sampler.sampler, cycle.cycle, cycle.score.n, *score, *means))
    notes = ["Over the repeats that the samplers share at the cycle.", *_limits(by_axis[0])]
    return _table("cycles", f"Test {score_name(metric)} by cycle", heads, rows, notes)


def _limits(comparison: Comparison) -> list[str]:
    missing = " ".join(comparison.unfinished)
    aside = [sentence for result in comparison.budgets for sentence in result.aside]
    unfinished = f"Not compared to the end: {missing}" if missing else ""
    return list(filter(None, [comparison.oracle_note, *comparison.caveats, *aside, unfinished]))


def _statistics(pair: Pair) -> Row:
    paired = pair.paired
    return (
        *(paired.difference.n, *mean_sd(paired.difference), *(paired.difference.interval or (None, None))),
        *(paired.p, pair.p_holm, paired.d_z, paired.rank_biserial, paired.wins, paired.ties, paired.losses),
        str(pair.verdict),
    )


def _table(name: str, title: str, heads: Sequence[str], rows: Sequence[Row], notes: Sequence[str]) -> Table:
    return Table(name, title, tuple(heads), tuple(rows), " ".join(notes))
