"""The tables of a verdict over several experiments."""

from collections.abc import Sequence

from decomp.experiments.report.incomplete import listed
from decomp.experiments.report.power import FEWEST
from decomp.experiments.report.statistics import COVER, LEVEL
from decomp.experiments.report.tables import Row, Table
from decomp.experiments.verdict.efficiency import efficiencies
from decomp.experiments.verdict.pooled import DataSet, Pooled
from decomp.experiments.verdict.ranking import agreements, mean_ranks, merged_wins


def verdict_tables(pooled: Pooled) -> tuple[Table, ...]:
    """All tables, in the order of the page."""
    return (
        pair_table(pooled),
        contribution_table(pooled),
        rank_table(pooled),
        win_table(pooled),
        agreement_table(pooled),
        efficiency_table(pooled),
        experiment_table(pooled),
    )


def pair_table(pooled: Pooled) -> Table:
    """Every pair that is tested, over all blocks."""
    rows: list[Row] = []
    for each in pooled.pairs:
        pair, paired = each.pair, each.pair.paired
        spread = paired.difference
        rows.append(
            (
                *(
                    pair.first,
                    pair.second,
                    len(each.by_data_set),
                    spread.n,
                    spread.mean,
                    *(spread.interval or (None, None)),
                ),
                *(paired.p, pair.p_holm, paired.d_z, paired.wins, paired.ties, paired.losses, str(pair.verdict)),
                *(each.blocks_for_least_p, each.blocks_for_effect),
            )
        )
    heads = (
        *("first", "second", "data_sets", "blocks", "difference", "low", "high", "p", "p_holm", "d_z"),
        *("wins", "ties", "losses", "verdict", "more_for_least_p", "more_for_effect"),
    )
    family = "the pairs that the experiments declare" if pooled.declared else "all pairs"
    note = (
        f"{gain_in_words(pooled)}, averaged over the budgets that both samplers have. Difference: first minus second, "
        f"mean over the blocks of all data sets, each of which counts once, with Student's t interval "
        f"({COVER}). p: two-sided sign-flip test over all blocks; p_holm: corrected after Holm over {family}, "
        f"significant up to {LEVEL:g}. More blocks: before the least possible p is significant; to find a true "
        f"difference as large as the one seen with a chance of 80 %, from {FEWEST} blocks on."
    )
    return Table("pooled_pairs", "Pairs of samplers over all data sets", heads, tuple(rows), note)


def contribution_table(pooled: Pooled) -> Table:
    """What every data set adds to every pair, and what would be left without it."""
    rows: list[Row] = []
    for each in pooled.pairs:
        for name, paired in each.by_data_set.items():
            rest = each.without.get(name)
            spread = paired.difference
            rows.append(
                (
                    *(
                        each.pair.first,
                        each.pair.second,
                        name,
                        spread.n,
                        spread.mean,
                        *(spread.interval or (None, None)),
                    ),
                    *((paired.p, rest.paired.difference.mean, rest.p_holm) if rest else (paired.p, None, None)),
                )
            )
    heads = (
        *("first", "second", "data_set", "blocks", "difference", "low", "high", "p"),
        *("difference_without", "p_holm_without"),
    )
    note = (
        "As above, of the blocks of one data set, p uncorrected; and of all others together, p corrected over the "
        "pairs that they have."
    )
    return Table("pooled_by_data_set", "What each data set adds", heads, tuple(rows), note)


def rank_table(pooled: Pooled) -> Table:
    """Mean ranks of the samplers that keep up in all data sets."""
    rows: list[Row] = [(r.sampler, r.blocks, r.rank, *(r.interval or (None, None)), r.gain) for r in mean_ranks(pooled)]
    note = (
        f"Of the samplers that have at least half as many blocks of every data set as the one with most, in the blocks "
        f"that all of these have; 1 is the best, equals share a rank. Interval ({COVER}): bootstrap over blocks within "
        f"data sets. {gain_in_words(pooled)}, averaged over the budgets that all of these have."
    )
    heads = ("sampler", "blocks", "mean_rank", "low", "high", "mean_gain")
    return Table("mean_ranks", "Mean ranks", heads, tuple(rows), note)


def win_table(pooled: Pooled) -> Table:
    """Merged wins of the row over the column."""
    matrix = merged_wins(pooled)
    rows: list[Row] = []
    for i, name in enumerate(matrix.samplers):
        cells = [None if i == j else wins for j, wins in enumerate(matrix.counts[i])]
        others = [n for j, n in enumerate(matrix.compared[i]) if j != i]
        rows.append((name, *cells, max(others, default=0)))
    note = (
        "The row beats the column: in how many (repeat, cycle) pairs of all experiments and budgets, from cycle 2 on, "
        "it scores higher; ties count for neither; compared: the most that there are for "
        "a sampler and another. A run that two experiments share counts in both."
    )
    return Table(
        "merged_wins",
        "Merged wins of the row over the column",
        ("sampler", *matrix.samplers, "compared"),
        tuple(rows),
        note,
    )


def agreement_table(pooled: Pooled) -> Table:
    """Kendall's tau between data sets."""
    rows: list[Row] = [(each.first, each.second, each.samplers, each.tau) for each in agreements(pooled)]
    note = (
        "Kendall's tau-b of the mean gains of the samplers that are ranked in both: 1 for the same ranking, -1 for the "
        "reverse."
    )
    return Table("agreement", "Do the data sets rank alike?", ("first", "second", "samplers", "tau"), tuple(rows), note)


def efficiency_table(pooled: Pooled) -> Table:
    """Foreground efficiency of every sampler in every experiment."""
    rows: list[Row] = []
    for experiment in pooled.experiments:
        for each in efficiencies(experiment):
            oracle = "yes" if each.sampler in pooled.oracles else ""
            rows.append(
                (
                    experiment.name,
                    each.sampler,
                    oracle,
                    each.repeats,
                    each.b,
                    *(each.interval or (None, None)),
                    each.halving,
                )
            )
    note = (
        "score = full - (full - first) exp(-b x), x the annotated foreground pixels (ROIs) beyond the first cycle's, "
        f"fitted over all finished runs that begin below full annotation, first being each run's own first score; "
        f"interval ({COVER}) from leaving out one block after the other; "
        "halving: foreground pixels that halve the distance to full annotation, ln 2 / b. Undefined where the "
        "score does not rise."
    )
    heads = ("experiment", "sampler", "oracle_baseline", "blocks", "b", "low", "high", "halving")
    return Table("foreground_efficiency", "Foreground efficiency", heads, tuple(rows), note)


def experiment_table(pooled: Pooled) -> Table:
    """What was compared."""
    rows: list[Row] = []
    for experiment in pooled.experiments:
        runs = experiment.source.runs
        within = next((d for d in pooled.data_sets if experiment in d.experiments), None)
        imported = sum(run.imported is not None for run in runs)
        rows.append(
            (
                *(experiment.name, within.name if within else None, experiment.source.description.metric),
                experiment.comparison.axis.label,
                *(len({run.spec.sampler.name for run in runs if run.spec.sampler}), len(experiment.comparison.budgets)),
                *(len(runs), sum(run.finished for run in runs), imported),
                *(experiment.first, experiment.full, experiment.source.origin),
            )
        )
    heads = (
        *("experiment", "data_set", "metric", "axis", "samplers", "budgets", "runs", "finished", "imported"),
        *("first_cycle", "full_annotation", "read_from"),
    )
    note = (
        "Axis: what learning curves are taken over. Mean score of the shared first cycles and of full annotation. "
        "Experiments on the same data are one data set."
    )
    return Table("experiments", "What is compared", heads, tuple(rows), note)


def gain_in_words(pooled: Pooled) -> str:
    """What a gain is, with the axis of every data set; a sentence without its end."""
    return (
        f"Gain of a block: mean height of the learning curve over {axes_in_words(pooled.data_sets)}, from 0 for the "
        "shared first cycle to 1 for full annotation"
    )


def axes_in_words(data_sets: Sequence[DataSet]) -> str:
    """What the learning curves are taken over, with the data sets where these differ in it."""
    by_axis: dict[str, list[str]] = {}
    for data_set in data_sets:
        by_axis.setdefault(data_set.experiments[0].comparison.axis.label, []).append(data_set.name)
    if len(by_axis) < 2:
        return "".join(f"the {axis}" for axis in by_axis) or "annotation"
    return listed([f"the {axis} ({', '.join(names)})" for axis, names in by_axis.items()])


def spread_text(low_high: Sequence[float] | None) -> str:
    """An interval in words, with its signs; empty for None."""
    return f" [{low_high[0]:+.3f}, {low_high[1]:+.3f}]" if low_high else ""
