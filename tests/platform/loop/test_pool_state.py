from dataclasses import replace

import numpy as np
import pytest
from helpers.toy_runs import DECOMP, run_locally
from helpers.toys import Blobs

from decomp.platform.components import build_learner
from decomp.platform.errors import UserError
from decomp.platform.loop.loop import model_of
from decomp.platform.loop.pool_state import PoolState, observe, read_states
from decomp.platform.loop.shard import PoolShard
from decomp.platform.predictions import Wanted
from decomp.platform.storage.files import FilePath
from decomp.platform.storage.runs import RunStore


@pytest.fixture
def store(tmp_path):
    """A run of two cycles, and its first cycle."""
    spec = replace(DECOMP, cycles=2)
    run_locally(FilePath(tmp_path), spec)
    return RunStore(FilePath(tmp_path), spec)


def shard_of(store):
    return PoolShard(Blobs(), build_learner(store.spec.learner), "cpu")


def test_the_state_compares_the_last_two_models_pixel_by_pixel(store):
    shard = shard_of(store)
    for run in (store.first, store):
        observe(run, shard)
    first, second = read_states(store)
    assert (first.moved, first.changed) == (None, None)
    models = [model_of(folder, folder.record) for folder in store.committed()]
    labels = [
        np.stack([shard.prediction(model, image, Wanted(), None).labels for image in Blobs().ids("train", 0)])
        for model in models
    ]
    assert second.images == 9
    assert second.changed == pytest.approx((labels[0] != labels[1]).mean())
    assert second.predicted == tuple(np.bincount(labels[1].ravel(), minlength=4))
    for class_, changed in enumerate(second.changed_of_class):
        before, now = (predicted == class_ for predicted in labels)
        assert changed == pytest.approx((before != now).sum() / (before | now).sum())


def test_confidence_is_the_share_of_a_class_above_the_threshold():
    state = PoolState(3, 1, 0.7, (10, 0, 4), (5, 0, 4), None)
    assert state.confidence == (0.5, None, 1.0)
    assert state.changed_of_class == (None, None, None)


def test_a_class_that_is_never_predicted_has_no_change():
    state = PoolState(2, 1, 0.7, (4, 4, 0), (0, 0, 0), ((3, 1, 0), (1, 3, 0), (0, 0, 0)))
    assert state.changed == pytest.approx(0.25)
    assert state.changed_of_class == (pytest.approx(2 / 5), pytest.approx(2 / 5), None)


def test_what_is_observed_is_not_observed_again(store, monkeypatch):
    observe(store, shard_of(store))
    monkeypatch.setattr(PoolShard, "prediction", None)
    observe(store, shard_of(store))
    assert [state.cycle for state in read_states(store)] == [2]  # nobody looked at the first one


def test_a_damaged_state_is_told(store):
    observe(store, shard_of(store))
    file = store.path / "pool-0002.json"
    file.write_bytes(file.read_bytes().replace(b"0.7", b"0.8"))
    with pytest.raises(UserError, match=r"pool-0002.json is damaged; delete it"):
        read_states(store)


def test_a_damaged_model_is_left_to_the_loop(store):
    observe(store, shard_of(store))
    (store.path / "pool-0002.json").unlink()
    first, second = store.committed()
    first.checkpoint.write_bytes(b"damaged")
    observe(store, shard_of(store))
    assert [state.moved for state in read_states(store)] == [None]
    (store.path / "pool-0002.json").unlink()
    second.checkpoint.write_bytes(b"damaged")
    observe(store, shard_of(store))
    assert read_states(store) == []
