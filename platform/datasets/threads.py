"""Work on many volumes at once."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

MAX_THREADS = 8  # files under way at once; a volume takes up to about a gigabyte

T = TypeVar("T")


def threaded(work: Callable[[str], T], images: Sequence[str]) -> list[T]:
    """What `work` gives for each image, computed in threads."""
    # Threads suffice: zlib releases the interpreter lock.
    with ThreadPoolExecutor(min(MAX_THREADS, os.cpu_count() or 1)) as workers:
        return list(workers.map(work, images))
