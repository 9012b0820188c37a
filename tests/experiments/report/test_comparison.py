import math

import numpy as np
import pytest
from helpers.fake_runs import fake_reference, fake_run, spec

from decomp.experiments.report.axes import axes_of, find_axis
from decomp.experiments.report.comparison import Needed, compare, compare_over
from decomp.experiments.report.curves import amount_needed, area_under_curve, common_range
from decomp.experiments.report.statistics import Spread
from decomp.platform.storage.runs import RunStore


def only(comparison):
    """The result of the one sampler under the one budget."""
    ((result,),) = [budget.samplers for budget in comparison.budgets]
    return result


def test_spread_is_mean_and_sample_standard_deviation():
    assert Spread.of([1.0, 2.0, 6.0]) == Spread(3.0, math.sqrt(7.0), 3)
    assert Spread.of([2.5]) == Spread(2.5, None, 1)


def test_area_under_a_curve_is_its_mean_height():
    shares, scores = np.array([0.0, 0.1, 0.3]), np.array([0.0, 1.0, 0.5])
    # Trapezoids: 0.1 * 0.5 + 0.2 * 0.75 = 0.2, over a range of 0.3.
    assert area_under_curve(shares, scores, 0.0, 0.3) == pytest.approx(0.2 / 0.3)


def test_area_is_cut_between_cycles():
    shares, scores = np.array([0.0, 0.1, 0.3]), np.array([0.0, 1.0, 0.5])
    # From 0.05 (score 0.5) over 0.1 (1.0) to 0.2 (0.75): 0.05 * 0.75 + 0.1 * 0.875 = 0.125, over 0.15.
    assert area_under_curve(shares, scores, 0.05, 0.2) == pytest.approx(0.125 / 0.15)


def test_area_of_a_constant_is_the_constant():
    assert area_under_curve(np.array([0.1, 0.1, 0.4]), np.full(3, 0.7), 0.1, 0.4) == pytest.approx(0.7)


def test_common_range_is_what_all_curves_cover():
    assert common_range([np.array([0.1, 0.5]), np.array([0.2, 0.3, 0.6])]) == (0.2, 0.5)
    assert common_range([np.array([0.1, 0.2]), np.array([0.3, 0.4])]) is None
    assert common_range([np.array([0.1])]) is None
    assert common_range([]) is None


@pytest.mark.parametrize(
    ("target", "share"),
    [
        (0.75, 0.15),  # half way between cycles 1 and 2
        (0.6, 0.12),
        (1.0, 0.2),  # reached exactly
        (0.5, 0.1),  # by the first cycle
        (0.4, 0.1),
        (1.1, None),
    ],
)
def test_amount_needed_is_interpolated_where_the_target_is_first_reached(target, share):
    shares, scores = np.array([0.1, 0.2, 0.3, 0.4]), np.array([0.5, 1.0, 0.6, 1.0])
    assert amount_needed(shares, scores, target) == (None if share is None else pytest.approx(share))


def test_cycles_are_averaged_over_repeats(tmp_path):
    runs = [fake_run(tmp_path, [0.2, 0.4, 0.6]), fake_run(tmp_path, [0.4, 0.4, 0.9], seed=1)]
    cycles = only(compare(runs, "miou")).cycles
    assert [cycle.cycle for cycle in cycles] == [1, 2, 3]
    assert [cycle.score.mean for cycle in cycles] == pytest.approx([0.3, 0.4, 0.75])
    assert cycles[0].score.sd == pytest.approx(0.1 * math.sqrt(2))
    assert cycles[2].amount == Spread(0.03, 0.0, 2)


def test_summary_by_hand(tmp_path):
    runs = [
        fake_run(tmp_path, [0.2, 0.4, 0.6]),
        fake_run(tmp_path, [0.4, 0.4, 0.8], seed=1),
        fake_reference(tmp_path, 0.5),
        fake_reference(tmp_path, 0.6, seed=1),
    ]
    comparison = compare(runs, "miou")
    result = only(comparison)
    assert comparison.reference.mean == pytest.approx(0.55)
    assert comparison.target == pytest.approx(0.95 * 0.55)
    assert result.final.mean == pytest.approx(0.7)
    # (0.3 + 0.5) / 2 and (0.4 + 0.6) / 2
    assert result.area.mean == pytest.approx(0.45)
    assert result.area.sd == pytest.approx(0.05 * math.sqrt(2))
    needed = [0.02 + 0.01 * (0.5225 - 0.4) / 0.2, 0.02 + 0.01 * (0.5225 - 0.4) / 0.4]
    assert result.needed.amount.mean == pytest.approx(np.mean(needed))
    assert (result.needed.reached, result.needed.repeats) == (2, 2)


def test_not_reached_counts_the_repeats_that_do_reach_it(tmp_path):
    runs = [
        fake_run(tmp_path, [0.2, 0.4, 0.6]),
        fake_run(tmp_path, [0.2, 0.4, 0.9], seed=1),
        fake_reference(tmp_path, 0.9),
    ]
    assert only(compare(runs, "miou")).needed == Needed(None, 1, 2)


def test_without_a_reference_nothing_is_needed(tmp_path):
    comparison = compare([fake_run(tmp_path, [0.2, 0.4, 0.6])], "miou")
    assert comparison.reference is None
    assert only(comparison).needed is None


def test_repeats_are_joined_by_seed_and_fold_not_by_order(tmp_path):
    rand = [fake_run(tmp_path, [0.1, s, s], seed=seed) for seed, s in ((0, 0.2), (1, 0.4), (2, 0.6))]
    decomp = [fake_run(tmp_path, [0.1, s, s], seed=seed, sampler="decomp") for seed, s in ((2, 0.7), (1, 0.5))]
    (budget,) = compare([*rand, *decomp], "miou").budgets
    assert budget.repeats == ((1, 0), (2, 0))
    assert [s.final.mean for s in budget.samplers] == pytest.approx([0.5, 0.6])
    assert budget.missing == ("decomp: seed 0 fold 0 is missing.",)
    shuffled = compare([*rand[::-1], *decomp], "miou")
    assert shuffled.budgets[0].samplers == budget.samplers


def test_unfinished_runs_are_named_and_compared_as_far_as_all_samplers_got(tmp_path):
    runs = [
        fake_run(tmp_path, [0.2, 0.4, 0.6]),
        fake_run(tmp_path, [0.2, 0.5], sampler="decomp"),
        RunStore(tmp_path, spec("decomp", seed=1)),
        fake_run(tmp_path, [0.3, 0.5, 0.7], seed=1),
    ]
    (budget,) = compare(runs, "miou").budgets
    assert [len(sampler.cycles) for sampler in budget.samplers] == [2, 2]
    assert [sampler.final for sampler in budget.samplers] == [None, None]
    assert budget.repeats == ()
    assert budget.missing == (
        "decomp: seed 0 fold 0 has 2 cycle(s) and is not finished.",
        "decomp: seed 1 fold 0 has 1 cycle(s) and is not finished.",
    )


def test_area_is_taken_over_the_range_that_all_samplers_cover(tmp_path):
    runs = [
        fake_run(tmp_path, [0.2, 0.4, 0.6], shares=[0.1, 0.2, 0.3]),
        fake_run(tmp_path, [0.2, 0.6, 1.0], shares=[0.1, 0.3, 0.5], sampler="decomp"),
    ]
    (budget,) = compare(runs, "miou").budgets
    assert budget.span == (0.1, 0.3)
    assert [sampler.area.mean for sampler in budget.samplers] == pytest.approx([0.4, 0.4])


def test_the_same_run_twice_is_a_mistake(tmp_path):
    run = fake_run(tmp_path, [0.1])
    with pytest.raises(ValueError, match="one experiment file"):
        compare([run, RunStore(tmp_path, spec(warm_start=True))], "miou")


def test_costs_are_measured_over_any_axis(tmp_path):
    runs = [
        fake_run(tmp_path, [0.2, 0.4, 0.6]),
        fake_run(tmp_path, [0.4, 0.4, 0.8], seed=1),
        fake_reference(tmp_path, 0.5),
    ]
    clicks = find_axis(axes_of("miou"), "clicks")
    result = only(compare(runs, "miou", clicks))
    assert [cycle.amount.mean for cycle in result.cycles] == [7, 14, 21]
    assert result.needed.amount.mean == pytest.approx(np.mean([14 + 7 * 0.075 / 0.2, 14 + 7 * 0.075 / 0.4]))
    assert result.area.mean == pytest.approx(0.45)
    shares = compare(runs, "miou")
    assert compare_over(clicks, shares) == compare(runs, "miou", clicks)
    assert compare_over(shares.axis, compare(runs, "miou", clicks)) == shares
