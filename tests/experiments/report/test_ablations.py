from pydantic import TypeAdapter

from decomp.experiments.report.ablations import Varied, ablations
from decomp.platform.spec import Sampler


def found(*entries):
    samplers = [TypeAdapter(Sampler).validate_python(entry) for entry in entries]
    return [(group.varied, group.fixed, group.members) for group in ablations(samplers)]


def test_samplers_of_the_same_images_differ_in_their_regions():
    assert found("uncert", "rand", {"images": "uncertainty", "regions": "decomposition"}) == [
        (
            Varied.REGIONS,
            "images by uncertainty",
            (("uncert", "uncertainty"), ("uncert_decomp", "decomposition")),
        )
    ]


def test_samplers_of_the_same_regions_differ_in_their_images():
    assert found("decomp", {"images": "random", "regions": "decomposition", "name": "mine"}) == [
        (Varied.IMAGES, "regions by decomposition", (("decomp", "decomposition"), ("mine", "random")))
    ]


def test_thresholds_are_compared_for_the_same_pair():
    entries = [
        "decomp",
        {"sampler": "decomp", "tau": 0.3},
        {"sampler": "decomp", "tau": {2: 0.5, 9: 0.7}, "name": "falling"},
        "rand",
    ]
    assert found(*entries) == [
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


def test_options_are_part_of_a_selector():
    kmeans = {"images": "uncertainty", "regions": {"name": "badge", "seeding": "kmeans++"}}
    ((varied, _, members),) = found("badge", kmeans)
    assert varied is Varied.REGIONS
    assert [value for _, value in members] == ["badge", "badge (seeding kmeans++)"]


def test_samplers_that_differ_in_two_things_or_in_emphasis_are_no_ablation():
    assert found("decomp", "rand", {"sampler": "decomp", "emphasis": {"tumour": 2.0}}) == []
    assert found("decomp", {"images": "random", "regions": "decomposition", "tau": 0.3}) == []


def test_samplers_that_differ_in_their_names_only_are_no_ablation():
    assert found("decomp", {"sampler": "decomp", "name": "twin"}) == []
