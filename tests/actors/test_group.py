from unittest.mock import Mock

import pytest
from ray.exceptions import ActorUnavailableError, ObjectLostError

import decomp.actors.group
from decomp.actors.group import ATTEMPTS, LostWorker, WorkerGroup
from decomp.platform.loop.shard import StaleShard
from decomp.platform.regions import Region

GONE = ActorUnavailableError("it is restarting", None)
ANSWER_LOST = ObjectLostError("00" * 28, None, "")


@pytest.fixture
def worker(monkeypatch):
    """A worker whose calls end as told: `worker.ends` holds answers, and exceptions to be raised."""
    worker = Mock(ends=[])

    def get(reference):
        end = worker.ends.pop(0)
        if isinstance(end, Exception):
            raise end
        return end

    monkeypatch.setattr(decomp.actors.group.ray, "get", get)
    monkeypatch.setattr(decomp.actors.group.time, "sleep", lambda seconds: None)
    return worker


def call(worker, method="reveal", restore=None):
    group = WorkerGroup([worker], Mock(), ["a"], Mock())
    return group._call({0: ([Region("a", (0, 0), (1, 1))],)}, method, restore)


@pytest.mark.parametrize("loss", [GONE, ANSWER_LOST])
def test_a_call_whose_worker_or_answer_is_lost_is_made_again(worker, loss):
    worker.ends = [loss, loss, "the answer"]
    assert call(worker) == {0: "the answer"}
    assert worker.reveal.remote.call_count == 3


def test_a_worker_that_is_lost_again_and_again_is_given_up_with_a_sentence(worker):
    worker.ends = [GONE] * ATTEMPTS
    with pytest.raises(LostWorker, match=r"worker 0 was lost 10 times in 'reveal'.*it is restarting"):
        call(worker)


def test_a_worker_that_was_restarted_is_restored_first(worker):
    restored = []
    worker.ends = [GONE, StaleShard(), "the answer"]
    assert call(worker, "choose", restored.append) == {0: "the answer"}
    assert restored == [0]


def test_a_mistake_in_the_called_code_is_passed_on_at_once(worker):
    worker.ends = [ZeroDivisionError()]
    with pytest.raises(ZeroDivisionError):
        call(worker)
    assert worker.reveal.remote.call_count == 1
