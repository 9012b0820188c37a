"""Committed cycles on disk: the truth that everything else (resume, report, MLflow) is read from.

One folder per run, one folder per cycle::

    ROOT/decomp/10x12-16x16/seed-0-fold-0/KEY/
        run.json                 the run's identity, and the folder of its shared first cycle
        cycle-0002/
            record.json          CycleRecord
            regions.parquet      the cycle's rows of the ledger
            timing.json          Timing
            model                the checkpoint (of the last two cycles only)

A cycle becomes visible at once, with all its files (`Location.publish`): it is there whole or not at all.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count, takewhile

import pyarrow as pa
import pyarrow.parquet as pq

from decomp.platform.errors import UserError
from decomp.platform.ledger import Ledger
from decomp.platform.spec import FORMAT, RunSpec
from decomp.platform.storage.location import Location
from decomp.platform.storage.records import CycleRecord, Timing

CHECKPOINT, RECORD, TIMING, REGIONS = "model", "record.json", "timing.json", "regions.parquet"
CYCLE = "cycle-"


@dataclass(frozen=True)
class CycleFolder:
    """Files of one cycle, committed or in the making.

    Raises:
        UserError: naming the file and the mend, where results are read from a file that is missing or damaged.
    """

    path: Location

    @property
    def checkpoint(self) -> Location:
        """The trained model."""
        return self.path / CHECKPOINT

    @property
    def record(self) -> CycleRecord:
        """Results of the cycle."""
        with _legible(self.path / RECORD) as file:
            return CycleRecord.from_json(file.read_bytes())

    @property
    def timing(self) -> Timing:
        """Wall times of the cycle."""
        with _legible(self.path / TIMING) as file:
            return Timing.from_json(file.read_bytes())

    @property
    def ledger(self) -> Ledger:
        """The regions annotated in the cycle."""
        with _legible(self.regions_file) as file:
            return Ledger(pq.read_table(pa.BufferReader(file.read_bytes())))

    @property
    def regions_file(self) -> Location:
        """Parquet file of the regions annotated in the cycle."""
        return self.path / REGIONS

    def intact(self) -> bool:
        """Whether the checkpoint is the one that the record speaks of."""
        return self.checkpoint.sha256() == self.record.checkpoint_sha256


@dataclass(frozen=True)
class RunStore:
    """The folder of one run.

    Attributes:
        root: folder of the experiment.
        spec: the run.
    """

    root: Location
    spec: RunSpec

    @property
    def path(self) -> Location:
        """The run's folder."""
        return self.root / self.spec.label / self.spec.key

    @property
    def first(self) -> "RunStore":
        """The run whose cycle 1 is this run's: the shared first cycle for a run, itself for the others."""
        return RunStore(self.root, self.spec.first) if self.spec.kind == "run" else self

    def committed(self) -> list[CycleFolder]:
        """Committed cycles, from cycle 1 on without a gap, the shared first cycle included."""
        if self.spec.kind != "run":
            return self.own_cycles(after=0)
        first = self.first.committed()
        return [*first, *self.own_cycles(after=1)] if first else []

    def own_cycles(self, after: int) -> list[CycleFolder]:
        """Committed cycles in the run's own folder that follow a cycle without a gap."""
        folders = self.path.published(CYCLE)
        names = takewhile(folders.__contains__, map(_name, count(after + 1)))
        return [CycleFolder(folders[name]) for name in names]

    def stranded(self) -> list[CycleFolder]:
        """Cycles after a gap, which a user made who deleted a damaged one; they do not count as committed."""
        last, published = _name(len(self.committed())), self.path.published(CYCLE)
        return [CycleFolder(published[name]) for name in sorted(published) if name > last]

    def ledger(self, folders: list[CycleFolder]) -> Ledger:
        """All regions annotated in the given cycles."""
        ledger = Ledger()
        for folder in folders:
            ledger = ledger.extend(folder.ledger)
        return ledger

    @property
    def finished(self) -> bool:
        """Whether nothing is left to compute; a first cycle must have its checkpoint, which all its runs start from."""
        folders = self.committed()
        done = len(folders) >= self.spec.cycles or bool(folders and folders[-1].record.exhausted)
        return done and (self.spec.kind != "first" or folders[0].intact())

    def create(self) -> None:
        """Make the run's folder, write down what it is, and sweep away what a killed process left half-made."""
        self.path.prepare()
        description = self.path / "run.json"
        if not description.exists():
            content = json.dumps(self.spec.identity(), sort_keys=True, indent=1) + "\n"
            description.write_atomically(content.encode())

    def stage(self, number: int) -> CycleFolder:
        """A fresh folder for the files of a cycle in the making."""
        return CycleFolder((self.path / _name(number)).stage())

    def commit(self, staged: CycleFolder, record: CycleRecord, timing: Timing, ledger: Ledger) -> CycleFolder:
        """Add the results to a staged cycle (whose checkpoint is there already) and make it visible at once.

        Losing a race against another process that commits the same cycle is no fault: both computed the same.
        """
        regions = pa.BufferOutputStream()
        pq.write_table(ledger.table, regions)
        files = {REGIONS: regions.getvalue().to_pybytes(), RECORD: record.to_json(), TIMING: timing.to_json()}
        # The last two checkpoints stay: the next cycle needs the last, and the one before mends a damaged last. The one
        # before them goes first: after the last commit of a run nobody would come back for it.
        if record.cycle > 3:
            for path in self.path.published(_name(record.cycle - 2)).values():
                CycleFolder(path).checkpoint.discard()
        return CycleFolder((self.path / _name(record.cycle)).publish(staged.path, files))

    def quarantine(self, folder: CycleFolder) -> str:
        """Set a damaged cycle aside, so that it is computed again; returns how it is called now."""
        return folder.path.set_aside()


def stored_runs(root: Location) -> Iterator[RunStore]:
    """All runs of this version's `FORMAT` below an experiment's folder, in order of their folders.

    Raises:
        UserError: naming a description that is damaged.
    """
    for description in root.find("run.json"):
        identity = description.read_bytes()
        try:
            spec = RunSpec.from_json(identity) if json.loads(identity).get("format") == FORMAT else None
        except ValueError as error:
            raise UserError(f"{description} is damaged; delete it, and 'decomp run' writes it again.") from error
        if spec is not None:
            yield RunStore(root, spec)


@contextmanager
def _legible(file: Location) -> Iterator[Location]:
    """Read a file of a cycle; the user is told how to mend it where that fails."""
    try:
        yield file
    except (FileNotFoundError, ValueError, KeyError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"{file} is missing or damaged ({reason}); delete the folder {file.parent.publication.name}, and "
            f"'decomp run' computes the cycle again."
        ) from error


def _name(cycle: int) -> str:
    return f"{CYCLE}{cycle:04d}"
