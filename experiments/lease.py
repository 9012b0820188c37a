"""A lock in an object store, which knows none: an object that its holder renews and that others take once it is old.

Two processes that both believe to hold it (one was cut off from the network for a while) do no harm: of a cycle that
both commit the first one counts.
"""

import email.utils
import json
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from decomp.platform.errors import UserError
from decomp.platform.storage.objects import ObjectPath

RENEW, EXPIRE = 5.0, 20.0
"""Seconds between two renewals, and after the last one until others may take the lease."""


@contextmanager
def held(lock: ObjectPath, renew: float = RENEW, expire: float = EXPIRE) -> Iterator[None]:
    """Hold the lease; a thread renews it.

    Raises:
        UserError: if another process holds it.
    """
    own = _content()
    _take(lock, own, expire)
    ended = threading.Event()
    thread = threading.Thread(target=_renew, args=(lock, own, ended, renew), name="lease", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        lock.unlink()


def is_held(lock: ObjectPath, expire: float = EXPIRE) -> bool:
    """Whether a process holds the lease."""
    head = lock.head()
    return head is not None and _age(head) < expire


def _take(lock: ObjectPath, own: bytes, expire: float) -> None:
    if lock.create(own):
        return
    head = lock.head()
    if head is not None:
        holder = json.loads(lock.read_bytes())
        if not (_age(head) >= expire or _has_died(holder)):
            raise UserError(
                f"{lock.parent}: another decomp process works on this experiment (process {holder['pid']} on "
                f"{holder['host']}); wait for it or end it with 'decomp stop'. If it was killed, try again in "
                f"{expire:.0f} seconds."
            )
        if lock.replace_version(head["ETag"], own):
            return
    elif lock.create(own):
        return
    raise UserError(f"{lock.parent}: another decomp process has just begun to work on this experiment; wait for it.")


def _renew(lock: ObjectPath, own: bytes, ended: threading.Event, every: float) -> None:
    while not ended.wait(every):
        try:
            lock.write_bytes(own)
        except OSError:  # the store cannot be reached for now; if that lasts, others may take the lease
            continue


def _content() -> bytes:
    return json.dumps({"host": socket.gethostname(), "pid": os.getpid()}).encode()


def _age(head: dict[str, Any]) -> float:
    """Seconds since the object was written, by the store's own clock."""
    now = email.utils.parsedate_to_datetime(head["ResponseMetadata"]["HTTPHeaders"]["date"])
    return float((now - head["LastModified"]).total_seconds())


def _has_died(holder: dict[str, Any]) -> bool:
    """Whether the holder was a process of this machine that is no more."""
    if holder["host"] != socket.gethostname():
        return False
    try:
        os.kill(holder["pid"], 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
