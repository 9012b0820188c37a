"""Pretrained weights of other code bases, read without unpickling and matched by name and shape."""

from __future__ import annotations

import codecs
import pickle
import re
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import safetensors

from decomp.platform.errors import UserError

if TYPE_CHECKING:
    import torch
    from torch import nn

NAMED = 4  # tensors named in an error

NUMPY: list[Any] = [
    np.ndarray,
    np.dtype,
    *(type(np.dtype(kind)) for kind in (*np.typecodes["AllInteger"], *np.typecodes["Float"], "?", "U", "S")),
    (codecs.encode, "_codecs.encode"),  # how older protocols of pickle write bytes
    *(
        (function, f"numpy.{core}.multiarray.{name}")
        for core in ("core", "_core")  # before and since NumPy 2
        for name, function in (("scalar", np.float64(0).__reduce__()[0]), ("_reconstruct", np.ones(1).__reduce__()[0]))
    ),
]
"""What unpickles NumPy's numbers and arrays, which mmcv puts beside the weights (``meta``); it runs no code."""

ZIP = b"PK\x03\x04"

DAMAGES = (
    safetensors.SafetensorError,
    pickle.UnpicklingError,
    RuntimeError,
    EOFError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    AssertionError,
    ArithmeticError,
    struct.error,
)
"""What reading a damaged checkpoint can raise."""


def check_pretrained(file: Path | None) -> None:
    """`UserError` if a learner's option `pretrained` names a file that is not there."""
    if file is not None and not file.expanduser().is_file():
        raise UserError(f"learner.pretrained: there is no file {file}; give the path of released weights.")


def read_pretrained(file: Path) -> dict[str, torch.Tensor]:
    """Tensors of a safetensors file or of a PyTorch checkpoint, by name.

    In a checkpoint they may lie under ``state_dict`` (mmsegmentation), ``model`` (classifiers) or at the top; the
    prefix ``module.`` of distributed training is taken off.

    Raises:
        UserError: if the file cannot be read, needs unpickling of more than tensors, or holds no tensors.
    """
    import safetensors.torch
    import torch

    if file.exists() and not file.is_file():
        raise UserError(f"learner.pretrained: {file} is no file; give the path of released weights.")
    try:
        if _is_cut_off(file):
            raise UserError(f"learner.pretrained: {file} is cut off; copy the file again.")
        if file.suffix == ".safetensors":
            content = safetensors.torch.load_file(file)
        else:
            with torch.serialization.safe_globals(NUMPY):
                content = torch.load(file, map_location="cpu", weights_only=True)
    except OSError as error:
        denied = isinstance(error, PermissionError)
        mend = "give yourself the right to read it" if denied else "give the path of released weights"
        raise UserError(f"learner.pretrained: cannot read {file}: {error.strerror or error}; {mend}.") from error
    except DAMAGES as error:
        raise UserError(
            f"learner.pretrained: {file} is no file of plain tensors ({_reason(error)}); save its state_dict as "
            f".safetensors, or copy the file again if it should be one."
        ) from error
    for wrapper in ("state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    tensors = (
        {str(name).removeprefix("module."): value for name, value in content.items() if isinstance(value, torch.Tensor)}
        if isinstance(content, Mapping)
        else {}
    )
    if not tensors:
        raise UserError(f"learner.pretrained: {file} holds no tensors by name; give a file with a state_dict.")
    return tensors


def _is_cut_off(file: Path) -> bool:
    """Whether it begins as a ZIP file, as checkpoints of PyTorch do, and lacks the directory at the end of one."""
    with file.open("rb") as begin:
        if begin.read(len(ZIP)) != ZIP:
            return False
    return not zipfile.is_zipfile(file)


def _reason(error: Exception) -> str:
    """What PyTorch or safetensors says, without advice to unpickle and without terminal colours."""
    said = str(error)
    if found := re.search(r"(?:GLOBAL |<class ')([\w.]+)", said):
        return f"it holds objects of {found[1]}"
    said = re.sub(r"\x1b\[[0-9;]*m", "", said.rpartition("WeightsUnpickler error:")[2]).strip()
    return said.split("\n", 1)[0].rstrip(".") or type(error).__name__


def load_pretrained(
    network: nn.Module, tensors: Mapping[str, torch.Tensor], file: Path, optional: tuple[str, ...] = ()
) -> None:
    """Copy released weights into a network.

    Args:
        network: all of its parameters and buffers must be among `tensors`.
        tensors: under the same names.
        file: where they come from, for messages.
        optional: prefixes of names that may be missing, superfluous or of another shape; such tensors are left alone.

    Raises:
        UserError: naming the first tensors that do not fit.
    """
    state = network.state_dict()
    misfits = {
        "missing": [name for name in state if name not in tensors and not name.endswith("num_batches_tracked")],
        "unknown": [name for name in tensors if name not in state],
        "of another shape": [
            f"{name} {tuple(tensors[name].shape)} instead of {tuple(state[name].shape)}"
            for name in state
            if name in tensors and state[name].shape != tensors[name].shape
        ],
    }
    for kind, names in misfits.items():
        wrong = [name for name in names if not name.startswith(optional)]
        if wrong:
            more = f" and {len(wrong) - NAMED} more" if len(wrong) > NAMED else ""
            raise UserError(
                f"learner.pretrained: {file} does not fit the network; {kind}: {', '.join(wrong[:NAMED])}{more}; give "
                f"weights of this architecture, or correct the learner's options."
            )
    fitting = {name: value for name, value in tensors.items() if name in state and state[name].shape == value.shape}
    network.load_state_dict(fitting, strict=False)
