"""The embedded 3-D experiment, end to end: a small one always, the whole of it among the slow tests."""

import csv
import json
import os
import subprocess
import sys

import pyarrow.parquet as pq
import pytest
from helpers.presets import EXPERIMENTS, run_preset

SMALL = (
    "dataset={name: phantom, cases: 6, size: [20, 32, 32], folds: 2}",
    "learner.patch=[8, 32, 32]",
    "learner.features=[4, 8]",
    "learner.iterations_per_epoch=3",
    "learner.min_epochs=1",
    "reference.min_epochs=2",
    "samplers=[rand, uncert, decomp, badge]",
    "folds=[1]",
    "budgets=[{n_image: 2, n_region: 2, region: [1, 8, 8], cycles: 2}]",
)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    folder = tmp_path_factory.mktemp("phantom")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        return run_preset("phantom", folder / "runs", *SMALL)


def test_every_sampler_chooses_windows_in_axial_slices(small):
    for sampler in ("rand", "uncert", "decomp", "badge"):
        (table,) = (small / sampler).rglob("regions.parquet")
        rows = pq.read_table(table, partitioning=None).to_pylist()
        assert len(rows) == 2  # two of the three volumes of the pool were selected in the first cycle
        assert all(row["size"] == [1, 8, 8] for row in rows)


def test_the_score_is_that_of_the_nested_classes(small):
    for file in small.rglob("record.json"):
        record = json.loads(file.read_text())
        assert list(record["metrics"]) == ["dice"]
        assert set(record["class_metrics"]["dice"]) == {"kidney_and_masses", "masses", "tumour"}
        assert len(record["annotated"]["class_pixels"]) == 4


def test_volumes_are_prepared_once_for_all_runs(small):
    cache = small.parents[1] / "cache" / "decomp"
    prepared = sorted(file.parent.name for file in (cache / "nnunet").rglob("case.b2nd"))
    assert len(prepared) == len(set(prepared)) == 6


@pytest.mark.slow
def test_the_whole_experiment_learns(tmp_path):
    command = [sys.executable, "-m", "decomp.experiments", "run", str(EXPERIMENTS / "phantom.yaml")]
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert "Test mean Dice by cycle" in done.stdout
    root = tmp_path / "runs" / "phantom"
    with (root / "report" / "cycles.csv").open() as file:
        rows = list(csv.DictReader(file))
    references = [
        json.loads(file.read_text())["metrics"]["dice"] for file in (root / "full-annotation").rglob("record.json")
    ]
    assert len(references) == 2
    full = sum(references) / 2
    first = [float(row["dice_mean"]) for row in rows if row["cycle"] == "1"]
    last = [float(row["dice_mean"]) for row in rows if row["cycle"] == "5"]
    assert full >= 0.75  # 0.80 or 0.81, as the processor rounds
    assert len(last) == 3
    assert max(first) < full - 0.3
    assert min(last) > max(first) + 0.1
