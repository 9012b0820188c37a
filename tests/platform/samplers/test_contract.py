"""The contract that every registered region selector must keep, for every shape of regions."""

import numpy as np
import pytest
from helpers.views import uniform_view
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from decomp.platform.components import build_selectors
from decomp.platform.regions import Region
from decomp.platform.samplers import REGION_SELECTORS, CandidateRegions, JointRegionSelector
from decomp.platform.samplers.tiny import KINDS, N_CLASSES, TinyImage, free, tiny_image
from decomp.platform.spec import Component, SamplerSpec

SELECTORS = {
    name: build_selectors(SamplerSpec("", Component("random"), Component(name)))[1] for name in REGION_SELECTORS
}
POOLED = {name: selector for name, selector in SELECTORS.items() if isinstance(selector, JointRegionSelector)}

every_selector = pytest.mark.parametrize("selector", list(SELECTORS.values()), ids=list(SELECTORS))
every_pooled = pytest.mark.parametrize("selector", list(POOLED.values()), ids=list(POOLED))
every_shape = pytest.mark.parametrize("shape", KINDS)


@every_selector
@every_shape
@settings(max_examples=25)
@given(st.integers(0, 2**32), st.integers(1, 12))
def test_chosen_regions_are_possible_apart_and_within_budget(selector, shape, seed, n_region):
    rng = np.random.default_rng(seed)
    image = tiny_image(shape, rng)
    regions = [choice.region for choice in selector.choose(image.view(rng), n_region, rng)]
    assert len(regions) <= n_region
    possible = image.regions()
    for k, region in enumerate(regions):
        assert region in possible
        assert not any(region.overlaps(other) for other in (*image.annotated, *regions[:k]))


@every_selector
@every_shape
@settings(max_examples=25)
@given(st.integers(0, 2**32), st.integers(1, 20))
def test_fewer_regions_only_when_no_more_fit(selector, shape, seed, n_region):
    rng = np.random.default_rng(seed)
    image = tiny_image(shape, rng)
    regions = [choice.region for choice in selector.choose(image.view(rng), n_region, rng)]
    if len(regions) < n_region:
        assert free(image.regions(), (*image.annotated, *regions)) == []


@every_selector
@every_shape
def test_the_stream_decides_everything(selector, shape):
    image = tiny_image(shape, np.random.default_rng(2))
    first, second = (
        selector.choose(image.view(np.random.default_rng(0)), 5, np.random.default_rng(7)) for _ in range(2)
    )
    assert first == second


UNIFORM = {
    "square": TinyImage((7, 8), (3, 3)),
    "rectangle": TinyImage((5, 9), (2, 5)),
    "slice": TinyImage((3, 4, 5), (1, 2, 3)),
    "box": TinyImage((4, 4, 5), (2, 3, 3)),
    "roi": TinyImage((17,), (1,)),
    "segments": TinyImage((6, 6), partition=np.kron(np.arange(9).reshape(3, 3), np.ones((2, 2))).astype(np.int32)),
}


@every_selector
@every_shape
def test_a_uniform_image_prefers_no_place(selector, shape):
    rng = np.random.default_rng(5)
    image = UNIFORM[shape]
    hits = dict.fromkeys(image.regions(), 0)
    for _ in range(1500):
        hits[selector.choose(uniform_view(image, rng), 1, rng)[0].region] += 1
    assert chisquare(list(hits.values())).pvalue > 1e-4


@every_selector
def test_an_image_of_one_window(selector):
    rng = np.random.default_rng(0)
    (choice,) = selector.choose(TinyImage((4, 5), (4, 5)).view(rng), 3, rng)
    assert choice.region == Region("a", (0, 0), (4, 5))


@every_selector
def test_a_fully_annotated_image_gives_nothing(selector):
    rng = np.random.default_rng(0)
    whole = (Region("a", (0, 0), (8, 8)),)
    assert selector.choose(TinyImage((8, 8), (2, 2), annotated=whole).view(rng), 3, rng) == []


@every_selector
def test_predictions_are_left_as_they_are(selector):
    rng = np.random.default_rng(0)
    view = tiny_image("square", rng).view(rng)
    for array in (view.labels, view.uncertainty.levels, view.weights, view.predicted):
        array.flags.writeable = False  # as maps decompressed or read from shared memory are
    selector.choose(view, 4, rng)


def pool_of(rng, n, spread=1.0):
    features, residuals = rng.normal(0, spread, (n, 5)), rng.normal(0, spread, (n, N_CLASSES))
    return CandidateRegions(
        rng.integers(4, size=n), rng.random(n), features.astype(np.float32), residuals.astype(np.float32)
    )


@every_pooled
@settings(max_examples=25)
@given(st.integers(0, 2**32), st.integers(2, 30), st.sampled_from([1.0, 0.0]))
def test_the_pool_gives_as_many_distinct_regions_as_wanted(selector, seed, n_pool, spread):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, n_pool))
    chosen = selector.select(pool_of(rng, n_pool, spread), n, rng)
    assert len(chosen) == n == len(set(chosen.tolist()))
    assert min(chosen) >= 0
    assert max(chosen) < n_pool


@every_pooled
def test_the_stream_decides_the_choice_from_the_pool(selector):
    pool = pool_of(np.random.default_rng(1), 40)
    first, second = (selector.select(pool, 11, np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(first, second)


@every_pooled
def test_a_pool_of_equals_is_chosen_from_without_bias(selector):
    pool = CandidateRegions(
        np.zeros(8, np.int64), np.ones(8), np.ones((8, 3), np.float32), np.ones((8, N_CLASSES), np.float32)
    )
    hits = np.zeros(8)
    for seed in range(400):
        hits[selector.select(pool, 2, np.random.default_rng(seed))] += 1
    assert chisquare(hits).pvalue > 1e-4
