from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pytest
from helpers.toy_runs import BASE

from decomp.platform.components import build_dataset, build_learner
from decomp.platform.learners import Training
from decomp.platform.ledger import Ledger
from decomp.platform.loop.kept import CompressedMap, Shortlist
from decomp.platform.loop.shard import PoolShard
from decomp.platform.loop.tasks import Checkpoint, PredictTask, RegionRequest
from decomp.platform.predictions import Measure
from decomp.platform.samplers import ImageSelector, Need
from decomp.platform.samplers.uncertainty import UncertaintyRegions

KEPT = pa.table({"image": ["a"]})


def shortlist(n_image, **scores):
    """Names of the images that stay when they are offered in this order."""
    kept = Shortlist(n_image)
    for image, score in scores.items():
        if kept.admits(score):
            kept.add(image, score, KEPT)
    return "".join(image for image in scores if held(kept, image)), len(kept)


def held(kept, image):
    try:
        return kept[image] is KEPT
    except KeyError:
        return False


def test_the_images_of_highest_score_stay():
    assert shortlist(2, a=1.0, b=3.0, c=2.0, d=0.0) == ("bc", 2)


def test_images_that_tie_with_the_last_of_them_stay_too():
    assert shortlist(2, a=1.0, b=3.0, c=1.0, d=0.0, e=1.0) == ("abce", 4)
    assert shortlist(1, a=1.0, b=1.0) == ("ab", 2)
    assert shortlist(1, a=1.0, b=1.0, c=2.0) == ("c", 1)


def test_every_image_stays_where_the_shard_cannot_rank():
    assert shortlist(None, a=1.0, b=3.0, c=2.0) == ("abc", 3)


def test_the_size_is_that_of_what_stays():
    kept = Shortlist(1)
    kept.add("a", 1.0, KEPT)
    kept.add("b", 2.0, pa.table({"image": ["a longer one"]}))
    assert kept.nbytes == pa.table({"image": ["a longer one"]}).nbytes


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32])
def test_a_compressed_map_is_the_same_again(dtype):
    values = np.random.default_rng(0).integers(200, size=(5, 4, 3)).astype(dtype)[:, ::2]
    again = CompressedMap.of(values).array
    assert again.dtype == dtype
    np.testing.assert_array_equal(again, values)


@dataclass(frozen=True)
class Equal(ImageSelector):
    """Finds all images equally good."""

    needs = Need.UNCERTAINTY

    def scores(self, pool, weights):
        return np.zeros(len(pool.images))


def test_a_shard_keeps_all_images_when_all_tie(tmp_path):
    dataset, learner = build_dataset(BASE.dataset), build_learner(BASE.learner)
    images = dataset.ids("train", 0)
    ledger = Ledger.whole({image: dataset.shape(image) for image in images})
    learner.fit(dataset, Training(ledger, np.random.default_rng(0)), tmp_path / "model")
    shard = PoolShard(dataset, learner, "cpu")
    task = PredictTask(
        model=Checkpoint(tmp_path / "model", ""),
        images=images,
        annotated={},
        tau=0.7,
        measure=Measure.ENTROPY,
        needs=Need.UNCERTAINTY,
        ranking=Equal(),
        selected=None,
        n_image=2,
        request=RegionRequest(UncertaintyRegions(), (4, 4), 1, None, seed=0, fold=0, cycle=2),
    )
    shard.predict(task)
    assert shard.held()["images"] == len(images) > 2
