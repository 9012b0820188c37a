"""Plain values of options, as JSON has them."""

from collections.abc import Mapping
from enum import Enum
from pathlib import PurePath
from typing import Any


def canonical(value: Any) -> Any:
    """A value in the one form that it has in a run's identity: 1 for 1.0, a list for a tuple, text for a path.

    Values that JSON cannot hold stay as they are.
    """
    if isinstance(value, Enum):
        return canonical(value.value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): canonical(member) for key, member in value.items()}
    if isinstance(value, list | tuple):
        return [canonical(member) for member in value]
    return value


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Leaves of nested mappings by dotted key, e.g. ``learner.options.iterations`` of an identity."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat
