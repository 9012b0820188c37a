"""Results in folders of a file system: staged beside their place, synced to the disk, and published by one rename."""

import errno
import fcntl
import hashlib
import os
import shutil
import stat
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path, PosixPath
from typing import Self

from typing_extensions import override

from decomp.platform.errors import StorageError
from decomp.platform.storage.location import Location, Locked
from decomp.platform.storage.owners import STAGING, is_abandoned, staging_name

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Errors of a disk without room: it is full, or the quota or the greatest size of a file is exceeded."""

WITHOUT_LOCKS = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK)
"""Errors of a file system that knows no locks."""

ROOM = 2**16
"""Bytes; a disk with less is full. Libraries that write by themselves do not say why they failed."""


class FilePath(PosixPath, Location):
    """A file or folder that this machine, or every node of a run on several, sees under the same path."""

    @property
    @override
    def local(self) -> Path | None:
        return self

    @override
    def write_atomically(self, content: bytes) -> None:
        draft = self._draft()
        try:
            draft.write_bytes(content)
            sync(draft)
        except OSError:
            draft.unlink(missing_ok=True)
            raise
        draft.replace(self)

    @override
    def read_bytes(self) -> bytes:
        with self._permitted(), open(self, "rb", opener=_without_waiting) as stream:
            return stream.read()

    @override
    def discard(self) -> None:
        self.unlink(missing_ok=True)

    @override
    @contextmanager
    def reading(self, sha256: str) -> Iterator[Path]:
        yield self

    @override
    @contextmanager
    def writing(self) -> Iterator[Path]:
        yield self

    @override
    def sha256(self) -> str | None:
        with self._permitted():
            return checksum(self) if self.is_file() else None

    @override
    def prepare(self) -> None:
        self.mkdir(parents=True, exist_ok=True)
        for entry in self._entries():
            if not entry.name.startswith(STAGING):
                continue
            with suppress(FileNotFoundError):  # its owner has just finished it
                if not is_abandoned(entry.name, time.time() - entry.stat().st_mtime):
                    continue
                if entry.is_dir():
                    shutil.rmtree(entry, ignore_errors=True)
                else:
                    os.unlink(entry)

    @override
    def stage(self) -> Self:
        staged = self._draft()
        staged.mkdir(parents=True)
        return staged

    @override
    def abandon(self) -> None:
        shutil.rmtree(self, ignore_errors=True)

    @override
    def publish(self, staged: Self, files: Mapping[str, bytes]) -> Self:
        for name, content in files.items():
            (staged / name).write_bytes(content)
        for file in staged.iterdir():
            sync(file)
        sync(staged)
        try:
            staged.rename(self)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            shutil.rmtree(staged)
        sync(self.parent)
        return self

    @override
    def published(self, prefix: str) -> Mapping[str, Self]:
        names = [entry.name for entry in self._entries() if entry.name.startswith(prefix) and entry.is_dir()]
        return {name: self / name for name in names}

    @property
    @override
    def publication(self) -> Self:
        return self

    @override
    def set_aside(self) -> str:
        aside = self.with_name(f"damaged-{self.name}-{uuid.uuid4().hex[:8]}")
        self.rename(aside)
        return aside.name

    @override
    def names(self) -> frozenset[str]:
        return frozenset(entry.name for entry in self._entries())

    @override
    def no_room(self, error: BaseException) -> str | None:
        number = error.errno if isinstance(error, OSError) else None
        try:
            free = shutil.disk_usage(self).free
        except OSError:
            free = ROOM
        if number not in FULL and free >= ROOM:
            return None
        why = os.strerror(number) if number in FULL else f"only {free} bytes are free"
        return f"there is no room for more in {self} ({why}); make room, then the same command goes on."

    @override
    @contextmanager
    def lock(self) -> Iterator[None]:
        try:
            self.parent.mkdir(parents=True, exist_ok=True)
            self.touch()
        except OSError as error:
            raise StorageError(f"{self.parent} cannot be written: {error.strerror}; name another folder.") from error
        with flock(self):
            yield

    @override
    def is_locked(self) -> bool:
        try:
            with self.open("rb") as stream:  # a shared lock needs no write permission
                fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, *WITHOUT_LOCKS):
                return False
            raise StorageError(f"{self} cannot be read: {error.strerror}; mend its permissions.") from error
        return False

    def _draft(self) -> Self:
        """A name beside this one that nobody else uses, and that `prepare` recognises as a draft's."""
        return self.with_name(staging_name(self.name))

    def _entries(self) -> list["os.DirEntry[str]"]:
        """What the folder holds, by one listing that asks for nothing else; nothing where it is missing."""
        try:
            with self._permitted(), os.scandir(self) as entries:
                return list(entries)
        except (FileNotFoundError, NotADirectoryError):
            return []

    @contextmanager
    def _permitted(self) -> Iterator[None]:
        try:
            yield
        except PermissionError as error:
            raise StorageError(f"{self} cannot be read: permission denied; give yourself that right.") from error


@contextmanager
def flock(file: Path, *, wait: bool = False) -> Iterator[None]:
    """Keep other processes of this machine out; the kernel releases the lock when its holder dies.

    Args:
        file: made if need be, and left behind.
        wait: whether to wait until its holder releases the lock.

    Raises:
        Locked: if another process holds the lock and this one is not to wait.
        StorageError: if the file system has no locks.
    """
    with file.open("a") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Locked from None
        except OSError as error:
            if error.errno not in WITHOUT_LOCKS:
                raise
            raise StorageError(
                f"the file system of {file.parent} has no locks ({error.strerror}), which keep a second process out; "
                f"mount it with them (Lustre: -o flock), or name a folder elsewhere."
            ) from error
        yield


def _without_waiting(path: str, flags: int) -> int:
    """Opens a file; `OSError` for a pipe or a device, which would be waited for."""
    descriptor = os.open(path, flags | os.O_NONBLOCK)
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):  # a folder is refused by whoever reads it
        return descriptor
    os.close(descriptor)
    raise OSError(errno.EINVAL, "It is a pipe or a device, not a file", path)


def checksum(file: Path) -> str:
    """SHA-256 of a file."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sync(path: Path) -> None:
    """Wait until a file or the entries of a folder are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
