"""Mistakes of the user, told in one sentence."""

import difflib
from collections.abc import Iterable, Mapping
from typing import Any


class UserError(Exception):
    """A mistake in what the user wrote; the message is one sentence that names the culprit and the remedy."""


class StorageError(OSError):
    """The store refuses or cannot be reached; the message names the object and the remedy."""


def nearest(name: str, known: Mapping[str, Any]) -> str:
    """`` (did you mean 'x'?)`` for the closest known name, or an empty string."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def describe(problem: Any) -> str:
    """What pydantic says about one mistake, to follow the name of its culprit and a colon."""
    message = problem["msg"].removeprefix("Value error, ")
    return str(message[:1].lower() + message[1:])


def shown(value: Any) -> str:
    """A value that the user wrote, for a message: on one line, cut where it is long."""
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:90]} ..."


def printable(text: str) -> str:
    """A text that changes nothing but what is shown: control characters, and bytes that are no text, as escapes."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


def sized(sizes: Iterable[int]) -> str:
    """Sizes per axis, for a message: ``256 x 256``."""
    return " x ".join(map(str, sizes))
