"""Where committed cycles lie: in folders, or in a bucket of an S3-compatible store; what differs between the two.

A folder of results is published: it becomes visible with all its files at once, and of several writers of the same
folder one wins. In a file system that is one rename. A bucket knows no rename, so there the files of every attempt have
a prefix of their own, and the attempt that creates the object ``published`` first is the folder::

    cycle-0002/published                    holds the name of the attempt
    cycle-0002/ATTEMPT/record.json
"""

import errno
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from decomp.platform.storage.durable import checksum, sync
from decomp.platform.storage.objects import SCHEME, ObjectPath

Location = Path | ObjectPath
"""A file or folder, or an object or the prefix of some."""

PUBLISHED = "published"


def parse_location(storage: str) -> Location:
    """What a user names: a folder, made absolute, or ``s3://bucket/prefix``."""
    return ObjectPath.parse(storage) if storage.startswith(SCHEME) else Path(storage).expanduser().absolute()


def write_whole(file: Location, content: bytes) -> None:
    """Write or replace a small file, which is there whole or not at all even after a crash."""
    if isinstance(file, ObjectPath):
        file.write_bytes(content)
        return
    draft = file.with_name(f".staging-{file.name}-{uuid.uuid4().hex}")
    try:
        draft.write_bytes(content)
        sync(draft)
    except OSError:
        draft.unlink(missing_ok=True)
        raise
    draft.replace(file)


@contextmanager
def reading(file: Location, sha256: str) -> Iterator[Path]:
    """A large file as a file of this machine, which is gone afterwards if it is a copy.

    Raises:
        OSError: if a copy does not have this digest.
    """
    if isinstance(file, Path):
        yield file
        return
    with tempfile.TemporaryDirectory(prefix="decomp-") as folder:
        copy = Path(folder) / file.name
        file.download(copy)
        if checksum(copy) != sha256:
            raise OSError(f"{file} is not what was committed (SHA-256 {sha256}); start again, it is computed anew.")
        yield copy


@contextmanager
def writing(file: Location) -> Iterator[Path]:
    """A file of this machine to write to, which takes its place at the end."""
    if isinstance(file, Path):
        yield file
        return
    with tempfile.TemporaryDirectory(prefix="decomp-") as folder:
        draft = Path(folder) / file.name
        yield draft
        file.upload(draft)


def digest(file: Location) -> str | None:
    """SHA-256 of a large file; None where there is none, or an object that decomp has not written."""
    if isinstance(file, ObjectPath):
        return file.sha256()
    return checksum(file) if file.is_file() else None


def prepare(folder: Location) -> None:
    """Make a folder, and sweep away what killed writers left half-made in it."""
    if isinstance(folder, Path):
        folder.mkdir(parents=True, exist_ok=True)
        for stale in folder.glob(".staging-*"):
            if stale.is_dir():
                shutil.rmtree(stale, ignore_errors=True)
            else:
                stale.unlink(missing_ok=True)


def stage(folder: Location) -> Location:
    """A fresh place for the files of a folder in the making; see `publish`."""
    attempt = uuid.uuid4().hex
    if isinstance(folder, ObjectPath):
        return folder / attempt
    staged = folder.with_name(f".staging-{folder.name}-{attempt}")
    staged.mkdir(parents=True)
    return staged


def publish(staged: Location, folder: Location, files: Mapping[str, bytes]) -> Location:
    """Add small files to those that are staged already, then make all visible at once as `folder`.

    Losing a race against another writer of the same folder is no fault.

    Returns:
        Where the files of `folder` are now, whoever wrote them.
    """
    for name, content in files.items():
        (staged / name).write_bytes(content)
    if isinstance(staged, ObjectPath):
        assert isinstance(folder, ObjectPath)
        return _publish_objects(staged, folder)
    assert isinstance(folder, Path)
    for file in staged.iterdir():
        sync(file)
    sync(staged)
    try:
        staged.rename(folder)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        shutil.rmtree(staged)
    sync(folder.parent)
    return folder


def published(parent: Location, pattern: str) -> dict[str, Location]:
    """The folders in another one that are published, by name: where the files of each are.

    Args:
        parent: the other folder; may be missing.
        pattern: beginning of the names.
    """
    if isinstance(parent, Path):
        found = parent.glob(f"{pattern}*")
        return {folder.name: folder for folder in found if folder.is_dir()}
    attempts: dict[str, set[str]] = {}
    marked = []
    for entry in parent.walk():
        folder, _, rest = entry.key.removeprefix(f"{parent.key}/").partition("/")
        if folder.startswith(pattern):
            attempts.setdefault(folder, set()).add(rest.partition("/")[0])
            marked += [folder] if rest == PUBLISHED else []
    return {folder: _attempt_of(parent / folder, attempts[folder] - {PUBLISHED}) for folder in marked}


def set_aside(folder: Location) -> str:
    """Take a published folder that is damaged out of sight; returns how it is called now."""
    if isinstance(folder, ObjectPath):
        (folder.parent / PUBLISHED).unlink()
        return str(folder)
    aside = folder.with_name(f"damaged-{folder.name}-{uuid.uuid4().hex[:8]}")
    folder.rename(aside)
    return aside.name


def find(root: Location, name: str) -> Sequence[Location]:
    """All files of a name below a folder, in order."""
    if isinstance(root, Path):
        return sorted(root.glob(f"**/{name}"))
    return [entry for entry in root.walk() if entry.name == name]


def _attempt_of(folder: ObjectPath, attempts: set[str]) -> ObjectPath:
    # Another attempt is there only after a writer was killed or lost a race, so the marker is seldom asked.
    name = next(iter(attempts)) if len(attempts) == 1 else (folder / PUBLISHED).read_bytes().decode()
    return folder / name


def _publish_objects(staged: ObjectPath, folder: ObjectPath) -> ObjectPath:
    marker = folder / PUBLISHED
    won = marker.create(staged.name.encode())
    winner = staged if won else folder / marker.read_bytes().decode()
    # Other attempts cannot win any more: leave none behind.
    for entry in folder.walk():
        if entry != marker and entry.parent != winner:
            entry.unlink()
    return winner
