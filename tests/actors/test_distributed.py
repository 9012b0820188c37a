from dataclasses import replace

import pytest
import safetensors.torch
from helpers.toy_runs import DECOMP, results, run_locally

from decomp.actors.resources import Resources
from decomp.actors.scheduler import Sweep
from decomp.platform.grid import Component
from decomp.platform.storage.runs import RunStore

OPTIONS = {"iterations": 20, "batch": 5, "crop": 16, "widths": [4, 8], "learning_rate": 1e-3}
SPEC = replace(DECOMP, learner=Component("unet", OPTIONS), cycles=3)
TOGETHER = Resources(workers=2, training_workers=2, cpus=0.5, runs_at_once=1)


def swept(root, *specs):
    """Errors of the runs and the bytes of the last one."""
    outcomes = Sweep(root, specs, TOGETHER).run(lambda report, ended: None)
    return [outcome.error for outcome in outcomes], results(RunStore(root, specs[-1]).path)


@pytest.fixture(scope="module")
def undisturbed(cluster, tmp_path_factory):
    root = tmp_path_factory.mktemp("undisturbed")
    errors, files = swept(root, SPEC.first, SPEC)
    assert errors == [None, None]
    return files


def test_workers_that_train_together_learn_what_one_process_does(cluster, tmp_path):
    assert swept(tmp_path / "together", SPEC.first)[0] == [None]
    run_locally(tmp_path / "alone", SPEC.first)
    one, other = (
        safetensors.torch.load_file(RunStore(tmp_path / name, SPEC.first).committed()[0].checkpoint)
        for name in ("alone", "together")
    )
    assert max((one[name] - other[name]).abs().max().item() for name in one) < 1e-3
    assert any((one[name] != other[name]).any() for name in one)  # it was no single process


@pytest.mark.slow
def test_a_worker_killed_in_a_joint_training_changes_nothing(undisturbed, tmp_path):
    """The others start anew with it, and all give the bytes of the undisturbed sweep."""
    graves = tmp_path / "graves"
    graves.mkdir()
    learner = Component("helpers.toys:Fallible", OPTIONS | {"fails": [[2, 0], [3, 1]], "graves": str(graves)})
    mortal = replace(SPEC, learner=learner)
    errors, files = swept(tmp_path / "runs", mortal.first, mortal)
    assert errors == [None, None]
    assert len(list(graves.iterdir())) == 2
    assert files == undisturbed


@pytest.mark.slow  # a minute
def test_an_error_in_one_of_the_workers_is_told_and_they_go_on_with_other_runs(undisturbed, tmp_path):
    learner = Component("helpers.toys:Fallible", OPTIONS | {"fails": [[2, 1]]})
    bad = replace(SPEC, learner=learner)
    specs = [bad.first, SPEC.first, bad, SPEC]
    outcomes = Sweep(tmp_path, specs, TOGETHER).run(lambda report, ended: None)
    errors = {outcome.spec.key: outcome.error for outcome in outcomes}
    assert errors.pop(bad.key) == "RuntimeError: the learner has had enough"
    assert set(errors.values()) == {None}
    assert results(RunStore(tmp_path, SPEC).path) == undisturbed
