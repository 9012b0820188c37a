"""The preset of Cityscapes, end to end on a few generated street scenes."""

import json

import pyarrow.parquet as pq
import pytest
from helpers.presets import run_preset

from decomp.platform.datasets.cityscapes import Cityscapes
from decomp.platform.datasets.synthetic.streets import write_streets

SMALL = (
    "learner={name: upernet, channels: 16, depths: [1, 1, 2, 1], groups: [1, 2, 4, 8], decoder_channels: 16, "
    "auxiliary_channels: 8, iterations: 12, evaluate_every: 6, batch: 2, crop: [64, 64], warmup: 2, workers: 1}"
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cityscapes")
    write_streets(folder / "tree", {"train": 16, "val": 2}, (96, 192))
    overrides = [f"dataset.root={folder / 'tree'}", "samplers=[badge, decomp]", "seeds=1", "reference=null"]
    overrides += ["budgets=[{n_image: 2, n_region: 2, region: [32, 32], cycles: 3}]"]
    return folder, run_preset("cityscapes", folder / "runs", SMALL, *overrides)


def test_the_preset_runs_on_published_file_names(finished):
    folder, root = finished
    records = [json.loads(file.read_text()) for file in root.rglob("record.json")]
    assert [list(record["metrics"]) for record in records] == [["miou"]] * 5
    data = Cityscapes(str(folder / "tree"))
    tables = sorted((root / "decomp").rglob("regions.parquet"))
    assert len(tables) == 2  # the first cycle is another run's
    for table in tables:
        images = set(pq.read_table(table, partitioning=None)["image"].to_pylist())
        assert len(images) == 2
        assert images <= set(data.ids("train", 0))


def test_validation_and_test_scenes_are_never_annotated(finished):
    folder, root = finished
    data = Cityscapes(str(folder / "tree"))
    pool = set(data.ids("train", 0))
    assert data.ids("validation", 0)
    annotated = {
        image
        for table in root.rglob("regions.parquet")
        for image in pq.read_table(table, partitioning=None)["image"].to_pylist()
    }
    assert annotated <= pool
