"""Experiments on a real SLURM of two nodes with a core each, which is started on this machine."""

import re
import sys
import time

import pytest
import yaml
from helpers import slurm, toys
from helpers.toy_runs import results, run_locally

from decomp.experiments.plan import make_plan
from decomp.experiments.schema import load_experiment

pytestmark = [  # ten minutes: what SLURM has queued again waits for two
    pytest.mark.slow,
    pytest.mark.skipif(slurm.missing() is not None, reason=str(slurm.missing())),
]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with slurm.running(tmp_path_factory.mktemp("slurm")) as cluster:
        yield cluster


class Submitted:
    """An experiment, and the job that computes it."""

    def __init__(self, cluster, name, seconds, *options):
        self.cluster = cluster
        content = {
            "name": name,
            "dataset": {"name": "helpers.toys:Blobs"},
            "learner": {"name": "helpers.toys:Centroids", "seconds": seconds},
            "reference": None,
            "samplers": ["rand", "decomp"],
            "budgets": [{"n_image": 2, "n_region": 3, "region": [4, 4], "cycles": 5}],
            "seeds": 3,
            "storage": str(cluster.folder / "runs"),
        }
        file = cluster.folder / f"{name}.yaml"
        file.write_text(yaml.safe_dump(content))
        self.plan = make_plan(load_experiment(file, []))
        self.root = self.plan.experiment.root
        command = [sys.executable, "-m", "decomp.experiments", "submit", file, *options]
        self.job = re.search(r"Job (\d+) is submitted", cluster.on("control", *command))[1]

    def parts(self, state):
        """The jobs that are in a state, with their nodes."""
        jobs = self.cluster.jobs()
        return {job: row[1] for job, row in jobs.items() if job.partition("_")[0] == self.job and row[0] == state}

    def claimed(self):
        """How many runs are claimed."""
        return len([name for name in (self.root / ".claims").names() if name.endswith(".1")]) - 1  # who leads

    def is_done(self):
        """Whether all runs are finished and no job works any more."""
        working = self.parts("RUNNING") | self.parts("COMPLETING")
        return not working and all(store.finished for store in self.plan.stores(self.plan.specs))

    def output(self, part=""):
        """What a job has printed."""
        return (self.root / "slurm" / f"job-{self.job}{part}.log").read_text()

    def equals_local(self, folder, monkeypatch):
        monkeypatch.setattr(toys.time, "sleep", lambda seconds: None)
        run_locally(folder, *self.plan.runs)
        return results(self.root) == results(folder)


def until(holds, seconds=600):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(2)


def test_jobs_of_an_array_that_are_cancelled_preempted_or_at_their_limit_change_nothing(cluster, tmp_path, monkeypatch):
    limit = ["--array", 4, "--time", 3, "--partition", "low", "--", "--signal=B:USR1@30"]
    submitted = Submitted(cluster, "array", 10.0, *limit)
    job = submitted.job
    until(lambda: submitted.claimed() == 2)
    cluster.on("control", "scancel", f"{job}_0")
    until(lambda: f"{job}_1" in submitted.parts("RUNNING") and submitted.claimed() == 2)
    node = submitted.parts("RUNNING")[f"{job}_1"]
    cluster.on("control", "sbatch", "--partition=high", f"--nodelist={node}", "--output=/dev/null", "--wrap=sleep 5")
    until(submitted.is_done, 1500)
    cluster.on("control", "scancel", job)  # what was queued again and has not begun
    assert submitted.equals_local(tmp_path, monkeypatch)
    cancelled, preempted = submitted.output("-0"), submitted.output("-1")
    assert cancelled.count("Stopped. Committed cycles are kept") == cancelled.count("results go to") == 1
    assert "DUE TO PREEMPTION" in preempted
    assert preempted.count("results go to") >= 1
    outputs = [submitted.output(f"-{part}") for part in range(4)]
    at_limit = [output for output in outputs[2:] if "Stopped. Committed cycles are kept" in output]
    assert any("DUE TO JOB REQUEUE" in output or output.count("results go to") > 1 for output in at_limit)
    assert not any("Traceback" in output for output in outputs)


def test_one_ray_over_two_nodes_computes_runs_whose_workers_are_on_both(cluster, tmp_path, monkeypatch):
    submitted = Submitted(cluster, "nodes", 0.0, "resources.workers=2", "--nodes", 2)
    until(lambda: not submitted.cluster.jobs().keys() & {submitted.job})
    assert submitted.is_done(), submitted.output()
    assert submitted.equals_local(tmp_path, monkeypatch)
