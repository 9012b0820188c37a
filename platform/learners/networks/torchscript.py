"""Importing libraries that still use TorchScript, which PyTorch deprecates."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_deprecation_warnings() -> Iterator[None]:
    """Where such a library is imported: that it uses TorchScript is no business of the user's."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        yield
