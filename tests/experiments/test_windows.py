import pytest
from helpers.nnunet_raw import LAYOUTS, write_layout

from decomp.experiments.plan import make_plan
from decomp.experiments.schema import Experiment
from decomp.experiments.windows import in_pixels, window_of
from decomp.platform.datasets.base import Dataset
from decomp.platform.errors import UserError


class Grid(Dataset):
    """Pixels of a known size."""

    def __init__(self, *spacing):
        self.spacing = spacing or None

    ids = shape = image = labels = fingerprint = None


Grid.__abstractmethods__ = frozenset()


@pytest.mark.parametrize(
    ("extents", "spacing", "expected"),
    [
        ([1, "60 mm", "30mm"], (5.0, 2.0, 2.0), (1, 30, 15)),
        (["10 mm", "7.4 mm", 3], (5.0, 2.0, 2.0), (2, 4, 3)),
        ([1, ".1 mm", "1 mm"], (5.0, 2.0, 2.0), (1, 1, 1)),
        ([1, "60 mm", "60 mm"], (float("nan"), 2.0, 3.0), (1, 30, 20)),
    ],
)
def test_extents_are_rounded_to_pixels(extents, spacing, expected):
    assert in_pixels(window_of(extents), Grid(*spacing)) == expected


@pytest.mark.parametrize(
    ("extents", "spacing", "sentence"),
    [
        (["6 mm", "6 mm"], (), "the size of a pixel is not known for these images; give pixels"),
        (["6 mm", "6 mm"], (5.0, 2.0, 2.0), "one extent per axis, 3 here, not 2"),
        (["6 mm", 1, 1], (float("nan"), 2.0, 2.0), "the distance between slices differs between volumes; give 1"),
    ],
)
def test_what_has_no_size_is_the_users_mistake(extents, spacing, sentence):
    with pytest.raises(UserError, match=sentence):
        in_pixels(window_of(extents), Grid(*spacing))


@pytest.mark.parametrize("extents", [["6 cm", 1], ["mm", 1], ["1e3 mm", 1], [0, "6 mm"], [1.5, "6 mm"], [True, "6 mm"]])
def test_other_extents_are_refused(extents):
    with pytest.raises(ValueError, match="give pixels, like 32, or millimetres, like 60 mm, per axis"):
        window_of(extents)


def planned(tmp_path, *regions, learner=None):
    budgets = [{"n_image": 1, "n_region": 2, "region": list(region), "cycles": 2} for region in regions]
    fields = {"name": "mm", "samplers": ["rand"], "seeds": 1, "budgets": budgets, "storage": str(tmp_path / "runs")}
    data = {"name": "nnunet", "root": str(tmp_path / "Dataset001_Small"), "folds": 2}
    learner = learner or {"name": "nnunet", "configuration": "3d_fullres", "cache": str(tmp_path / "cache")}
    return make_plan(Experiment.model_validate({**fields, "dataset": data, "learner": learner}))


def test_runs_are_identified_by_pixels(tmp_path):
    write_layout(tmp_path, LAYOUTS["liver"])
    plans = [planned(tmp_path, region) for region in ((1, "9 mm", "12 mm"), (1, 6, 8))]
    keys = [[spec.key for spec in plan.specs] for plan in plans]
    assert keys[0] == keys[1]
    assert plans[0].runs[0].label == plans[1].runs[0].label
    with pytest.raises(UserError, match="budgets: 1x2-1x6x8 is given twice, in pixels and in millimetres"):
        planned(tmp_path, (1, 6, 8), (1, "9 mm", "12 mm"))
    with pytest.raises(UserError, match=r"budgets\[1\]\.region: a window has one extent per axis, 3 here, not 2"):
        planned(tmp_path, (1, 6, 8), ("9 mm", "12 mm"))
    with pytest.raises(UserError, match=r"^learner: unet is for images of two axes, [^\n]*$"):
        planned(tmp_path, (1, "9 mm", "12 mm"), learner={"name": "unet"})
    with pytest.raises(UserError, match=r"^learner\.momentum: [^\n]*$"):
        planned(tmp_path, (1, "9 mm", "12 mm"), learner={"name": "nnunet", "momentum": 2})
