from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare, gumbel_r, kstest

from decomp.platform.components import build_selectors
from decomp.platform.errors import UserError
from decomp.platform.grid import Component, Sampler
from decomp.platform.predictions import LEVELS, UncertaintyMap
from decomp.platform.samplers import PoolView
from decomp.platform.samplers.stochastic import (
    PowerImages,
    PowerRegions,
    SoftmaxImages,
    SoftmaxRegions,
    SoftrankImages,
    SoftrankRegions,
    power,
    softmax,
    softrank,
)
from decomp.platform.samplers.tiny import KINDS, TinyImage, tiny_candidates, tiny_image
from decomp.platform.schedule import value_at


@pytest.mark.parametrize("beta", [0.5, 1.0, 8.0])
def test_the_noise_is_gumbels(beta):
    rng = np.random.default_rng(0)
    scores = np.full(5000, 0.3)
    for noisy, centre in ((power, np.log(0.3)), (softmax, 0.3)):
        assert kstest(noisy(scores, beta, rng) - centre, gumbel_r(scale=1 / beta).cdf).pvalue > 1e-3
    ranks = np.exp(-(softrank(np.arange(5.0), 1e9, rng)))
    assert ranks == pytest.approx([5, 4, 3, 2, 1])


def test_power_draws_in_proportion_to_the_scores():
    """The best of log s + g is k with probability s_k ** beta / sum; Kirsch et al., Sec. 3."""
    levels = np.array([[1, 2, 4, 8]], np.uint16)
    hits = np.zeros(4)
    for seed in range(3000):
        view = TinyImage((1, 4), (1, 1)).view(np.random.default_rng(0))
        view = replace(view, uncertainty=UncertaintyMap(levels, 1 / LEVELS))
        (choice,) = PowerRegions(beta=2.0).choose(view, 1, np.random.default_rng(seed))
        hits[choice.region.start[1]] += 1
    expected = np.array([1, 4, 16, 64]) / 85
    assert chisquare(hits, 3000 * expected).pvalue > 1e-4


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("selector", [PowerRegions(), SoftmaxRegions(2.0)], ids=str)
@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 6))
def test_the_best_places_by_noisy_means_are_taken_greedily(selector, kind, seed, n):
    rng = np.random.default_rng(seed)
    image = tiny_image(kind, rng)
    view = image.view(rng)
    maps = view.uncertainty
    scores = selector.noisy(image.places().mean_values(maps), value_at(selector.beta, 2), np.random.default_rng(seed))
    choices = selector.choose(view, n, np.random.default_rng(seed))
    taken = []
    by_region = {}
    for place in np.ndindex(scores.shape):
        places = image.places()
        if np.count_nonzero(image.partition == place[-1]) if kind == "segments" else True:
            by_region[places.take(place)] = scores[place]
    for choice in choices:
        free = {region: by_region[region] for region in image.free(taken)}
        assert choice.score == max(free.values()) == free[choice.region]
        taken.append(choice.region)


def test_ranks_are_among_the_candidates_of_all_images():
    candidates = tiny_candidates(np.random.default_rng(0), 12)
    chosen = SoftrankRegions(beta=1e9).select(candidates, 5, np.random.default_rng(1))
    assert chosen.tolist() == np.argsort(-candidates.uncertainty)[:5].tolist()
    first = [SoftrankRegions().select(candidates, 1, np.random.default_rng(seed))[0] for seed in range(2000)]
    best = np.argsort(-candidates.uncertainty)
    expected = (1 / np.arange(1, 13)) / (1 / np.arange(1, 13)).sum()
    assert chisquare(np.bincount(first, minlength=12)[best], 2000 * expected).pvalue > 1e-4


def of_images(*uncertainties, cycle=2, names="ijklmnop"):
    n = len(uncertainties)
    return PoolView(tuple(names[:n]), np.full(n, 9), 2, uncertainty=np.array(uncertainties), cycle=cycle)


@pytest.mark.parametrize(
    ("selector", "odds"),
    [
        (PowerImages(2.0), [1, 4, 16, 64]),
        (SoftmaxImages(3.0), np.exp(3 * np.array([0.1, 0.2, 0.4, 0.8]))),
        (SoftrankImages(2.0), [1 / 16, 1 / 9, 1 / 4, 1]),
    ],
    ids=["power", "softmax", "softrank"],
)
def test_images_are_drawn_without_replacement_by_their_mean_uncertainty(selector, odds):
    """The first with probability p_k, the second with p_k among those left, as a sample without replacement."""
    p = np.array(odds) / np.sum(odds)
    pairs = np.zeros((4, 4))
    for seed in range(4000):
        first, second = selector.select(of_images(0.1, 0.2, 0.4, 0.8), 2, np.random.default_rng(seed))
        pairs[first, second] += 1
    expected = p[:, None] * p / (1 - p[:, None])
    apart = ~np.eye(4, dtype=bool)
    assert not pairs[~apart].any()
    assert chisquare(pairs[apart], 4000 * expected[apart]).pvalue > 1e-4


def test_images_of_no_uncertainty_come_last_and_in_any_order():
    orders = [PowerImages().select(of_images(0, 0.3, 0, 0.1, 0), 5, np.random.default_rng(s)) for s in range(300)]
    assert all(set(order[:2]) == {1, 3} for order in orders)
    assert chisquare(np.bincount([order[2] for order in orders], minlength=5)[[0, 2, 4]]).pvalue > 1e-4


@pytest.mark.parametrize("selector", [PowerImages(), SoftmaxImages(), SoftrankImages()], ids=str)
def test_another_candidate_changes_the_noise_of_no_image(selector):
    pool = of_images(0.2, 0.4, 0.1, 0.3)
    more = of_images(0.05, *pool.uncertainty, names="aijkl")  # of the last rank
    for seed in range(50):
        order, among_more = (selector.select(p, len(p.images), np.random.default_rng(seed)) for p in (pool, more))
        assert [pool.images[k] for k in order] == [more.images[k] for k in among_more if k != 0]


def test_the_noise_on_images_follows_the_cycle():
    selector = PowerImages({2: 1e-3, 5: 1e9})
    drawn = {2: set(), 5: set()}
    for cycle, orders in drawn.items():
        pool = of_images(0.1, 0.2, 0.3, 0.4, cycle=cycle)
        orders |= {tuple(selector.select(pool, 4, np.random.default_rng(seed))) for seed in range(20)}
    assert drawn[5] == {(3, 2, 1, 0)}
    assert len(drawn[2]) > 5


def test_beta_is_a_number_or_a_schedule():
    _, regions = build_selectors(Sampler("", Component("all"), Component("power", {"beta": {2: 1, 10: 4}})))
    assert [value_at(regions.beta, cycle) for cycle in (1, 2, 9, 10, 99)] == [1, 1, 1, 4, 4]
    for wrong in (0, -1, {}, {0: 1}, {2: 0}, "x"):
        with pytest.raises(UserError, match=r"regions\.beta"):
            build_selectors(Sampler("", Component("all"), Component("power", {"beta": wrong})))
