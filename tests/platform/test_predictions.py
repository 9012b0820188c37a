import numpy as np
import pytest
import torch

from decomp.platform.predictions import LEVELS, Measure, PoolCounts, Prediction, UncertaintyMap


@pytest.mark.parametrize("huge", [0, 2**31])
def test_answers_of_shards_join_in_any_order(huge):
    rng = np.random.default_rng(0)
    images = tuple(f"i{k}" for k in range(5))
    counts = [rng.integers(9, size=(5, 3)) for _ in range(3)]
    counts[0][3, 1] += huge  # of one shard only
    joint = PoolCounts(images, rng.integers(9, size=5), *counts, np.array([0.1, np.nan, 0.3, 0.4, 0.5]), axes=3)

    def answer(rows):
        arrays = [joint.pixels, joint.predicted, joint.open, joint.confident, joint.uncertainty]
        return PoolCounts(tuple(images[k] for k in rows), *(array[rows] for array in arrays), axes=3).to_arrow()

    joined = PoolCounts.from_arrow([answer([3, 1]), answer([0, 2, 4]), answer([])])
    assert joined.images == images
    assert joined.axes == 3
    for name in ("pixels", "predicted", "open", "confident", "uncertainty"):
        np.testing.assert_array_equal(getattr(joined, name), getattr(joint, name))
        assert getattr(joined, name).dtype == getattr(joint, name).dtype


def test_counts_of_an_image_tell_what_is_not_annotated():
    counts = np.array([[1, 0, 2], [3, 0, 0], [0, 4, 2]])  # annotated, unsure, confident
    map_ = UncertaintyMap(np.full((3, 4), LEVELS, np.uint16), 2 / LEVELS)
    one = PoolCounts.of("b", Prediction(np.zeros((3, 4), np.uint8), counts, map_))
    other = PoolCounts.of("a", Prediction(np.zeros((2, 2), np.uint8), 0 * counts))
    both = PoolCounts.stacked([one, other])
    assert (both.images, both.axes) == (("b", "a"), 2)
    assert both.pixels.tolist() == [12, 4]
    assert both.predicted.tolist() == [[4, 4, 4], [0, 0, 0]]
    assert both.open.tolist() == [[3, 4, 2], [0, 0, 0]]
    assert both.confident.tolist() == [[0, 4, 2], [0, 0, 0]]
    np.testing.assert_allclose(both.uncertainty, [2, np.nan])


@pytest.mark.parametrize("kind", [np.asarray, lambda levels: torch.from_numpy(levels.astype(np.int32))])
def test_the_mean_of_an_uncertainty_map(kind):
    levels = np.full((300, 300), LEVELS, np.uint16)  # whose sum exceeds int32
    levels[0, 0] = 0
    unit = Measure.ENTROPY.greatest(19) / LEVELS
    assert UncertaintyMap(kind(levels), unit).mean == pytest.approx(np.log(19) * (1 - 1 / 90_000))
