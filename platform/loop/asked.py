"""What annotators are asked in a run and what they answer, kept beside the run's cycles.

Two small files for each cycle, which are sealed, and replaced as a whole::

    KEY/query-0003.json      what cycle 3 selected, and the queries about its regions
    KEY/answers-0003.json    what has come back, corrections of earlier cycles included
"""

import base64
import json
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from decomp.platform.annotation.query import Answer, Query
from decomp.platform.errors import UserError
from decomp.platform.grid import Component
from decomp.platform.ledger import Annotation, Ledger
from decomp.platform.loop.beside import file_beside, read_beside, write_beside
from decomp.platform.loop.oracle import Selection
from decomp.platform.regions import Region
from decomp.platform.storage.runs import RunStore

QUERY, ANSWERS = "query", "answers"

Files = Callable[[str], tuple[Path, ...]]
"""The original files of an image, which are found anew, since data may be moved."""


@dataclass(frozen=True)
class Asked:
    """What a cycle selected, and a query about each of its regions, in the order of the ledger."""

    selection: Selection
    queries: tuple[Query, ...]


def write_asked(store: RunStore, cycle: int, asked: Asked) -> None:
    """Keep what a cycle selected, before anybody is asked."""
    selection = asked.selection
    rows = zip(selection.ledger.annotations(), asked.queries, strict=True)
    confidence, weights = selection.class_confidence, selection.class_weights
    content = {
        "cycle": cycle,
        "selected": list(selection.images),
        "class_confidence": None if confidence is None else confidence.tolist(),
        "class_weights": None if weights is None else weights.tolist(),
        "regions": [_row(annotation, query) for annotation, query in rows],
    }
    write_beside(store, QUERY, cycle, content)


def read_asked(store: RunStore, cycle: int, files: Files) -> Asked | None:
    """What a cycle has selected; None if it has not been asked.

    Raises:
        UserError: if the file is damaged.
    """
    with _reading(store, QUERY, cycle) as content:
        if content is None:
            return None
        rows = content["regions"]
        selection = Selection(
            tuple(content["selected"]),
            Ledger.of(_annotation(row, cycle) for row in rows),
            _floats(content["class_confidence"]),
            _floats(content["class_weights"]),
        )
        return Asked(selection, tuple(_query(row, files) for row in rows))


@dataclass(frozen=True)
class Answered:
    """What came back while a cycle was pending, by query; complete, and final, once the cycle is trained on it.

    Attributes:
        annotation: the format by which it was completed; None before.
    """

    by_query: Mapping[str, Answer] = field(default_factory=dict)
    complete: bool = False
    annotation: Component | None = None


def write_answers(store: RunStore, cycle: int, answered: Answered) -> None:
    """Keep what has come back while a cycle was pending."""
    rows = [
        {
            "query": answer.query,
            "labels": None if answer.labels is None else _packed(answer.labels),
            "reason": answer.reason,
            "annotator": answer.annotator,
            "answered_at": answer.answered_at,
            "seconds": answer.seconds,
        }
        for answer in answered.by_query.values()
    ]
    by = answered.annotation
    annotation = None if by is None else {"name": by.name, "options": dict(by.options)}
    content = {"cycle": cycle, "complete": answered.complete, "annotation": annotation, "answers": rows}
    write_beside(store, ANSWERS, cycle, content)


def read_answers(store: RunStore, cycle: int) -> Answered:
    """What has come back while a cycle was pending; nothing where there is no file.

    Raises:
        UserError: if the file is damaged.
    """
    with _reading(store, ANSWERS, cycle) as content:
        if content is None:
            return Answered()
        answers = [Answer(**{**row, "labels": _unpacked(row["labels"], np.uint8)}) for row in content["answers"]]
        by = content.get("annotation")
        annotation = None if by is None else Component(by["name"], by["options"])
        return Answered({answer.query: answer for answer in answers}, content["complete"], annotation)


def _row(annotation: Annotation, query: Query) -> dict[str, Any]:
    region = annotation.region
    return {
        "query": query.id,
        "image": region.image,
        "rank": annotation.rank,
        "start": list(region.start),
        "size": list(region.size),
        "mask": None if region.mask is None else base64.b64encode(region.mask).decode(),
        "drawn_class": annotation.drawn_class,
        "score": annotation.score,
        "shape": list(query.shape),
        "window": [list(bounds) for bounds in query.window],
        "inside": None if query.mask is None else _packed(query.mask),
        "prediction": None if query.prediction is None else _packed(query.prediction),
    }


def _annotation(row: Mapping[str, Any], cycle: int) -> Annotation:
    mask = None if row["mask"] is None else base64.b64decode(row["mask"])
    region = Region(row["image"], tuple(row["start"]), tuple(row["size"]), mask)
    return Annotation(region, cycle, row["rank"], row["drawn_class"], row["score"])


def _query(row: Mapping[str, Any], files: Files) -> Query:
    return Query(
        row["query"],
        row["image"],
        files(row["image"]),
        tuple(row["shape"]),
        tuple((start, stop) for start, stop in row["window"]),
        _unpacked(row["inside"], np.bool_),
        _unpacked(row["prediction"], np.uint8),
    )


def _packed(array: npt.NDArray[Any]) -> dict[str, Any]:
    content = zlib.compress(np.ascontiguousarray(array).view(np.uint8).tobytes())
    return {"shape": list(array.shape), "zlib": base64.b64encode(content).decode()}


def _unpacked(packed: Mapping[str, Any] | None, dtype: type[np.generic]) -> Any:
    if packed is None:
        return None
    content = zlib.decompress(base64.b64decode(packed["zlib"]))
    return np.frombuffer(content, dtype).reshape(packed["shape"])


def _floats(values: list[float] | None) -> npt.NDArray[np.float64] | None:
    return None if values is None else np.array(values, np.float64)


@contextmanager
def _reading(store: RunStore, what: str, cycle: int) -> Iterator[dict[str, Any] | None]:
    """The content of a file, None if there is none; any error of who reads it means that it is damaged."""
    try:
        content = read_beside(store, what, cycle)
        yield None if content is None else json.loads(content)
    except (ValueError, KeyError, TypeError, zlib.error) as error:
        raise UserError(
            f"{file_beside(store, what, cycle)} is damaged ({error}); restore it from a copy, or move it away: then "
            f"what lies in the folder of the annotators is asked and read again."
        ) from error
