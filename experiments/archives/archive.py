"""An archive: one zip of JSON and Parquet files, each with its digest, that needs no decomp to be read.

    README.txt                          what is what
    manifest.json                       the experiment, its runs, the SHA-256 of every file; sealed
    cycles.parquet                      what was annotated and scored: a row per repeat and cycle
    class_cycles.parquet                the same by class
    timings.parquet                     wall times, and which code computed the cycle
    runs/KEY.zip                        a run, whose identity has the digest KEY, in a zip of its own:
        run.json                        its identity
        cycle-0002/record.json          the files of a cycle as they were committed, but for the model
        cycle-0002/timing.json
        cycle-0002/regions.parquet

The many small files of a run are alike, so its zip is stored and compressed as a whole. A run's cycle 1 is that of the
first cycle that its samplers share, which is a run of its own. Nothing is ever written to a path that an archive names.
"""

import io
import json
import re
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import pydantic

from decomp.experiments.description import Description
from decomp.experiments.import_marks import Import
from decomp.platform.errors import UserError
from decomp.platform.spec import FORMAT, RunSpec, key_of
from decomp.platform.storage.files import checksum
from decomp.platform.storage.runs import CYCLE, RECORD, REGIONS, RUN, TIMING
from decomp.platform.storage.seals import check_seal, sha256

LAYOUT = 2
"""Version of the layout of archives."""

MANIFEST, README = "manifest.json", "README.txt"

CYCLE_FILES = (RECORD, TIMING, REGIONS)
"""Files of a cycle."""

BEGINNING = b"PK\x03\x04"
"""First bytes of a zip."""

LARGEST = 2**28
"""Most bytes of a file in an archive."""

EPOCH = (1980, 1, 1, 0, 0, 0)
"""Time of every file in an archive, so that the same runs make the same bytes."""

PLACE = "archive"
"""What the seal of a manifest says that it belongs to."""


@pydantic.dataclasses.dataclass(frozen=True)
class Manifest:
    """What an archive says about itself.

    Attributes:
        layout: `LAYOUT`.
        format: `FORMAT` of its runs.
        version: version of decomp that wrote it.
        experiment: the experiment.
        runs: by key, the number of the last cycle of a run, a reference or a shared first cycle.
        files: by name, the SHA-256 of every other file.
        unfinished: labels of the runs and references that were planned, but not finished when it was written.
        imports: by key, where those of its runs come from that had been imported.
    """

    layout: int
    format: int
    version: str
    experiment: Description
    runs: Mapping[str, int]
    files: Mapping[str, str]
    unfinished: tuple[str, ...] = ()
    imports: Mapping[str, Import] = field(default_factory=dict)


MANIFESTS = pydantic.TypeAdapter(Manifest)


@dataclass(frozen=True)
class ArchivedRun:
    """A run of an archive.

    Attributes:
        spec: which run it is, with as many cycles as the archive holds.
        cycles: by number, the files of each of its own cycles by name; cycle 1 is not a run's own.
    """

    spec: RunSpec
    cycles: Mapping[int, Mapping[str, bytes]]


@dataclass(frozen=True)
class Archive:
    """An archive whose manifest and tables are intact; a run is checked when it is read.

    Attributes:
        path: its file.
        manifest: what it says about itself.
    """

    path: Path
    manifest: Manifest

    @classmethod
    def open(cls, path: Path) -> "Archive":
        """Read the manifest of an archive, and check all that is no run.

        Raises:
            UserError: if the file is no archive, is damaged, or is one of another version.
        """
        with _zip(path) as file:
            manifest = _manifest(path, file)
            listed = {MANIFEST, *manifest.files}
            names = [info.filename for info in file.infolist()]
            if sorted(names) != sorted(listed):
                odd = sorted(listed.symmetric_difference(names)) or [n for n in names if names.count(n) > 1]
                raise _damaged(path, f"{odd[0]!r} is {'missing' if odd[0] in listed else 'not in its manifest'}")
            for name in listed - {MANIFEST, *map(file_of, manifest.runs)}:
                if manifest.files[name] != sha256(_content(path, file, name)):
                    raise _damaged(path, f"{name} is not what was exported")
        return cls(path, manifest)

    @cached_property
    def sha256(self) -> str:
        """Digest of the whole file."""
        return checksum(self.path)

    def runs(self) -> Iterator[ArchivedRun]:
        """All runs: first cycles, references, then runs, each in the order in which they were planned.

        Each is read and checked when it is asked for.

        Raises:
            UserError: if a file is not what the manifest says, or is of no run.
        """
        with _zip(self.path) as file:
            place = {name: number for number, name in enumerate(file.namelist())}
            keys = sorted(self.manifest.runs, key=lambda key: place.get(file_of(key), -1))
            specs = [self._spec(file, key, self.manifest.runs[key]) for key in keys]
            order = {"first": 0, "reference": 1, "run": 2}
            firsts = {spec.key for spec in specs if spec.kind == "first"}
            for spec in sorted(specs, key=lambda spec: order[spec.kind]):
                if spec.kind == "run" and spec.first.key not in firsts:
                    raise _damaged(self.path, f"the shared first cycle of {spec.label} is missing")
                first, files = 2 if spec.kind == "run" else 1, self._files(file, spec.key)
                cycles = {
                    number: {name: f"{folder_of(number)}/{name}" for name in CYCLE_FILES}
                    for number in range(first, min(spec.cycles, len(files)) + 1)  # there are several files a cycle
                }
                expected = {RUN, *(name for of_cycle in cycles.values() for name in of_cycle.values())}
                if odd := sorted(expected.symmetric_difference(files)):
                    fault = "is missing" if odd[0] in expected else "belongs to no cycle of its run"
                    raise _damaged(self.path, f"{odd[0]!r} of {file_of(spec.key)} {fault}")
                yield ArchivedRun(
                    spec,
                    {
                        number: {name: files[place] for name, place in of_cycle.items()}
                        for number, of_cycle in cycles.items()
                    },
                )

    def _spec(self, file: zipfile.ZipFile, key: str, cycles: int) -> RunSpec:
        if not re.fullmatch(r"[0-9a-f]{12}", key):
            raise _damaged(self.path, f"{key[:40]!r} is no key of a run")
        try:
            content = self._files(file, key)[RUN]
            identity = json.loads(content)
            spec = replace(
                RunSpec.from_json(json.dumps({k: v for k, v in identity.items() if k != "format"})), cycles=cycles
            )
            known = key_of(identity) == spec.key == key and all(map(_is_folder, spec.label.split("/")))
        except (ValueError, TypeError, KeyError, AttributeError):
            known = False
        if not known:
            raise _damaged(self.path, f"{file_of(key)} is no run of this version")
        return spec

    def _files(self, file: zipfile.ZipFile, key: str) -> dict[str, bytes]:
        """The files of a run by their names."""
        name = file_of(key)
        content = _content(self.path, file, name)
        if self.manifest.files.get(name) != sha256(content):
            raise _damaged(self.path, f"{name} is not what was exported")
        with _zip(self.path, io.BytesIO(content)) as run:
            return {each: _content(self.path, run, each) for each in run.namelist()}


def _is_folder(name: str) -> bool:
    return name.isprintable() and name not in ("", ".", "..") and len(name) < 200


def file_of(key: str) -> str:
    """The file of a run in an archive."""
    return f"runs/{key}.zip"


def folder_of(cycle: int) -> str:
    """The folder of a cycle in the file of its run."""
    return f"{CYCLE}{cycle:04d}"


def zipped(files: Mapping[str, bytes], compression: int) -> bytes:
    """A zip of some files; the same files make the same bytes."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as file:
        for name, content in files.items():
            info = zipfile.ZipInfo(name, EPOCH)
            info.compress_type, info.external_attr = compression, 0o644 << 16
            file.writestr(info, content)
    return stream.getvalue()


def is_archive(path: Path) -> bool:
    """Whether a file begins like an archive, whatever it is called and though it may be cut off."""
    try:
        with path.open("rb") as file:
            return file.read(len(BEGINNING)) == BEGINNING
    except OSError:
        return False


def _manifest(path: Path, file: zipfile.ZipFile) -> Manifest:
    content = _content(path, file, MANIFEST)
    try:
        fields = json.loads(content)
        layout, of_runs = fields["layout"], fields["format"]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: is no archive of decomp; export one with 'decomp export'.") from error
    if (layout, of_runs) != (LAYOUT, FORMAT):
        raise UserError(
            f"{path}: has layout {layout} and results of format {of_runs}, but this version of decomp reads layout "
            f"{LAYOUT} and format {FORMAT}; take the version that wrote it, {fields.get('version') or 'another one'}."
        )
    try:
        check_seal(content, PLACE, ())
        return MANIFESTS.validate_python({k: v for k, v in fields.items() if k not in ("of", "sha256")})
    except ValueError as error:
        raise _damaged(path, f"{MANIFEST} is not what was exported") from error


def _content(path: Path, file: zipfile.ZipFile, name: str) -> bytes:
    try:
        info = file.getinfo(name)
        if info.file_size > LARGEST:
            raise _damaged(path, f"{name} would have {info.file_size:,} bytes")
        return file.read(info)
    except KeyError as error:
        if name == MANIFEST:
            raise UserError(f"{path}: is no archive of decomp; export one with 'decomp export'.") from error
        raise _damaged(path, f"{name} is missing") from error
    except (zipfile.BadZipFile, EOFError, ValueError, NotImplementedError, RuntimeError) as error:
        raise _damaged(path, f"{name} cannot be read") from error
    except Exception as error:
        if type(error).__module__ != "zlib":
            raise
        raise _damaged(path, f"{name} cannot be read") from error


@contextmanager
def _zip(path: Path, content: io.BytesIO | None = None) -> Iterator[zipfile.ZipFile]:
    """The archive, or the content of a zip in it."""
    try:
        file = zipfile.ZipFile(content or path)
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such file.") from None
    except (zipfile.BadZipFile, EOFError, ValueError, IsADirectoryError) as error:
        raise UserError(f"{path}: is no archive, or not all of one; copy or export it again.") from error
    with file:
        yield file


def _damaged(path: Path, fault: str) -> UserError:
    return UserError(f"{path}: is damaged ({fault}); copy or export it again.")
