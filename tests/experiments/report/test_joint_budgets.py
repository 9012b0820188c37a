from dataclasses import replace

import pytest
from helpers.fake_runs import fake_reference, fake_run, spec
from helpers.toy_runs import run_locally

from decomp.experiments.plan import make_plan
from decomp.experiments.report.axes import axes_of, find_axis
from decomp.experiments.report.comparison import compare, compare_over
from decomp.experiments.report.conclusions import conclusions
from decomp.experiments.report.design import design_of
from decomp.experiments.report.joint_budgets import joint_budgets
from decomp.experiments.report.page_building import with_page
from decomp.experiments.report.pairs import pairs_overall
from decomp.experiments.report.report import compile_report
from decomp.experiments.report.run_history import RunHistory, read_histories
from decomp.experiments.schema import load_experiment
from decomp.platform.grid import Budget, Start
from decomp.platform.storage.runs import RunStore

IMAGES, POOL = Budget(2, 3, (4, 4)), Budget(None, 3, (4, 4), total=6)
JOINT = "2x3-4x4 and 6-of-pool-3-4x4"
START = Start(budget=IMAGES)


def of(sampler, budget, start=START, seed=0):
    return replace(spec(sampler, seed=seed), budget=budget, start=start)


def test_budgets_of_images_and_of_the_pool_with_one_start_and_as_many_regions_are_joint():
    assert joint_budgets([of("rand", IMAGES), of("clasp", POOL)]) == {"2x3-4x4": JOINT, "6-of-pool-3-4x4": JOINT}


@pytest.mark.parametrize(
    "other",
    [
        of("clasp", replace(POOL, total=7)),
        of("clasp", replace(POOL, region=(8, 8))),
        of("clasp", POOL, start=None),
        of("rand", POOL),
    ],
)
def test_what_differs_in_regions_or_start_or_has_a_sampler_twice_is_compared_by_itself(other):
    joint = joint_budgets([of("rand", IMAGES), other])
    assert joint == {label: label for label in ("2x3-4x4", other.budget.label)}


def test_the_whole_pool_is_compared_with_the_first_of_several_budgets_of_images():
    sparse = Budget(6, 1, (4, 4))
    runs = [of(name, budget) for budget in (IMAGES, sparse) for name in ("rand", "decomp")]
    joint = joint_budgets([*runs, of("clasp", POOL)])
    assert joint == {"2x3-4x4": JOINT, "6x1-4x4": "6x1-4x4", "6-of-pool-3-4x4": JOINT}


def test_samplers_of_joint_budgets_are_compared_with_each_other(tmp_path):
    runs = [
        fake_run(tmp_path, [0.2, 0.4, 0.5 + 0.1 * k], sampler=name, seed=seed, budget=budget, start=START)
        for k, (name, budget) in enumerate([("rand", IMAGES), ("clasp", POOL)])
        for seed in range(2)
    ]
    comparison = compare(read_histories([*runs, fake_reference(tmp_path, 0.7)]), "miou")
    (result,) = comparison.budgets
    assert result.budget == JOINT
    assert [sampler.sampler for sampler in result.samplers] == ["rand", "clasp"]
    (pair,) = pairs_overall(comparison)
    assert pair.paired.difference.mean == pytest.approx(-0.025)


def test_a_report_shows_joint_budgets_as_one_and_analyses_each(toy_file, tmp_path):
    budgets = (
        "[{n_image: 2, n_region: 3, region: [4, 4], cycles: 3}, {total: 6, n_region: 3, region: [4, 4], cycles: 3}]"
    )
    samplers = "[rand, decomp, power-pe, {images: all, regions: random}]"
    overrides = [f"budgets={budgets}", f"samplers={samplers}", "start=random", "contrasts={against: decomp}"]
    plan = make_plan(load_experiment(toy_file, overrides))
    run_locally(plan.experiment.root, *plan.references, *plan.runs)
    histories = read_histories(plan.compared)
    report = with_page(compile_report(histories, tmp_path / "report", plan.metric, design=design_of(plan)), plan)
    (result,) = report.comparison.budgets
    assert [sampler.sampler for sampler in result.samplers] == ["rand", "decomp", "power-pe", "all_rand"]
    assert {(pair.first, pair.second) for pair in pairs_overall(report.comparison)} == {
        ("decomp", "rand"),
        ("decomp", "power-pe"),
        ("decomp", "all_rand"),
    }
    assert {"class_scores_2x3-4x4", "class_scores_6-of-pool-3-4x4"} <= {drawing.name for drawing in report.drawings}
    assert "2x3-4x4 and 6-of-pool-3-4x4" in report.html


def of_slides(tmp_path):
    """Runs of which those in the whole pool pass with their second cycle all the slides that the others open."""
    curves = {"rand": ([1, 2, 3], [4, 8, 12]), "decomp": ([1, 2, 3], [4, 9, 16]), "clasp": ([1, 4, 5], [4, 8, 12])}
    comparison = compare(
        read_histories(
            [
                fake_run(tmp_path, [0.2, 0.3, 0.6], sampler=name, seed=seed, start=START, budget=budget)
                for name, budget in (("rand", IMAGES), ("decomp", IMAGES), ("clasp", POOL))
                for seed in range(2)
            ]
        ),
        "miou",
    )
    annotated = [
        tuple(
            replace(each, image_share=images / 10, share=rois / 20, openings=images)
            for each, images, rois in zip(curve.annotated, *curves[curve.sampler], strict=True)
        )
        for curve in comparison.curves
    ]
    changed = tuple(replace(curve, annotated=a) for curve, a in zip(comparison.curves, annotated, strict=True))
    return replace(comparison, metric="weighted_f1", curves=changed)


@pytest.mark.parametrize("axis", ["image_share", "openings"])
def test_over_images_areas_are_compared_within_a_budget_only(axis, tmp_path):
    comparison = compare_over(find_axis(axes_of("weighted_f1"), axis), of_slides(tmp_path))
    assert [(pair.first, pair.second) for pair in pairs_overall(comparison)] == [("rand", "decomp")]
    (result,) = comparison.budgets
    unit = 0.1 if axis == "image_share" else 1
    assert [s.span for s in result.samplers] == [pytest.approx((unit, last * unit)) for last in (3, 3, 5)]
    assert not any("height" in sentence for sentence in conclusions(comparison)[JOINT])  # there is no common one


@pytest.mark.parametrize("axis", ["share", "regions", "hours"])
def test_over_what_is_annotated_all_samplers_are_compared(axis, tmp_path):
    comparison = compare_over(find_axis(axes_of("weighted_f1"), axis), of_slides(tmp_path))
    assert len(pairs_overall(comparison)) == 3
    assert len({sampler.span for sampler in comparison.budgets[0].samplers}) == 1


@pytest.mark.parametrize(
    ("metric", "budgets", "axis"),
    [
        ("weighted_f1", [IMAGES], "image_share"),
        ("weighted_f1", [IMAGES, Budget(6, 1, (4, 4))], "image_share"),
        ("weighted_f1", [IMAGES, POOL], "share"),
        ("miou", [IMAGES, POOL], "share"),
    ],
)
def test_slides_are_the_axis_of_rois_unless_budgets_of_the_whole_pool_are_compared_with_them(metric, budgets, axis):
    runs = [RunStore("nowhere", of("rand" if budget.total is None else "clasp", budget)) for budget in budgets]
    comparison = compare([RunHistory(run, ()) for run in runs], metric)
    assert comparison.axis.name == axis
    said = any("never over slides" in caveat for caveat in comparison.caveats)
    assert said == (metric == "weighted_f1" and axis == "share")
