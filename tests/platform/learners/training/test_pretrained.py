import argparse
import re

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
