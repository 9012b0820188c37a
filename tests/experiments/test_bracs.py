"""The preset of BRACS with its graph network, end to end on a few converted graphs."""

import json
from pathlib import Path

from helpers.presets import run_preset

GRAPHS = Path(__file__).parents[1] / "data" / "bracs" / "portable"


def test_hactnet_runs_on_converted_graphs(tmp_path):
    root = run_preset(
        "bracs",
        tmp_path,
        f"dataset.folder={GRAPHS}",
        "learner={name: hactnet, batch: 2, epochs: 2, layers: 1, width: 8}",
        "samplers=[decomp]",
        "contrasts=null",
        "seeds=1",
        "reference=null",
        "budgets=[{n_image: 1, n_region: 1, region: [1], cycles: 2}]",
    )
    records = [json.loads(file.read_text()) for file in root.rglob("record.json")]
    assert [list(record["metrics"]) for record in records] == [["weighted_f1"]] * 2
