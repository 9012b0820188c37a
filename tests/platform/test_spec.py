import json
from dataclasses import replace

import pytest
from helpers.toy_runs import DECOMP, REFERENCE, ROI_RUNS

from decomp.platform.grid import Budget, Component, Sampler
from decomp.platform.spec import RunSpec

PARTITION = Budget(2, 3, Component("slic", {"segments": 40}))
PAIR = Sampler(
    "",
    Component("decomposition", {"cap": 0.2}),
    Component("badge"),
    ((2, 0.5), (9, 0.7)),
    {"car": 2.0},
    "sky",
    "margin",
)
OPTIONS = Component("m:Mine", {"options": {"name": "x"}, "deep": [1, {"a": None}]})


@pytest.mark.parametrize(
    "spec",
    [
        DECOMP,
        DECOMP.first,
        REFERENCE,
        ROI_RUNS[0],
        replace(DECOMP, budget=PARTITION, sampler=PAIR, learner=OPTIONS),
    ],
    ids=lambda spec: spec.label,
)
def test_a_run_is_read_back_from_its_identity(spec):
    read = RunSpec.from_json(json.dumps(spec.identity()))
    assert read == replace(spec, cycles=1)
    assert read.key == spec.key


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"format": 4, "kind": "walk"}'])
def test_what_is_no_identity_is_refused(content):
    with pytest.raises(ValueError, match="RunSpec"):
        RunSpec.from_json(content)


def test_a_sampler_without_a_name_is_named_after_its_selectors_and_what_is_special():
    assert PAIR.name == "decomp_badge_cap-0.2_tau-0.5-0.7_car-x2_without-sky_margin"


def test_options_are_added_to_a_component_or_replaced():
    component = Component("unet", {"batch": 8, "widths": [1]})
    assert component.with_options({"batch": 4, "seed": 1}).options == {"batch": 4, "widths": [1], "seed": 1}
    assert component.options == {"batch": 8, "widths": [1]}
