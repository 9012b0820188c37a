"""A cache of bounded size for what threads read again and again."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Arrays = tuple[npt.NDArray[Any], ...]


class LRUCache:
    """Keeps the most recently used arrays.

    Threads that miss the same key at the same time all read it: rare, and cheaper than waiting for each other.

    Args:
        read: gives the arrays of a key; it may run in several threads at once.
        limit: bytes kept at most; what is larger is read each time.
    """

    def __init__(self, read: Callable[[int], Arrays], limit: float) -> None:
        self._read, self._limit = read, limit
        self._kept: OrderedDict[int, Arrays] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def __getitem__(self, key: int) -> Arrays:
        """Arrays of a key, kept or read; not to be written to."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        arrays = self._read(key)
        with self._lock:
            if key not in self._kept:
                self._kept[key] = arrays
                self._bytes += _size(arrays)
            while self._bytes > self._limit:
                self._bytes -= _size(self._kept.popitem(last=False)[1])
        return arrays


def _size(arrays: Arrays) -> int:
    return sum(np.asarray(array).nbytes for array in arrays)
