"""Ensembles and dropout on several workers, which are called in this process as Ray would call them in theirs."""

from dataclasses import replace
from unittest.mock import Mock

import pytest
from helpers.toy_runs import BASE, run_locally
from ray.exceptions import ActorUnavailableError

import decomp.actors.group
import decomp.actors.worker
from decomp.actors.group import WorkerGroup
from decomp.actors.worker import Job, Worker
from decomp.platform.components import build_dataset
from decomp.platform.datasets.base import pool_ids
from decomp.platform.grid import Component, Sampler
from decomp.platform.loop.loop import Loop
from decomp.platform.passes import Passes
from decomp.platform.storage.files import FilePath
from decomp.platform.storage.runs import RunStore

SPEC = replace(
    BASE,
    learner=Component("helpers.toys:Droppers"),
    sampler=Sampler("bald", Component("uncertainty"), Component("uncertainty"), uncertainty="mutual_information"),
    cycles=3,
)
PASSES = [Passes("ensemble", 3), Passes("ensemble", 3, "mean"), Passes("mc-dropout", 3, "mean")]


class Handle:
    """A worker as its group sees it; a call is made when its answer is asked for, or lost with the worker."""

    def __init__(self, loses=()):
        self.worker, self.loses, self.calls = Worker("cpu"), list(loses), []

    def __getattr__(self, method):
        def remote(*arguments):
            self.calls.append(method)
            if method in self.loses:
                self.loses.remove(method)
                self.worker = Worker("cpu")
                return lost
            return lambda: getattr(self.worker, method)(*arguments)

        return Mock(remote=remote)


def lost():
    raise ActorUnavailableError("it is restarting", None)


@pytest.fixture
def group(monkeypatch):
    """Makes a group of these workers."""
    monkeypatch.setattr(decomp.actors.group.ray, "get", lambda call: call())
    monkeypatch.setattr(decomp.actors.group.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(decomp.actors.worker, "REPORT_EVERY", 0.0)

    def make(handles, progress=None, **options):
        dataset = build_dataset(SPEC.dataset)
        job = Job("run", SPEC.dataset, SPEC.learner)
        return dataset, WorkerGroup(handles, job, pool_ids(dataset, 0), progress or Mock(), **options)

    return make


def content(root, spec):
    folders = RunStore(FilePath(root), spec).committed()
    files = [file for folder in folders for file in sorted(folder.path.iterdir()) if file.name != "timing.json"]
    return {f"{file.parent.name}/{file.name}": file.read_bytes() for file in files}


@pytest.mark.parametrize("passes", PASSES, ids=str)
@pytest.mark.parametrize("handles", [lambda: [Handle()], lambda: [Handle(), Handle(["fit", "predict", "choose"])]])
def test_any_number_of_workers_gives_the_single_process_results(group, tmp_path, passes, handles):
    spec = replace(SPEC, passes=passes)
    run_locally(tmp_path / "one", spec)
    run_locally(tmp_path / "other", spec.first)
    Loop(RunStore(tmp_path / "other", spec), *group(handles())).run()
    assert content(tmp_path / "other", spec) == content(tmp_path / "one", spec)


def test_the_models_of_an_ensemble_are_spread_over_the_workers(group, tmp_path):
    spec, handles, progress = replace(SPEC, passes=PASSES[0], cycles=2), [Handle(), Handle()], Mock()
    run_locally(tmp_path, spec.first)
    Loop(RunStore(tmp_path, spec), *group(handles, progress)).run()
    assert [handle.calls.count("fit") for handle in handles] == [2, 1]
    # Each toy reports that it is half done: two in the first round, one in the second.
    assert [call.args for call in progress.advance.remote.call_args_list] == [("run", 0.25)] * 2 + [("run", 0.75)]


def test_models_that_several_workers_train_together_are_trained_one_by_one(group, monkeypatch):
    _, workers = group([Handle(), Handle()], training_workers=2)
    trained = []

    def fit_distributed(self, training, start, checkpoint, part):
        trained.append((training, start, checkpoint, part))
        return decomp.actors.group.Checkpoint(checkpoint, training)

    monkeypatch.setattr(WorkerGroup, "_fit_distributed", fit_distributed)
    model = workers.fit(["training", "another"], None, ["model", "model-2"])
    assert [member.file for member in model.members] == ["model", "model-2"]
    assert trained == [("training", None, "model", (0.0, 0.5)), ("another", None, "model-2", (0.5, 1.0))]
