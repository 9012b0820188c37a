"""The preset of KiTS23 on generated cases in its layout: the plan, and damage named before anything is computed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from decomp.platform.datasets.synthetic.phantom import write_phantom

ROOT = Path(__file__).parents[2]
CASES = 27  # two of which the paper leaves out


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kits23")
    write_phantom(folder, CASES, size=(40, 48, 48))
    return folder


def check(published, cwd):
    command = [sys.executable, "-m", "decomp.experiments", "check", str(ROOT / "experiments" / "kits23.yaml")]
    environment = os.environ | {"XDG_CACHE_HOME": str(cwd / "cache")}
    command.append(f"dataset.root={published}")
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, env=environment)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout, done.stderr


def test_the_plan_says_how_long_the_gpus_will_train(published, tmp_path):
    status, out, err = check(published, tmp_path)
    assert status == 0, err
    # Epochs of a run: as many as regions, 1000 at most. Five folds, three samplers, shared first cycles, references.
    small = sum(min(1000, 100 * cycle) for cycle in range(2, 46))
    large = sum(min(1000, 200 * cycle) for cycle in range(2, 31))
    epochs = 5 * (3 * (small + large) + 100 + 200 + 1000)
    hours = epochs * 25 / 3600
    told = " ".join(out.split())
    assert f"at most {epochs:,} epochs; at 25 s each that is {hours:,.1f} GPU hours" in told


def test_all_damaged_cases_are_named_at_once(published, tmp_path):
    image, labels = published / "case_00003" / "imaging.nii.gz", published / "case_00007" / "segmentation.nii.gz"
    whole = {file: file.read_bytes() for file in (image, labels)}
    try:
        image.unlink()
        labels.write_bytes(whole[labels][:-20])
        status, out, err = check(published, tmp_path)
    finally:
        for file, content in whole.items():
            file.write_bytes(content)
    assert (status, out) == (2, "")
    lines = err.splitlines()
    assert len(lines) == 2
    assert any("case_00003" in line and "missing" in line for line in lines)
    assert any("case_00007" in line and "truncated" in line for line in lines)
    assert not (tmp_path / "runs").exists()
