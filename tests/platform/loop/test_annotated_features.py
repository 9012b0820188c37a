"""Features of annotated regions: all reach a joint selector that reads them, and change nothing else."""

from dataclasses import replace

import numpy as np
import pytest
from helpers.toy_runs import BASE, OF_POOL, in_three_ways, results, run_locally

from decomp.platform.components import build_dataset, build_learner
from decomp.platform.grid import Component, Sampler
from decomp.platform.loop.loop import Loop
from decomp.platform.loop.shard import PoolShard, StaleShard
from decomp.platform.loop.workers import LocalWorkers
from decomp.platform.predictions import PoolCounts, Wanted
from decomp.platform.samplers import JointRegionSelector, Need
from decomp.platform.samplers.uncertainty import UncertaintyRegions
from decomp.platform.storage.runs import RunStore

SEEN = []
"""Candidates that `Watching` was shown."""


class Plain(UncertaintyRegions, JointRegionSelector):
    """The most uncertain candidate regions."""

    needs = Need.UNCERTAINTY | Need.FEATURES

    def select(self, candidates, n, rng):
        return np.argsort(-candidates.uncertainty, kind="stable")[:n]


class Watching(Plain):
    """The same, but reads the features of annotated regions."""

    needs = Plain.needs | Need.ANNOTATED

    def select(self, candidates, n, rng):
        SEEN.append(candidates)
        assert candidates.annotated is not None
        return super().select(candidates, n, rng)


def run_of(images, regions, budget=BASE.budget, cycles=7, **of_sampler):
    regions = Component(regions if isinstance(regions, str) else f"{__name__}:{regions.__name__}")
    return replace(BASE, sampler=Sampler("", Component(images), regions, **of_sampler), budget=budget, cycles=cycles)


class Telling(LocalWorkers):
    """Notes what is predicted, what stays of it, and the features of what is annotated, image by image."""

    def __init__(self, store, shard):
        super().__init__(shard)
        self.store, self.tasks, self.held, self.annotated = store, [], [], []

    def predict(self, task):
        pool = super().predict(task)
        self.tasks.append(task)
        self.held.append(self.shard.held()["images"])
        by_image = self.store.ledger(self.store.committed()).by_image
        predictor = self.shard.learner.load(task.model.file, self.shard.dataset, "cpu")
        for_regions = [
            predictor.predict(self.shard.dataset.image(image), Wanted(regions=True)).regions.features(by_image[image])
            for image in sorted(by_image)
        ]
        self.annotated.append(np.concatenate(for_regions))
        return pool


def told(root, spec):
    """Compute a run, and tell of it."""
    SEEN.clear()
    run_locally(root, spec.first)
    dataset, learner = build_dataset(spec.dataset), build_learner(spec.learner)
    store = RunStore(root, spec)
    workers = Telling(store, PoolShard(dataset, learner, "cpu"))
    Loop(store, dataset, workers).run()
    return workers


@pytest.mark.parametrize("images", ["uncertainty", "random", "decomposition", "core-set"])
def test_all_annotated_regions_are_known_in_every_loop_over_the_images(images, tmp_path):
    workers = told(tmp_path, run_of(images, Watching))  # two of nine images in a cycle: all were selected after five
    assert [len(features) for features in workers.annotated][-1] == 33
    for candidates, expected in zip(SEEN, workers.annotated, strict=True):
        np.testing.assert_array_equal(candidates.annotated, expected)


@pytest.mark.parametrize("images", ["uncertainty", "random", "decomposition", "core-set"])
def test_images_that_are_no_candidates_change_nothing_else(images, tmp_path):
    adapted = {"tau_quantile": 0.5} if images == "decomposition" else {}
    watching, plain = run_of(images, Watching, **adapted), run_of(images, Plain, **adapted)
    run_locally(tmp_path, watching, plain)
    for one, other in zip(*(RunStore(tmp_path, spec).committed() for spec in (watching, plain)), strict=True):
        assert one.record == replace(other.record, regions_sha256=one.record.regions_sha256)
        assert one.ledger.annotations() == other.ledger.annotations()


def test_each_image_is_predicted_once_and_of_images_that_are_no_candidates_nothing_stays(tmp_path):
    workers = told(tmp_path, run_of("uncertainty", Watching))
    assert all(len(set(task.images)) == len(task.images) == 9 for task in workers.tasks)
    assert [len(task.annotated_only) for task in workers.tasks] == [2, 4, 6, 8, 0, 2]
    assert workers.held == [2, 2, 2, 1, 2, 2]


@pytest.mark.parametrize("name", ["typiclust", "probcover"])
@pytest.mark.parametrize("below", [None, 0.8])
def test_neither_shards_nor_interruptions_change_anything(name, below, tmp_path):
    spec = run_of("uncertainty", name, reselect_below=below)
    in_one_go, others = in_three_ways(tmp_path, spec, interrupted_after=3)
    assert others == [in_one_go] * 2


class Forgetful(LocalWorkers):
    """Its shard is restarted between predicting and choosing, so that it predicts again."""

    def predict(self, task):
        self.task = task
        return super().predict(task)

    def choose(self, task):
        self.shard = PoolShard(self.shard.dataset, self.shard.learner, "cpu")
        with pytest.raises(StaleShard):
            self.shard.choose(task)
        self.shard.predict(self.task)
        return super().choose(task)


def test_a_shard_that_was_restarted_before_it_chose_changes_nothing(tmp_path):
    spec = run_of("uncertainty", "probcover")
    run_locally(tmp_path / "at once", spec)
    run_locally(tmp_path / "restarted", spec.first)
    dataset, learner = build_dataset(spec.dataset), build_learner(spec.learner)
    Loop(RunStore(tmp_path / "restarted", spec), dataset, Forgetful(PoolShard(dataset, learner, "cpu"))).run()
    assert results(tmp_path / "at once") == results(tmp_path / "restarted")


def test_what_is_offered_again_does_not_count_as_annotated(tmp_path):
    SEEN.clear()
    spec = run_of("all", Watching, OF_POOL, cycles=4, reselect_below=1.0)
    run_locally(tmp_path, spec)
    assert [len(candidates.annotated) for candidates in SEEN] == [0, 0, 0]
    # Images that are no candidates are not offered, and those that are have no others.
    tasks = told(tmp_path, run_of("uncertainty", Watching, reselect_below=1.0)).tasks
    unoffered = [sum(len(task.annotated[image]) for image in task.annotated_only) for task in tasks]
    assert unoffered[:5] == [6, 12, 18, 24, 0]
    assert [len(candidates.annotated) for candidates in SEEN] == unoffered


@pytest.mark.parametrize("name", ["typiclust", "probcover"])
def test_regions_that_are_offered_again_are_selected_as_others_are(name, tmp_path):
    offered = [run_of("all", name, OF_POOL, reselect_below=below) for below in (1.0, None)]
    run_locally(tmp_path, *offered)
    stores = [RunStore(tmp_path, spec) for spec in offered]
    again, never = ([row.region for row in store.ledger(store.committed()).annotations()] for store in stores)
    assert len(set(never)) == len(never)
    assert len(again) - len(set(again)) >= len(again) / 4


def test_features_of_annotated_regions_join_image_by_image():
    def pool(*images):
        n = len(images)
        counts, features = np.ones((n, 2), np.int64), [np.full((int(name[1]), 3), int(name[1])) for name in images]
        return PoolCounts(
            images, np.ones(n, np.int64), counts, counts, counts, np.zeros(n), annotated=tuple(features)
        ).to_arrow()

    joined = PoolCounts.from_arrow([pool("i2", "i0"), pool("i1", "i3")])
    assert joined.images == ("i0", "i1", "i2", "i3")
    assert [features.tolist() for features in joined.annotated] == [[[k] * 3] * k for k in range(4)]
    nothing = PoolCounts.from_arrow([pool("i0")])
    assert [features.shape for features in nothing.annotated] == [(0, 3)]
