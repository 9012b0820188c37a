"""`decomp import`: the runs of an archive among the results of an experiment, where they count as done."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from decomp.experiments.archives.archive import Archive, ArchivedRun
from decomp.experiments.import_marks import Import, add_imports
from decomp.experiments.report.run_history import read_histories
from decomp.platform.errors import UserError
from decomp.platform.names import check_name
from decomp.platform.spec import RunSpec
from decomp.platform.storage.address import parse_location
from decomp.platform.storage.files import FilePath
from decomp.platform.storage.location import Location
from decomp.platform.storage.records import CycleRecord, Timing
from decomp.platform.storage.runs import CYCLE, RECORD, TIMING, DamagedCycle, RunStore

NAMED = 5
"""Most runs that are named in a message."""


@dataclass(frozen=True)
class Imported:
    """What became of the runs of an archive.

    Attributes:
        added: runs and references whose cycles were written.
        present: those that had been imported from it before.
        equal: those that were here already, with the same results, and are left alone.
        other: labels of those that were here already, unfinished or with other results, and are left alone.
    """

    added: int
    present: int
    equal: int
    other: tuple[str, ...]

    def sentences(self, archive: Archive, root: Location) -> list[str]:
        """The same in words."""
        lines = [f"{archive.path} (SHA-256 {archive.sha256}): {self.added} run(s) imported into {root}."]
        if root.name != archive.manifest.experiment.name:
            lines.append(
                f"The archive is of the experiment {archive.manifest.experiment.name}: where {root.name} plans other "
                f"runs, these are not shown."
            )
        lines += [f"{self.present} had been imported before."] if self.present else []
        if self.equal:
            lines.append(f"Left alone, since they are here with the same results: {self.equal} run(s).")
        if self.other:
            named = ", ".join(self.other[:NAMED]) + (f" and {len(self.other) - NAMED} more" * (len(self.other) > NAMED))
            lines.append(f"Left alone, since they are here, unfinished or with other results: {named}.")
        return lines


def root_of(archive: Archive, overrides: Sequence[str]) -> Location:
    """The folder of the experiment that an archive is imported into, given ``storage=FOLDER`` and ``name=EXPERIMENT``.

    Raises:
        UserError: for any other override, or a place that is none.
    """
    values = {"storage": "runs", "name": archive.manifest.experiment.name}
    for text in overrides:
        key, equals, value = text.partition("=")
        if not equals or key not in values:
            raise UserError(f"{text}: an import takes storage=FOLDER and name=EXPERIMENT alone.")
        values[key] = value
    try:
        return parse_location(values["storage"]) / check_name(values["name"])
    except (UserError, ValueError) as error:
        raise UserError(f"{archive.path}: storage {values['storage']!r}, name {values['name']!r}: {error}.") from error


def import_archive(archive: Archive, root: Location) -> Imported:
    """Add the runs of an archive to the results of an experiment; what is there already stays as it is.

    Everything is read and checked before anything is written. An import that was interrupted goes on when it is
    repeated.

    Args:
        archive: the archive.
        root: the experiment's folder, which this process alone works on.

    Raises:
        UserError: if the archive is damaged, or there is no room for it.
    """
    runs = list(archive.runs())
    fates = [_fate(RunStore(root, run.spec), run) for run in runs]
    counted = [fate for run, fate in zip(runs, fates, strict=True) if run.spec.kind != "first"]
    other = [run.spec.label for run, fate in zip(runs, fates, strict=True) if fate == "other"]
    marks = _marks(archive, [run for run, fate in zip(runs, fates, strict=True) if fate == "add"], runs)
    try:
        root.prepare()
        add_imports(root, marks)
        for run, fate in zip(runs, fates, strict=True):
            if fate == "add":
                _add(RunStore(root, run.spec), run)
    except OSError as error:
        if (no_room := root.no_room(error)) is None:
            raise
        raise UserError(f"storage: {no_room}") from error
    return Imported(counted.count("add"), counted.count("present"), counted.count("equal"), tuple(other))


def unpack(archive: Archive, folder: Path) -> list[RunSpec]:
    """Write the runs of an archive into a temporary folder, to be read there; returns which they are."""
    specs = []
    for run in archive.runs():
        store = RunStore(FilePath(folder), run.spec)
        for number, files in run.cycles.items():
            place = folder / run.spec.label / store.path.name / f"{CYCLE}{number:04d}"
            place.mkdir(parents=True)
            for name, content in files.items():
                (place / name).write_bytes(content)
        specs.append(run.spec)
    add_imports(FilePath(folder), archive.manifest.imports)
    return specs


def _fate(store: RunStore, run: ArchivedRun) -> str:
    """What is to become of a run: ``add``, ``present``, ``equal`` or ``other``, as in `Imported`."""
    here = store.path.published(CYCLE)
    ours = {f"{CYCLE}{number:04d}": files for number, files in run.cycles.items()}
    try:
        records = {name: (folder / RECORD).read_bytes() for name, folder in here.items()}
        timings = {name: (folder / TIMING).read_bytes() for name, folder in here.items()}
    except FileNotFoundError:
        return "other"
    if all(
        name in ours and ours[name][TIMING] == timings[name] and ours[name][RECORD] == records[name] for name in here
    ):
        return "present" if here.keys() == ours.keys() else "add"
    same = ours.keys() <= here.keys() and all(ours[name][RECORD] == records[name] for name in ours)
    return "equal" if same else "other"


def _marks(archive: Archive, added: Sequence[ArchivedRun], runs: Sequence[ArchivedRun]) -> dict[str, Import]:
    """By key, where the added of the runs come from."""
    firsts = {run.spec.key: run.cycles[1] for run in runs if run.spec.kind == "first"}
    marks = {}
    for run in added:
        if not run.cycles:
            continue
        earlier = archive.manifest.imports.get(run.spec.key)
        start = firsts.get(run.spec.first.key) if run.spec.kind == "run" else None
        try:
            committed_at = Timing.from_json(run.cycles[min(run.cycles)][TIMING]).committed_at
            metrics = CycleRecord.from_json(start[RECORD]).metrics if start else {}
        except ValueError as error:
            raise UserError(f"{archive.path}: is damaged (a record of {run.spec.label} cannot be read).") from error
        mark = Import(archive.path.name, archive.sha256, committed_at, metrics)
        marks[run.spec.key] = replace(mark, metrics=earlier.metrics, earlier=earlier.source) if earlier else mark
    return marks


def _add(store: RunStore, run: ArchivedRun) -> None:
    store.create()
    here = store.path.published(CYCLE)
    for number, files in run.cycles.items():
        folder = store.path / f"{CYCLE}{number:04d}"
        if folder.name not in here:
            staged = folder.stage()
            try:
                folder.publish(staged, files)
            except OSError:
                staged.abandon()
                raise


def release_first_cycles(stores: Sequence[RunStore]) -> list[str]:
    """Set aside the shared first cycles that were imported without the model that new runs start from.

    Returns:
        A sentence for each.
    """
    sentences = []
    for history in read_histories([store for store in stores if store.spec.kind == "first"]):
        if history.imported is None:
            continue
        folder, store = history.cycles[0].folder, history.store
        try:
            folder.check()
        except DamagedCycle:
            aside = folder.path.set_aside()
            sentences.append(
                f"{store.spec.label} was imported without its model, so it is trained again for the runs that start "
                f"from it; the imported cycle is kept as {aside}."
            )
    return sentences
