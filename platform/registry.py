"""Names that an experiment file may use, and the user's own classes by ``module:attribute``."""

import difflib
import importlib
from collections.abc import Mapping
from typing import Any, TypeVar

T = TypeVar("T")


class UserError(Exception):
    """A mistake in what the user wrote; the message is one sentence that names the culprit and the mend."""


def resolve(kind: str, name: str, known: Mapping[str, str], base: type[T]) -> type[T]:
    """Find a class by its registered name or by ``module:attribute``.

    Args:
        kind: what the name stands for, for messages, e.g. ``"learner"``.
        name: the name in the experiment file.
        known: registered names and the ``module:attribute`` of each, imported only when used.
        base: the contract that the class must fulfil.

    Raises:
        UserError: if there is no such class or it does not subclass `base`.
    """
    target = known.get(name, name)
    module_name, _, attribute = target.partition(":")
    if not attribute:
        raise UserError(
            f"Unknown {kind} {name!r}{nearest(name, known)}; known are {', '.join(known)}, "
            f"or give your own class as 'module:attribute'."
        )
    try:
        found = getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError) as error:
        raise UserError(f"Cannot import {kind} {name!r}: {error}; is its module installed or on PYTHONPATH?") from error
    if not (isinstance(found, type) and issubclass(found, base)):
        raise UserError(f"The {kind} {name!r} is no subclass of {base.__module__}.{base.__name__}; make it one.")
    return found


def nearest(name: str, known: Mapping[str, Any]) -> str:
    """``; did you mean 'x'?`` for the closest known name, or an empty string."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""
