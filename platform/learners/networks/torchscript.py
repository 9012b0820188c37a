"""Importing libraries that still use TorchScript, which PyTorch deprecates."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_deprecation_warnings() -> Iterator[None]:
    """The context in which to import such a library: users need not know that it uses TorchScript."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        yield
