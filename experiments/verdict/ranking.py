"""Mean ranks of samplers over blocks, merged wins, and whether data sets rank the samplers alike.

A sampler that has finished less than half as many blocks of a data set as the one with most is not ranked there, so
that the others keep theirs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt
from scipy.stats import kendalltau, rankdata

from decomp.experiments.report.learning_curves import keeping_up
from decomp.experiments.report.pairs import Wins, wins
from decomp.experiments.report.statistics import LEVEL
from decomp.experiments.verdict.pooled import DataSet, Pooled
from decomp.platform.randomness import stream

RESAMPLES = 50_000
"""Bootstrap samples; the ends of an interval then lie within a few hundredths of their spread."""


@dataclass(frozen=True)
class MeanRank:
    """Mean rank of a sampler, 1 for the highest gain; equals share the mean of their ranks.

    Attributes:
        sampler: its name.
        blocks: those of all data sets in which every ranked sampler has finished.
        rank: mean over blocks.
        interval: percentile interval of a bootstrap over blocks within data sets; None where no data set has two.
        gain: mean over the same blocks.
    """

    sampler: str
    blocks: int
    rank: float
    interval: tuple[float, float] | None
    gain: float


@dataclass(frozen=True)
class Agreement:
    """Kendall's tau-b between the rankings of two data sets.

    Attributes:
        first: name of a data set.
        second: name of another.
        samplers: how many samplers keep up in both.
        tau: from -1 to 1; None where it is not defined.
    """

    first: str
    second: str
    samplers: int
    tau: float | None


def mean_ranks(pooled: Pooled) -> tuple[MeanRank, ...]:
    """Mean ranks of the samplers that keep up in all data sets, the best first; none where these are fewer than two."""
    samplers = _ranked(pooled, pooled.data_sets)
    tables = [np.array(list(data_set.means(samplers).values())) for data_set in pooled.data_sets]
    tables = [table for table in tables if len(table)]
    if len(samplers) < 2 or not tables:
        return ()
    ranks = [rankdata(-table, axis=1) for table in tables]
    means, gains = np.concatenate(ranks).mean(axis=0), np.concatenate(tables).mean(axis=0)
    intervals = bootstrap(ranks) if max(map(len, ranks)) > 1 else [None] * len(samplers)
    n = sum(map(len, tables))
    listed = [MeanRank(name, n, float(means[k]), intervals[k], float(gains[k])) for k, name in enumerate(samplers)]
    return tuple(sorted(listed, key=lambda each: each.rank))


def bootstrap(by_data_set: Sequence[npt.NDArray[np.float64]]) -> list[tuple[float, float] | None]:
    """Percentile intervals at 1 - `LEVEL` of means over all blocks, which are drawn anew within each data set.

    Args:
        by_data_set: values of every block of a data set, shape (blocks, S), one array for each.

    Returns:
        An interval for each of the S columns.
    """
    rng, total = stream(0, "bootstrap"), sum(map(len, by_data_set))
    sums = np.zeros((RESAMPLES, by_data_set[0].shape[1]))
    for values in by_data_set:
        counts = rng.multinomial(len(values), np.full(len(values), 1 / len(values)), RESAMPLES)
        sums += counts @ values
    low, high = np.quantile(sums / total, [LEVEL / 2, 1 - LEVEL / 2], axis=0)
    return [(float(a), float(b)) for a, b in zip(low, high, strict=True)]


def agreements(pooled: Pooled) -> tuple[Agreement, ...]:
    """Kendall's tau of every pair of data sets, over the samplers that keep up in both, ranked by their mean gain."""
    found = []
    for first, second in combinations(pooled.data_sets, 2):
        samplers = _ranked(pooled, (first, second))
        found.append(Agreement(first.name, second.name, len(samplers), _tau(first, second, samplers)))
    return tuple(found)


def _ranked(pooled: Pooled, data_sets: Sequence[DataSet]) -> list[str]:
    """Samplers that keep up in each of the data sets."""
    leading = [set(keeping_up({name: len(of.blocks_of(name)) for name in pooled.samplers})) for of in data_sets]
    return [name for name in pooled.samplers if all(name in own for own in leading)]


def _tau(first: DataSet, second: DataSet, samplers: Sequence[str]) -> float | None:
    means = [_means(first, samplers), _means(second, samplers)]
    if len(samplers) < 2 or means[0] is None or means[1] is None:
        return None
    tau = float(kendalltau(*means).statistic)
    return tau if np.isfinite(tau) else None


def _means(data_set: DataSet, samplers: Sequence[str]) -> npt.NDArray[np.float64] | None:
    table = np.array(list(data_set.means(samplers).values()))
    return np.asarray(table.mean(axis=0)) if len(table) else None


def merged_wins(pooled: Pooled) -> Wins:
    """Wins of the row over the column, added up over all experiments and budgets, oracle baselines left out."""
    samplers = pooled.samplers
    counts, compared = np.zeros((2, len(samplers), len(samplers)), int)
    place = {name: k for k, name in enumerate(samplers)}
    for data_set in pooled.data_sets:
        for experiment in data_set.experiments:
            for matrix in wins(experiment.comparison):
                own = [(i, place[name]) for i, name in enumerate(matrix.samplers) if name in place]
                for i, row in own:
                    for j, column in own:
                        counts[row, column] += matrix.counts[i][j]
                        compared[row, column] += matrix.compared[i][j]
    return Wins("all", samplers, _tuples(counts), _tuples(compared))


def _tuples(table: npt.NDArray[np.int64]) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(int(value) for value in row) for row in table)
