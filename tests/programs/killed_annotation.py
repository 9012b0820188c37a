"""Kills a command that takes in what annotators did, with SIGKILL at random moments, and goes on with it.

Run as a program, `python killed_annotation.py FOLDER`, since each killed command is a fork, which must come before
torch starts threads. Prints a JSON list: for each moment what was about to happen, and what differs from an undisturbed
run.
"""

import json
import os
import random
import shutil
import signal
import sys
from dataclasses import replace
from pathlib import Path

import pyarrow.dataset  # noqa: F401  as above
from helpers.annotators import kept, of_scenes
from helpers.programs import forked

import decomp.platform.learners.inference.decode  # noqa: F401  PyTorch is loaded once instead of in every fork
from decomp.platform.ledger import Ledger

MOMENTS = 10
TOUCHING = ("open", "os.rename", "os.remove", "os.rmdir", "os.mkdir")
"""Audit events of touching the disk."""


def main(folder):
    Ledger.of([])  # makes pyarrow import what it needs, once instead of in every fork
    scenes = of_scenes(folder, cycles=3)
    undisturbed = replace(scenes, root=folder / "undisturbed")
    note = folder / "note.txt"
    forked(lambda: note.write_text(str(touches(undisturbed))))
    total, report, draw = int(note.read_text()), [], random.Random(7)
    for number in range(MOMENTS):
        live, moment = replace(scenes, root=folder / f"killed-{number}"), draw.randrange(total)
        note.write_text("")
        killed = forked(lambda live=live, moment=moment: touches(live, moment, note))
        forked(live.answer_all)
        found, expected = kept(live), kept(undisturbed)
        wrong = sorted(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name))
        report.append({"killed": killed, "at": note.read_text(), "wrong": wrong})
        shutil.rmtree(live.root)
    sys.stdout.write(json.dumps(report) + "\n")


def touches(live, last=None, note=None):
    """Annotate to the end, or until the disk is touched for the n-th time; returns how often it was."""
    count = 0

    def touched(event, arguments):
        nonlocal count
        if event not in TOUCHING or not str(arguments[0]).startswith(str(live.root)):
            return
        if count == last:
            count += 1  # the note is no touch of the run
            note.write_text(f"{event} {Path(os.fsdecode(arguments[0])).name}")
            os.kill(os.getpid(), signal.SIGKILL)
        count += 1

    sys.addaudithook(touched)
    live.answer_all()
    return count


if __name__ == "__main__":
    main(Path(sys.argv[1]))
