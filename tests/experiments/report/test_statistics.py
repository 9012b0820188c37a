import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from scikit_posthocs import posthoc_wilcoxon
from statsmodels.stats.multitest import multipletests

from decomp.experiments.report.statistics import (
    EXACT,
    FLIPS,
    Paired,
    Spread,
    holm,
    rank_biserial,
    sign_flip_test,
    sign_flip_tests,
    smallest_p,
)

WHOLE = st.lists(st.integers(-5, 5), min_size=1, max_size=8).map(lambda values: np.array(values, float))
"""Differences with many ties and zeros."""

REAL = st.lists(st.floats(-1, 1), min_size=2, max_size=9).map(np.array)


def permutation_test(differences):
    return scipy.stats.permutation_test(
        (differences,), np.mean, permutation_type="samples", n_resamples=np.inf, vectorized=True
    ).pvalue


@given(WHOLE)
def test_sign_flips_are_scipys_permutation_test_with_ties_and_zeros(differences):
    expected = permutation_test(differences) if len(differences) > 1 else 1.0
    assert sign_flip_test(differences) == pytest.approx(expected)


@given(st.integers(2, 11), st.integers(0, 2**32))
def test_sign_flips_are_scipys_permutation_test_of_continuous_differences(n, seed):
    differences = np.random.default_rng(seed).normal(0.5, 1, n)
    assert sign_flip_test(differences) == pytest.approx(permutation_test(differences))


@given(st.integers(2, 12), st.integers(0, 2**32))
def test_sign_flips_of_signed_ranks_are_wilcoxons_exact_test(n, seed):
    differences = np.random.default_rng(seed).normal(0.5, 1, n)
    ranks = np.sign(differences) * scipy.stats.rankdata(np.abs(differences))
    expected = scipy.stats.wilcoxon(differences, method="exact").pvalue
    assert sign_flip_test(ranks) == pytest.approx(expected)


def test_sign_flips_by_hand():
    # Of the 8 sums of +-1, +-2, +-3 two are as far from zero as 6, and four as 4 = -1 + 2 + 3.
    assert sign_flip_test(np.array([1.0, 2.0, 3.0])) == 2 / 8
    assert sign_flip_test(np.array([-1.0, 2.0, 3.0])) == 4 / 8


@given(WHOLE)
def test_differences_of_zero_change_nothing_and_order_neither(differences):
    p = sign_flip_test(differences)
    assert sign_flip_test(np.concatenate([[0.0], differences[::-1], [0.0]])) == p
    assert sign_flip_test(-differences) == p


def test_no_difference_at_all_is_no_evidence():
    assert sign_flip_test(np.zeros(5)) == 1.0


@pytest.mark.parametrize("n", [1, 2, 5, 10, EXACT])
def test_the_smallest_p_is_that_of_differences_of_one_sign(n):
    assert sign_flip_test(np.arange(1.0, n + 1)) == smallest_p(n) == 2 / 2**n
    assert sign_flip_test(np.full(n, 0.1)) == smallest_p(n)


@given(st.integers(1, 9), st.integers(1, 8), st.integers(0, 2**32))
def test_many_samples_at_once_are_tested_like_each_alone(m, n, seed):
    differences = np.random.default_rng(seed).normal(0.3, 1, (m, n))
    assert list(sign_flip_tests(differences)) == [sign_flip_test(row) for row in differences]


def test_no_sample_has_no_test():
    assert sign_flip_tests(np.zeros((0, 3))).shape == (0,)


@given(st.integers(5, 9), st.integers(2, 4), st.integers(0, 2**32))
@settings(max_examples=8)
def test_signed_ranks_of_all_pairs_corrected_are_those_of_scikit_posthocs(n, groups, seed):
    scores = np.random.default_rng(seed).normal(size=(groups, n))
    expected = posthoc_wilcoxon(list(scores), method="exact", p_adjust="holm").to_numpy()
    first, second = np.triu_indices(groups, 1)
    differences = scores[first] - scores[second]
    ranks = np.sign(differences) * scipy.stats.rankdata(np.abs(differences), axis=1)
    assert holm(list(sign_flip_tests(ranks))) == pytest.approx(expected[first, second])


def test_above_the_exact_range_p_is_that_of_drawn_signs():
    assert sign_flip_test(np.arange(1.0, EXACT + 6)) == smallest_p(EXACT + 5) == 1 / (1 + FLIPS)
    rng = np.random.default_rng(0)
    for shift in (0.0, 0.3, 0.6):
        differences = rng.normal(shift, 1, EXACT + 2)
        sums = np.zeros(1)
        for difference in differences:
            sums = np.concatenate([sums + difference, sums - difference])
        exact = np.mean(np.abs(sums) >= abs(differences.sum()) - 1e-12)
        p = sign_flip_test(differences)
        assert p == pytest.approx(exact, abs=4 * math.sqrt(exact * (1 - exact) / FLIPS) + 1 / FLIPS)
        assert sign_flip_test(differences) == p


@settings(max_examples=8)  # statsmodels collects garbage at every call
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_is_that_of_statsmodels(p_values):
    assert holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1])


def test_holm_of_no_test_is_nothing():
    assert holm([]) == ()


@given(REAL)
def test_rank_biserial_agrees_with_wilcoxons_statistic(differences):
    r = rank_biserial(differences)
    if r is None:
        assert not differences.any()
        return
    m = np.count_nonzero(differences)
    larger = scipy.stats.wilcoxon(differences, method="asymptotic", alternative="greater").statistic if m > 1 else None
    if larger is None:
        assert abs(r) == 1
    else:
        assert r == pytest.approx(2 * larger / (m * (m + 1) / 2) - 1)


@given(st.integers(2, 12), st.integers(0, 2**32))
def test_interval_is_scipys_t_interval(n, seed):
    values = np.random.default_rng(seed).normal(size=n)
    expected = scipy.stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert Spread.of(values).interval == pytest.approx((expected.low, expected.high))


def test_one_repeat_has_no_interval():
    assert Spread.of([0.5]).interval is None


def test_effect_sizes_by_hand():
    paired = Paired.of([0.1, 0.3, 0.0, -0.2])
    assert paired.difference.mean == pytest.approx(0.05)
    assert paired.d_z == pytest.approx(0.05 / np.std([0.1, 0.3, 0.0, -0.2], ddof=1))
    assert paired.rank_biserial == pytest.approx((1 + 3 - 2) / 6)
    assert (paired.wins, paired.ties, paired.losses) == (2, 1, 1)


@pytest.mark.parametrize("differences", [[0.1], [0.1 + 0.2, 0.3, 0.3], [0.0, 0.0]])
def test_without_variance_d_z_is_undefined(differences):
    assert Paired.of(differences).d_z is None


def test_spread_is_mean_and_sample_standard_deviation():
    assert Spread.of([1.0, 2.0, 6.0]) == Spread(3.0, math.sqrt(7.0), 3)
    assert Spread.of([2.5]) == Spread(2.5, None, 1)


def test_undefined_values_are_left_out_of_a_spread():
    assert Spread.of_defined([1.0, None, 3.0]) == Spread.of([1.0, 3.0])
    assert Spread.of_defined([None]) is None
