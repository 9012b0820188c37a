import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

from decomp.platform.errors import UserError
from decomp.platform.learners.nnunet.build_once import BuildOnce

FORK = multiprocessing.get_context("fork")
"""The children below run no more than a few lines."""


def make(name: str, folder: Path) -> None:
    (folder / "name").write_text(name)


class Counted:
    """Makes folders and notes how often, over all processes."""

    def __init__(self, log: Path, seconds: float = 0.0) -> None:
        self.log, self.seconds = log, seconds

    def __call__(self, name: str, folder: Path) -> None:
        with self.log.open("a") as log:
            log.write(f"{name} {os.getpid()}\n")
        time.sleep(self.seconds)
        make(name, folder)

    @property
    def made(self) -> list[str]:
        return [line.split()[0] for line in self.log.read_text().splitlines()]

    @property
    def makers(self) -> set[str]:
        return {line.split()[1] for line in self.log.read_text().splitlines()}


def test_a_folder_is_made_once(tmp_path: Path) -> None:
    count = Counted(tmp_path / "log")
    for _ in range(2):
        shelf = BuildOnce(tmp_path / "shelf", count)
        assert (shelf.get("case/1") / "name").read_text() == "case/1"
    assert count.made == ["case/1"]


@pytest.mark.parametrize("pair", [("a/b", "a%2Fb"), ("..", "."), ("a.b", "a b")])
def test_any_two_names_have_folders_of_their_own_below_the_shelf(tmp_path: Path, pair: tuple[str, str]) -> None:
    shelf = BuildOnce(tmp_path / "shelf", make)
    places = [shelf.get(name) for name in pair]
    assert [(place / "name").read_text() for place in places] == list(pair)
    assert {place.parent for place in places} == {tmp_path / "shelf"}


def test_processes_share_the_work_and_nothing_is_made_twice(tmp_path: Path) -> None:
    count = Counted(tmp_path / "log", seconds=0.1)
    names = [f"case-{k}" for k in range(8)]
    start = time.monotonic()
    children = [FORK.Process(target=BuildOnce(tmp_path / "shelf", count).complete, args=(names,)) for _ in range(4)]
    for child in children:
        child.start()
    for child in children:
        child.join()
    assert [child.exitcode for child in children] == [0] * 4
    assert sorted(count.made) == names
    assert len(count.makers) > 1
    assert time.monotonic() - start < 60


def test_who_finds_a_folder_being_made_makes_another_one_meanwhile(tmp_path: Path) -> None:
    count = Counted(tmp_path / "log", seconds=0.5)
    child = FORK.Process(target=BuildOnce(tmp_path / "shelf", count).get, args=("a",))
    child.start()
    while not count.log.exists():
        time.sleep(0.01)
    shelf = BuildOnce(tmp_path / "shelf", count)
    assert (shelf.get("a", spares=("b", "c")) / "name").read_text() == "a"
    child.join()
    assert count.made[:2] == ["a", "b"]
    assert len(count.makers) == 2


def test_a_process_killed_while_it_makes_a_folder_leaves_nothing_behind(tmp_path: Path) -> None:
    def die(name: str, folder: Path) -> None:
        (folder / "name").write_text("half")
        os.kill(os.getpid(), signal.SIGKILL)

    child = FORK.Process(target=BuildOnce(tmp_path / "shelf", die).get, args=("a",))
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    shelf = BuildOnce(tmp_path / "shelf", make)
    assert not shelf.has("a")
    assert (shelf.get("a") / "name").read_text() == "a"


def test_an_error_while_a_folder_is_made_is_raised_and_nothing_stays(tmp_path: Path) -> None:
    def fail(name: str, folder: Path) -> None:
        (folder / "name").write_text("half")
        raise ValueError(name)

    with pytest.raises(ValueError, match="a"):
        BuildOnce(tmp_path / "shelf", fail).get("a")
    assert not BuildOnce(tmp_path / "shelf", make).has("a")
    assert (BuildOnce(tmp_path / "shelf", make).get("a") / "name").read_text() == "a"


@pytest.mark.parametrize("damage", [b"b", b"", None])
def test_a_damaged_file_is_made_again(tmp_path: Path, damage: bytes | None) -> None:
    file = BuildOnce(tmp_path / "shelf", make).get("a") / "name"
    if damage is None:
        file.unlink()
    else:
        file.write_bytes(damage)
    assert (BuildOnce(tmp_path / "shelf", make).get("a") / "name").read_text() == "a"


def test_a_place_that_is_no_folder_is_the_users_mistake(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"learner\.cache: cannot make .*file"):
        BuildOnce(tmp_path / "file" / "shelf", make).get("a")
