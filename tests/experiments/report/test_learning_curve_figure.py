import pytest
from helpers.fake_runs import BASE, fake_reference, fake_run
from helpers.report_contents import colour_pixels

from decomp.experiments.report.comparison import compare
from decomp.experiments.report.figures import style_of
from decomp.experiments.report.learning_curve_figure import all_budgets_drawing, learning_curve_drawing
from decomp.experiments.report.run_history import read_histories
from decomp.platform.grid import Budget, Component


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    return [
        *(fake_run(root, [0.2, 0.4, 0.6 + 0.1 * seed], seed=seed) for seed in range(2)),
        *(fake_run(root, [0.2, 0.5, 0.7], seed=seed, sampler="decomp") for seed in range(2)),
        fake_reference(root, 0.72),
    ]


def drawing_of(runs):
    return learning_curve_drawing(compare(read_histories(runs), "miou"))


def test_every_sampler_is_shown_in_its_colour(runs):
    for sampler in ("rand", "decomp"):
        assert colour_pixels(drawing_of(runs), style_of(sampler).colour) > 100


def test_where_all_repeats_reach_the_target_is_marked(runs):
    assert "reaches 95%" in drawing_of(runs).svg  # decomp
    assert "reaches 95%" not in drawing_of([*runs[:2], runs[-1]]).svg  # rand, once


def test_a_panel_says_over_how_many_repeats_its_points_are(runs, tmp_path):
    budget = f"budget {BASE.budget.label}"
    assert f"{budget}, 2 repeats" in drawing_of(runs).svg
    assert f"{budget}, 1 to 2 repeats" in drawing_of([runs[0], *runs[2:], fake_run(tmp_path, [0.2], seed=1)]).svg


def test_all_budgets_share_one_panel(runs, tmp_path):
    assert all_budgets_drawing(compare(read_histories(runs), "miou")) is None
    images = Budget(1, 1, Component("image"))
    budgets = [BASE.budget, images]
    more = [fake_run(tmp_path, [0.2, 0.4 + 0.1 * k, 0.6], budget=budget) for k, budget in enumerate(budgets)]
    drawing = all_budgets_drawing(compare(read_histories(more), "miou"))
    assert colour_pixels(drawing, style_of("rand").colour) > 100
    for budget in budgets:
        assert f"rand, {budget.label}" in drawing.svg
