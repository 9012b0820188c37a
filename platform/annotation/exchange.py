"""Files that go to an annotator's tool and come back: where they lie, written once, read with what is wrong told."""

import datetime
import re
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pydantic

from decomp.platform.annotation.colours import class_colours
from decomp.platform.annotation.query import Answer, Classes, Query
from decomp.platform.datasets.formats.header import BrokenFile, opened
from decomp.platform.datasets.formats.rasters import SUFFIXES
from decomp.platform.errors import UserError, nearest
from decomp.platform.storage.files import FilePath

T = TypeVar("T")

ANSWERS = "answers"
"""Folder into which the annotator puts what the tool exports."""

NO_CLASS = (160, 160, 160)
"""Colour of pixels that belong to no class."""


def prepare(*folders: Path) -> None:
    """Make folders where there are none, and tidy up what was killed while it wrote into them."""
    for folder in folders:
        FilePath(folder).prepare()


def write_once(file: Path, content: bytes) -> None:
    """Write a file as a whole; one that is there already is left alone."""
    if not file.exists():
        FilePath(file).write_atomically(content)


def answer_files(folder: Path, mistakes: list[str], *suffixes: str) -> Iterator[Path]:
    """What has come back, by name; hidden files are passed over, and files with other endings told as mistakes."""
    place = folder / ANSWERS
    for file in sorted(place.iterdir()) if place.is_dir() else ():
        if file.name.lower().endswith(suffixes) and not file.name.startswith("."):
            yield file
        elif not file.name.startswith("."):
            ending = " or ".join(suffixes)
            mistakes.append(f"{file}: answers are files that end in {ending}; save it as such, or move it elsewhere.")


@contextmanager
def noting(mistakes: list[str]) -> Iterator[None]:
    """What is wrong in here is noted, so that one mistake hides neither another one nor what is right."""
    try:
        yield
    except UserError as error:
        mistakes.append(str(error))


def raise_noted(mistakes: list[str]) -> None:
    """Raise `UserError` with a line for each different mistake, if there are any."""
    if mistakes:
        raise UserError("\n".join(dict.fromkeys(mistakes)))


def by_image(queries: Sequence[Query]) -> dict[str, list[Query]]:
    """The queries of each image, in their order."""
    grouped: dict[str, list[Query]] = {}
    for query in queries:
        grouped.setdefault(query.image, []).append(query)
    return grouped


def as_picture(query: Query) -> Query:
    """The query in two axes, if it is about a picture that nnU-Net reads as a volume of one slice; else itself."""
    if len(query.shape) != 3 or query.shape[0] != 1 or not all(file.suffix.lower() in SUFFIXES for file in query.files):
        return query
    mask, prediction = (None if array is None else array[0] for array in (query.mask, query.prediction))
    return replace(query, shape=query.shape[1:], window=query.window[1:], mask=mask, prediction=prediction)


def in_axes_of(query: Query, answer: Answer) -> Answer:
    """An answer to a query `as_picture` as one to the query itself."""
    return answer if answer.labels is None else replace(answer, labels=answer.labels.reshape(query.size))


def read_json(file: Path, form: pydantic.TypeAdapter[T], what: str) -> T:
    """The contents of a JSON file, checked to have a form.

    Args:
        file: the file.
        form: what it ought to hold.
        what: the same in words, for messages.

    Raises:
        UserError: if it cannot be read, is no JSON in UTF-8, is cut off, or holds something else.
    """
    try:
        with opened(file) as stream:
            return form.validate_json(stream.read().removeprefix(b"\xef\xbb\xbf"))
    except BrokenFile as error:
        raise UserError(f"{file}: it {error.what}; {error.mend}.") from error
    except pydantic.ValidationError as error:
        mistake: Any = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(map(str, mistake["loc"]))
        told = f"{place}: {mistake['msg']}" if place else mistake["msg"]
        raise UserError(f"{file}: it is not {what} ({told[:1].lower()}{told[1:]}); export it again.") from error


def file_name(image: str) -> str:
    """A name for files of an image, unique among images: its id where that can be one."""
    plain = re.sub(r"[^\w.-]", "_", image)
    return plain if plain == image and not plain.startswith(".") else f"image-{plain}-{zlib.crc32(image.encode()):08x}"


def colours(classes: Classes) -> dict[int, tuple[int, int, int]]:
    """Red, green and blue of each label, 0 to 255."""
    tints = dict(enumerate(class_colours(len(classes.names))))
    return tints if classes.ignore is None else tints | {classes.ignore: NO_CLASS}


def label_named(name: str, classes: Classes, source: str) -> int:
    """The label of a class.

    Args:
        name: its name.
        classes: the classes among which the annotator chooses.
        source: where the name was read, for messages.

    Raises:
        UserError: if no class has this name.
    """
    known = {known: label for label, known in reversed(classes.labels.items())}
    if name not in known:
        raise UserError(
            f"{source}: there is no class {name!r}{nearest(name, known)}; the classes are {', '.join(classes.names)}."
        )
    return known[name]


def modified(file: Path) -> str:
    """When a file was last changed: ISO 8601, in UTC."""
    time = datetime.datetime.fromtimestamp(file.stat().st_mtime, datetime.UTC)
    return time.isoformat(timespec="seconds")
