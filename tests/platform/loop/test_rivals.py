"""Whole runs of the rivals beyond the paper: budgets for the whole pool, and samplers that read more."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from helpers.toy_runs import (
    BASE,
    DECOMP,
    OF_POOL,
    RIVAL_RUNS,
    ROI_RIVAL_RUNS,
    VOLUME_RIVAL_RUNS,
    results,
    run_in_halves,
    run_locally,
)

from decomp.platform.grid import Budget, Component, Sampler
from decomp.platform.samplers import JointImageSelector, Need
from decomp.platform.storage.runs import RunStore


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    root = tmp_path_factory.mktemp("finished")
    run_locally(root, *RIVAL_RUNS)
    return [RunStore(root, spec) for spec in RIVAL_RUNS]


def test_the_budget_of_the_pool_is_spent_and_no_image_gives_more_than_its_share(finished):
    for run in (run for run in finished if run.spec.budget == OF_POOL):
        folders = run.committed()
        assert len(folders) == run.spec.cycles
        for folder in folders:
            by_image = folder.ledger.by_image
            assert len(folder.ledger) == OF_POOL.total, run.spec.sampler.name
            assert max(map(len, by_image.values())) <= OF_POOL.n_region
            assert folder.record.selected == tuple(by_image)
        for regions in run.ledger(folders).by_image.values():
            assert not any(a.overlaps(b) for k, a in enumerate(regions) for b in regions[:k])


def test_samplers_differ_from_the_second_cycle_on(finished):
    # Of a single prediction the expected entropy is its entropy.
    runs = [run for run in finished if run.spec.sampler.name != "expected-entropy"]
    chosen = [[row.region for row in run.ledger(run.committed()[1:]).annotations()] for run in runs]
    assert len(set(map(str, chosen))) == len(chosen)


def test_an_image_is_selected_again_and_again_while_it_has_room(finished):
    uncertain = next(run for run in finished if run.spec.sampler.name == "predictive-entropy")
    visits = Counter(image for folder in uncertain.committed() for image in folder.record.selected)
    assert max(visits.values()) > min(visits.values())


def test_results_do_not_depend_on_the_shards(finished, tmp_path):
    assert results_in_halves(tmp_path, [run.spec for run in finished]) == results(finished[0].root)


def results_in_halves(root, specs):
    """Results of runs in two shards."""
    run_locally(root, *{spec.first.key: spec.first for spec in specs}.values())
    for spec in specs:
        run_in_halves(root, spec)
    return results(root)


def test_slices_and_boxes_of_volumes_are_selected_whatever_the_shards(tmp_path):
    run_locally(tmp_path / "one", *VOLUME_RIVAL_RUNS)
    chosen = Counter()
    for spec in VOLUME_RIVAL_RUNS:
        run = RunStore(tmp_path / "one", spec)
        folders = run.committed()
        assert len(folders) == 3
        assert {row.region.size for row in run.ledger(folders).annotations()} == {spec.budget.region}
        for folder in folders:
            assert len(folder.ledger) == 6
            assert max(map(len, folder.ledger.by_image.values())) <= 3 or spec.budget.total is None
        for regions in run.ledger(folders).by_image.values():
            assert not any(a.overlaps(b) for k, a in enumerate(regions) for b in regions[:k])
        chosen[str([row.region for row in run.ledger(folders[1:]).annotations()])] += 1
    # Of a single prediction the expected entropy is its entropy.
    assert sorted(chosen.values()) == [1] * (len(VOLUME_RIVAL_RUNS) - 4) + [2, 2]
    assert results_in_halves(tmp_path / "two", VOLUME_RIVAL_RUNS) == results(tmp_path / "one")


def test_rois_are_selected_in_the_whole_pool_too_whatever_the_shards(tmp_path):
    run_locally(tmp_path / "one", *ROI_RIVAL_RUNS)
    assert results_in_halves(tmp_path / "two", ROI_RIVAL_RUNS) == results(tmp_path / "one")
    for spec in ROI_RIVAL_RUNS:
        for folder in RunStore(tmp_path / "one", spec).committed():
            train = [row for row in folder.ledger.annotations() if row.region.image.startswith("train")]
            assert max(Counter(row.region.image for row in train).values()) <= spec.budget.n_region
            if spec.budget.total:
                assert len(train) == 12
                assert len(folder.ledger) == 16  # a third in the validation split


def test_a_whole_image_is_a_region(tmp_path):
    spec = replace(BASE, budget=Budget(2, 1, Component("image")), cycles=4)
    run_locally(tmp_path, spec)
    for folder in RunStore(tmp_path, spec).committed():
        assert [row.region.size for row in folder.ledger.annotations()] == [(24, 32)] * 2
        assert folder.record.annotated.share == pytest.approx(2 * folder.record.cycle / 9)


class SpreadOut(JointImageSelector):
    needs = Need.FEATURES

    def select(self, pool, n_image, rng):
        assert pool.features.shape[0] == len(pool.images) > n_image
        return np.arange(n_image)[::-1]


@pytest.mark.parametrize("images", ["core-set", f"{__name__}:SpreadOut"])
def test_images_are_selected_jointly(tmp_path, images):
    spec = replace(BASE, sampler=Sampler("joint", Component(images), Component("uncertainty")), cycles=3)
    run_locally(tmp_path, spec)
    selected = [folder.record.selected for folder in RunStore(tmp_path, spec).committed()]
    assert [len(set(of_cycle)) for of_cycle in selected] == [2, 2, 2]


@pytest.mark.parametrize("name", ["power", "softmax", "softrank"])
def test_whole_images_are_drawn_by_noisy_uncertainty_whatever_the_shards(tmp_path, name):
    sampler = Sampler("", Component(name, {"beta": {2: 1, 3: 4}}), Component("random"))
    spec = replace(BASE, sampler=sampler, budget=Budget(2, 1, Component("image")), cycles=4)
    run_locally(tmp_path / "one", spec)
    run_locally(tmp_path / "two", spec.first)
    run_in_halves(tmp_path / "two", spec)
    assert results(tmp_path / "one") == results(tmp_path / "two")
    other = replace(spec, seed=2)
    run_locally(tmp_path / "one", other)
    selected, otherwise = (
        [folder.record.selected for folder in RunStore(tmp_path / "one", run).committed()[1:]] for run in (spec, other)
    )
    assert [len(of_cycle) for of_cycle in selected] == [2, 2, 2]
    assert selected != otherwise


def test_a_threshold_that_is_a_quantile_follows_the_model(tmp_path):
    adapted = replace(DECOMP, sampler=replace(DECOMP.sampler, name="adapted", tau_quantile=0.5), cycles=3)
    assert "tau_quantile" not in DECOMP.identity()["sampler"]
    run_locally(tmp_path / "one", adapted)
    confidences = [folder.record.class_confidence for folder in RunStore(tmp_path / "one", adapted).committed()[1:]]
    assert all(0 < max(of_cycle) <= 1 for of_cycle in confidences)
    run_locally(tmp_path / "two", adapted.first)
    run_in_halves(tmp_path / "two", adapted)
    assert results(tmp_path / "one") == results(tmp_path / "two")
    without = replace(adapted, sampler=replace(adapted.sampler, name="without", background="ground"))
    run_locally(tmp_path / "one", without)
    assert RunStore(tmp_path / "one", without).committed()[1].record.class_confidence != confidences[0]
    run_locally(tmp_path / "constant", replace(DECOMP, cycles=3))
    constant = RunStore(tmp_path / "constant", replace(DECOMP, cycles=3)).committed()[1].record.class_confidence
    assert constant != confidences[0]
