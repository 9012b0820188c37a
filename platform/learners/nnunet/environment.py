"""What nnU-Net expects around it: environment variables, folders, a console, global random numbers."""

import contextlib
import io
import os
import random
import tempfile
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch

from decomp.platform.learners.reproducible import reproducible

NAME = "Dataset001_decomp"
"""Name of the data set for nnU-Net, which requires this form."""


@contextlib.contextmanager
def private_folders(workers: int) -> Iterator[Path]:
    """Private folders for nnU-Net, which are removed afterwards, and its environment variables.

    Args:
        workers: processes that nnU-Net may start to augment; 0 for none.
    """
    with tempfile.TemporaryDirectory(prefix="decomp-nnunet-") as folder:
        root = Path(folder)
        for kind in ("raw", "preprocessed", "results"):
            (root / kind / NAME).mkdir(parents=True)
        variables = {f"nnUNet_{kind}": str(root / kind) for kind in ("raw", "preprocessed", "results")}
        with _environment({**variables, "nnUNet_n_proc_DA": str(workers), "nnUNet_wandb_enabled": "0"}):
            yield root


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Swallow what nnU-Net prints, whichever thread prints it; its errors are exceptions."""
    _SILENCE.begin()
    try:
        yield
    finally:
        _SILENCE.end()


@contextlib.contextmanager
def seeded(threads: int, device: torch.device, rng: np.random.Generator) -> Iterator[None]:
    """As `reproducible`, with the random numbers of NumPy and Python fixed too; all are restored afterwards."""
    of_torch, of_numpy, of_python = (int(seed) for seed in rng.integers(2**32, size=3))
    before = np.random.get_state(), random.getstate()
    np.random.seed(of_numpy)
    random.seed(of_python)
    try:
        with reproducible(threads, device, of_torch):
            yield
    finally:
        np.random.set_state(before[0])
        random.setstate(before[1])


@contextlib.contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


class _Silence:
    """Standard output is swallowed from the first `begin` to the last `end`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._depth = 0
        self._redirection = contextlib.ExitStack()

    def begin(self) -> None:
        with self._lock:
            if self._depth == 0:
                self._redirection.enter_context(contextlib.redirect_stdout(io.StringIO()))
            self._depth += 1

    def end(self) -> None:
        with self._lock:
            self._depth -= 1
            if self._depth == 0:
                self._redirection.close()


_SILENCE = _Silence()
