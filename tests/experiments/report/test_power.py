from itertools import pairwise

import numpy as np
import pytest
from statsmodels.stats.power import TTestPower

from decomp.experiments.report.design import Design
from decomp.experiments.report.power import (
    POWER,
    SIMULATED,
    detectable,
    least_corrected_p,
    power,
    repeats_for,
    repeats_needed,
)
from decomp.experiments.report.statistics import LEVEL, holm, sign_flip_tests, smallest_p

NULLS = 10_000


def familywise_error(differences):
    """In which share of experiments any pair is called significant; differences: (experiments, pairs, blocks)."""
    experiments, pairs, blocks = differences.shape
    p = sign_flip_tests(differences.reshape(-1, blocks)).reshape(experiments, pairs)
    first_step = p.min(axis=1) * pairs <= LEVEL
    some = np.random.default_rng(0).choice(experiments, 50)
    assert [min(holm(list(p[k]))) <= LEVEL for k in some] == list(first_step[some])
    return first_step.mean()


def differences_of(scores):
    """Differences of all pairs of samplers; scores: (experiments, samplers, blocks)."""
    first, second = np.triu_indices(scores.shape[1], 1)
    return scores[:, first] - scores[:, second]


@pytest.mark.parametrize("blocks", [8, 12])
def test_identical_samplers_pooled_over_data_sets_differ_in_at_most_one_of_twenty_experiments(blocks):
    rng = np.random.default_rng(1)
    scale = np.array([1.0, 0.2, 5.0])[np.arange(blocks) % 3]  # data sets are noisy in different ways
    skewed = rng.exponential(1.0, (NULLS, 4, blocks)) * scale + rng.normal(0, 3, (NULLS, 1, blocks))
    assert 0.01 < familywise_error(differences_of(skewed)) <= LEVEL


def test_folds_that_share_images_count_as_one_block_and_not_as_repeats():
    rng = np.random.default_rng(2)
    repeats = [(seed, fold) for seed in range(8) for fold in range(3)]
    design = Design()
    blocks = design.blocks(repeats)
    member = np.array([[design.block(repeat) == block for repeat in repeats] for block in blocks], float)
    shared = rng.normal(0, 1, (NULLS, 3, 8)).repeat(3, axis=2)
    scores = shared + rng.normal(0, 0.5, (NULLS, 3, len(repeats)))
    assert familywise_error(differences_of(scores @ (member / 3).T)) <= LEVEL
    assert familywise_error(differences_of(scores[:500])) > 2 * LEVEL


def test_pairs_of_many_and_of_unequally_many_blocks_differ_in_at_most_one_of_twenty_experiments():
    rng = np.random.default_rng(3)
    scores = rng.exponential(1.0, (NULLS, 3, 24)) + rng.normal(0, 2, (NULLS, 1, 24))
    differences = differences_of(scores)
    blocks = (24, 21, 9)  # signs are drawn for the first two, and enumerated for the third
    p = np.stack([sign_flip_tests(differences[:, k, :n], flips=999) for k, n in enumerate(blocks)], axis=1)
    error = np.mean(3 * p.min(axis=1) <= LEVEL)
    assert 0.03 < error <= LEVEL
    assert np.mean(p.min(axis=1) <= LEVEL) > 2 * LEVEL  # what it would be without Holm's correction


@pytest.mark.parametrize("n", [8, SIMULATED, SIMULATED + 1, 18])
@pytest.mark.parametrize("effect", [0.4, 1.0, -1.6])
def test_power_is_that_of_simulated_experiments(n, effect):
    family = 3
    p = sign_flip_tests(np.random.default_rng(n).normal(effect, 1, (2_000, n)))
    assert power(effect, n, family) == pytest.approx((p <= LEVEL / family).mean(), abs=0.04)


@pytest.mark.parametrize("n", [25, 60])
@pytest.mark.parametrize("effect", [0.0, 0.3, 0.8])
def test_for_many_repeats_power_is_that_of_students_test_in_statsmodels(n, effect):
    assert power(effect, n, 4) == pytest.approx(TTestPower().power(effect, n, LEVEL / 4), abs=1e-6)


def test_power_grows_with_the_effect_and_the_repeats():
    curve = [[power(effect, n, 3) for effect in (0.0, 0.5, 1.0, 2.0)] for n in (6, 7, 10, 16, 30)]
    assert curve[0] == [0.0] * 4
    assert all(a <= b + 0.02 for row in curve for a, b in pairwise(row))
    assert all(a <= b + 0.02 for lower, upper in pairwise(curve) for a, b in zip(lower, upper, strict=True))
    assert all(row[0] <= LEVEL for row in curve)
    assert curve[-1][-1] > 0.99


@pytest.mark.parametrize(("effect", "family"), [(0.4, 1), (1.0, 5), (3.0, 5)])
def test_the_repeats_for_an_effect_are_the_fewest_with_enough_power(effect, family):
    n = repeats_for(effect, family)
    assert power(effect, n, family) >= POWER > power(effect, n - 1, family)


def test_an_effect_of_nothing_is_never_found():
    assert repeats_for(0.0, 1) is None


def test_what_can_be_detected_is_found_with_that_power():
    assert power(detectable(10, 3), 10, 3) == pytest.approx(POWER, abs=0.01)
    assert detectable(6, 3) is None


@pytest.mark.parametrize("family", [1, 3, 10, 135])
def test_repeats_needed_are_the_fewest_that_can_be_significant(family):
    n = repeats_needed(family)
    assert least_corrected_p(n, family) <= LEVEL < least_corrected_p(n - 1, family)
    assert least_corrected_p(n, family) == max(holm([smallest_p(n)] * family))
