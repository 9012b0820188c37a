"""A lock in an object store, which knows none: an object that its holder renews and that others take once it is old.

Two processes that both believe they hold it (one was cut off from the network for a while) do no harm: if both commit
a cycle, the first commit counts.
"""

import json
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from decomp.platform.storage.buckets import Bucket
from decomp.platform.storage.location import Locked

if TYPE_CHECKING:
    from obstore import ObjectMeta

RENEW, EXPIRE = 5.0, 20.0
"""Seconds between two renewals, and after the last one until others may take the lease."""


@contextmanager
def held(bucket: Bucket, key: str, renew: float = RENEW, expire: float = EXPIRE) -> Iterator[None]:
    """Hold the lease; a thread renews it.

    Raises:
        Locked: if another process holds it.
    """
    holder = _this_process()
    _take(bucket, key, holder, expire)
    ended = threading.Event()
    thread = threading.Thread(target=_renew, args=(bucket, key, holder, ended, renew), name="lease", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        bucket.delete(key)


def is_held(bucket: Bucket, key: str, expire: float = EXPIRE) -> bool:
    """Whether a process holds the lease."""
    version = bucket.head(key)
    return version is not None and _age(bucket, version) < expire


def _take(bucket: Bucket, key: str, holder: bytes, expire: float) -> None:
    if bucket.create(key, holder):
        return
    version = bucket.head(key)
    if version is None:
        taken = bucket.create(key, holder)
    else:
        other = json.loads(bucket.get(key))
        if _age(bucket, version) < expire and not _has_died(other):
            raise Locked(f"process {other['pid']} on {other['host']}", expire)
        taken = bucket.replace(key, version, holder)
    if not taken:
        raise Locked("a process that has just begun", expire)


def _renew(bucket: Bucket, key: str, holder: bytes, ended: threading.Event, every: float) -> None:
    while not ended.wait(every):
        try:
            bucket.put(key, holder)
        except OSError:  # the store cannot be reached for now; if that lasts, others may take the lease
            continue


def _this_process() -> bytes:
    return json.dumps({"host": socket.gethostname(), "pid": os.getpid()}).encode()


def _age(bucket: Bucket, version: "ObjectMeta") -> float:
    """Seconds since the object was written, by the store's own clock: those of machines differ by more than a lease."""
    return (bucket.now() - version["last_modified"]).total_seconds()


def _has_died(holder: dict[str, Any]) -> bool:
    """Whether the holder was a process of this machine that no longer runs."""
    if holder["host"] != socket.gethostname():
        return False
    try:
        os.kill(holder["pid"], 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
