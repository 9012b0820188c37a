"""One driver per experiment: a second one would commit the same cycles and write the same MLflow runs."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from decomp.platform.registry import UserError


@contextmanager
def sole_driver(root: Path) -> Iterator[None]:
    """Hold the experiment's lock; the system lets go of it however this process ends.

    Raises:
        UserError: if another process holds it, or the folder cannot be written.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(root / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise UserError(f"storage: {root} cannot be written: {error.strerror}; name another folder.") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise UserError(f"{root}: another decomp process works on this experiment; wait for it or stop it.") from None
    try:
        yield
    finally:
        os.close(descriptor)
