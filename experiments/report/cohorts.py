"""The runs of a budget joined by seed and fold, at a cycle that all samplers have reached."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from decomp.experiments.report.learning_curves import keeping_up
from decomp.experiments.report.run_history import Repeat, RunHistory
from decomp.platform.grid import Sampler
from decomp.platform.storage.records import CycleRecord


@dataclass(frozen=True)
class Cohort:
    """The runs under one budget, followed up to the same cycle.

    Attributes:
        budget: label of the budget.
        cycle: the last common cycle: the greatest that all samplers have reached in at least one repeat.
        repeats: repeats that all samplers have brought to this cycle, sorted.
        samplers: the samplers, in order of their first run; only those that have got at least half as far as the
            furthest, so that one that fails early does not hold the others back.
        behind: names of the other samplers.
        histories: history by sampler and repeat; of these samplers and repeats only.
    """

    budget: str
    cycle: int
    repeats: tuple[Repeat, ...]
    samplers: tuple[Sampler, ...]
    behind: tuple[str, ...]
    histories: Mapping[tuple[str, Repeat], RunHistory]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the samplers."""
        return tuple(sampler.name for sampler in self.samplers)

    def of(self, sampler: str) -> list[RunHistory]:
        """Histories of a sampler, in order of the repeats."""
        return [self.histories[sampler, repeat] for repeat in self.repeats]

    def last(self, sampler: str) -> list[CycleRecord]:
        """Results of a sampler at the last common cycle, in order of the repeats."""
        return [history.cycles[self.cycle - 1].record for history in self.of(sampler)]


def join_cohorts(histories: Sequence[RunHistory]) -> tuple[Cohort, ...]:
    """The runs of each budget, in order of their first run, without budgets whose samplers have no cycle in common."""
    by_budget: dict[str, list[RunHistory]] = {}
    for history in histories:
        if history.spec.kind == "run" and history.spec.budget is not None:
            by_budget.setdefault(history.spec.budget.label, []).append(history)
    cohorts = (_join(budget, runs) for budget, runs in by_budget.items())
    return tuple(cohort for cohort in cohorts if cohort is not None)


def finished_references(histories: Sequence[RunHistory]) -> tuple[RunHistory, ...]:
    """Finished full-annotation references."""
    return tuple(history for history in histories if history.spec.kind == "reference" and history.finished)


def _join(budget: str, runs: Sequence[RunHistory]) -> Cohort | None:
    samplers = {run.spec.sampler.name: run.spec.sampler for run in runs if run.spec.sampler is not None}
    by_key = {(run.spec.sampler.name, run.repeat): run for run in runs if run.spec.sampler is not None}
    furthest = {name: max(len(run.cycles) for (each, _), run in by_key.items() if each == name) for name in samplers}
    behind = tuple(name for name in samplers if name not in keeping_up(furthest))
    samplers = {name: sampler for name, sampler in samplers.items() if name not in behind}
    reached = {
        repeat: min(len(by_key[name, repeat].cycles) if (name, repeat) in by_key else 0 for name in samplers)
        for repeat in sorted({run.repeat for run in runs})
    }
    cycle = max(reached.values())
    if cycle == 0:
        return None
    repeats = tuple(repeat for repeat, cycles in reached.items() if cycles == cycle)
    histories = {key: run for key, run in by_key.items() if key[0] in samplers and key[1] in repeats}
    return Cohort(budget, cycle, repeats, tuple(samplers.values()), behind, histories)
