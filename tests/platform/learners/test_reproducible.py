import subprocess
import sys
from pathlib import Path

import torch
from helpers.trainings import digests

from decomp.platform.learners.reproducible import reproducible

MODULES = [Path(__file__).with_name(f"test_{name}.py") for name in ("segmentation", "unet", "mlp", "hactnet")]


def test_the_global_state_is_restored_and_a_seed_gives_the_same_numbers():
    torch.manual_seed(3)
    threads, expected = torch.get_num_threads(), torch.rand(4)
    torch.manual_seed(3)
    with reproducible(threads + 1, torch.device("cpu"), seed=5):
        assert torch.get_num_threads() == threads + 1
        first = torch.rand(2)
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.rand(4), expected)
    with reproducible(1, torch.device("cpu"), seed=5):
        assert torch.equal(torch.rand(2), first)


def test_a_training_gives_the_same_bytes_in_another_process(tmp_path):
    program = "import sys; from helpers.trainings import digests; print(*digests(*sys.argv[1:]))"
    command = [sys.executable, "-c", program, tmp_path / "elsewhere", *MODULES]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == digests(tmp_path / "here", *MODULES)
