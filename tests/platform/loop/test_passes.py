"""Runs whose images are predicted in several passes."""

import json
import shutil
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
from helpers.toy_runs import BASE, DECOMP, REFERENCE, RIVAL_RUNS, ROI, RUNS, run_alone, run_locally

from decomp.platform.components import build_dataset, build_learner
from decomp.platform.grid import Component, Sampler
from decomp.platform.loop.loop import Loop, Observer
from decomp.platform.loop.shard import PoolShard
from decomp.platform.loop.tasks import Checkpoint, PassStreams
from decomp.platform.loop.workers import LocalWorkers
from decomp.platform.passes import Method, Passes
from decomp.platform.spec import RunSpec
from decomp.platform.storage.files import FilePath
from decomp.platform.storage.runs import RunStore

ENSEMBLE, DROPOUT = Passes("ensemble", 3), Passes("mc-dropout", 3)
LEARNER = Component("helpers.toys:Droppers")
BALD = Sampler("bald", Component("uncertainty"), Component("uncertainty"), uncertainty="mutual_information")
RUN = replace(BASE, learner=LEARNER, sampler=BALD, cycles=5, passes=ENSEMBLE)
DROPPING = replace(RUN, cycles=3, passes=DROPOUT)
MODELS = ("model", "model-2", "model-3")


def content(root, spec):
    """Bytes of every file of a run's committed cycles but wall times, by cycle and name."""
    folders = RunStore(FilePath(root), spec).committed()
    return {
        f"{folder.path.name}/{file.name}": file.read_bytes()
        for folder in folders
        for file in sorted(folder.path.iterdir())
        if file.name != "timing.json"
    }


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    root = tmp_path_factory.mktemp("finished")
    run_locally(root, RUN)
    return root


def test_an_ensemble_trains_its_models_on_the_same_regions_with_streams_of_their_own(finished):
    *_, before, last = RunStore(finished, RUN).committed()
    for folder in (before, last):
        contents = [(folder.path / name).read_bytes() for name in MODELS]
        assert len(set(contents)) == 3
        record = folder.record
        assert len({record.checkpoint_sha256, *record.members_sha256}) == 3
        folder.check_checkpoint(record)


def test_its_first_model_is_that_of_a_run_without_passes(tmp_path):
    """As far as the same regions are chosen, as random ones are."""
    random = replace(RUN, sampler=RUNS[0].sampler)
    alone = replace(random, passes=None)
    run_locally(tmp_path, random, alone)
    one, other = (content(tmp_path, spec) for spec in (random, alone))
    models = [name for name in other if name.endswith("/model")]
    assert len(models) == 3  # of the first cycle, and of the last two
    assert all(one[name] == other[name] for name in models)
    for a, b in zip(*(RunStore(tmp_path, spec).committed() for spec in (random, alone)), strict=True):
        assert replace(a.record, members_sha256=(), regions_sha256="") == replace(b.record, regions_sha256="")
        assert a.ledger.table == b.ledger.table


def test_only_the_checkpoints_of_the_last_two_cycles_stay(finished):
    kept = [[(folder.path / name).exists() for name in MODELS] for folder in RunStore(finished, RUN).committed()]
    assert kept == [[True] * 3, [False] * 3, [False] * 3, [True] * 3, [True] * 3]


def test_a_record_of_a_single_model_is_as_it_was(finished, tmp_path):
    run_locally(tmp_path, replace(DECOMP, cycles=2))
    folder = RunStore(tmp_path, DECOMP).committed()[1]
    assert "members_sha256" not in json.loads((folder.path / "record.json").read_bytes())
    ensemble = json.loads((RunStore(finished, RUN).committed()[1].path / "record.json").read_bytes())
    assert len(ensemble["members_sha256"]) == 2


class Listening(Observer):
    def __init__(self):
        self.warnings = []

    def warn(self, message):
        self.warnings.append(message)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("damage", ["flipped bit", "missing"])
def test_a_damaged_model_is_told_and_its_cycle_computed_again(finished, tmp_path, model, damage):
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    last = RunStore(tmp_path, RUN).committed()[4].path
    shutil.rmtree(last)
    damaged = RunStore(tmp_path, RUN).committed()[3].path / model
    if damage == "missing":
        damaged.unlink()
    else:
        flipped = bytearray(damaged.read_bytes())
        flipped[len(flipped) // 2] ^= 4
        damaged.write_bytes(flipped)
    # The cycle before is gone on from, whose models are computed again too: they were pruned.
    listening = Listening()
    run_alone(tmp_path, RUN, listening)
    assert str(damaged) in listening.warnings[0]
    assert content(tmp_path, RUN) == content(finished, RUN)


class Stopped(Exception):
    """Stands for the loss of the process."""


class Interrupted(LocalWorkers):
    """Is lost in the fifth training, between two models of an ensemble."""

    trained = 0

    def fit(self, trainings, start, checkpoints):
        models = []
        for training, checkpoint in zip(trainings, checkpoints, strict=True):
            self.trained += 1
            if self.trained == 5:
                raise Stopped
            models.append(super().fit([training], start, [checkpoint]))
        return Checkpoint.joined(models)


def test_a_run_lost_between_two_models_ends_as_if_undisturbed(finished, tmp_path):
    run_locally(tmp_path, RUN.first)
    learner, dataset = build_learner(RUN.learner), build_dataset(RUN.dataset)
    with pytest.raises(Stopped):
        Loop(RunStore(tmp_path, RUN), dataset, Interrupted(PoolShard(dataset, learner, "cpu"))).run()
    assert len(RunStore(tmp_path, RUN).committed()) == 2
    run_alone(tmp_path, RUN)
    assert content(tmp_path, RUN) == content(finished, RUN)


def test_each_model_starts_from_its_own(finished, tmp_path):
    warm = replace(RUN, sampler=RUNS[0].sampler, warm_start=True, cycles=2)
    cold = replace(warm, warm_start=False)
    run_locally(tmp_path, warm, cold)
    means = {}
    for spec in (warm, cold):
        for cycle, folder in enumerate(RunStore(tmp_path, spec).committed(), start=1):
            for name in MODELS:
                raw = (folder.path / name).read_bytes()
                means[spec.warm_start, cycle, name] = np.frombuffer(raw[-32:], np.float64)
    for name in MODELS:
        halfway = 0.5 * means[False, 2, name] + 0.5 * means[True, 1, name]
        assert means[True, 2, name] == pytest.approx(halfway)


class Reversed(LocalWorkers):
    """Predicts and evaluates in another order, as two shards would."""

    def predict(self, task):
        return super().predict(replace(task, images=task.images[::-1]))

    def evaluate(self, model, images, passes=None):
        return super().evaluate(model, images[::-1], passes)[::-1]


RIVALS = [run for run in RIVAL_RUNS if run.sampler.name in ("bald", "softrank-bald", "clasp-pe", "typiclust")]


@pytest.mark.parametrize(
    "spec",
    [
        *(replace(DROPPING, passes=Passes(method, 3)) for method in get_args(Method)),
        *(replace(DROPPING, passes=Passes(method, 3, "mean")) for method in get_args(Method)),
        *(replace(run, learner=LEARNER, passes=DROPOUT, cycles=3) for run in RIVALS),
        *(replace(ROI, sampler=BALD, passes=passes, cycles=3) for passes in (ENSEMBLE, DROPOUT)),
    ],
    ids=lambda spec: f"{spec.sampler.name}-{spec.passes.method}-{spec.passes.evaluate}",
)
def test_the_order_of_the_images_does_not_matter(tmp_path, spec):
    learner, dataset = build_learner(spec.learner), build_dataset(spec.dataset)
    for root, workers in ((tmp_path / "one", LocalWorkers), (tmp_path / "other", Reversed)):
        for each in (spec.first, spec):
            Loop(RunStore(root, each), dataset, workers(PoolShard(dataset, learner, "cpu"))).run()
    assert content(tmp_path / "one", spec) == content(tmp_path / "other", spec)


def test_models_are_loaded_once_a_cycle_and_leave_when_others_come(monkeypatch, tmp_path):
    learner, dataset = build_learner(RUN.learner), build_dataset(RUN.dataset)
    shard, held = PoolShard(dataset, learner, "cpu"), []
    load = PoolShard._load

    def counted(self, model):
        held.append(len(self._predictors))
        return load(self, model)

    monkeypatch.setattr(PoolShard, "_load", counted)
    for spec in (RUN.first, replace(RUN, cycles=2)):
        Loop(RunStore(tmp_path, spec), dataset, LocalWorkers(shard)).run()
    # The first model scores cycle 1; all three, now committed, predict; the first of cycle 2 comes when they are gone.
    assert held == [0, 0, 1, 2, 0]


def test_what_is_scored_is_said(tmp_path):
    scores = {}
    for passes in (None, DROPOUT, replace(DROPOUT, evaluate="mean"), replace(ENSEMBLE, evaluate="mean")):
        spec = replace(RUN, sampler=RUNS[0].sampler, cycles=2, passes=passes)
        run_locally(tmp_path, spec)
        scores[passes] = [folder.record.metrics for folder in RunStore(tmp_path, spec).committed()]
    alone, first, *means = scores.values()
    assert first == alone
    assert alone not in means
    assert means[0] != means[1]


def test_a_reference_has_passes_where_the_mean_is_scored(tmp_path):
    mean = replace(REFERENCE, learner=LEARNER, passes=replace(ENSEMBLE, evaluate="mean"))
    single = replace(mean, passes=None)
    run_locally(tmp_path, mean, single)
    one, other = (content(tmp_path, spec) for spec in (mean, single))
    assert one["cycle-0001/model"] == other["cycle-0001/model"]
    assert RunStore(tmp_path, mean).committed()[0].record.metrics != (
        RunStore(tmp_path, single).committed()[0].record.metrics
    )


def test_passes_that_change_nothing_in_the_first_cycle_share_it():
    assert DROPPING.first.key == replace(DROPPING, passes=None).first.key
    assert RUN.first.key != replace(RUN, passes=None).first.key


def test_an_identity_says_passes_only_where_there_are_some():
    assert "passes" not in replace(RUN, passes=None).identity()
    assert RUN.identity()["passes"] == {"method": "ensemble", "n": 3, "evaluate": "first"}
    for spec in (RUN, DROPPING, RUN.first, DROPPING.first):
        assert RunSpec.from_json(json.dumps(spec.identity())) == replace(spec, cycles=1)


def test_every_image_and_pass_has_a_stream_of_its_own():
    streams = PassStreams(DROPOUT, "dropout", 1, 0, 2)
    others = [replace(streams, **{name: value}) for name, value in [("purpose", "x"), ("seed", 2), ("cycle", 3)]]
    seeds = [seed for each in (streams, *others) for image in ("a", "b") for seed in each.seeds(image)]
    assert len(set(seeds)) == len(seeds) == 4 * 2 * 3
    assert PassStreams(ENSEMBLE, "dropout", 1, 0, 2).seeds("a") == (None,) * 3
