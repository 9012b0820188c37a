"""What answers at once imports no library that takes seconds to load."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.head import write_head

from decomp.platform.datasets.synthetic.phantom import write_phantom
from decomp.platform.datasets.synthetic.streets import write_streets

ROOT = Path(__file__).parents[2]
SLOW = (
    *("torch", "torchvision", "ray", "mlflow", "nnunetv2", "segmentation_models_pytorch", "matplotlib"),
    *("sklearn", "pandas", "scipy.stats"),
)
PROGRAM = f"""
import sys
from decomp.experiments.cli import app
for preset in sys.argv[1].split():
    for command in ("check", "status"):
        app([command, preset, *sys.argv[2:]], standalone_mode=False)
print("imported:", [name for name in {SLOW} if name in sys.modules])
"""
LEARNER = "learner={name: nnunet, patch: [8, 32, 32], mirroring: false}"
SMALL = {
    "bracs": (
        f"dataset.folder={ROOT}/tests/data/bracs/portable",
        "budgets=[{n_image: 1, n_region: 2, region: [1], cycles: 2}]",
    ),
    "brain": ("dataset.root=head", "budgets=[{n_image: 2, n_region: 6, region: [16, 16], cycles: 10}]"),
    "brain-3d": ("dataset.root=head", "budgets=[{n_image: 1, n_region: 2, region: [1, 8, 8], cycles: 2}]", LEARNER),
    "cityscapes": ("dataset.root=streets", "budgets=[{n_image: 2, n_region: 2, region: [32, 32], cycles: 3}]"),
    "digits": (),
    "kits23": ("dataset.root=volumes", "budgets=[{n_image: 2, n_region: 2, region: [1, 8, 8], cycles: 2}]", LEARNER),
    "phantom": (
        "dataset={name: phantom, cases: 6, size: [20, 32, 32], folds: 2}",
        "budgets.0.n_image=2",
        LEARNER,
    ),
    "slides": (),
}
"""What presets are given here, by the first word of their names."""


def family_of(preset):
    """The data set's name, by which presets begin, but for those of the study and the one in three dimensions."""
    return "brain-3d" if preset.stem == "brain-3d" else preset.stem.removeprefix("study-").split("-")[0]


def imported_by_check_and_status(folder, family):
    presets = sorted(str(path) for path in (ROOT / "experiments").glob("*.yaml") if family_of(path) == family)
    environment = os.environ | {"XDG_CACHE_HOME": str(folder / "cache")}
    command = [sys.executable, "-c", PROGRAM, " ".join(presets), *SMALL[family], "resources.gpus=0"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()[-1]


FAMILIES = sorted({family_of(path) for path in (ROOT / "experiments").glob("*.yaml")})
ALIKE = {"brain", "brain-3d", "phantom", "slides"}
"""Their learners, or lighter ones, are also those of other families."""


@pytest.mark.parametrize("family", [pytest.param(f, marks=[pytest.mark.slow] * (f in ALIKE)) for f in FAMILIES])
def test_check_and_status_of_the_presets_import_no_slow_library(tmp_path, family):
    if family == "cityscapes":
        write_streets(tmp_path / "streets", {"train": 16, "val": 2}, (96, 192))
    if family in ("brain", "brain-3d"):
        (tmp_path / "head").mkdir()
        write_head(tmp_path / "head")
    if family == "kits23":
        write_phantom(tmp_path / "volumes", 10, size=(20, 32, 32))
    if family in ("brain-3d", "kits23", "phantom"):
        imported_by_check_and_status(tmp_path, family)  # nnU-Net plans the grid, once per data set and machine
    assert imported_by_check_and_status(tmp_path, family) == "imported: []"


def test_a_sweep_imports_neither_torch_nor_what_comes_after_the_start_of_its_workers():
    code = (
        "import sys\n"
        "import decomp.actors.worker, decomp.experiments.running, decomp.experiments.tracking.mirror\n"
        "print([name for name in ('torch', 'mlflow', 'matplotlib', 'pandas') if name in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
