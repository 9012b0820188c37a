import itertools
import json

import numpy as np
import pytest

from decomp.platform.errors import UserError
from decomp.platform.learners.nnunet.geometry import Geometry
from decomp.platform.learners.nnunet.heads import Nesting
from decomp.platform.learners.nnunet.planning import adapt, plan

NESTING = Nesting.of(("background", "kidney", "tumour", "cyst"), {"all": (1, 2, 3), "masses": (2, 3), "tumour": (2,)})
SMALL = {"a": Geometry((20, 40, 40), (5.0, 3.0, 3.0)), "b": Geometry((24, 50, 44), (4.0, 2.0, 2.5))}


def configuration(plans: dict) -> dict:
    (found,) = plans["configurations"].values()
    return found


def network(plans: dict) -> dict:
    return configuration(plans)["architecture"]["arch_kwargs"]


@pytest.mark.parametrize("name", ["2d", "3d_lowres", "3d_fullres"])
def test_plans_hold_one_configuration_of_json_types(name: str) -> None:
    plans = plan(SMALL, NESTING, name, None)
    assert list(plans["configurations"]) == [name]
    assert plans["transpose_forward"] == [0, 1, 2]
    assert "next_stage" not in configuration(plans)
    assert json.loads(json.dumps(plans)) == plans


def test_small_volumes_have_the_full_resolution_as_the_low_one() -> None:
    low, full = (configuration(plan(SMALL, NESTING, name, None)) for name in ("3d_lowres", "3d_fullres"))
    assert low["spacing"] == full["spacing"] == [4.5, 2.5, 2.75]
    assert low["patch_size"] == full["patch_size"]
    assert low["batch_dice"] is False


@pytest.mark.slow
def test_large_volumes_have_a_low_resolution_of_their_own() -> None:
    large = {str(k): Geometry((400, 512, 512), (1.0, 0.78, 0.78)) for k in range(3)}
    low, full = (configuration(plan(large, NESTING, name, None)) for name in ("3d_lowres", "3d_fullres"))
    assert full["spacing"] == [1.0, 0.78, 0.78]
    assert min(np.array(low["spacing"]) / full["spacing"]) > 1.5
    assert np.prod(low["median_image_size_in_voxels"]) < 4 * np.prod(low["patch_size"])


@pytest.mark.parametrize("name", ["3d_lowres", "3d_fullres"])
def test_a_given_spacing_is_the_grids(name: str) -> None:
    plans = plan(SMALL, NESTING, name, (6.0, 4.0, 4.0))
    assert configuration(plans)["spacing"] == [6.0, 4.0, 4.0]
    assert configuration(plan(SMALL, NESTING, "2d", (6.0, 4.0, 3.5)))["spacing"] == [4.0, 3.5]


def test_plans_do_not_depend_on_the_order_of_volumes() -> None:
    plans = [plan(dict(order), NESTING, "3d_lowres", None) for order in itertools.permutations(SMALL.items())]
    assert plans[0] == plans[1]


def test_nothing_given_changes_nothing() -> None:
    plans = plan(SMALL, NESTING, "3d_lowres", None)
    assert adapt(plans, None, None, None, None) == plans


def test_given_patch_and_network_are_used() -> None:
    plans = plan(SMALL, NESTING, "3d_lowres", (5.0, 3.0, 3.0))
    adapted = adapt(plans, (16, 48, 48), 3, (8, 16, 32), 1, True)
    assert configuration(adapted)["batch_dice"] is True
    assert configuration(plans)["batch_dice"] is False
    assert configuration(adapted)["patch_size"] == [16, 48, 48]
    assert configuration(adapted)["batch_size"] == 3
    assert network(adapted)["features_per_stage"] == [8, 16, 32]
    assert network(adapted)["n_conv_per_stage"] == [1, 1, 1]
    assert network(adapted)["n_conv_per_stage_decoder"] == [1, 1]
    assert np.prod(network(adapted)["strides"], axis=0).tolist() == [4, 4, 4]
    assert configuration(plans)["batch_size"] != 3


def test_a_patch_alone_gives_the_network_that_nnunet_would_plan_for_it() -> None:
    plans = plan(SMALL, NESTING, "3d_lowres", None)
    adapted = adapt(plans, configuration(plans)["patch_size"], None, None, None)
    assert adapted == plans


@pytest.mark.parametrize(
    ("patch", "features", "message"),
    [
        ((16, 48), None, "must have 3 numbers"),
        ((17, 48, 48), None, r"multiple of \["),
        ((8, 8, 8), (8, 16, 32, 64, 128), "allows 2 stages, not 5"),
    ],
)
def test_a_patch_that_does_not_fit_is_the_users_mistake(
    patch: tuple[int, ...], features: tuple[int, ...] | None, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        adapt(plan(SMALL, NESTING, "3d_lowres", None), patch, None, features, None)
