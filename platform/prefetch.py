"""Work that threads do ahead of its consumer, such as reading the next images while one is predicted."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def prefetch(jobs: Iterable[Callable[[], T]], workers: int, depth: int) -> Generator[T, None, None]:
    """Results of the jobs, in order; threads work on them before they are asked for.

    Threads overlap as far as the jobs release the interpreter's lock, as reading files and decoding PNG do. Order and
    results do not depend on `workers`. A consumer that stops early should close the generator (`contextlib.closing`):
    jobs that have begun are waited for, and no more begin.

    Args:
        jobs: what to do; taken one by one by the consumer's thread, so that they may draw random numbers in order.
        workers: number of threads; 0 to do a job when its result is asked for.
        depth: jobs that are taken ahead of the result that the consumer waits for; as many results wait in memory.

    Raises:
        Exception: what a job raised, when the turn comes to it.
    """
    if workers == 0:
        yield from (job() for job in jobs)
        return
    pool = ThreadPoolExecutor(workers, thread_name_prefix="ahead")
    pending: deque[Future[T]] = deque()
    try:
        for job in jobs:
            pending.append(pool.submit(job))
            if len(pending) > depth:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
