"""Kills the process of a run with SIGKILL at every point of a cycle, resumes it and reports what is on the disk then.

Run as a program, `python killed_runs.py FOLDER`, since each killed run is a fork, which must come before torch starts
threads. Prints a JSON object: for each point what was about to happen, and what differs from the undisturbed run.
"""

import json
import os
import shutil
import signal
import sys
from dataclasses import replace

import pyarrow.dataset  # noqa: F401  as above
from helpers.programs import forked
from helpers.toy_runs import DECOMP, run_locally

import decomp.platform.learners.inference.decode  # noqa: F401  PyTorch is loaded once instead of in every fork
from decomp.platform.ledger import Ledger
from decomp.platform.loop.loop import Observer
from decomp.platform.storage.files import FilePath
from decomp.platform.storage.runs import RunStore

SPEC = replace(DECOMP, cycles=5)
TOUCHING = ("open", "os.rename", "os.remove", "os.rmdir")
"""Audit events of touching the disk; waiting for the disk has none and is added."""


def main(folder):
    Ledger.of([])  # makes pyarrow import what it needs, once instead of in every fork
    forked(lambda: run_locally(folder / "first", SPEC.first))
    forked(lambda: run_locally(folder / "begun", replace(SPEC, cycles=4)))
    forked(lambda: run_locally(folder / "undisturbed", SPEC))
    report = {}
    for phase in ("predict", "select", "reveal", "train", "evaluate"):
        case = Case(SPEC, folder / phase, folder / "undisturbed", folder / "begun")
        report[phase] = case.survive(lambda case, phase=phase: kill_in(case, phase))
    for method, spec, expected, begun in (
        ("create", SPEC.first, folder / "first", None),
        ("commit", SPEC, folder / "undisturbed", folder / "begun"),
    ):
        number, killed = 0, True
        while killed:
            name = f"{method} {number}"
            case = Case(spec, folder / name, expected, begun)
            report[name] = case.survive(lambda case, m=method, n=number: kill_at(case, m, n))
            number, killed = number + 1, report[name]["killed"]
    sys.stdout.write(json.dumps(report) + "\n")


class Case:
    def __init__(self, spec, root, expected, begun):
        self.spec, self.root, self.expected, self.begun = spec, root, expected, begun
        self.note = root.with_name(f"{root.name}.txt")

    def survive(self, killing):
        """What was about to happen when the run was killed, and what is wrong after it has been resumed."""
        if self.begun is not None:
            shutil.copytree(self.begun, self.root)
        self.note.write_text("")
        killed = forked(lambda: killing(self))
        forked(self._resume)
        found, expected = files(self.root), files(self.expected)
        wrong = sorted(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name))
        return {"killed": killed, "at": self.note.read_text(), "wrong": wrong}

    def _resume(self):
        if not RunStore(self.root, self.spec).finished:
            run_locally(self.root, self.spec)


def kill_in(case, phase):
    class Killer(Observer):
        def phase(self, cycle, name):
            if (cycle, name) == (SPEC.cycles, phase):
                case.note.write_text(phase)
                os.kill(os.getpid(), signal.SIGKILL)

    run_locally(case.root, case.spec, observer=Killer())


def kill_at(case, method, number):
    """Kill when the disk is touched for the n-th time within the creation of the run's folder or its last commit."""
    original, fsync = getattr(RunStore, method), os.fsync
    within, count = False, 0

    def touched(event, arguments):
        nonlocal count, within
        if within and event in (*TOUCHING, "fsync"):
            if count == number:
                within = False  # the note is no touch of the run
                case.note.write_text(f"{event} {arguments[0]}")
                os.kill(os.getpid(), signal.SIGKILL)
            count += 1

    def watched(store, *arguments):
        nonlocal within
        within = store.spec.key == case.spec.key and len(store.committed()) == case.spec.cycles - 1
        try:
            return original(store, *arguments)
        finally:
            within = False

    def synced(descriptor):
        touched("fsync", (os.readlink(f"/proc/self/fd/{descriptor}"),))
        fsync(descriptor)

    sys.addaudithook(touched)
    os.fsync = synced
    setattr(RunStore, method, watched)
    run_locally(case.root, case.spec)


def files(root):
    """Content of every file below a folder, by relative path; wall times are no results."""
    return {
        str(path.relative_to(root)): "" if path.is_dir() or path.name == "timing.json" else path.read_bytes()
        for path in root.rglob("*")
    }


if __name__ == "__main__":
    main(FilePath(sys.argv[1]))
