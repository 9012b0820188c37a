from unittest.mock import Mock

import pytest
from ray.exceptions import ActorUnavailableError

import decomp.actors.progress
from decomp.actors.progress import Activity, ProgressBoard, ProgressReader, ProgressReport


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

    monkeypatch.setattr(decomp.actors.progress.ray, "get", get)
    monkeypatch.setattr(decomp.actors.progress.ray, "wait", wait)
    return ends


@pytest.mark.parametrize("loss", [ActorUnavailableError("it is restarting", None), None])
def test_a_board_that_is_lost_or_silent_tells_nothing_new(ends, loss):
    active = {"a run": Activity(2, "train", 0.5)}
    ends += [ProgressReport(active, ["a run"], ["a warning"]), loss, ProgressReport(active, ["a run"])]
    board = Mock()
    correspondent = ProgressReader(board)
    assert correspondent.news() == ProgressReport(active, ["a run"], ["a warning"])
    assert correspondent.news() == ProgressReport(active)
    assert correspondent.news() == ProgressReport(active, ["a run"])
    assert board.news.remote.call_count == (2 if loss is None else 3)  # a late answer is still taken


def test_news_are_told_once():
    board = ProgressBoard()
    board.phase("a run", 2, "train")
    board.progress("a run", 0.5)
    board.committed("a run")
    board.warn("a warning")
    assert board.news() == ProgressReport({"a run": Activity(2, "train", 0.5)}, ["a run"], ["a warning"])
    assert board.news() == ProgressReport({"a run": Activity(2, "train", 0.5)})
    board.ended("a run")
    board.progress("a run", 0.7)
    assert board.news() == ProgressReport()
