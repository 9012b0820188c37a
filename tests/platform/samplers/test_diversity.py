import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decomp.platform.samplers.badge import BadgeRegions
from decomp.platform.samplers.base import CandidateRegions, Need
from decomp.platform.samplers.clustering import OuterProducts, kmeans_plus_plus
from decomp.platform.samplers.diversity import ClusterRegions, CoreSetRegions

every_selector = pytest.mark.parametrize(
    "selector", [ClusterRegions(), CoreSetRegions(), BadgeRegions(), BadgeRegions("kmeans++")], ids=str
)


def pool_of(member, rng, spread=0.01):
    """Candidates that lie about one point for each group, in features and in residuals."""
    n, groups = len(member), int(member.max()) + 1
    centres, residuals = 5 * rng.normal(size=(groups, 6)), rng.normal(size=(groups, 3))
    return CandidateRegions(
        np.sort(rng.integers(4, size=n)),
        rng.random(n),
        np.full(n, -1),
        (centres[member] + spread * rng.normal(size=(n, 6))).astype(np.float32),
        (residuals[member] + spread * rng.normal(size=(n, 3))).astype(np.float32),
    )


@every_selector
def test_what_is_read_is_declared(selector):
    assert Need.UNCERTAINTY in selector.needs
    assert (Need.GRADIENTS in selector.needs) == isinstance(selector, BadgeRegions)
    assert (Need.FEATURES in selector.needs) != isinstance(selector, BadgeRegions)


@every_selector
@settings(max_examples=25)
@given(st.integers(0, 2**32), st.data())
def test_choices_are_distinct_seeded_and_fill_the_budget(selector, seed, data):
    rng = np.random.default_rng(seed)
    member = rng.integers(5, size=data.draw(st.integers(2, 30)))
    pool = pool_of(member, rng, spread=data.draw(st.sampled_from([0.0, 0.1])))
    n = data.draw(st.integers(1, len(member)))
    chosen = selector.select(pool, n, np.random.default_rng(seed))
    assert chosen.shape == (n,)
    assert chosen.dtype == np.int64
    assert len(set(chosen.tolist())) == n
    np.testing.assert_array_equal(chosen, selector.select(pool, n, np.random.default_rng(seed)))


@every_selector
def test_every_group_is_represented(selector):
    rng = np.random.default_rng(3)
    member = np.repeat(np.arange(6), [30, 10, 8, 5, 3, 1])
    chosen = selector.select(pool_of(member, rng), 6, rng)
    assert sorted(member[chosen]) == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("selector", [ClusterRegions(), BadgeRegions()], ids=str)
def test_the_most_uncertain_of_each_group_is_chosen(selector):
    rng = np.random.default_rng(3)
    member = rng.permutation(np.repeat(np.arange(6), [30, 10, 8, 5, 3, 1]))
    pool = pool_of(member, rng)
    chosen = selector.select(pool, 6, rng)
    for k in chosen:
        assert pool.uncertainty[k] == pool.uncertainty[member == member[k]].max()


def test_seeds_of_badge_are_those_of_kmeans_plus_plus():
    rng = np.random.default_rng(0)
    pool = pool_of(rng.integers(9, size=50), rng, spread=0.3)
    chosen = BadgeRegions("kmeans++").select(pool, 20, np.random.default_rng(1))
    seeds = kmeans_plus_plus(OuterProducts(pool.features, pool.residuals), 20, np.random.default_rng(1))
    np.testing.assert_array_equal(chosen, seeds)
