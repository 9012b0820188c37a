"""People who know the truth give, in every format, what the simulation reveals, whenever they are interrupted."""

from dataclasses import replace

import pytest
from helpers.annotating import answer_geojson, answer_label_studio, answer_nifti
from helpers.annotators import LiveRun, of_scenes, results
from helpers.nnunet_raw import LAYOUTS, write_layout

from decomp.platform.annotation.geojson import GeoJson
from decomp.platform.annotation.label_studio import LabelStudio
from decomp.platform.annotation.nifti import NiftiLabels
from decomp.platform.grid import Budget, Component

CYCLES = 3


@pytest.mark.parametrize(
    ("annotation_format", "write"), [(LabelStudio(), answer_label_studio), (GeoJson(), answer_geojson)]
)
def test_true_answers_about_pictures_give_the_results_of_the_simulation_byte_for_byte(
    tmp_path, annotation_format, write
):
    live = of_scenes(tmp_path, CYCLES)
    live.annotation_format, live.write = annotation_format, write
    store = live.answer_all()
    assert len(store.committed()) == CYCLES
    assert results(store) == results(live.simulate())


@pytest.mark.parametrize(
    ("annotation_format", "write"), [(LabelStudio(), answer_label_studio), (GeoJson(), answer_geojson)]
)
def test_answers_may_come_one_by_one(tmp_path, annotation_format, write):
    live = of_scenes(tmp_path, CYCLES)
    live.annotation_format, live.write = annotation_format, write
    pending = live.annotate()
    for number in range(pending.total - 1):
        live.answer(pending, only=range(number + 1))
        assert live.annotate().answered == number + 1
    live.answer(pending)
    assert live.annotate().cycle == 2


@pytest.mark.parametrize(("layout", "region"), [("hippocampus", (1, 8, 8)), ("acdc", (2, 6, 6))])
def test_true_answers_about_volumes_give_the_results_of_the_simulation_byte_for_byte(tmp_path, layout, region):
    options = {"root": str(write_layout(tmp_path, replace(LAYOUTS[layout], test=1), cases=3))}
    small = {"configuration": "3d_fullres", "features": [4, 8], "patch": [8, 16, 16], "batch": 2, "convolutions": 1}
    short = {"max_epochs": 1, "iterations_per_epoch": 2, "mirroring": False, "augmentation": "light"}
    learner = Component("nnunet", {**small, **short, "cache": str(tmp_path / "cache")})
    dataset = Component("nnunet", options)
    live = LiveRun(tmp_path, dataset, learner, Budget(2, 2, region), 2, NiftiLabels(), answer_nifti)
    store = live.answer_all()
    assert len(store.committed()) == 2
    assert results(store) == results(live.simulate())
