"""Processes of a sweep get SIGKILL; the results must be those of a run that nobody disturbed."""

from dataclasses import replace

import pytest
import ray
from helpers.toy_runs import DECOMP, REFERENCE, results, run_locally

import decomp.actors.scheduler
from decomp.actors.progress import open_progress
from decomp.actors.resources import Resources
from decomp.actors.scheduler import Sweep
from decomp.platform.errors import UserError
from decomp.platform.grid import Component, Sampler
from decomp.platform.storage.runs import RunStore

SPEC = replace(DECOMP, cycles=4)
SMALL = Resources(workers=1, cpus=0.5)


@pytest.fixture(scope="module")
def oracle(tmp_path_factory):
    root = tmp_path_factory.mktemp("oracle")
    run_locally(root, SPEC)
    return root


def swept(root, spec, resources=SMALL, listen=lambda report, ended: None):
    return [outcome.error for outcome in Sweep(root, [spec.first, spec], resources).run(listen)]


def same_results(root, spec, oracle):
    mine, first = RunStore(root, spec), RunStore(root, spec.first)
    return (results(mine.path), results(first.path)) == tuple(
        results(RunStore(oracle, one).path) for one in (SPEC, SPEC.first)
    )


def leftovers(root):
    return [path.name for path in root.rglob("*") if path.name.startswith((".staging", "damaged"))]


def worker_while_training(grave):
    return replace(SPEC, learner=Component("helpers.toys:Mortal", {"grave": grave, "at_cycle": 3}))


def shard_while_predicting(grave):
    return replace(SPEC, learner=Component("helpers.toys:MortalShard", {"grave": grave, "at_cycle": 3}))


def shard_while_choosing(grave):
    regions = Component("helpers.toys:MortalRegions", {"grave": grave})
    return replace(SPEC, sampler=Sampler("decomp", Component("decomposition"), regions))


def coordinator_within_a_cycle(grave):
    return replace(SPEC, dataset=Component("helpers.toys:MortalBlobs", {"grave": grave, "split": "test", "call": 2}))


def coordinator_after_a_commit(grave):
    return replace(SPEC, dataset=Component("helpers.toys:MortalBlobs", {"grave": grave, "split": "train", "call": 3}))


VICTIMS = {
    worker_while_training: b"ray::Worker.fit",
    shard_while_predicting: b"ray::Worker.predict",
    shard_while_choosing: b"ray::Worker.choose",
    coordinator_within_a_cycle: b"ray::coordinate",
    coordinator_after_a_commit: b"ray::coordinate",
}


@pytest.fixture(scope="module")
def survived(cluster, tmp_path_factory):
    """Folder, runs and outcomes of a sweep each of whose runs loses a process once; the graves are beside it."""
    root = tmp_path_factory.mktemp("survived")
    specs = {victim: victim(str(root / victim.__name__)) for victim in VICTIMS}
    firsts = {spec.first.key: spec.first for spec in specs.values()}
    sweep = Sweep(root / "runs", [*firsts.values(), *specs.values()], replace(SMALL, runs_at_once=2))
    return root, specs, {outcome.spec.key: outcome.error for outcome in sweep.run(lambda report, ended: None)}


@pytest.mark.parametrize("victim", VICTIMS)
def test_a_process_killed_in_its_work_changes_nothing(survived, oracle, victim):
    root, specs, errors = survived
    spec = specs[victim]
    assert (errors[spec.first.key], errors[spec.key]) == (None, None)
    assert (root / victim.__name__).read_bytes().startswith(VICTIMS[victim])
    assert same_results(root / "runs", spec, oracle)
    assert leftovers(root / "runs") == []


def test_a_lost_progress_actor_costs_nothing(cluster, oracle, tmp_path, monkeypatch):
    slow = replace(SPEC, learner=Component("helpers.toys:Centroids", {"seconds": 0.5}))
    actors, lost = [], []
    monkeypatch.setattr(decomp.actors.scheduler, "open_progress", lambda: actors.append(open_progress()) or actors[-1])

    def listen(report, ended):
        if not lost and RunStore(tmp_path, slow).committed():
            lost.append(ray.kill(actors[0], no_restart=False))

    assert swept(tmp_path, slow, listen=listen) == [None, None]
    assert lost
    assert same_results(tmp_path, slow, oracle)


@pytest.mark.slow  # half a minute
def test_a_coordinator_that_is_lost_in_every_cycle_gets_on_all_the_same(cluster, oracle, tmp_path, monkeypatch):
    monkeypatch.setattr(decomp.actors.scheduler, "RETRIES", 0)
    options = {"grave": str(tmp_path / "grave"), "call": 3, "again": True}
    spec = replace(SPEC, dataset=Component("helpers.toys:MortalBlobs", options))
    assert swept(tmp_path / "runs", spec) == [None, None]
    assert len(list(tmp_path.glob("grave-*"))) == SPEC.cycles - 2
    assert same_results(tmp_path / "runs", spec, oracle)


def test_a_coordinator_that_is_always_lost_ends_its_run_with_a_sentence(cluster, tmp_path, monkeypatch):
    monkeypatch.setattr(decomp.actors.scheduler, "RETRIES", 0)
    options = {"grave": str(tmp_path / "grave"), "call": 2, "again": True}
    spec = replace(SPEC, dataset=Component("helpers.toys:MortalBlobs", options))
    lost, given_up = swept(tmp_path / "runs", spec)
    assert lost.startswith("its coordinator was lost again and again")
    assert given_up == "the first cycle that it shares failed"


def test_a_run_that_fails_leaves_its_workers_to_nobody(cluster, tmp_path):
    """They may be dead for good, or busy with what they were told last."""
    specs = [replace(REFERENCE, learner=Component("helpers.toys:Telling"), seed=seed) for seed in range(2)]
    outcomes = Sweep(tmp_path, specs, replace(SMALL, runs_at_once=1)).run(lambda report, ended: None)
    assert len({outcome.error for outcome in outcomes}) == 2


def test_a_node_that_is_lost_is_told_once(cluster, tmp_path, monkeypatch):
    slow = replace(REFERENCE, learner=Component("helpers.toys:Centroids", {"seconds": 3}))
    warnings, nodes = [], ray.nodes

    def without_cores():
        return [{**node, "Resources": {}} for node in nodes()]

    def listen(report, ended):
        monkeypatch.setattr(ray, "nodes", without_cores)
        warnings.extend(report.warnings)

    Sweep(tmp_path, [slow], SMALL).run(listen)
    (warning,) = warnings
    assert warning.startswith("a node was lost, which leaves room for 0 of the 1 runs that have started")


def test_a_machine_whose_own_ray_has_died_is_told_instead_of_waiting_for_ever(cluster, tmp_path, monkeypatch):
    nodes = ray.nodes
    monkeypatch.setattr(ray, "nodes", lambda: [{**node, "Alive": False} for node in nodes()])
    waiting = Resources(cpus=64, runs_at_once=1, autoscaling=True)
    with pytest.raises(UserError, match=r"Ray's own process on this machine has died.*the same command goes on"):
        Sweep(tmp_path, [REFERENCE], waiting).run(lambda report, ended: None)
