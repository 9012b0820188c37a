import numpy as np
import pytest
import scipy.stats

from decomp.experiments.verdict.pooled import pool
from decomp.experiments.verdict.ranking import agreements, bootstrap, mean_ranks, merged_wins

from .conftest import with_design


def test_mean_ranks_are_over_all_blocks_and_equals_share_theirs(two):
    ranks = {each.sampler: each for each in mean_ranks(pool(two))}
    assert ranks["decomp"].rank == pytest.approx((4 * 1 + 3 * 2) / 7)
    assert ranks["uncert"].rank == pytest.approx((4 * 2 + 3 * 1) / 7)
    assert ranks["rand"].rank == 3
    assert [each.sampler for each in mean_ranks(pool(two))] == ["decomp", "uncert", "rand"]
    assert {each.blocks for each in ranks.values()} == {7}
    assert ranks["decomp"].gain == pytest.approx((4 * 0.25 + 3 * 0.375) / 7)
    # Blocks of a data set do not differ, so drawing them anew changes nothing.
    assert ranks["decomp"].interval == pytest.approx((10 / 7, 10 / 7))


def test_a_sampler_that_has_only_begun_takes_no_blocks_from_the_others(source):
    curves = {"rand": [[0.2, 0.2]] * 4, "decomp": [[0.2, 0.6]] * 4}
    late = source("late", {**curves, "bald": [[0.2, 0.7]]})
    ranks = mean_ranks(pool([late, source("whole", {**curves, "bald": [[0.2, 0.7]] * 4})]))
    assert {each.sampler: (each.rank, each.blocks) for each in ranks} == {"decomp": (1, 8), "rand": (2, 8)}
    (agreement,) = agreements(pool([late, source("other", {**curves, "bald": [[0.2, 0.7]] * 2})]))
    assert (agreement.samplers, agreement.tau) == (2, pytest.approx(1))


def test_equals_share_the_mean_of_their_ranks(source):
    made = source("d", {"a": [[0.1, 0.5]], "b": [[0.1, 0.5]], "c": [[0.1, 0.2]]})
    assert {each.sampler: each.rank for each in mean_ranks(pool([made]))} == {"a": 1.5, "b": 1.5, "c": 3.0}
    assert {each.interval for each in mean_ranks(pool([made]))} == {None}


def test_the_bootstrap_is_that_of_scipy_for_a_single_data_set():
    values = np.random.default_rng(3).normal(size=(12, 2))
    found = bootstrap([values])
    for column, interval in enumerate(found):
        expected = scipy.stats.bootstrap(
            (values[:, column],), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(0)
        ).confidence_interval
        assert interval == pytest.approx((expected.low, expected.high), abs=0.03)


def test_the_bootstrap_keeps_the_number_of_blocks_of_every_data_set():
    one, other = np.zeros((3, 1)), np.ones((9, 1))
    assert bootstrap([one, other]) == [pytest.approx((0.75, 0.75))]


def test_kendalls_tau_says_whether_data_sets_rank_alike(two):
    (agreement,) = agreements(pool(two))
    assert (agreement.first, agreement.second, agreement.samplers) == ("digits", "slides", 3)
    assert (
        agreement.tau == pytest.approx(scipy.stats.kendalltau([0, 2, 1], [0, 1, 2]).statistic) == pytest.approx(1 / 3)
    )


def test_without_samplers_in_common_there_is_nothing_to_rank(source):
    pooled = pool([source("a", {"rand": [[0.1, 0.2]]}), source("b", {"decomp": [[0.1, 0.2]]})])
    assert mean_ranks(pooled) == ()
    assert [each.tau for each in agreements(pooled)] == [None]


def test_wins_are_added_up_over_data_sets(two):
    matrix = merged_wins(pool(two))
    place = {name: k for k, name in enumerate(matrix.samplers)}
    assert matrix.counts[place["decomp"]][place["rand"]] == 4 + 3
    assert matrix.counts[place["decomp"]][place["uncert"]] == 4
    assert matrix.counts[place["uncert"]][place["decomp"]] == 3
    assert matrix.compared[place["uncert"]][place["decomp"]] == 7
    assert "decomp" not in merged_wins(pool([with_design(s, oracles=("decomp",)) for s in two])).samplers
