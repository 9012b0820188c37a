import argparse
import re
import subprocess
import sys

import numpy as np
import pytest
import torch

from decomp.platform.errors import UserError
from decomp.platform.learners.training.pretrained import read_pretrained

WEIGHTS = {"w": torch.arange(3.0)}


@pytest.mark.parametrize("zipped", [True, False])
def test_numbers_of_numpy_beside_the_weights_are_read(tmp_path, zipped):
    meta = {"best": np.float64(0.5), "epoch": np.int64(3), "last": np.bool_(True), "lr": np.ones(2, np.float32)}
    file = tmp_path / "best_mIoU_iter_8000.pth"
    torch.save({"state_dict": WEIGHTS, "meta": meta}, file, _use_new_zipfile_serialization=zipped)
    assert torch.equal(read_pretrained(file)["w"], WEIGHTS["w"])
    if not zipped:  # as written with NumPy 1
        file.write_bytes(file.read_bytes().replace(b"cnumpy._core.multiarray", b"cnumpy.core.multiarray"))
        assert torch.equal(read_pretrained(file)["w"], WEIGHTS["w"])


class Runs:
    """Its unpickling would run code."""

    def __reduce__(self):
        return pytest.fail, ("code was run",)


@pytest.mark.parametrize(
    ("other", "sentence"),
    [
        (argparse.Namespace(lr=1), "it holds objects of argparse.Namespace"),
        (Runs(), "it holds objects of "),
        (np.array([1, "x"], object), "it holds objects of numpy.dtypes.ObjectDType"),
    ],
)
def test_other_objects_are_told_in_a_sentence(tmp_path, other, sentence):
    file = tmp_path / "weights.pth"
    torch.save({"state_dict": WEIGHTS, "meta": other}, file)
    with pytest.raises(UserError, match=re.escape(f"{file} is no file of plain tensors ({sentence}")) as raised:
        read_pretrained(file)
    assert "\x1b" not in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1


def test_checkpoints_that_are_cut_off_anywhere_are_told_at_once(tmp_path):
    """In a process of its own, whose time is limited: reading half a file must not wait for the rest."""
    torch.save({"state_dict": {f"w{k}": torch.arange(300.0) for k in range(20)}}, tmp_path / "whole.pth")
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from decomp.platform.errors import UserError\n"
        "from decomp.platform.learners.training.pretrained import read_pretrained\n"
        "content = Path('whole.pth').read_bytes()\n"
        "for length in [1, 2, 4, 30, *range(100, len(content), 499), len(content) - 1]:\n"
        "    Path('cut.pth').write_bytes(content[:length])\n"
        "    try:\n"
        "        read_pretrained(Path('cut.pth'))\n"
        "    except UserError as error:\n"
        "        print(length, str(error))\n"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=120
    )
    told = dict(line.split(" ", 1) for line in answer.stdout.splitlines())
    size = (tmp_path / "whole.pth").stat().st_size
    assert len(told) == 5 + len(range(100, size, 499))
    assert {sentence for length, sentence in told.items() if int(length) >= 4} == {
        "learner.pretrained: cut.pth is cut off; copy the file again."
    }
