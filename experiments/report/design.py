"""What a comparison tests: which pairs of samplers, and which repeats are independent of each other.

A block is what counts once in a test: a repeat, or all folds of a seed that share training images, averaged.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from decomp.experiments.plan import Plan
from decomp.experiments.report.run_history import Repeat
from decomp.platform.datasets.base import Dataset, pool_ids

Block = tuple[int, int]
"""Seed, and the first of its folds that share images."""

Contrast = tuple[str, str]
"""Names of two samplers; their difference is first minus second."""


@dataclass(frozen=True)
class Design:
    """What is tested, and on what.

    Attributes:
        contrasts: the pairs that are declared; None for all pairs.
        fold_groups: by fold, the first fold that it shares training images with; None where that is not known, and
            all folds of a seed count once.
        oracles: samplers that read the truth, which nobody could use: they are shown, but enter no verdict.
    """

    contrasts: tuple[Contrast, ...] | None = None
    fold_groups: Mapping[int, int] | None = None
    oracles: tuple[str, ...] = ()

    def pairs(self, samplers: Sequence[str]) -> list[Contrast]:
        """The pairs of these samplers that are tested, in order of declaration; without oracle baselines."""
        usable = [sampler for sampler in samplers if sampler not in self.oracles]
        if self.contrasts is None:
            return list(combinations(usable, 2))
        return [(first, second) for first, second in self.contrasts if first in usable and second in usable]

    def block(self, repeat: Repeat) -> Block:
        """The block of a repeat."""
        seed, fold = repeat
        return seed, (0 if self.fold_groups is None else self.fold_groups.get(fold, fold))

    def blocks(self, repeats: Iterable[Repeat]) -> list[Block]:
        """The blocks of some repeats, sorted."""
        return sorted({self.block(repeat) for repeat in repeats})

    def by_block(self, values: Mapping[Repeat, float]) -> dict[Block, float]:
        """The mean of every block, sorted; a block's folds are those that have a value."""
        members: dict[Block, list[float]] = {}
        for repeat in sorted(values):
            members.setdefault(self.block(repeat), []).append(values[repeat])
        return {block: sum(of_block) / len(of_block) for block, of_block in sorted(members.items())}


def design_of(plan: Plan) -> Design:
    """The design of an experiment."""
    folds = sorted({spec.fold for spec in plan.runs})
    return Design(plan.experiment.contrasts, fold_groups(plan.dataset, folds), plan.oracle_baselines)


def fold_groups(dataset: Dataset, folds: Sequence[int]) -> dict[int, int]:
    """By fold, the first fold that it shares images of its pool with, directly or through others."""
    groups: dict[int, int] = {}
    pools = {fold: set(pool_ids(dataset, fold)) for fold in folds}
    for fold in folds:
        meeting = {groups[other] for other in groups if pools[other] & pools[fold]}
        first = min(meeting, default=fold)
        groups |= {other: first for other, group in groups.items() if group in meeting} | {fold: first}
    return groups
