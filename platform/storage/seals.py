"""The digest at the end of a result that is JSON, which covers every byte before it, and where the result belongs::

 "of": "5e0f.../cycle-0002",
 "sha256": "9f86..."
}
"""

import hashlib
import json
from collections.abc import Collection

END = b'"\n}\n'
LENGTH = 64
"""Digits of a digest."""


def seal(content: bytes, place: str) -> bytes:
    """Add place and digest to a JSON object.

    Args:
        content: the object, which ends in a line of its own.
        place: key of the run and folder of the cycle, so that files of two cycles cannot be taken for each other.
    """
    covered = content.removesuffix(b"\n}\n") + f',\n "of": "{place}",\n "sha256": "'.encode()
    return covered + sha256(covered).encode() + END


def check_seal(content: bytes, place: str, unsealed: Collection[str]) -> None:
    """Check that the content is what was sealed for this place.

    Args:
        content: what was read.
        place: where it was read.
        unsealed: fields of the results of earlier versions, which had no seal; such results are let through.

    Raises:
        ValueError: saying what is wrong.
    """
    covered, digest, end = content[: -len(END) - LENGTH], content[-len(END) - LENGTH : -len(END)], content[-len(END) :]
    if end == END and digest == sha256(covered).encode():
        if (of := json.loads(content)["of"]) != place:
            raise ValueError(f"it belongs to {of}")
        return
    fields = json.loads(content)
    if not isinstance(fields, dict) or not fields.keys() <= set(unsealed):
        raise ValueError("it is not what was committed")


def sha256(content: bytes) -> str:
    """SHA-256 in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()
