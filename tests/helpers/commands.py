"""The command line as users type it, in this process or in one of its own, and the toy experiment for it."""

import io
import os
import signal
import subprocess
import sys
import time
from contextlib import chdir, redirect_stderr, redirect_stdout
from unittest.mock import patch

import pytest

from decomp.experiments.cli import app
from decomp.experiments.console import clear_mistakes
from decomp.experiments.plan import make_plan
from decomp.experiments.schema import load_experiment
from decomp.experiments.status import Status

TOY = (
    "name: toy\ndataset: helpers.toys:Blobs\nlearner: helpers.toys:Centroids\nsamplers: [rand, decomp]\nseeds: 2\n"
    "budgets: [{n_image: 2, n_region: 3, region: [4, 4], cycles: 5}]\n"
    "resources: {cpus: 1}\n"
)


def decomp(*arguments, cwd):
    """A command in this process, which has loaded the libraries: its exit status, output and messages."""
    program = os.path.join(os.path.dirname(__file__), "__main__.py")  # as with `python -m decomp.experiments`
    with (
        chdir(cwd),
        patch.dict(os.environ),
        patch.object(sys, "argv", [program]),
        patch.object(sys, "path", [*sys.path]),
        redirect_stdout(io.StringIO()) as out,
        redirect_stderr(io.StringIO()) as err,
        pytest.raises(SystemExit) as ended,
        clear_mistakes(),
    ):
        app([*map(str, arguments)], prog_name="decomp")
    return ended.value.code, out.getvalue(), err.getvalue()


def decomp_apart(*arguments, cwd):
    """The same in a process of its own, for what starts Ray or is about the process."""
    process = start(*arguments, cwd=cwd)
    out, err = process.communicate(timeout=600)
    return process.returncode, out, err


def start(*arguments, cwd, **options):
    """Begin a command in a process of its own."""
    command = [sys.executable, "-m", "decomp.experiments", *map(str, arguments)]
    return subprocess.Popen(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def wait_for(condition, process, seconds=300):
    """Wait for what a process does while it goes on."""
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.05)


def kill(process):
    """With SIGKILL; its output is not waited for, since Ray's agents hold it open for a while."""
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    process.stderr.close()


def store_of(folder):
    """Folder of the toy experiment's results."""
    return folder / "runs" / "toy"


def plan_of(folder, *overrides):
    """Plan of the toy experiment whose file lies in a folder."""
    return make_plan(load_experiment(folder / "toy.yaml", [f"storage={folder / 'runs'}", *overrides]))


def told_active(folder):
    """Labels of the runs of which drivers tell that they are at work."""
    return {label for told in Status.read(store_of(folder)).values() for label in told.active}
