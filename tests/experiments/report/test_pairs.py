import numpy as np
import pytest
from helpers.fake_runs import fake_run, spec

from decomp.experiments.report.axes import axes_of
from decomp.experiments.report.comparison import Comparison, compare, compare_over
from decomp.experiments.report.learning_curves import LearningCurve
from decomp.experiments.report.pairs import Verdict, family_notes, pairs_by_cycle, pairs_overall, wins
from decomp.experiments.report.run_history import read_histories
from decomp.experiments.report.statistics import LEVEL, holm, sign_flip_test
from decomp.platform.storage.records import Annotated
from decomp.platform.storage.runs import RunStore

AXIS = axes_of("miou")[0]
REPEATS, CYCLES = 10, 4


def simulated(rng, gain):
    """Three samplers of a common seed effect and own noise; `gain` is how much better the third is, in units of it."""
    seeds = rng.normal(0, 0.05, REPEATS)
    curves = []
    for k, name in enumerate(("rand", "uncert", "decomp")):
        for seed in range(REPEATS):
            noise = rng.normal(gain if k == 2 else 0, 1, CYCLES) + rng.normal()
            scores = 0.4 + 0.1 * np.arange(CYCLES) + seeds[seed] + 0.02 * noise
            scores[0] = 0.4 + seeds[seed]
            annotated = [Annotated(1, 0.1, 1, 1, 0.01 * (t + 1), (1,), 1, 1) for t in range(CYCLES)]
            curves.append(LearningCurve(name, "1x1", (seed, 0), tuple(annotated), tuple(scores), True))
    return compare_over(AXIS, Comparison("miou", AXIS, None, None, (), tuple(curves), ()))


def significant(pairs):
    return {(pair.first, pair.second) for pair in pairs if pair.verdict is Verdict.SIGNIFICANT}


@pytest.mark.parametrize("pairs", [pairs_overall, pairs_by_cycle])
def test_identical_samplers_come_out_different_in_at_most_one_of_twenty_experiments(pairs):
    # 4.2 % and 2.9 % of 4000 such experiments.
    rng = np.random.default_rng(5)
    assert sum(bool(significant(pairs(simulated(rng, 0.0)))) for _ in range(400)) <= 0.05 * 400


@pytest.mark.parametrize("pairs", [pairs_overall, pairs_by_cycle])
def test_a_real_difference_is_found_and_only_that_one(pairs):
    rng = np.random.default_rng(6)
    found = [significant(pairs(simulated(rng, 4.0))) for _ in range(40)]
    assert sum(("rand", "decomp") in pairs and ("uncert", "decomp") in pairs for pairs in found) >= 36
    assert sum(("rand", "uncert") in pairs for pairs in found) <= 4


def test_without_correction_identical_samplers_would_come_out_different_more_often():
    rng = np.random.default_rng(5)
    raw = sum(any(pair.paired.p <= LEVEL for pair in pairs_by_cycle(simulated(rng, 0.0))) for _ in range(400))
    assert raw > 0.05 * 400


def compared(runs):
    return compare(read_histories(runs), "miou")


@pytest.fixture
def runs(tmp_path):
    """Two budgets' worth of nothing but known scores: decomp leads rand by 0.1 in cycle 2, trails once in cycle 3."""
    rand = [[0.2, 0.4, 0.6], [0.3, 0.5, 0.6], [0.1, 0.3, 0.5]]
    decomp = [[0.2, 0.5, 0.6], [0.3, 0.6, 0.5], [0.1, 0.4, 0.6]]
    return [
        fake_run(tmp_path, scores, seed=seed, sampler=name)
        for name, all_scores in (("rand", rand), ("decomp", decomp))
        for seed, scores in enumerate(all_scores)
    ]


def test_pairs_by_hand(runs):
    comparison = compared(runs)
    (overall,) = pairs_overall(comparison)
    # Areas: trapezoids of (0.1, 0), (0.1, -0.1) and (0.1, 0.1) over two cycles.
    areas = np.array([0.05, 0.025, 0.075])
    assert (overall.first, overall.second, overall.cycle) == ("rand", "decomp", None)
    assert overall.paired.difference.mean == pytest.approx(-areas.mean())
    assert overall.paired.p == overall.p_holm == 0.25
    assert overall.verdict is Verdict.TOO_FEW
    second, third = pairs_by_cycle(comparison)
    assert (second.cycle, third.cycle) == (2, 3)
    assert second.paired.difference.mean == pytest.approx(-0.1)
    assert third.paired.p == sign_flip_test(np.array([0.0, 0.1, -0.1])) == 1.0
    assert (second.p_holm, third.p_holm) == holm([0.25, 1.0])
    assert second.family == 2


def test_the_row_of_the_win_matrix_beats_the_column(runs):
    (matrix,) = wins(compared(runs))
    assert matrix.samplers == ("rand", "decomp")
    assert matrix.counts == ((0, 1), (4, 0))  # cycle 2: decomp thrice; cycle 3: a tie, rand, decomp
    assert matrix.compared[0][1] == 6  # cycle 1 is not counted


def test_pairs_are_joined_by_seed_and_fold_not_by_order(runs):
    shuffled = [*runs[:3], *runs[:2:-1]]
    assert pairs_overall(compared(shuffled)) == pairs_overall(compared(runs))
    assert pairs_by_cycle(compared(shuffled)) == pairs_by_cycle(compared(runs))


def test_a_repeat_that_one_sampler_lacks_is_left_out_as_far_as_it_lacks_it(runs, tmp_path):
    more = [*runs, fake_run(tmp_path, [0.2, 0.4, 0.6], seed=7), RunStore(tmp_path, spec("decomp", seed=7))]
    assert pairs_overall(compared(more)) == pairs_overall(compared(runs))
    behind = fake_run(tmp_path, [0.2, 0.1], seed=8, sampler="decomp")
    ahead = [*runs, fake_run(tmp_path, [0.2, 0.4, 0.6], seed=8), behind]
    second, third = pairs_by_cycle(compared(ahead))
    assert (second.paired.difference.n, third.paired.difference.n) == (4, 3)
    assert (second.paired.wins, second.paired.losses) == (1, 3)


def test_a_pair_is_compared_over_all_repeats_that_both_have(runs, tmp_path):
    failing = [fake_run(tmp_path, [0.2, 0.5, 0.6], sampler="badge"), RunStore(tmp_path, spec("badge", seed=1))]
    pairs = pairs_overall(compared([*runs, *failing]))
    assert [(pair.first, pair.second, pair.paired.difference.n) for pair in pairs] == [
        ("rand", "decomp", 3),
        ("rand", "badge", 1),
        ("decomp", "badge", 1),
    ]
    assert family_notes(pairs)[0].startswith("Budget 1x2-4x4: 1 to 3 repeat(s), 3 comparison(s)")


def test_a_run_that_ended_early_is_compared_as_far_as_it_goes(tmp_path):
    runs = [
        fake_run(tmp_path, [0.2, 0.4, 0.6]),
        fake_run(tmp_path, [0.2, 0.5], sampler="decomp", cycles=2),
        fake_run(tmp_path, [0.2, 0.4, 0.5], sampler="uncert"),
    ]
    pairs = pairs_by_cycle(compared(runs))
    assert [(pair.cycle, pair.first, pair.second) for pair in pairs] == [
        (2, "rand", "decomp"),
        (2, "rand", "uncert"),
        (2, "decomp", "uncert"),
        (3, "rand", "uncert"),
    ]


def test_too_few_repeats_is_said_instead_of_not_significant(runs):
    (note,) = family_notes(pairs_overall(compared(runs)))
    assert "with 3 the smallest possible p is 0.25" in note
    assert "6 would do" in note


def test_one_sampler_alone_is_no_pair(tmp_path):
    comparison = compared([fake_run(tmp_path, [0.2, 0.4])])
    assert pairs_overall(comparison) == pairs_by_cycle(comparison) == ()
    assert family_notes(()) == []
