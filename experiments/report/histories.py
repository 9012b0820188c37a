"""Committed runs read once, and those of a budget joined by seed and fold at a cycle that all of them have reached."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from decomp.experiments.report.curves import Repeat
from decomp.platform.spec import RunSpec, Sampler
from decomp.platform.storage.records import CycleRecord, Timing
from decomp.platform.storage.runs import RunStore


@dataclass(frozen=True)
class History:
    """What a run has committed; both sequences have length T, the number of its cycles.

    Attributes:
        store: the run.
        records: results of each cycle.
        timings: wall times of each cycle.
    """

    store: RunStore
    records: tuple[CycleRecord, ...]
    timings: tuple[Timing, ...]

    @classmethod
    def read(cls, store: RunStore) -> "History":
        """Read all cycles of a run, the shared first one included."""
        folders = store.committed()
        return cls(store, tuple(folder.record for folder in folders), tuple(folder.timing for folder in folders))

    @property
    def spec(self) -> RunSpec:
        """Which run it is."""
        return self.store.spec

    @property
    def repeat(self) -> Repeat:
        """Its seed and fold."""
        return self.spec.seed, self.spec.fold


@dataclass(frozen=True)
class Cohort:
    """The runs under one budget, followed up to the same cycle.

    Attributes:
        budget: label of the budget.
        cycle: the last common cycle: the greatest that all samplers have reached in at least one repeat.
        repeats: repeats that all samplers have brought to this cycle, sorted.
        samplers: all samplers, in order of their first run.
        histories: history by sampler and repeat; of these repeats only.
    """

    budget: str
    cycle: int
    repeats: tuple[Repeat, ...]
    samplers: tuple[Sampler, ...]
    histories: Mapping[tuple[str, Repeat], History]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the samplers."""
        return tuple(sampler.name for sampler in self.samplers)

    def of(self, sampler: str) -> list[History]:
        """Histories of a sampler, in order of the repeats."""
        return [self.histories[sampler, repeat] for repeat in self.repeats]

    def last(self, sampler: str) -> list[CycleRecord]:
        """Results of a sampler at the last common cycle, in order of the repeats."""
        return [history.records[self.cycle - 1] for history in self.of(sampler)]


def cohorts(histories: Sequence[History]) -> tuple[Cohort, ...]:
    """The runs of each budget, in order of their first run, without budgets whose samplers have no cycle in common."""
    runs = [history for history in histories if history.spec.kind == "run"]
    budgets = dict.fromkeys(history.spec.budget.label for history in runs if history.spec.budget)
    found = (
        _cohort(budget, [run for run in runs if run.spec.budget is not None and run.spec.budget.label == budget])
        for budget in budgets
    )
    return tuple(cohort for cohort in found if cohort is not None)


def references(histories: Sequence[History]) -> tuple[History, ...]:
    """Finished full-annotation references."""
    return tuple(history for history in histories if history.spec.kind == "reference" and history.records)


def _cohort(budget: str, runs: Sequence[History]) -> Cohort | None:
    samplers = {run.spec.sampler.name: run.spec.sampler for run in runs if run.spec.sampler is not None}
    by_key = {(run.spec.sampler.name, run.repeat): run for run in runs if run.spec.sampler is not None}
    reached = {
        repeat: min(len(by_key[name, repeat].records) if (name, repeat) in by_key else 0 for name in samplers)
        for repeat in sorted({run.repeat for run in runs})
    }
    cycle = max(reached.values())
    if cycle == 0:
        return None
    repeats = tuple(repeat for repeat, cycles in reached.items() if cycles == cycle)
    joined = {key: run for key, run in by_key.items() if key[1] in repeats}
    return Cohort(budget, cycle, repeats, tuple(samplers.values()), joined)
