import contextlib
import gc
import threading
import time
import weakref
from functools import partial

import pytest

from decomp.platform.prefetch import prefetch


class Pixels:
    """Something whose life can be followed."""


def results(job, n, workers, depth=None):
    return prefetch((partial(job, k) for k in range(n)), workers, workers if depth is None else depth)


@pytest.mark.parametrize("workers", [0, 1, 2, 5, 40])
def test_results_come_in_the_order_of_the_jobs(workers):
    def job(k):
        time.sleep(0.003 * (2 - k % 3))  # later results are often ready before earlier ones
        return k

    assert list(results(job, 17, workers)) == list(range(17))
    assert list(results(job, 0, workers)) == []


def test_jobs_are_taken_so_far_ahead_and_no_further():
    taken = []

    def jobs():
        for k in range(20):
            taken.append(k)
            yield partial(int, k)

    with contextlib.closing(prefetch(jobs(), 2, 5)) as found:
        assert taken == []
        assert next(found) == 0
        assert taken == list(range(6))
        assert next(found) == 1
        assert taken == list(range(7))


def test_the_next_jobs_are_done_while_the_consumer_works():
    begun = [threading.Event() for _ in range(4)]
    with contextlib.closing(results(lambda k: begun[k].set(), 4, 2)) as found:
        next(found)
        assert begun[1].wait(10)
        assert begun[2].wait(10)
        assert not begun[3].wait(0.05)  # two ahead, no more


def test_jobs_overlap_as_far_as_there_are_threads():
    together = threading.Barrier(3, timeout=10)  # breaks unless three are done at once
    assert len(list(results(lambda k: together.wait(), 9, 3))) == 9


@pytest.mark.parametrize("depth", [0, 1, 3])
def test_memory_is_bounded_by_the_depth_and_the_consumers_own(depth):
    alive = weakref.WeakSet()
    most, lock = 0, threading.Lock()

    def job(k):
        nonlocal most
        pixels = Pixels()
        with lock:
            alive.add(pixels)
            most = max(most, len(alive))
        return pixels

    for pixels in results(job, 17, min(depth, 2), depth):
        time.sleep(0.005)
        del pixels
    gc.collect()
    assert len(alive) == 0
    assert most <= depth + 1


@pytest.mark.parametrize("workers", [0, 1, 4])
def test_an_error_comes_when_its_turn_has_come(workers):
    def job(k):
        if k == 5:
            raise ValueError("damaged")
        return k

    found, got = results(job, 17, workers), []
    with pytest.raises(ValueError, match="damaged"):
        got.extend(found)
    assert got == list(range(5))
    with pytest.raises(StopIteration):
        next(found)


def test_stopping_early_leaves_no_thread_and_begins_nothing_more():
    begun = []

    def job(k):
        begun.append(k)
        time.sleep(0.01)

    before = set(threading.enumerate())
    with contextlib.closing(results(job, 17, 2)) as found:
        next(found)
    assert set(threading.enumerate()) == before
    assert len(begun) <= 3
