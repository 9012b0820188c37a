"""`decomp submit`, with programs that stand for SLURM's."""

import os
import subprocess
import sys

import pytest
from helpers.toy_runs import run_locally
from typer.testing import CliRunner

from decomp.experiments import submitting
from decomp.experiments.cli import app
from decomp.experiments.plan import make_plan
from decomp.experiments.schema import load_experiment
from decomp.platform.errors import UserError

SBATCH = '#!/bin/sh\nfor last; do :; done\ncat "$last" > "$SUBMITTED"\necho "77;cluster"\n'


def program(folder, name, text):
    file = folder / name
    file.write_text(text)
    file.chmod(0o755)


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """A login node: a folder of programs, `sbatch` among them; the folder where commands are typed."""
    programs = tmp_path / "bin"
    programs.mkdir()
    program(programs, "sbatch", SBATCH)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("SUBMITTED", str(tmp_path / "submitted"))
    monkeypatch.chdir(tmp_path)
    return programs


def submit(*arguments):
    done = CliRunner().invoke(app, ["submit", *map(str, arguments)])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output


def options_in(script):
    return [line.removeprefix("#SBATCH ") for line in script.splitlines() if line.startswith("#SBATCH ")]


ALWAYS = ["--ntasks-per-node=1", "--requeue", "--open-mode=append", "--signal=B:USR1@180"]


@pytest.mark.parametrize(
    ("typed", "lines"),
    [
        ([], ["--nodes=1", "--cpus-per-task=1", "--output={}/job-%j.log"]),
        (["--array", "3"], ["--array=0-2", "--nodes=1", "--output={}/job-%A-%a.log"]),
        (["--array", "3000"], ["--array=0-7"]),  # no more than there are runs
        (["--nodes", "4"], ["--nodes=4", "--output={}/job-%j.log"]),
        (["--time", "24:00:00", "--partition", "gpu"], ["--time=24:00:00", "--partition=gpu"]),
        (["--cpus", "8", "--gpus", "2"], ["--cpus-per-task=8", "--gpus-per-node=2"]),
        (["resources.cpus=2.5", "resources.workers=3"], ["--cpus-per-task=8"]),
        (["resources.cpus=2.5", "resources.workers=3", "--nodes", "2"], ["--cpus-per-task=3"]),
        (["resources.gpus=0.5", "resources.workers=3"], ["--gpus-per-node=2"]),
        (["--", "--account=me", "--qos", "low prio", "-x", "node7"], ["--account=me", "--qos 'low prio'", "-x node7"]),
    ],
)
def test_every_option_is_a_line_of_the_script(slurm, toy_file, typed, lines):
    script = submit(toy_file, "--dry-run", *typed)
    folder = toy_file.parent / "runs" / "toy" / "slurm"
    assert {line.format(folder) for line in lines} | {*ALWAYS, "--job-name=toy"} <= set(options_in(script))
    assert f"what=({toy_file}{''.join(f' {word}' for word in typed if '=' in word and word[0] != '-')})" in script
    assert ("--address" in script) == ("--nodes" in typed)
    assert not folder.exists()
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)


def test_the_script_lies_beside_the_results_and_the_job_is_named_with_what_to_type(slurm, toy_file, tmp_path):
    folder = tmp_path / "runs" / "toy" / "slurm"
    for number in (1, 2):  # what somebody has changed is not overwritten
        said = submit(toy_file, "seeds=1", "--array", 2)
        assert f"Job 77 is submitted by {folder}/job-{number}.sh." in said
        assert (tmp_path / "submitted").read_text() == (folder / f"job-{number}.sh").read_text()
    for line in ("squeue --job 77", f"{folder}/job-77*.log", f"status {toy_file} seeds=1", "scancel 77"):
        assert line in said


def test_of_runs_that_are_done_nothing_is_submitted(slurm, toy_file, tmp_path):
    plan = make_plan(load_experiment(toy_file, []))
    run_locally(plan.experiment.root, *plan.references, *plan.runs)
    assert "All 8 runs are done, so nothing is submitted" in submit(toy_file, "--array", 4)
    assert not (tmp_path / "submitted").exists()


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        (["--array", "2", "--nodes", "2"], r"give --array .* or --nodes .*, not both"),
        (["resources.workers=4", "resources.cpus=2.0", "--cpus", "7"], r"--cpus 7: a run of 4 worker\(s\) needs 8"),
        (["resources.gpus=2", "--gpus", "1", "--nodes", "2"], r"--gpus 1: a worker needs 2 on one node; .*\.gpus\."),
    ],
)
def test_what_cannot_work_is_one_sentence(slurm, toy_file, typed, sentence):
    with pytest.raises(UserError, match=sentence):
        submit(toy_file, *typed)


def test_without_slurm_that_is_said(toy_file, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match=r"^there is no sbatch here: .* login node of a SLURM cluster"):
        submit(toy_file)


def test_what_slurm_says_is_told(slurm, toy_file):
    program(slurm, "sbatch", "#!/bin/sh\necho 'sbatch: error: invalid partition specified: P' >&2\nexit 1\n")
    with pytest.raises(UserError, match=r"\(error: invalid partition specified: P\); mend the options"):
        submit(toy_file, "--partition", "P")


DRIVER = """#!/bin/sh
shift 2
if [ "$1" = status ]; then echo "toy: $(cat cycles) of 24 cycles"; exit; fi
trap 'echo stopped; exit 143' TERM
sleep 1
if [ "$COMMITS" ]; then echo 3 > cycles; fi
kill -USR1 "$PPID"
for second in 1 2 3 4 5 6 7 8 9 10; do sleep 1; done
"""


def test_a_job_that_is_cancelled_before_its_driver_has_begun_starts_none(slurm, toy_file, tmp_path, monkeypatch):
    program(slurm, "driver", '#!/bin/sh\nshift 2\necho "$1" >> typed\nkill -TERM "$JOB"\n')
    monkeypatch.setattr(submitting.sys, "executable", str(slurm / "driver"))
    script = submit(toy_file, "--dry-run").replace("#!/bin/bash\n", "export JOB=$$\n")
    environment = os.environ | {"SLURM_JOB_ID": f"c{os.getpid()}"}
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (done.returncode, (tmp_path / "typed").read_text()) == (143, "status\n")
    assert "before it has begun" in done.stdout


PART = {"SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "3"}


@pytest.mark.parametrize(
    ("commits", "array", "status", "requeued"),
    [("yes", {}, 143, "JOB"), ("yes", PART, 143, "7_3"), ("", {}, 1, None)],
)
def test_before_its_limit_a_job_ends_and_is_requeued_alone_unless_it_got_nowhere(
    slurm, toy_file, tmp_path, monkeypatch, commits, array, status, requeued
):
    program(slurm, "driver", DRIVER)
    program(slurm, "scontrol", '#!/bin/sh\necho "scontrol $*"\n')
    (tmp_path / "cycles").write_text("2")
    monkeypatch.setattr(submitting.sys, "executable", str(slurm / "driver"))
    script = submit(toy_file, "--dry-run")
    monkeypatch.undo()
    job = f"t{os.getpid()}"
    environment = (
        os.environ | array | {"PATH": f"{slurm}:{os.environ['PATH']}", "SLURM_JOB_ID": job, "COMMITS": commits}
    )
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == status, done.stderr
    assert done.stdout.splitlines()[0] == "stopped"
    assert [line for line in done.stdout.splitlines() if "scontrol" in line] == (
        [f"scontrol requeue {requeued}".replace("JOB", job)] if requeued else []
    )
    assert ("No cycle was committed within the time limit" in done.stdout) != bool(commits)
    assert sys.executable not in script
