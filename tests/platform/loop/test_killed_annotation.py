"""Whatever ends a command that asks annotators, nothing is lost, and the same regions are asked for."""

from dataclasses import replace
from itertools import count

import pytest
from helpers.annotators import kept, of_scenes
from helpers.programs import PROGRAMS, told_by

from decomp.platform.grid import Budget
from decomp.platform.storage.files import FilePath


class Interruption(BaseException):
    pass


def interrupted(live, patch, number, *, done):
    """Annotate until the n-th write is about to begin, or has been done; whether there were so many."""
    writes = count()
    originals = FilePath.write_atomically, FilePath.publish

    def failing(original):
        def write(self, *arguments):
            last = next(writes) == number
            if last and not done:
                raise Interruption
            written = original(self, *arguments)
            if last:
                raise Interruption
            return written

        return write

    with patch.context() as patched:
        patched.setattr(FilePath, "write_atomically", failing(originals[0]))
        patched.setattr(FilePath, "publish", failing(originals[1]))
        try:
            live.answer_all()
        except Interruption:
            return True
    return False


@pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
def test_interrupted_at_any_write_the_same_is_asked_and_nothing_is_lost(tmp_path, monkeypatch, done):
    scenes = replace(of_scenes(tmp_path, cycles=2), budget=Budget(1, 2, (8, 8)))
    undisturbed = replace(scenes, root=tmp_path / "undisturbed")
    undisturbed.answer_all()
    for number in count():
        live = replace(scenes, root=tmp_path / f"interrupted-{number}")
        there_was_one = interrupted(live, monkeypatch, number, done=done)
        live.answer_all()
        assert kept(live) == kept(undisturbed), number
        if not there_was_one:
            break
    assert number > 15


def test_killed_at_random_moments_the_same_is_asked_and_nothing_is_lost(tmp_path):
    report = told_by(PROGRAMS / "killed_annotation.py", tmp_path)
    assert [moment["killed"] for moment in report] == 10 * [True]
    assert {moment["at"]: moment["wrong"] for moment in report if moment["wrong"]} == {}
    assert len({moment["at"] for moment in report}) > 5
