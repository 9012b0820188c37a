"""Marks in the annotation of an option that say what part it has in a run's identity."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class NotIdentity:
    """Marks an option that changes no result, such as where data lie whose fingerprint is taken.

    It does not identify a run: ``root: Annotated[str, NotIdentity()]``.
    """

    stand_in: Any = None
    """What takes its place in a run's identity; None for nothing."""


@dataclass(frozen=True)
class ByContent:
    """Marks an option that is the path of a file: a digest of its content identifies a run, wherever it lies."""
