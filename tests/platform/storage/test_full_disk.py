import errno
import os
import shutil
from collections import namedtuple

import pytest
from helpers.programs import PROGRAMS, told_by


@pytest.fixture(scope="module")
def limited(tmp_path_factory):
    """What happened to runs that could not write files above a limit."""
    return told_by(PROGRAMS / "full_disk.py", tmp_path_factory.mktemp("full"))


def test_a_file_that_does_not_fit_ends_the_run_with_a_sentence_and_committed_cycles_stay(limited):
    for limit, found in limited.items():
        assert "there is no room for more in" in found["said"], limit
        assert found["said"].endswith("make room, then the same command goes on.")
        assert found["committed"] == 2


def test_the_same_run_goes_on_when_there_is_room(limited):
    assert {limit: found["wrong"] for limit, found in limited.items() if found["wrong"]} == {}


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_the_reasons_of_a_disk_without_room_are_told(number, tmp_path):
    said = tmp_path.no_room(OSError(number, "whatever"))
    assert str(tmp_path) in said
    assert os.strerror(number) in said


def test_a_library_that_does_not_say_why_it_failed_is_seen_through(tmp_path, monkeypatch):
    error = RuntimeError("file write failed")
    assert tmp_path.no_room(error) is None
    assert tmp_path.no_room(PermissionError(errno.EACCES, "no")) is None
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: namedtuple("usage", "total used free")(9, 9, 0))
    assert "only 0 bytes are free" in tmp_path.no_room(error)
