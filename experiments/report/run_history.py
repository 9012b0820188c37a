"""What runs have committed: folders are listed once, records and timings read at most once, when first asked for."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from decomp.experiments.import_marks import Import, read_imports
from decomp.platform.ledger import Ledger
from decomp.platform.spec import RunSpec
from decomp.platform.storage.records import CycleRecord, Timing
from decomp.platform.storage.runs import CycleFolder, DamagedCycle, LostTimes, RunStore

Repeat = tuple[int, int]
"""Seed and fold."""


@dataclass(frozen=True)
class CommittedCycle:
    """A committed cycle.

    Attributes:
        folder: its files.
    """

    folder: CycleFolder

    @cached_property
    def record(self) -> CycleRecord:
        """Results of the cycle."""
        return self.folder.record

    @cached_property
    def timing(self) -> Timing:
        """Wall times of the cycle."""
        return self.folder.timing

    @property
    def ledger(self) -> Ledger:
        """The regions annotated in the cycle."""
        return self.folder.ledger_of(self.record)

    def check(self) -> None:
        """Read all results that reports and MLflow show; `DamagedCycle` if they are damaged."""
        _ = self.record, self.ledger


@dataclass(frozen=True)
class RunHistory:
    """The committed cycles of a run.

    Attributes:
        store: the run.
        cycles: its cycles from 1 on, the shared first one included, length T.
        marked: where it was imported from, if it ever was.
    """

    store: RunStore
    cycles: tuple[CommittedCycle, ...]
    marked: Import | None = None

    @property
    def spec(self) -> RunSpec:
        """Which run it is."""
        return self.store.spec

    @property
    def repeat(self) -> Repeat:
        """Its seed and fold."""
        return self.spec.seed, self.spec.fold

    @property
    def records(self) -> tuple[CycleRecord, ...]:
        """Results of each cycle, length T."""
        return tuple(cycle.record for cycle in self.cycles)

    @property
    def timings(self) -> tuple[Timing, ...]:
        """Wall times of each cycle, length T."""
        return tuple(cycle.timing for cycle in self.cycles)

    @property
    def own_cycles(self) -> tuple[CommittedCycle, ...]:
        """The cycles that no other run shares."""
        return self.cycles[self.spec.kind == "run" :]

    @property
    def finished(self) -> bool:
        """Whether no cycle is left to compute."""
        return len(self.cycles) >= self.spec.cycles or bool(self.cycles and self.cycles[-1].record.exhausted)

    @cached_property
    def imported(self) -> Import | None:
        """Where its cycles were imported from; None where they were computed here."""
        if self.marked is None or not self.own_cycles:
            return None
        try:
            committed_at = self.own_cycles[0].timing.committed_at
        except DamagedCycle:
            return None
        return self.marked if committed_at == self.marked.committed_at else None

    def ledger(self, last: int) -> Ledger:
        """All regions annotated in the cycles from 1 to `last`."""
        ledger = Ledger()
        for cycle in self.cycles[:last]:
            ledger = ledger.extend(cycle.ledger)
        return ledger

    def forget_damaged_times(self) -> list[str]:
        """Give up wall times of the run's own cycles that cannot be read; a sentence for each."""
        sentences = []
        for cycle in self.own_cycles:
            try:
                _ = cycle.timing
            except LostTimes as error:
                sentences.append(cycle.folder.forget_times(error))
        return sentences

    def set_aside_damaged(self) -> list[str]:
        """Read all of the run's own cycles; set the first damaged one aside, and say so in a sentence."""
        for cycle in self.own_cycles:
            try:
                cycle.check()
            except DamagedCycle as error:
                return [cycle.folder.set_aside(error)]
        return []


def read_histories(runs: Iterable[RunStore]) -> tuple[RunHistory, ...]:
    """The histories of any runs, in their order; a first cycle that runs share is listed and read once."""
    firsts: dict[str, tuple[CommittedCycle, ...]] = {}
    imports: dict[str, dict[str, Import]] = {}
    histories = []
    for run in runs:
        root = str(run.root)
        if root not in imports:
            imports[root] = read_imports(run.root)
        folder = str(run.first.path)
        if folder not in firsts:
            firsts[folder] = _cycles(run.first.committed())
        cycles = firsts[folder]
        if run.spec.kind == "run" and cycles:
            cycles += _cycles(run.own_cycles(after=1))
        histories.append(RunHistory(run, cycles, imports[root].get(run.spec.key)))
    return tuple(histories)


def _cycles(folders: Iterable[CycleFolder]) -> tuple[CommittedCycle, ...]:
    return tuple(CommittedCycle(folder) for folder in folders)
