"""Experiments of samplers beyond the paper: which budgets they spend, what is shared, and what is refused."""

import re

import pytest
from rich.console import Console

from decomp.experiments.checking import plan_table
from decomp.experiments.plan import make_plan
from decomp.experiments.schema import load_experiment
from decomp.experiments.tracking.fields import run_tags
from decomp.platform.errors import UserError

BY_IMAGES = "{n_image: 2, n_region: 3, region: [4, 4], cycles: 5}"
OF_POOL = "{total: 6, n_region: 3, region: [4, 4], cycles: 4}"
BOTH = f"budgets=[{BY_IMAGES}, {OF_POOL}]"


def plan_of(file, *overrides):
    return make_plan(load_experiment(file, overrides))


def test_a_sampler_spends_the_budgets_that_fit_it(toy_file):
    plan = plan_of(toy_file, BOTH, "samplers=[rand, power-pe, {images: all, regions: random}]", "seeds=1")
    assert [(run.sampler.name, run.budget.label) for run in plan.runs] == [
        ("rand", "2x3-4x4"),
        ("power-pe", "6-of-pool-3-4x4"),
        ("all_rand", "6-of-pool-3-4x4"),
    ]
    assert len(plan.firsts) == 2


def test_a_start_is_shared_by_all_budgets(toy_file):
    plan = plan_of(toy_file, BOTH, "samplers=[rand, power-pe]", "seeds=1", "start=random")
    (first,) = plan.firsts
    assert first.budget == plan.experiment.budgets[0].of_cycle
    other = plan_of(
        toy_file,
        BOTH,
        "samplers=[rand, power-pe]",
        "seeds=1",
        "start={choice: all-classes, budget: {n_image: 3, n_region: 4, region: [4, 4]}}",
    )
    (first,) = other.firsts
    assert first.label == "first-cycle/3x4-4x4/seed-0-fold-0"
    assert not {run.key for run in plan.runs} & {run.key for run in other.runs}


def test_noise_that_fades_knows_how_long(toy_file):
    plan = plan_of(toy_file, BOTH, "samplers=[rand, clasp-pe]", "seeds=1")
    assert plan.runs[-1].sampler.regions.options == {"selections": 3}
    assert plan.runs[-1].sampler.name == "clasp-pe"
    longer = plan_of(toy_file, BOTH.replace("cycles: 4", "cycles: 9"), "samplers=[rand, clasp-pe]", "seeds=1")
    assert longer.runs[-1].key != plan.runs[-1].key
    assert longer.runs[0].key == plan.runs[0].key


def test_what_reads_the_truth_is_marked_in_plan_and_tags(toy_file):
    overrides = ["samplers=[rand-pred-fg, {sampler: rand-fg-33, background: ground}]", f"budgets=[{OF_POOL}]"]
    plan = plan_of(
        toy_file, *overrides, "start={choice: all-classes, budget: {n_image: 3, n_region: 4, region: [4, 4]}}"
    )
    console = Console(width=160, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(plan_table(plan, plan.histories()))
    table = console.export_text()
    assert "rand-fg-33_without-ground 6-of-pool-3-4x4 (oracle baseline: reads the truth)" in table
    assert "first cycles, shared by all samplers (start with all classes: reads the truth)" in table
    assert table.count("reads the truth") == 2
    tags = {run.sampler.name: run_tags(run).get("oracle_baseline") for run in plan.runs}
    assert tags == {"rand-pred-fg": None, "rand-fg-33_without-ground": "reads the truth"}


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            [
                "samplers=[{sampler: decomp, reselect_below: 0.5}]",
                "budgets=[{n_image: 2, n_region: 1, region: image, cycles: 2}]",
            ],
            r"samplers\[0\]\.reselect_below: an image that is annotated as a whole is no candidate again",
        ),
        (["samplers=[power-pe]"], r"samplers\[0\]: power-pe has no budget that it can spend; add one with a total"),
        (["samplers=[rand]", BOTH], r"budgets\[1\]: no sampler can spend this budget; add one with images: all"),
        (
            [f"budgets=[{OF_POOL}]", "samplers=[{images: all, regions: decomposition}]"],
            r"samplers\[0\]\.images: decomposition gives no scores that can be compared between images",
        ),
        (
            ["budgets=[{total: 6, n_image: 2, n_region: 3, region: [4, 4], cycles: 4}]"],
            r"budgets\[0\]: give either n_image or total, not both",
        ),
        (["budgets=[{n_region: 3, region: [4, 4], cycles: 4}]"], r"budgets\[0\]\.n_image' is missing"),
        (["start=all-classes"], "start: two regions of each of 4 classes are 8, but the budget has 6"),
        (["start=rare"], r"start\.choice: .*'random' or 'all-classes'"),
        (
            ["start={budget: {n_image: 2, n_region: 1, region: [99, 4]}}"],
            r"start\.budget\.region: a region of 99 x 4 does not fit",
        ),
        (["samplers=[{sampler: power-pe, images: random, regions: random}]"], "either sampler, or images and regions"),
        (["samplers=[powerpe]"], r"unknown sampler 'powerpe' \(did you mean 'power-pe'\?\)"),
    ],
)
def test_what_cannot_work_is_refused(toy_file, overrides, message):
    with pytest.raises(UserError) as caught:
        plan_of(toy_file, *overrides)
    assert re.search(message, str(caught.value)), str(caught.value)
