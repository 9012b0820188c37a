"""Small files that lie beside a run's cycles, sealed and replaced as a whole: ``KEY/WHAT-0003.json``."""

import json
from collections.abc import Mapping
from typing import Any

from decomp.platform.storage.location import Location
from decomp.platform.storage.runs import RunStore
from decomp.platform.storage.seals import check_seal, seal


def file_beside(store: RunStore, what: str, cycle: int) -> Location:
    """Where the file of a cycle lies."""
    return store.path / f"{what}-{cycle:04d}.json"


def write_beside(store: RunStore, what: str, cycle: int, content: Mapping[str, Any]) -> None:
    """Write the file of a cycle."""
    text = json.dumps(content, sort_keys=True, indent=1) + "\n"
    file_beside(store, what, cycle).write_atomically(seal(text.encode(), _place(store, what, cycle)))


def read_beside(store: RunStore, what: str, cycle: int) -> bytes | None:
    """The JSON of a cycle's file; None if there is none.

    Raises:
        ValueError: if it is damaged.
    """
    try:
        content = file_beside(store, what, cycle).read_bytes()
    except FileNotFoundError:
        return None
    check_seal(content, _place(store, what, cycle), ())
    return content


def _place(store: RunStore, what: str, cycle: int) -> str:
    return f"{store.spec.key}/{what}-{cycle:04d}"
