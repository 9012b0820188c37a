import math

import numpy as np
import pytest
from helpers.fake_runs import fake_reference, fake_run, spec

from decomp.experiments.report.axes import axes_of, find_axis
from decomp.experiments.report.comparison import Needed, compare, compare_over
from decomp.experiments.report.run_history import read_histories
from decomp.experiments.report.statistics import Spread
from decomp.platform.storage.runs import RunStore


def only(comparison):
    """The result of the one sampler under the one budget."""
    ((result,),) = [budget.samplers for budget in comparison.budgets]
    return result


def test_cycles_are_averaged_over_repeats(tmp_path):
    runs = [fake_run(tmp_path, [0.2, 0.4, 0.6]), fake_run(tmp_path, [0.4, 0.4, 0.9], seed=1)]
    cycles = only(compare(read_histories(runs), "miou")).cycles
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
    comparison = compare(read_histories(runs), "miou")
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
    assert only(compare(read_histories(runs), "miou")).needed == Needed(None, 1, 2)


def test_a_first_cycle_that_reaches_the_target_is_no_exact_amount(tmp_path):
    runs = [fake_run(tmp_path, [0.9] * 3), fake_run(tmp_path, [0.2, 0.9, 0.9], seed=1), fake_reference(tmp_path, 0.5)]
    needed = only(compare(read_histories(runs), "miou")).needed
    second = 0.01 + 0.01 * (0.475 - 0.2) / 0.7
    assert needed == Needed(None, 2, 2, 1, pytest.approx((0.01 + second) / 2))
    missed = fake_run(tmp_path, [0.2, 0.3, 0.3], seed=2)
    assert only(compare(read_histories([*runs, missed]), "miou")).needed == Needed(None, 2, 3, 1)


def test_a_sampler_with_few_repeats_is_summed_up_beside_the_others(tmp_path):
    rand = [fake_run(tmp_path, [0.1, s], cycles=2, seed=seed) for seed, s in enumerate((0.2, 0.4, 0.6))]
    uncert = [fake_run(tmp_path, [0.1, 0.5], cycles=2, seed=seed, sampler="uncert") for seed in range(3)]
    (budget,) = compare(
        read_histories([*rand, *uncert, fake_run(tmp_path, [0.1, 0.7], cycles=2, seed=2, sampler="decomp")]), "miou"
    ).budgets
    assert budget.repeats == ((0, 0), (1, 0), (2, 0))
    assert [sampler.final.mean for sampler in budget.samplers] == pytest.approx([0.4, 0.5, 0.7])
    assert [sampler.final.n for sampler in budget.samplers] == [3, 3, 1]
    assert [sampler.sampler for sampler in budget.ranked] == ["rand", "uncert"]
    assert budget.aside == (
        "decomp is summed up over 1 of the 3 repeat(s) that the others are compared over, and is not ranked.",
    )


def test_without_a_reference_nothing_is_needed(tmp_path):
    comparison = compare(read_histories([fake_run(tmp_path, [0.2, 0.4, 0.6])]), "miou")
    assert comparison.reference is None
    assert only(comparison).needed is None


def test_repeats_are_joined_by_seed_and_fold_not_by_order(tmp_path):
    rand = [fake_run(tmp_path, [0.1, s, s], seed=seed) for seed, s in ((0, 0.2), (1, 0.4), (2, 0.6))]
    decomp = [fake_run(tmp_path, [0.1, s, s], seed=seed, sampler="decomp") for seed, s in ((2, 0.7), (1, 0.5))]
    (budget,) = compare(read_histories([*rand, *decomp]), "miou").budgets
    assert budget.repeats == ((1, 0), (2, 0))
    assert [s.final.mean for s in budget.samplers] == pytest.approx([0.5, 0.6])
    assert budget.missing == ("decomp: seed 0 fold 0 is missing.",)
    shuffled = compare(read_histories([*rand[::-1], *decomp]), "miou")
    assert shuffled.budgets[0].samplers == budget.samplers


def test_unfinished_runs_are_named_and_hold_nobody_back(tmp_path):
    runs = [
        fake_run(tmp_path, [0.2, 0.4, 0.6]),
        fake_run(tmp_path, [0.2, 0.5], sampler="decomp"),
        RunStore(tmp_path, spec("decomp", seed=1)),
        fake_run(tmp_path, [0.3, 0.5, 0.7], seed=1),
    ]
    (budget,) = compare(read_histories(runs), "miou").budgets
    assert [len(sampler.cycles) for sampler in budget.samplers] == [3, 2]
    assert [[cycle.score.n for cycle in sampler.cycles] for sampler in budget.samplers] == [[2, 1, 2], [2, 1]]
    assert [sampler.final and sampler.final.mean for sampler in budget.samplers] == [pytest.approx(0.65), None]
    assert budget.repeats == ((0, 0), (1, 0))
    assert budget.missing == (
        "decomp: seed 0 fold 0 has 2 cycle(s) and is not finished.",
        "decomp: seed 1 fold 0 has 1 cycle(s) and is not finished.",
    )


def test_area_is_taken_over_the_range_that_all_samplers_cover(tmp_path):
    runs = [
        fake_run(tmp_path, [0.2, 0.4, 0.6], shares=[0.1, 0.2, 0.3]),
        fake_run(tmp_path, [0.2, 0.6, 1.0], shares=[0.1, 0.3, 0.5], sampler="decomp"),
    ]
    (budget,) = compare(read_histories(runs), "miou").budgets
    assert {sampler.span for sampler in budget.samplers} == {(0.1, 0.3)}
    assert [sampler.area.mean for sampler in budget.samplers] == pytest.approx([0.4, 0.4])


def test_the_same_run_twice_is_a_mistake(tmp_path):
    run = fake_run(tmp_path, [0.1])
    with pytest.raises(ValueError, match="one experiment file"):
        compare(read_histories([run, RunStore(tmp_path, spec(warm_start=True))]), "miou")


def test_costs_are_measured_over_any_axis(tmp_path):
    runs = [
        fake_run(tmp_path, [0.2, 0.4, 0.6]),
        fake_run(tmp_path, [0.4, 0.4, 0.8], seed=1),
        fake_reference(tmp_path, 0.5),
    ]
    clicks = find_axis(axes_of("miou"), "clicks")
    result = only(compare(read_histories(runs), "miou", clicks))
    assert [cycle.amount.mean for cycle in result.cycles] == [7, 14, 21]
    assert result.needed.amount.mean == pytest.approx(np.mean([14 + 7 * 0.075 / 0.2, 14 + 7 * 0.075 / 0.4]))
    assert result.area.mean == pytest.approx(0.45)
    shares = compare(read_histories(runs), "miou")
    assert compare_over(clicks, shares) == compare(read_histories(runs), "miou", clicks)
    assert compare_over(shares.axis, compare(read_histories(runs), "miou", clicks)) == shares
