"""Public data sets of volumes in the format of nnU-Net, made small: checked, learned for two cycles, and scored."""

import pytest
from helpers.nnunet_raw import LAYOUTS, write_layout

from decomp.experiments.plan import make_plan
from decomp.experiments.schema import Experiment
from decomp.platform.components import build_learner
from decomp.platform.loop.loop import Loop
from decomp.platform.loop.shard import PoolShard
from decomp.platform.loop.workers import LocalWorkers
from decomp.platform.predictions import Measure


@pytest.mark.parametrize("name", LAYOUTS)
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
