import numpy as np
import pytest
import torch

from decomp.platform.predictions import LEVELS, Measure, PoolCounts, UncertaintyMap


@pytest.mark.parametrize("huge", [0, 2**31])
def test_answers_of_shards_join_in_any_order(huge):
    rng = np.random.default_rng(0)
    images = tuple(f"i{k}" for k in range(5))
    counts = [rng.integers(9, size=(5, 3)) for _ in range(3)]
    counts[0][3, 1] += huge  # of one shard only
    whole = PoolCounts(images, rng.integers(9, size=5), *counts, np.array([0.1, np.nan, 0.3, 0.4, 0.5]), axes=3)

    def part(rows):
        arrays = [whole.pixels, whole.predicted, whole.open, whole.confident, whole.uncertainty]
        return PoolCounts(tuple(images[k] for k in rows), *(array[rows] for array in arrays), axes=3).to_arrow()

    joined = PoolCounts.from_arrow([part([3, 1]), part([0, 2, 4]), part([])])
    assert joined.images == images
    assert joined.axes == 3
    for name in ("pixels", "predicted", "open", "confident", "uncertainty"):
        np.testing.assert_array_equal(getattr(joined, name), getattr(whole, name))
        assert getattr(joined, name).dtype == getattr(whole, name).dtype


@pytest.mark.parametrize("kind", [np.asarray, lambda levels: torch.from_numpy(levels.astype(np.int32))])
def test_the_mean_of_an_uncertainty_map(kind):
    levels = np.full((300, 300), LEVELS, np.uint16)  # whose sum exceeds int32
    levels[0, 0] = 0
    unit = Measure.ENTROPY.greatest(19) / LEVELS
    assert UncertaintyMap(kind(levels), unit).mean == pytest.approx(np.log(19) * (1 - 1 / 90_000))
