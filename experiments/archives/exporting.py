"""`decomp export`: the finished runs of an experiment as one file."""

import json
import os
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from decomp.experiments.archives.archive import (
    CYCLE_FILES,
    LAYOUT,
    MANIFEST,
    MANIFESTS,
    PLACE,
    README,
    Archive,
    Manifest,
    file_of,
    folder_of,
    zipped,
)
from decomp.experiments.description import Description
from decomp.experiments.report.axes import axes_of
from decomp.experiments.report.long_tables import class_table, cycle_table, timing_table
from decomp.experiments.report.run_history import RunHistory
from decomp.experiments.report.tables import Table
from decomp.platform.errors import UserError
from decomp.platform.spec import FORMAT
from decomp.platform.storage.runs import RUN
from decomp.platform.storage.seals import seal, sha256
from decomp.platform.version import package_version

TEXT = """Results of the experiment {name}, written by decomp {version}.

cycles.parquet         a row per repeat and cycle: what was annotated, test scores
class_cycles.parquet   the same by class: test scores, annotated pixels, confidence and weight of the selection
timings.parquet        seconds of every phase, and which code computed the cycle
runs/KEY.zip           a run. In it run.json is what identifies the run; KEY is its digest. cycle-NNNN/ is a cycle as it
                       was committed: record.json, timing.json and regions.parquet, which holds every region (image,
                       start and size in pixels). Cycle 1 of a run is that of the shared first cycle, which has a
                       key of its own. Trained models are left out.
manifest.json          the experiment, the last cycle of every run, the SHA-256 of every file

"decomp import" adds the runs to one's own results, "decomp compare" compares them as they are.
"""


@dataclass(frozen=True)
class Exported:
    """What an archive was made of.

    Attributes:
        archive: the archive.
        runs: finished runs and references that are in it.
        unfinished: those that are left out, since they are not finished.
    """

    archive: Archive
    runs: int
    unfinished: int


def export(description: Description, histories: Sequence[RunHistory], target: Path) -> Exported:
    """Write the finished runs and references, and the first cycles that they share, into an archive.

    Args:
        description: of the experiment.
        histories: of all its runs, references and first cycles.
        target: the archive; another archive is replaced.

    Raises:
        UserError: if nothing is finished, or the target is another file.
        DamagedCycle: if a file of a cycle is damaged.
        OSError: if the target cannot be written.
    """
    compared = [history for history in histories if history.spec.kind != "first"]
    finished = [history for history in compared if history.finished]
    if not finished:
        where = histories[0].store.root
        raise UserError(
            f"{description.name}: no run is finished in {where}, so there is nothing to export; compute some."
        )
    if target.exists():
        try:
            Archive.open(target)
        except UserError as error:
            raise UserError(f"{target}: is there already and no archive of decomp; name another file.") from error
    shared = {history.store.first.spec.key for history in finished if history.spec.kind == "run"}
    firsts = [history for history in histories if history.spec.kind == "first" and history.spec.key in shared]
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        unfinished = tuple(history.spec.label for history in compared if not history.finished)
        draft.write_bytes(_content(description, firsts, finished, unfinished))
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)
    return Exported(Archive.open(target), len(finished), len(unfinished))


def _content(
    description: Description,
    firsts: Sequence[RunHistory],
    finished: Sequence[RunHistory],
    unfinished: tuple[str, ...],
) -> bytes:
    tables = {
        "cycles": cycle_table(finished, axes_of(description.metric, description.seconds)),
        "class_cycles": class_table(finished, description.classes),
        "timings": timing_table(finished),
    }
    files = {README: TEXT.format(name=description.name, version=package_version()).encode()}
    files |= {f"{name}.parquet": parquet(table) for name, table in tables.items()}
    for history in (*firsts, *finished):
        files[file_of(history.spec.key)] = zipped(_files(history), zipfile.ZIP_STORED)
    runs = {history.spec.key: len(history.cycles) for history in (*firsts, *finished)}
    digests = {name: sha256(content) for name, content in files.items()}
    imports = {history.spec.key: history.imported for history in (*firsts, *finished) if history.imported}
    manifest = Manifest(LAYOUT, FORMAT, package_version(), description, runs, digests, unfinished, imports)
    fields = json.dumps(MANIFESTS.dump_python(manifest, mode="json"), sort_keys=True, indent=1) + "\n"
    return zipped({MANIFEST: seal(fields.encode(), PLACE), **files}, zipfile.ZIP_DEFLATED)


def _files(history: RunHistory) -> Mapping[str, bytes]:
    """The files of a run's own cycles, which are read and checked first."""
    identity = json.dumps(history.spec.identity(), sort_keys=True, indent=1) + "\n"
    files = {RUN: identity.encode()}
    for cycle in history.own_cycles:
        cycle.check()
        folder = folder_of(cycle.record.cycle)
        files |= {f"{folder}/{name}": (cycle.folder.path / name).read_bytes() for name in CYCLE_FILES}
    return files


def parquet(table: Table) -> bytes:
    """A table as a Parquet file."""
    columns = {head: pa.array([row[place] for row in table.rows]) for place, head in enumerate(table.heads)}
    stream = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), stream)
    return bytes(stream.getvalue())
