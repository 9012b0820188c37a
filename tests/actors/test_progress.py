from unittest.mock import Mock

import pytest
import ray
from ray.exceptions import ActorUnavailableError

from decomp.actors.progress import Activity, ProgressActor, ProgressReader, ProgressReport


@pytest.fixture
def ends(monkeypatch):
    """How the next questions end: with an answer, an exception, or None for silence."""
    ends = []

    def get(reference):
        end = ends.pop(0)
        if isinstance(end, Exception):
            raise end
        return end

    def wait(references, timeout):
        if ends[0] is not None:
            return references, []
        ends.pop(0)
        return [], references

    monkeypatch.setattr(ray, "get", get)
    monkeypatch.setattr(ray, "wait", wait)
    return ends


@pytest.mark.parametrize("loss", [ActorUnavailableError("it is restarting", None), None])
def test_an_actor_that_is_lost_or_silent_tells_nothing_new(ends, loss):
    active = {"a run": Activity(2, "train", 0.5)}
    ends += [ProgressReport(active, ["a run"], ["a warning"]), loss, ProgressReport(active, ["a run"])]
    actor = Mock()
    reader = ProgressReader(actor)
    assert reader.read() == ProgressReport(active, ["a run"], ["a warning"])
    assert reader.read() == ProgressReport(active)
    assert reader.read() == ProgressReport(active, ["a run"])
    assert actor.report.remote.call_count == (2 if loss is None else 3)  # a late answer is still taken


def test_commits_and_warnings_are_told_once():
    actor = ProgressActor()
    actor.phase("a run", 2, "train")
    actor.advance("a run", 0.5)
    actor.committed("a run")
    actor.warn("a warning")
    assert actor.report() == ProgressReport({"a run": Activity(2, "train", 0.5)}, ["a run"], ["a warning"])
    assert actor.report() == ProgressReport({"a run": Activity(2, "train", 0.5)})
    actor.ended("a run")
    actor.advance("a run", 0.7)
    assert actor.report() == ProgressReport()
