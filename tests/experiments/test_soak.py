import os
import subprocess
import sys
import time

import pytest
from helpers.toy_runs import run_locally

from decomp.experiments.bench.processes import births, descendants, outliving, title_of
from decomp.experiments.bench.soak import Tally, compare, plan_of, write_experiment


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    """An experiment of the soak, computed by this process; its folder."""
    file = write_experiment(tmp_path_factory.mktemp("soak"), 0, cycles=3)
    plan = plan_of(file, "learner.seconds=0")
    file.write_text(file.read_text().replace("learner:\n", "learner:\n  seconds: 0\n"))
    assert plan_of(file).specs == plan.specs
    run_locally(plan.experiment.root, *plan.references, *plan.runs)
    return file


def faults(experiment, tmp_path):
    tally = Tally()
    compare(experiment, tmp_path / "undisturbed", tally)
    return tally.faults


def test_equal_results_are_no_fault(experiment, tmp_path):
    tally = Tally()
    compare(experiment, tmp_path / "undisturbed", tally)
    assert (tally.faults, tally.runs, tally.cycles) == ([], 8, 2 + 2 + 4 * 2)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda file: file.write_text(file.read_text().replace("0.", "0.1", 1)), "differs"),
        (lambda file: file.unlink(), "is missing"),
        (lambda file: file.with_name("more").touch(), "is too many"),
        (lambda file: file.parent.with_name(".staging-0003").mkdir(), "was left behind"),
    ],
)
def test_every_kind_of_difference_is_a_fault(experiment, tmp_path, damage, said):
    root = experiment.with_suffix("")
    file = sorted(root.glob("decomp/**/record.json"))[0]
    content = file.read_bytes()
    try:
        damage(file)
        assert any(said in fault for fault in faults(experiment, tmp_path))
    finally:
        file.write_bytes(content)
        file.with_name("more").unlink(missing_ok=True)
        for folder in root.rglob(".staging-*"):
            folder.rmdir()


def test_a_process_that_outlives_another_is_found():
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        assert child.pid in descendants([os.getpid()])
        while not title_of(child.pid):  # it has not begun yet
            time.sleep(0.01)
        assert sys.executable.encode() in title_of(child.pid)
        born = births([child.pid])
        assert outliving(born, patience=0) == [child.pid]
    finally:
        child.kill()
        child.wait()
    assert outliving(born, patience=0) == []
    assert births([child.pid]) == {}


@pytest.mark.slow  # a minute or two
@pytest.mark.parametrize("where", [[], ["--nodes"]])
def test_random_kills_change_nothing(tmp_path, where):
    command = [sys.executable, "-m", "decomp.experiments.bench.soak", "--kills", "8", "--cycles", "3", *where]
    done = subprocess.run([*command, "--folder", str(tmp_path)], capture_output=True, text=True)
    rows = {line[:24].strip(): line[24:].strip() for line in done.stdout.splitlines()}
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(rows["kills"]) >= 8
    assert rows["faults"] == "0"
