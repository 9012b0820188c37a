import numpy as np
import pytest
from helpers.toys import random_counts
from hypothesis import given, settings
from hypothesis import strategies as st

from decomp.platform.samplers import select_images
from decomp.platform.samplers.tiny import KINDS, tiny_image
from decomp.platform.samplers.uncertainty import UncertaintyImages, UncertaintyRegions


@pytest.mark.parametrize("shape", KINDS)
@settings(max_examples=40)
@given(st.integers(0, 2**32))
def test_regions_equal_brute_force_greedy(shape, seed):
    rng = np.random.default_rng(seed)
    image = tiny_image(shape, rng)
    view = image.view(rng)
    taken = []
    for choice in UncertaintyRegions().choose(view, 4, rng):
        means = {
            region: region.of(view.uncertainty.levels).astype(np.int64).sum() / region.area * view.uncertainty.unit
            for region in image.free(taken)
        }
        assert means[choice.region] == pytest.approx(max(means.values()), rel=1e-12)
        assert choice.score == pytest.approx(means[choice.region], rel=1e-12)
        taken.append(choice.region)


def test_the_most_uncertain_images_are_taken_best_first():
    counts = random_counts(9)
    chosen = select_images(counts.images, UncertaintyImages().scores(counts, None), 3, np.random.default_rng(0))
    assert chosen == [counts.images[k] for k in np.argsort(-counts.uncertainty)[:3]]
