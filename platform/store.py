"""Committed cycles on disk: the truth that everything else (resume, report, MLflow) is read from.

One folder per run, one folder per cycle::

    ROOT/decomp/10x12-16x16/seed-0-fold-0/KEY/
        run.json                 the run's identity, and the folder of its shared first cycle
        cycle-0002/
            record.json          CycleRecord
            regions.parquet      the cycle's rows of the ledger
            timing.json          Timing
            model                the checkpoint (of the last two cycles only)

A cycle becomes visible by one rename of a folder whose files are synced to disk, so it is there whole or not at all.
"""

import errno
import json
import shutil
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from decomp.platform.durable import checksum, sync
from decomp.platform.ledger import Ledger
from decomp.platform.records import CycleRecord, Timing
from decomp.platform.spec import FORMAT, RunSpec

CHECKPOINT = "model"


@dataclass(frozen=True)
class CycleFolder:
    """Files of one cycle, committed or in the making."""

    path: Path

    @property
    def checkpoint(self) -> Path:
        """The trained model."""
        return self.path / CHECKPOINT

    @property
    def record(self) -> CycleRecord:
        """Results of the cycle."""
        return CycleRecord.load(self.path / "record.json")

    @property
    def timing(self) -> Timing:
        """Wall times of the cycle."""
        return Timing.load(self.path / "timing.json")

    @property
    def ledger(self) -> Ledger:
        """The regions annotated in the cycle."""
        return Ledger(pq.read_table(self.path / "regions.parquet", partitioning=None))

    @property
    def regions_file(self) -> Path:
        """Parquet file of the regions annotated in the cycle."""
        return self.path / "regions.parquet"

    def intact(self) -> bool:
        """Whether the checkpoint is the one that the record speaks of."""
        return self.checkpoint.is_file() and checksum(self.checkpoint) == self.record.checkpoint_sha256


@dataclass(frozen=True)
class RunStore:
    """The folder of one run.

    Attributes:
        root: folder of the experiment.
        spec: the run.
    """

    root: Path
    spec: RunSpec

    @property
    def path(self) -> Path:
        """The run's folder."""
        return self.root / self.spec.label / self.spec.key

    @property
    def first(self) -> "RunStore":
        """The run whose cycle 1 is this run's: the shared first cycle for a run, itself for the others."""
        return RunStore(self.root, self.spec.first) if self.spec.kind == "run" else self

    def cycle(self, number: int) -> CycleFolder:
        """Folder of one cycle, whether it exists or not."""
        owner = self.first if number == 1 else self
        return CycleFolder(owner.path / f"cycle-{number:04d}")

    def committed(self) -> list[CycleFolder]:
        """Committed cycles, from cycle 1 on without a gap, the shared first cycle included."""
        found: list[CycleFolder] = []
        while (folder := self.cycle(len(found) + 1)).path.is_dir():
            found.append(folder)
        return found

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
        self.path.mkdir(parents=True, exist_ok=True)
        for stale in self.path.glob(".staging-*"):
            shutil.rmtree(stale, ignore_errors=True)
        description = self.path / "run.json"
        if not description.exists():
            draft = description.with_suffix(f".{uuid.uuid4().hex}")
            _write_synced(draft, json.dumps(self.spec.identity(), sort_keys=True, indent=1) + "\n")
            draft.replace(description)

    def stage(self, number: int) -> CycleFolder:
        """A fresh folder for the files of a cycle in the making."""
        folder = self.path / f".staging-{number:04d}-{uuid.uuid4().hex}"
        folder.mkdir(parents=True)
        return CycleFolder(folder)

    def commit(self, staged: CycleFolder, record: CycleRecord, timing: Timing, ledger: Ledger) -> CycleFolder:
        """Add the results to a staged cycle (whose checkpoint is there already) and make it visible at once.

        Losing a race against another process that commits the same cycle is no fault: both computed the same.
        """
        pq.write_table(ledger.table, staged.regions_file)
        record.dump(staged.path / "record.json")
        timing.dump(staged.path / "timing.json")
        for file in staged.path.iterdir():
            sync(file)
        sync(staged.path)
        target = self.cycle(record.cycle)
        try:
            staged.path.rename(target.path)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            shutil.rmtree(staged.path)
        sync(target.path.parent)
        # The last two checkpoints stay: the next cycle needs the last, and the one before mends a damaged last.
        if record.cycle > 3:
            self.cycle(record.cycle - 2).checkpoint.unlink(missing_ok=True)
        return target

    def quarantine(self, folder: CycleFolder) -> Path:
        """Set a damaged cycle aside, so that it is computed again; returns where it went."""
        aside = folder.path.with_name(f"damaged-{folder.path.name}-{uuid.uuid4().hex[:8]}")
        folder.path.rename(aside)
        return aside


def stored_runs(root: Path) -> Iterator[RunStore]:
    """All runs of this version's `FORMAT` below an experiment's folder, in order of their folders."""
    for description in sorted(root.glob("**/run.json")):
        identity = json.loads(description.read_text())
        if identity.get("format") == FORMAT:
            yield RunStore(root, RunSpec.from_identity(identity))


def _write_synced(file: Path, text: str) -> None:
    file.write_text(text)
    sync(file)
