"""One driver per experiment: a second one would compute the same cycles and write the same MLflow runs."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from decomp.experiments import lease
from decomp.platform.errors import UserError
from decomp.platform.storage.location import Location

LOCK = ".lock"


@contextmanager
def sole_driver(root: Location) -> Iterator[None]:
    """Hold the experiment's lock, a lease in an object store; whoever holds it loses it however its process ends.

    Raises:
        UserError: if another process holds it, or the folder cannot be written.
    """
    if not isinstance(root, Path):
        with lease.held(root / LOCK):
            yield
        return
    try:
        root.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(root / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise UserError(f"storage: {root} cannot be written: {error.strerror}; name another folder.") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise UserError(
            f"{root}: another decomp process works on this experiment; wait for it or end it with 'decomp stop'."
        ) from None
    try:
        yield
    finally:
        os.close(descriptor)


def is_driven(root: Location) -> bool:
    """Whether a process holds the experiment's lock."""
    if not isinstance(root, Path):
        return lease.is_held(root / LOCK)
    try:
        descriptor = os.open(root / LOCK, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
