"""Committed cycles on disk: the truth that everything else (resume, report, MLflow) is read from.

One folder per run, one folder per cycle::

    ROOT/decomp/10x12-16x16/seed-0-fold-0/KEY/
        run.json                 the run's identity, whose digest is KEY
        cycle-0002/
            record.json          CycleRecord, sealed; holds the digests of regions and checkpoint
            regions.parquet      the cycle's rows of the ledger
            timing.json          Timing, sealed
            model                the checkpoint (of the last two cycles only)
            model-2, ...         those of an ensemble's further models

A cycle becomes visible at once, with all its files (`Location.publish`): it is there whole or not at all. What is read
is checked against its digest. Cycles that earlier versions committed have no digest but that of the checkpoint;
they are read as they are, and continued.
"""

import json
import time
from collections.abc import Container, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields, replace
from itertools import count, takewhile
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from decomp.platform.errors import UserError
from decomp.platform.ledger import SCHEMA, Ledger
from decomp.platform.spec import RunSpec, key_of
from decomp.platform.storage.location import Location
from decomp.platform.storage.records import CycleRecord, Timing
from decomp.platform.storage.seals import check_seal, seal, sha256

CHECKPOINT, RECORD, TIMING, REGIONS = "model", "record.json", "timing.json", "regions.parquet"
RUN, CYCLE = "run.json", "cycle-"


class DamagedCycle(UserError):
    """A file of a committed cycle is missing or not what was committed.

    Attributes:
        fault: which file, and what is wrong with it.
    """

    remedy = "computes its cycle again"

    def __init__(self, fault: str) -> None:
        super().__init__(f"{fault}; 'decomp run' {self.remedy}.")
        self.fault = fault

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.fault,)


class LostTimes(DamagedCycle):
    """The wall times of a committed cycle are missing or damaged; its results are not."""

    remedy = "keeps its cycle, without wall times"


@dataclass(frozen=True)
class CycleFolder:
    """Files of one cycle, committed or in the making.

    Raises:
        DamagedCycle: where results are read from a file that is missing or damaged.
    """

    path: Location

    @property
    def checkpoint(self) -> Location:
        """The trained model; the first one of an ensemble."""
        return self.checkpoints(1)[0]

    def checkpoints(self, n: int) -> list[Location]:
        """The trained models of an ensemble of n."""
        return [self.path / (CHECKPOINT if k == 1 else f"{CHECKPOINT}-{k}") for k in range(1, n + 1)]

    @property
    def record(self) -> CycleRecord:
        """Results of the cycle."""
        with _legible(self.path / RECORD) as content:
            check_seal(content, self._place, _names(CycleRecord) - {"regions_sha256", "members_sha256"})
            return CycleRecord.from_json(content)

    @property
    def timing(self) -> Timing:
        """Wall times of the cycle; `LostTimes` where they are missing or damaged."""
        with _legible(self.path / TIMING, LostTimes) as content:
            check_seal(content, self._place, _names(Timing))
            return Timing.from_json(content)

    @property
    def ledger(self) -> Ledger:
        """The regions annotated in the cycle."""
        return self.ledger_of(self.record)

    def ledger_of(self, record: CycleRecord) -> Ledger:
        """The regions annotated in the cycle, given its record, which is not read again."""
        with _legible(self.regions_file) as content:
            if record.regions_sha256 not in (None, sha256(content)):
                raise ValueError("it is not what was committed")
            return Ledger(pq.ParquetFile(pa.BufferReader(content)).read().cast(SCHEMA))

    @property
    def regions_file(self) -> Location:
        """Parquet file of the regions annotated in the cycle."""
        return self.path / REGIONS

    def check_checkpoint(self, record: CycleRecord) -> None:
        """Check that the checkpoints are those that the cycle's record names; their files are read whole."""
        committed = record.checkpoint_sha256, *record.members_sha256
        for file, digest in zip(self.checkpoints(len(committed)), committed, strict=True):
            if (found := file.sha256()) != digest:
                raise DamagedCycle(f"{file} is {'missing or ' if found is None else ''}damaged")

    def check(self) -> None:
        """Check all that later cycles go on from."""
        record = self.record
        self.ledger_of(record)
        self.check_checkpoint(record)

    def set_aside(self, error: DamagedCycle) -> str:
        """Take the cycle out of sight, so that it is computed again; returns a sentence that says so."""
        return f"{error.fault}; the cycle is set aside as {self.path.set_aside()} and computed again."

    def forget_times(self, error: LostTimes) -> str:
        """Write down that the wall times are not known any more; returns a sentence that says so."""
        unknown = Timing({}, time.time_ns() // 1_000_000, "", "")
        (self.path / TIMING).write_atomically(seal(unknown.to_json(), self._place))
        return f"{error.fault}; the cycle's results are kept, without wall times."

    @property
    def _place(self) -> str:
        cycle = self.path.publication
        return f"{cycle.parent.name}/{cycle.name}"


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
        return [CycleFolder(folders[name]) for name in _without_gap(folders, after)]

    def stranded(self) -> list[CycleFolder]:
        """Cycles after a gap, where a damaged one was deleted or set aside; they do not count as committed."""
        published = self.path.published(CYCLE)  # one listing: another process may commit meanwhile
        counted = _without_gap(published, after=1 if self.spec.kind == "run" else 0)
        return [CycleFolder(published[name]) for name in sorted(published.keys() - {*counted})]

    def ledger(self, folders: list[CycleFolder]) -> Ledger:
        """All regions annotated in the given cycles."""
        ledger = Ledger()
        for folder in folders:
            ledger = ledger.extend(folder.ledger)
        return ledger

    @property
    def finished(self) -> bool:
        """Whether nothing is left to compute; a first cycle must be intact, since all its runs start from it."""
        folders = self.committed()
        try:
            if self.spec.kind == "first" and folders:
                folders[0].check()
            return len(folders) >= self.spec.cycles or bool(folders and folders[-1].record.exhausted)
        except DamagedCycle:
            return False

    def create(self) -> None:
        """Make the run's folder, write down what it is, and sweep away what a killed process left half-made."""
        self.path.prepare()
        description = self.path / RUN
        content = (json.dumps(self.spec.identity(), sort_keys=True, indent=1) + "\n").encode()
        if not description.exists() or description.read_bytes() != content:
            description.write_atomically(content)

    def namesakes(self) -> list[Location]:
        """Folders of other runs of this label, in order of their keys; none where this run has a folder too."""
        folder = self.path.parent
        keys = folder.names()
        return [] if self.spec.key in keys else [folder / key for key in sorted(keys)]

    def stage(self, number: int) -> CycleFolder:
        """A fresh folder for the files of a cycle in the making."""
        return CycleFolder((self.path / _name(number)).stage())

    @contextmanager
    def staging(self, number: int) -> Iterator[CycleFolder]:
        """A fresh folder for a cycle that the context commits; gone if the context ends in an error."""
        staged = self.stage(number)
        try:
            yield staged
        except BaseException:
            with suppress(OSError):  # the error that ended it counts
                staged.path.abandon()
            raise

    def commit(self, staged: CycleFolder, record: CycleRecord, timing: Timing, ledger: Ledger) -> CycleFolder:
        """Add the results to a staged cycle (whose checkpoints are there already) and make it visible at once.

        Losing a race against another process that commits the same cycle is no fault: both computed the same.
        """
        stream = pa.BufferOutputStream()
        pq.write_table(ledger.table, stream)
        regions = stream.getvalue().to_pybytes()
        record = replace(record, regions_sha256=sha256(regions))
        place = f"{self.spec.key}/{_name(record.cycle)}"
        files = {REGIONS: regions, RECORD: seal(record.to_json(), place), TIMING: seal(timing.to_json(), place)}
        # The last two cycles' checkpoints stay: the next cycle needs the last, and the one before mends a damaged last.
        # The one before them goes first: after the last commit of a run nobody would come back for it.
        if record.cycle > 3:
            for path in self.path.published(_name(record.cycle - 2)).values():
                for checkpoint in CycleFolder(path).checkpoints(self.spec.members):
                    checkpoint.discard()
        return CycleFolder((self.path / _name(record.cycle)).publish(staged.path, files))


def read_identity(run: Location) -> dict[str, Any] | None:
    """The identity that is written down in the folder of a run; None where there is none.

    Raises:
        UserError: if it is damaged.
    """
    try:
        content = (run / RUN).read_bytes()
    except (FileNotFoundError, NotADirectoryError):  # systems leave files of their own in folders that are looked at
        return None
    try:
        identity: dict[str, Any] = json.loads(content)
    except ValueError:
        identity = {}
    if key_of(identity) != run.name:
        raise UserError(f"{run / RUN} is damaged; delete it, and only the means to tell what has changed is lost.")
    return identity


@contextmanager
def _legible(file: Location, damage: type[DamagedCycle] = DamagedCycle) -> Iterator[bytes]:
    """The content of a file of a cycle; any error of its readers means that it is damaged."""
    try:
        content = file.read_bytes()
    except FileNotFoundError as error:
        raise damage(f"{file} is missing") from error
    try:
        yield content
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise damage(f"{file} is damaged ({reason.rstrip('.')})") from error


def _names(of: type[CycleRecord | Timing]) -> set[str]:
    return {field.name for field in fields(of)}


def _name(cycle: int) -> str:
    return f"{CYCLE}{cycle:04d}"


def _without_gap(published: Container[str], after: int) -> Iterator[str]:
    """Names of the cycles that follow a cycle without a gap."""
    return takewhile(published.__contains__, map(_name, count(after + 1)))
