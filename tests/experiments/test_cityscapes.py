"""The preset of Cityscapes, end to end on a few generated street scenes."""

import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from decomp.platform.datasets.cityscapes import Cityscapes
from decomp.platform.datasets.synthetic.streets import write_streets

ROOT = Path(__file__).parents[2]
SMALL = (
    "learner={name: upernet, channels: 16, depths: [1, 1, 2, 1], groups: [1, 2, 4, 8], decoder_channels: 16, "
    "auxiliary_channels: 8, iterations: 12, evaluate_every: 6, batch: 2, crop: [64, 64], warmup: 2, workers: 1}"
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cityscapes")
    write_streets(folder / "tree", {"train": 16, "val": 2}, (96, 192))
    command = [sys.executable, "-m", "decomp.experiments", "run", ROOT / "experiments" / "cityscapes.yaml", SMALL]
    command += [f"dataset.root={folder / 'tree'}", "samplers=[badge, decomp]", "seeds=1", "reference=null"]
    command += ["budgets=[{n_image: 2, n_region: 2, region: [32, 32], cycles: 3}]", "resources={workers: 1}"]
    done = subprocess.run([str(part) for part in command], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


def test_the_preset_runs_on_published_file_names(finished):
    folder, out = finished
    assert "Test mIoU by cycle" in out
    data = Cityscapes(str(folder / "tree"))
    tables = sorted((folder / "runs" / "cityscapes" / "decomp").rglob("regions.parquet"))
    assert len(tables) == 2  # the first cycle is another run's
    for table in tables:
        images = set(pq.read_table(table, partitioning=None)["image"].to_pylist())
        assert len(images) == 2
        assert images <= set(data.ids("train", 0))


def test_validation_and_test_scenes_are_never_annotated(finished):
    folder, _ = finished
    data = Cityscapes(str(folder / "tree"))
    pool = set(data.ids("train", 0))
    assert data.ids("validation", 0)
    annotated = {
        image
        for table in (folder / "runs").rglob("regions.parquet")
        for image in pq.read_table(table, partitioning=None)["image"].to_pylist()
    }
    assert annotated <= pool
