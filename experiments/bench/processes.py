"""The processes of a running experiment, found in /proc: who they are, and who outlives whom."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

TITLES = {"worker": b"ray::Worker", "coordinator": b"ray::coordinate", "progress": b"ray::ProgressActor"}
"""What Ray calls the processes that run our code."""


def descendants(roots: Sequence[int]) -> list[int]:
    """Living processes that descend from the given ones, which are not included themselves."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue  # it has ended meanwhile
        children.setdefault(parent, []).append(int(folder.name))
    found, fresh = [], list(roots)
    while fresh:
        fresh = [child for pid in fresh for child in children.get(pid, [])]
        found += fresh
    return found


def is_ours(title: bytes) -> bool:
    """Whether a process runs our code, by its title; others belong to Ray."""
    return title.startswith(tuple(TITLES.values()))


def births(pids: Sequence[int]) -> dict[int, str]:
    """When processes were born; those that have ended are left out."""
    return {pid: born for pid in pids if (born := _birth(pid))}


def title_of(pid: int) -> bytes:
    """What a process is called; empty where there is none."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def outliving(family: Mapping[int, str], patience: float) -> list[int]:
    """Those of these processes, given with their times of birth, that still live after so many seconds."""
    end = time.monotonic() + patience
    while (left := [pid for pid, born in family.items() if _birth(pid) == born]) and time.monotonic() < end:
        time.sleep(0.2)
    return left


def _birth(pid: int) -> str | None:
    """When a process was born, which tells it from a later one with the same number; None where there is none."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if state == "Z" else fields[18]
