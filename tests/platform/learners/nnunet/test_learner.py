import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers.toy_volumes import Ellipsoids
from torch import nn

from decomp.platform.components import build_learner
from decomp.platform.errors import UserError
from decomp.platform.grid import Component
from decomp.platform.learners.base import Learner
from decomp.platform.learners.checkpoints import write_checkpoint
from decomp.platform.learners.nnunet import NnUNet
from decomp.platform.learners.nnunet.prepared import PreparedVolumes
from decomp.platform.predictions import Measure


@pytest.mark.parametrize(
    ("regions", "options", "expected"),
    [
        (100, {}, 100),
        (4500, {}, 1000),
        (0, {}, 1),
        (100, {"epochs_per_region": 0.5}, 50),
        (101, {"epochs_per_region": 0.5}, 51),
        (30, {"epochs_per_region": 0.1}, 3),
        (3, {"min_epochs": 50}, 50),
        (386, {"min_epochs": 1000}, 1000),
        (10, {"epochs_per_region": 0, "min_epochs": 7, "max_epochs": 9}, 7),
    ],
)
def test_epochs_follow_the_annotation(regions: int, options: dict[str, float], expected: int) -> None:
    assert NnUNet(**options).training_epochs(regions) == expected  # type: ignore[arg-type]


def test_the_experiment_file_names_it() -> None:
    built = build_learner(Component("nnunet", {"patch": [16, 48, 48], "spacing": [3, 2, 2], "cache": "~/x"}))
    assert built == NnUNet(patch=(16, 48, 48), spacing=(3.0, 2.0, 2.0), cache="~/x")
    assert isinstance(built, Learner)
    assert built.uncertainty is Measure.LEAST_CONFIDENCE


@pytest.mark.parametrize(
    ("option", "value", "rule"),
    [
        ("configuration", "3d", "'3d_lowres', '3d_fullres' or '2d'"),
        ("spacing", (1.0, 0.0, 1.0), "greater than 0"),
        ("patch", (16, 48), "must have 3 numbers"),
        ("patch", (16, 48, 0), "greater than or equal to 1"),
        ("batch", 0, "greater than or equal to 1"),
        ("features", (8,), "at least 2 items"),
        ("convolutions", 0, "greater than or equal to 1"),
        ("window", (500.0, -200.0), "the smaller number first"),
        ("max_epochs", 0, "greater than or equal to 1"),
        ("min_epochs", 1001, "at most max_epochs, which is 1000"),
        ("epochs_per_region", -1.0, "greater than or equal to 0"),
        ("iterations_per_epoch", 0, "greater than or equal to 1"),
        ("learning_rate", float("nan"), ""),
        ("momentum", 1.0, "less than 1"),
        ("weight_decay", -1.0, "greater than or equal to 0"),
        ("loaders", -1, "greater than or equal to 0"),
        ("threads", 0, "greater than or equal to 1"),
    ],
)
def test_unfit_options_are_the_users_mistakes(option: str, value: object, rule: str) -> None:
    with pytest.raises(UserError, match=rf"learner\.{option}(\[\d\])?: .*{rule}"):
        build_learner(Component("nnunet", {option: value}))


def test_naming_the_learner_does_not_import_nnunet() -> None:
    program = (
        "import sys; from decomp.platform.learners.nnunet import NnUNet; from helpers.toy_volumes import Ellipsoids; "
        "NnUNet().prepare(Ellipsoids()); print([name for name in sys.modules if name.startswith('nnunetv2')])"
    )
    found = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {sys.path!r}; {program}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout == "[]\n"


class Renamed(Ellipsoids):
    classes = ("background", "kidney", "tumour", "stone")


class Renested(Ellipsoids):
    nested = {"all": (1, 2, 3), "masses": (2, 3), "cyst": (3,)}  # noqa: RUF012


def test_checkpoints_of_other_data_are_the_users_mistake(learner: NnUNet, model: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="was trained for the classes"):
        learner.load(model, Renamed(), "cpu")
    with pytest.raises(UserError, match="was trained for the nested classes kidney_and_masses"):
        learner.load(model, Renested(), "cpu")
    (tmp_path / "text").write_text("text")
    with pytest.raises(UserError, match="Cannot read the checkpoint"):
        learner.load(tmp_path / "text", Ellipsoids(), "cpu")
    write_checkpoint(tmp_path / "other", nn.Module(), {"format": "decomp-unet-1", "classes": Ellipsoids.classes})
    with pytest.raises(UserError, match=r"no checkpoint of the nnU-Net"):
        learner.load(tmp_path / "other", Ellipsoids(), "cpu")


def test_a_checkpoint_is_loaded_whatever_the_options_of_the_network(
    learner: NnUNet, volumes: PreparedVolumes, model: Path
) -> None:
    other = replace(learner, features=(4, 8, 12), patch=(8, 16, 16))
    first, second = (
        some.load(model, volumes, "cpu").evaluate(volumes, "case/02", volumes.image("case/02"))
        for some in (learner, other)
    )
    assert np.array_equal(first, second)
