import pytest
from helpers.fake_runs import fake_run
from helpers.report_contents import rows
from pydantic import TypeAdapter

from decomp.experiments.report.ablations import Ablation, Varied, ablation_table, find_ablations
from decomp.experiments.report.comparison import compare
from decomp.experiments.report.run_history import read_histories
from decomp.platform.grid import Sampler


def groups(*samplers):
    samplers = [TypeAdapter(Sampler).validate_python(sampler) for sampler in samplers]
    return [(group.varied, group.fixed, group.members) for group in find_ablations(samplers)]


def test_samplers_of_the_same_images_differ_in_their_regions():
    assert groups("uncert", "rand", {"images": "uncertainty", "regions": "decomposition"}) == [
        (
            Varied.REGIONS,
            "images by uncertainty",
            (("uncert", "uncertainty"), ("uncert_decomp", "decomposition")),
        )
    ]


def test_samplers_of_the_same_regions_differ_in_their_images():
    assert groups("decomp", {"images": "random", "regions": "decomposition", "name": "mine"}) == [
        (Varied.IMAGES, "regions by decomposition", (("decomp", "decomposition"), ("mine", "random")))
    ]


def test_thresholds_are_compared_for_the_same_pair():
    thresholds = [
        "decomp",
        {"sampler": "decomp", "tau": 0.3},
        {"sampler": "decomp", "tau": {2: 0.5, 9: 0.7}, "name": "falling"},
        "rand",
    ]
    assert groups(*thresholds) == [
        (
            Varied.TAU,
            "images by decomposition, regions by decomposition",
            (
                ("decomp", "0.7"),
                ("decomp_tau-0.3", "0.3"),
                ("falling", "0.5 from cycle 2, 0.7 from cycle 9"),
            ),
        )
    ]


def test_quantiles_are_thresholds():
    assert groups("decomp", {"sampler": "decomp", "tau_quantile": 0.5}) == [
        (
            Varied.TAU,
            "images by decomposition, regions by decomposition",
            (("decomp", "0.7"), ("decomp_tau-quantile-0.5", "quantile 0.5")),
        )
    ]


def test_re_selection_is_varied_alone():
    again = {"sampler": "decomp", "reselect_below": 0.6}
    assert groups("decomp", again, {"images": "decomposition", "regions": "uncertainty"}) == [
        (
            Varied.REGIONS,
            "images by decomposition",
            (("decomp", "decomposition"), ("decomp_uncert", "uncertainty")),
        ),
        (
            Varied.RESELECTION,
            "images by decomposition, regions by decomposition",
            (("decomp", "none"), ("decomp_reselect-below-0.6", "below 0.6")),
        ),
    ]
    assert groups("decomp", again | {"tau": 0.3}) == []


def test_options_are_part_of_a_selector():
    kmeans = {"images": "uncertainty", "regions": {"name": "badge", "seeding": "kmeans++"}}
    ((varied, _, members),) = groups("badge", kmeans)
    assert varied is Varied.REGIONS
    assert [value for _, value in members] == ["badge", "badge (seeding kmeans++)"]


def test_samplers_that_differ_in_two_things_or_in_emphasis_are_no_ablation():
    assert groups("decomp", "rand", {"sampler": "decomp", "emphasis": {"tumour": 2.0}}) == []
    assert groups("decomp", {"images": "random", "regions": "decomposition", "tau": 0.3}) == []


def test_samplers_that_differ_in_their_names_only_are_no_ablation():
    assert groups("decomp", {"sampler": "decomp", "name": "twin"}) == []


def test_members_have_their_final_scores(tmp_path):
    runs = [
        *(fake_run(tmp_path, [0.2, 0.4, 0.6 + 0.1 * seed], seed=seed) for seed in range(2)),
        *(fake_run(tmp_path, [0.2, 0.5, 0.7], seed=seed, sampler="decomp") for seed in range(2)),
    ]
    comparison = compare(read_histories(runs), "miou")
    ablation = Ablation(Varied.REGIONS, "images by a", (("rand", "b"), ("decomp", "c")))
    table = rows(ablation_table([(ablation, comparison.budgets[0])]))
    assert [(row["sampler"], row["value"], row["final_mean"]) for row in table] == [
        ("rand", "b", pytest.approx(0.65)),
        ("decomp", "c", pytest.approx(0.7)),
    ]
