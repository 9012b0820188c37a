"""The contracts that every registered selector must keep, region selectors for every shape of regions."""

from dataclasses import replace

import numpy as np
import pytest
from helpers.views import uniform_view
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from decomp.platform.components import build_selectors
from decomp.platform.errors import UserError
from decomp.platform.grid import Component, Sampler
from decomp.platform.regions import Region
from decomp.platform.samplers import IMAGE_SELECTORS, REGION_SELECTORS, CandidateRegions, JointRegionSelector
from decomp.platform.samplers.contract import choices_of, selected_of
from decomp.platform.samplers.tiny import KINDS, N_CLASSES, TinyImage, tiny_image
from decomp.platform.testing import check_image_selector, check_region_selector

SELECTORS = {name: build_selectors(Sampler("", Component("random"), Component(name)))[1] for name in REGION_SELECTORS}
JOINT = {name: selector for name, selector in SELECTORS.items() if isinstance(selector, JointRegionSelector)}

AROUND_A_PIXEL = {"foreground", "predicted-foreground", "class"}
"""Regions near a border hold pixels that few others hold, so that these draw them more often."""

every_selector = pytest.mark.parametrize("selector", list(SELECTORS.values()), ids=list(SELECTORS))
every_joint_selector = pytest.mark.parametrize("selector", list(JOINT.values()), ids=list(JOINT))
every_shape = pytest.mark.parametrize("shape", KINDS)
every_impartial_selector = pytest.mark.parametrize(
    "selector", [SELECTORS[name] for name in SELECTORS if name not in AROUND_A_PIXEL], ids=lambda s: type(s).__name__
)


def asked(selector, image, rng, n_region):
    """What a selector is shown, and how many regions it is asked for."""
    view = replace(image.view(rng), n_region=n_region)
    return view, selector.n_candidates(n_region, N_CLASSES) if isinstance(selector, JointRegionSelector) else n_region


@pytest.mark.parametrize("name", IMAGE_SELECTORS)
def test_image_selectors_keep_their_contract(name):
    images, _ = build_selectors(Sampler("", Component(name), Component("random")))
    check_image_selector(images)


@every_selector
@every_shape
def test_region_selectors_keep_their_contract(selector, shape):
    check_region_selector(selector, [shape])


@every_selector
@every_shape
@settings(max_examples=25)
@given(st.integers(0, 2**32), st.integers(1, 20))
def test_chosen_regions_are_possible_apart_and_within_budget_and_fewer_only_when_no_more_fit(
    selector, shape, seed, n_region
):
    rng = np.random.default_rng(seed)
    image = tiny_image(shape, rng)
    view, n = asked(selector, image, rng, n_region)
    regions = [choice.region for choice in choices_of(selector, view, n, rng, image.site)]
    possible = image.regions()
    assert all(region in possible for region in regions)
    if len(regions) < n:
        assert image.free(regions) == []


@every_shape
@settings(max_examples=25)
@given(st.integers(0, 2**32))
def test_what_free_places_hold_is_within_reach(shape, seed):
    rng = np.random.default_rng(seed)
    image = tiny_image(shape, rng)
    places, within = image.places(), np.zeros(image.shape, np.bool_)
    taken = [places.take(places.uniform().best(rng))] if image.free() and seed % 2 else []
    for region in image.free(taken):
        region.mark(within, True)
    assert np.array_equal(places.reach(), within)


UNIFORM = {
    "square": TinyImage((7, 8), (3, 3)),
    "rectangle": TinyImage((5, 9), (2, 5)),
    "slice": TinyImage((3, 4, 5), (1, 2, 3)),
    "box": TinyImage((4, 4, 5), (2, 3, 3)),
    "roi": TinyImage((17,), (1,)),
    "segments": TinyImage((6, 6), partition=np.kron(np.arange(9).reshape(3, 3), np.ones((2, 2))).astype(np.int32)),
}


@every_impartial_selector
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


def candidates_of(rng, n, spread=1.0):
    features, residuals = rng.normal(0, spread, (n, 5)), rng.normal(0, spread, (n, N_CLASSES))
    return CandidateRegions(
        np.sort(rng.integers(4, size=n)),
        rng.random(n),
        rng.integers(-1, N_CLASSES, size=n),
        features.astype(np.float32),
        residuals.astype(np.float32),
        rng.integers(N_CLASSES, size=n),
        rng.normal(0, spread, (rng.integers(4), 5)).astype(np.float32),
    )


@every_joint_selector
@settings(max_examples=25)
@given(st.integers(0, 2**32), st.integers(2, 30), st.sampled_from([1.0, 0.0]))
def test_as_many_distinct_candidates_are_selected_as_wanted(selector, seed, n_candidates, spread):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, n_candidates))
    assert len(selected_of(selector, candidates_of(rng, n_candidates, spread), n, rng)) == n


@pytest.mark.parametrize("selector", [JOINT[name] for name in JOINT if name not in AROUND_A_PIXEL], ids=type)
def test_candidates_that_are_equal_are_selected_from_without_bias(selector):
    candidates = CandidateRegions(
        np.zeros(8, np.int64),
        np.ones(8),
        np.zeros(8, np.int64),
        np.ones((8, 3), np.float32),
        np.ones((8, N_CLASSES), np.float32),
        np.zeros(8, np.int64),
        np.zeros((0, 3), np.float32),
    )
    hits = np.zeros(8)
    for seed in range(400):
        hits[selector.select(candidates, 2, np.random.default_rng(seed))] += 1
    assert chisquare(hits).pvalue > 1e-4


@pytest.mark.parametrize("name", [name for name in JOINT if name != "clasp"])
def test_the_number_of_candidate_regions_is_an_option(name):
    selector = JOINT[name]
    _, other = build_selectors(Sampler("", Component("random"), Component(name, {"factor": 5})))
    assert (selector.factor, other.factor) == (3, 5)
    with pytest.raises(UserError, match=r"regions\.factor: .*greater than or equal to 1, got 0"):
        build_selectors(Sampler("", Component("random"), Component(name, {"factor": 0})))
