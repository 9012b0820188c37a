"""Pairs of samplers over all blocks of all data sets (Sec. 15 of the method notes).

A block is a repeat of a data set (see `report.design`). Its gain under a budget is ``(area - first) / (full - first)``
with the area under the learning curve and the data set's mean scores of the shared first cycle and of full annotation,
so that data sets are in one unit; each weighs by the number of its blocks. A difference within a block is the mean over
the budgets that both samplers have. Experiments on the same data are one data set, and what they have in common counts
once.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from decomp.experiments.report.axes import Axis
from decomp.experiments.report.comparison import Comparison, compare
from decomp.experiments.report.design import Block, Contrast, Design
from decomp.experiments.report.pairs import Pair, corrected
from decomp.experiments.report.power import FEWEST, repeats_for, repeats_needed
from decomp.experiments.report.run_history import Repeat
from decomp.experiments.report.statistics import Paired
from decomp.experiments.sources import Source, names_of

Setting = tuple[int, str]
"""Number of an experiment, and a budget of it whose samplers are compared with each other."""

Gains = Mapping[Setting, Mapping[Repeat, float]]
"""Gain of a sampler by setting and repeat."""


@dataclass(frozen=True)
class Compared:
    """An experiment and its comparison.

    Attributes:
        source: its results.
        comparison: of these.
        first: mean score of the shared first cycles; None where there is none.
        name: what it is called, different for every experiment.
    """

    source: Source
    comparison: Comparison
    first: float | None
    name: str

    @property
    def full(self) -> float | None:
        """Mean score of full annotation; None where no reference is finished."""
        return self.comparison.reference.mean if self.comparison.reference else None

    @property
    def fault(self) -> str | None:
        """Why it cannot be pooled, in a sentence."""
        if self.first is None or not any(each.span for result in self.comparison.budgets for each in result.samplers):
            return f"{self.name}: no run is finished, so it has no part in the verdict."
        if self.full is None:
            return (
                f"{self.name}: no full annotation is finished, so it cannot be set beside other data and is left out."
            )
        if self.full <= self.first:
            return (
                f"{self.name}: full annotation ({self.full:.3f}) is no better than the first cycle ({self.first:.3f}), "
                f"so there is nothing to gain and it is left out."
            )
        return None


@dataclass(frozen=True)
class DataSet:
    """A data set, with all experiments on it.

    Attributes:
        name: of its first experiment.
        experiments: its experiments.
        gains: by sampler.
    """

    name: str
    experiments: tuple[Compared, ...]
    gains: Mapping[str, Gains]

    @classmethod
    def of(cls, experiments: Sequence[Compared]) -> "DataSet":
        """The gains of experiments on the same data, none of which has a fault."""
        gains: dict[str, dict[Setting, dict[Repeat, float]]] = {}
        for number, experiment in enumerate(experiments):
            assert experiment.first is not None, experiment.fault
            assert experiment.full is not None, experiment.fault
            first, height = experiment.first, experiment.full - experiment.first
            for result in experiment.comparison.budgets:
                for sampler in result.samplers:
                    if sampler.areas:
                        of_repeats = {repeat: (area - first) / height for repeat, area in sampler.areas.items()}
                        gains.setdefault(sampler.sampler, {})[number, sampler.budget] = of_repeats
        return cls(experiments[0].name, tuple(experiments), gains)

    @property
    def blocks(self) -> list[Block]:
        """All blocks that any sampler has finished under any budget."""
        return sorted(set().union(*map(self.blocks_of, self.gains)))

    def blocks_of(self, sampler: str) -> set[Block]:
        """Blocks that a sampler has finished under any budget."""
        return {
            self._design(setting).block(repeat)
            for setting, of_repeats in self.gains.get(sampler, {}).items()
            for repeat in of_repeats
        }

    def differences(self, first: str, second: str) -> dict[Block, float]:
        """First minus second in every block that both have, sorted."""
        means = self.means([first, second])
        return {block: gains[0] - gains[1] for block, gains in means.items()}

    def means(self, samplers: Sequence[str]) -> dict[Block, list[float]]:
        """Gains of samplers, in their order, in every block of which all of them have a repeat.

        A gain is the mean over the settings of the block, each of which is the mean over the repeats that all of these
        samplers have: a fold that one of them lacks is left out for the others too.
        """
        by_sampler = [self.gains.get(sampler, {}) for sampler in samplers]
        by_block: dict[Block, list[list[float]]] = {}
        for setting in by_sampler[0] if by_sampler else {}:
            of_setting = [gains.get(setting, {}) for gains in by_sampler]
            common = set(of_setting[0]).intersection(*of_setting)
            means = [self._design(setting).by_block({r: gains[r] for r in common}) for gains in of_setting]
            for block in means[0]:
                by_block.setdefault(block, []).append([of_sampler[block] for of_sampler in means])
        return {block: [_mean(gains) for gains in zip(*by_block[block], strict=True)] for block in sorted(by_block)}

    def _design(self, setting: Setting) -> Design:
        number, _ = setting
        return self.experiments[number].comparison.design


@dataclass(frozen=True)
class PooledPair:
    """A pair of samplers over all data sets.

    Attributes:
        pair: the pooled differences of gains, tested and corrected.
        by_data_set: differences in each data set that has some, by its name.
        without: pooled differences without each of these data sets, where others are left; corrected over all pairs
            that are left without it.
    """

    pair: Pair
    by_data_set: Mapping[str, Paired]
    without: Mapping[str, Pair]

    @property
    def alone(self) -> str | None:
        """The only data set that has differences; None where several have."""
        return next(iter(self.by_data_set)) if len(self.by_data_set) == 1 else None

    @property
    def blocks_for_least_p(self) -> int:
        """Blocks still needed before the pair can be significant."""
        return max(0, repeats_needed(self.pair.family) - self.pair.paired.difference.n)

    @property
    def blocks_for_effect(self) -> int | None:
        """Blocks still needed to find the observed effect at 80 % power.

        None for fewer blocks than tell a deviation, and where `MOST_REPEATS` would be too few.
        """
        n, mean, effect = self.pair.paired.difference.n, self.pair.paired.difference.mean, self.pair.paired.d_z
        if n < FEWEST:
            return None
        if effect is None and mean:  # all blocks differ by the same
            return self.blocks_for_least_p
        needed = repeats_for(effect or 0.0, self.pair.family)
        return None if needed is None else max(0, needed - n)


@dataclass(frozen=True)
class Pooled:
    """Several experiments, pooled.

    Attributes:
        experiments: all of them, those that have no part in the verdict included.
        data_sets: those that have, joined by their data.
        samplers: names, in order of appearance, without oracle baselines.
        oracles: samplers that read the truth.
        declared: whether the pairs are declared by the experiments.
        pairs: every pair that is tested.
    """

    experiments: tuple[Compared, ...]
    data_sets: tuple[DataSet, ...]
    samplers: tuple[str, ...]
    oracles: tuple[str, ...]
    declared: bool
    pairs: tuple[PooledPair, ...]

    @property
    def blocks(self) -> int:
        """Blocks of all data sets."""
        return sum(len(data_set.blocks) for data_set in self.data_sets)


def pool(sources: Sequence[Source], axes: Sequence[Axis | None] | None = None) -> Pooled:
    """Pool the results of experiments.

    Args:
        sources: at least one.
        axes: what measures the annotation of each, see `compare`, which chooses by default.
    """
    chosen = axes or [None] * len(sources)
    experiments = tuple(map(_compared, sources, names_of(sources), chosen))
    by_data: dict[str, list[Compared]] = {}
    for experiment in experiments:
        if experiment.fault is None:
            by_data.setdefault(experiment.source.histories[0].spec.fingerprint, []).append(experiment)
    data_sets = tuple(map(DataSet.of, by_data.values()))
    designs = [experiment.comparison.design for experiment in experiments]
    oracles = tuple(dict.fromkeys(name for design in designs for name in design.oracles))
    names = dict.fromkeys(name for data_set in data_sets for name in data_set.gains if name not in oracles)
    declared = [design.contrasts for design in designs if design.contrasts is not None]
    contrasts = [pair for pairs in declared for pair in pairs] if declared else list(combinations(names, 2))
    pairs = pooled_pairs(data_sets, [pair for pair in contrasts if not set(pair) & set(oracles)])
    return Pooled(experiments, data_sets, tuple(names), oracles, bool(declared), pairs)


def _compared(source: Source, name: str, axis: Axis | None) -> Compared:
    description = source.description
    comparison = compare(source.histories, description.metric, axis, description.design)
    firsts = {(curve.budget, curve.repeat): curve.scores[0] for curve in comparison.curves if curve.scores}
    return Compared(source, comparison, _mean(firsts.values()) if firsts else None, name)


def pooled_pairs(data_sets: Sequence[DataSet], contrasts: Sequence[Contrast]) -> tuple[PooledPair, ...]:
    """Every pair that has a block in common, over all blocks, with p corrected after Holm over these pairs.

    Args:
        data_sets: with the values that are compared.
        contrasts: names of two samplers each; a pair that is given twice, in either order, counts once.
    """
    distinct: dict[frozenset[str], Contrast] = {}
    for contrast in contrasts:
        distinct.setdefault(frozenset(contrast), contrast)
    differences = {
        contrast: {d.name: list(of_blocks.values()) for d in data_sets if (of_blocks := d.differences(*contrast))}
        for contrast in distinct.values()
    }
    without = {each.name: _family(differences, each.name) for each in data_sets}
    return tuple(
        PooledPair(
            pair,
            {name: Paired.of(values) for name, values in differences[contrast].items()},
            {name: without[name][contrast] for name in differences[contrast] if contrast in without[name]},
        )
        for contrast, pair in _family(differences).items()
    )


def _family(
    differences: Mapping[Contrast, Mapping[str, Sequence[float]]], without: str | None = None
) -> dict[Contrast, Pair]:
    """The pairs that have a difference in any data set but one, corrected over all of these."""
    pairs = []
    for (first, second), by_data_set in differences.items():
        values = [value for name, of_blocks in by_data_set.items() if name != without for value in of_blocks]
        if values:
            pairs.append(Pair("all", first, second, None, Paired.of(values)))
    return {(pair.first, pair.second): pair for pair in corrected(pairs)}


def _mean(values: Iterable[float]) -> float:
    listed = list(values)
    return sum(listed) / len(listed)
