from dataclasses import replace

import numpy as np
import pytest
from helpers.toy_runs import BASE, DECOMP, OF_POOL, run_locally
from helpers.toys import Blobs
from hypothesis import given
from hypothesis import strategies as st

from decomp.platform.grid import Budget, Component, Sampler, Start
from decomp.platform.loop.start import deal_out
from decomp.platform.storage.runs import RunStore

START = Start("all-classes", Budget(3, 4, (4, 4)))


def test_two_regions_of_every_class_are_in_the_start(tmp_path):
    for seed in range(5):
        spec = replace(BASE, seed=seed, start=START).first
        run_locally(tmp_path, spec)
        (folder,) = RunStore(tmp_path, spec).committed()
        rows = folder.ledger.annotations()
        assert len(rows) == 12
        assert len(folder.record.selected) == 3
        for class_ in range(len(Blobs.classes)):
            having = [row for row in rows if class_ in row.region.of(Blobs().labels(row.region.image))]
            # The last class is in a single image, where a second window may not fit beside the first.
            assert len(having) >= (2 if class_ < 3 else 1)


def test_all_budgets_and_samplers_share_a_start(tmp_path):
    runs = [replace(DECOMP, start=START, cycles=2), replace(BASE, start=START, budget=OF_POOL, cycles=2)]
    runs[1] = replace(runs[1], sampler=Sampler("rand-pool", Component("all"), Component("random")))
    runs.append(replace(BASE, start=Start("random", START.budget), cycles=2))
    assert len({run.first.key for run in runs}) == 2
    run_locally(tmp_path, *runs)
    assert [len(RunStore(tmp_path, run).committed()[0].ledger) for run in runs] == [12, 12, 12]


def test_runs_without_a_start_are_identified_as_before():
    assert "start" not in BASE.identity()
    assert "total" not in BASE.identity()["budget"]
    assert BASE.first.budget == BASE.budget


@given(st.integers(0, 2**32), st.integers(1, 6), st.integers(1, 5), st.integers(1, 9))
def test_classes_are_dealt_out_as_far_as_budget_and_pool_allow(seed, n_image, n_region, n_classes):
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 4, (8, n_classes)) * rng.integers(0, 2, (8, n_classes))
    slots = deal_out(counts, n_image, n_region, rng)
    assert len(slots) == n_image
    assert all(len(classes) <= n_region for classes in slots.values())
    assert all(counts[image, class_] > 0 for image, classes in slots.items() for class_ in classes)
    dealt = np.bincount([c for classes in slots.values() for c in classes], minlength=n_classes)
    assert dealt.max() <= 2
    if n_image == 6 and n_region >= 2 * n_classes:
        assert np.array_equal(dealt, np.where(counts.any(axis=0), 2, 0))


def test_the_rarest_class_comes_first():
    counts = np.array([[9, 1], [9, 0], [9, 0]])
    for seed in range(20):
        assert deal_out(counts, 1, 2, np.random.default_rng(seed))[0] == [1, 1]
    with pytest.raises(KeyError):
        deal_out(counts, 1, 2, np.random.default_rng(0))[1]
