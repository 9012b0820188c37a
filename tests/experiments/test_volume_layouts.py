"""Public data sets of volumes in the format of nnU-Net, made small: checked, learned for two cycles, and scored."""

import re
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from helpers.nnunet_raw import LAYOUTS, write_layout

from decomp.experiments.plan import make_plan
from decomp.experiments.schema import Experiment, load_experiment
from decomp.platform.components import build_learner
from decomp.platform.loop.loop import Loop
from decomp.platform.loop.shard import PoolShard
from decomp.platform.loop.workers import LocalWorkers
from decomp.platform.predictions import Measure

PAGE = Path(__file__).parents[2] / "docs" / "tasks" / "volumes.md"
DOCUMENTED = dict(re.findall(r"^```yaml\n# (\w+)\.yaml\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL))
TINY = (
    "learner.patch=[8,16,16]",
    "learner.features=[4,8]",
    "learner.convolutions=1",
    "learner.batch=2",
    "learner.loaders=0",
    "learner.iterations_per_epoch=1",
    "learner.max_epochs=1",
    "learner.mirroring=false",
    "reference=null",
    "budgets.0.n_image=2",
    "budgets.0.n_region=2",
)


ALIKE = {*DOCUMENTED, "liver"}
"""Of these the documented experiments are run below, or another one has one channel, CT and exclusive classes too."""


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name in ALIKE)) for name in LAYOUTS])
def test_a_public_layout_is_checked_learned_and_scored(tmp_path, name):
    layout = LAYOUTS[name]
    experiment = Experiment.model_validate(
        {
            "name": name,
            "dataset": {"name": "nnunet", "root": str(write_layout(tmp_path, layout, 3)), "folds": 3},
            "learner": {
                "name": "nnunet",
                "configuration": "3d_fullres",
                "patch": [8, 16, 16],
                "features": [4, 8],
                "convolutions": 1,
                "batch": 2,
                "iterations_per_epoch": 1,
                "max_epochs": 2,
                "mirroring": False,
                "cache": str(tmp_path / "cache"),
            },
            "samplers": [{"images": "uncertainty", "regions": "decomposition"}],
            "budgets": [{"n_image": 1, "n_region": 3, "region": [1, 6, 6], "cycles": 2}],
            "seeds": [0],
            "folds": [0],
            "reference": None,
            "storage": str(tmp_path / "runs"),
        }
    )
    plan = make_plan(experiment)
    assert plan.data_problems() == []
    assert plan.metric == "dice"
    learner = build_learner(experiment.learner)
    assert learner.measure(plan.dataset) is (Measure.LEAST_CONFIDENCE if layout.order else Measure.ENTROPY)
    for store in plan.stores([*plan.firsts, *plan.runs]):
        workers = LocalWorkers(PoolShard(plan.dataset, learner, "cpu"))
        Loop(store, plan.dataset, workers).run()
    record = store.committed()[-1].record
    assert 0 <= record.metrics["dice"] <= 1
    assert set(record.class_metrics["dice"]) == {*layout.labels} - {"background"}
    assert sum(record.annotated.class_pixels) == 2 * 3 * 36


def test_colour_images_in_nnunets_format_are_learned_slice_by_slice(tmp_path):
    folder = write_layout(
        tmp_path, LAYOUTS["hippocampus"], channel_names={"0": "R", "1": "G", "2": "B"}, file_ending=".png"
    )
    for number in range(4):
        pixels = np.random.default_rng(number).integers(0, 255, (40, 32, 3), np.uint8)
        cv2.imwrite(str(folder / "imagesTr" / f"case_{number}_0000.png"), pixels)
        cv2.imwrite(str(folder / "labelsTr" / f"case_{number}.png"), pixels[..., 0] // 100)
    (tmp_path / "pasted.yaml").write_text(DOCUMENTED["acdc"])
    overrides = [
        f"dataset={{name: nnunet, root: {folder}, folds: 2}}",
        *TINY[1:],
        "learner.configuration=2d",
        "learner.patch=[32, 32]",
        f"learner.cache={tmp_path / 'cache'}",
        f"storage={tmp_path / 'runs'}",
        "budgets.0.region=[1, 8, 8 mm]",
    ]
    plan = make_plan(load_experiment(tmp_path / "pasted.yaml", overrides))
    assert plan.data_problems() == []
    assert plan.runs[0].budget.region == (1, 8, 8)
    (store,) = plan.stores(plan.firsts[:1])
    Loop(store, plan.dataset, LocalWorkers(PoolShard(plan.dataset, build_learner(plan.firsts[0].learner), "cpu"))).run()
    record = store.committed()[0].record
    assert 0 < record.metrics["dice"] <= 1
    assert sum(record.annotated.class_pixels) == 2 * 2 * 64


@pytest.mark.parametrize("name", DOCUMENTED)
def test_the_documented_experiments_run_as_pasted(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "pasted.yaml").write_text(DOCUMENTED[name])
    root = Path(yaml.safe_load(DOCUMENTED[name])["dataset"]["root"])
    layout = replace(LAYOUTS[name], shape=(8, 32, 32), spacing=(8, 4, 4) if name == "amos" else LAYOUTS[name].spacing)
    folder = write_layout(tmp_path / "made", layout, 6)
    root.parent.mkdir(parents=True)
    for file in folder.rglob("case_5*"):
        file.rename(file.with_name(file.name.replace("case_5", "BraTS2021_00000")))
    folder.rename(root)
    plan = make_plan(load_experiment(tmp_path / "pasted.yaml", TINY))
    assert plan.data_problems() == []
    (store,) = plan.stores(plan.firsts[:1])
    Loop(store, plan.dataset, LocalWorkers(PoolShard(plan.dataset, build_learner(plan.firsts[0].learner), "cpu"))).run()
    assert 0 <= store.committed()[0].record.metrics["dice"] <= 1
