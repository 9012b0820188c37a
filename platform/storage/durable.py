"""Files that survive a crash whole or not at all: their digest, their way to the disk, and a full disk."""

import errno
import hashlib
import os
import shutil
from pathlib import Path

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Errors of a disk without room: full, or the quota, or the greatest size of a file exceeded."""

ROOM = 2**16
"""Bytes; a disk with less is full. Libraries that write by themselves do not say why they failed."""


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


def full_disk(error: BaseException, folder: Path) -> str | None:
    """What a user is told if an error came from a lack of room on the disk of a folder; None if it did not."""
    number = error.errno if isinstance(error, OSError) else None
    try:
        free = shutil.disk_usage(folder).free
    except OSError:
        free = ROOM
    if number not in FULL and free >= ROOM:
        return None
    why = os.strerror(number) if number in FULL else f"only {free} bytes are free"
    return f"there is no room for more in {folder} ({why}); make room, then the same command goes on."
