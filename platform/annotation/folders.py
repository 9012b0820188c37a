"""Plain folders of PNG files, for any tool that can paint."""

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from typing_extensions import override

from decomp.platform.annotation.answer_table import NOTHING, TABLE, AnswerTable, Line, csv_text
from decomp.platform.annotation.colours import class_colours
from decomp.platform.annotation.crops import Slices, surroundings_of, windows_of
from decomp.platform.annotation.exchange import modified, prepare, raise_noted, write_once
from decomp.platform.annotation.formats import AnnotationFormat, checked_labels
from decomp.platform.annotation.query import Answer, Classes, Query
from decomp.platform.datasets.base import IGNORE
from decomp.platform.datasets.formats.codes import Codes
from decomp.platform.datasets.formats.header import BrokenFile
from decomp.platform.datasets.formats.rasters import inspect, read_mask
from decomp.platform.errors import UserError, sized

IMAGES, CONTEXT, PREDICTIONS, MASKS = "images", "context", "predictions", "masks"
CLASSES, README = "classes.csv", "README.txt"

PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".gif", ".webp")
"""Endings of files among the masks that are taken for answers; others, such as a tool's own, are passed over."""

TEXT = """\
Every PNG file in {images}/ shows a region; {context}/ shows where it lies.

For each of them put a mask into {masks}/: a PNG file of the same name and size, grey or palette, in which the value of
a pixel is the class that {classes} gives it{ignore}; RGB in the colours of {classes} will do, too. Where
there is a folder {predictions}/, it holds what the model predicts, to begin with.

{answers} has a line for each region; its window is start:stop along each axis of the file. If all of a region is of one
class, its name in the column "class" is enough. If a region cannot be annotated, write the reason into the column
"skipped". "annotator" and "seconds" are kept as well.
"""


@dataclass(frozen=True)
class Folders(AnnotationFormat):
    """Plain folders: crops of the regions as PNG, masks of the same names back, and a table for whole answers.

    A cycle's folder::

        README.txt           what to do
        classes.csv          value and colour of each class
        answers.csv          a line for each region: one class for all of it, or why it is skipped; annotator, seconds
        images/QUERY.png     the region's window
        context/QUERY.png    the same in what lies around it
        predictions/QUERY.png  the model's classes, as a mask
        masks/QUERY.png      the answer

    Where a window has several slices, there is a picture for each, ``QUERY_001.png`` and so on, and where an image has
    several files, those of the second one are ``QUERY_of_2.png``.
    """

    @override
    def write(self, queries: Sequence[Query], classes: Classes, folder: Path) -> Path:
        prepare(folder, folder / IMAGES, folder / CONTEXT, folder / MASKS)
        if any(query.prediction is not None for query in queries):
            prepare(folder / PREDICTIONS)
        colours = class_colours(len(classes.names))
        for query in queries:
            _write_pictures(query, colours, folder)
        rows = [(label, f"#{bytes(colours[label]).hex()}", name) for label, name in enumerate(classes.names)]
        ignore = "" if classes.ignore is None else f", or {classes.ignore} where it is of none"
        names = {"images": IMAGES, "context": CONTEXT, "masks": MASKS, "predictions": PREDICTIONS}
        text = TEXT.format(**names, classes=CLASSES, answers=TABLE, ignore=ignore)
        write_once(folder / CLASSES, csv_text(("value", "colour", "name"), rows))
        AnswerTable(folder, queries).write()
        write_once(folder / README, text.encode())
        return folder

    @override
    def advice(self, opened: Path) -> str:
        return f"Put a mask for each picture in {opened / IMAGES} into {opened / MASKS}, as {README} there says."

    @override
    def read(self, queries: Sequence[Query], classes: Classes, folder: Path) -> Iterator[Answer]:
        mistakes: list[str] = []
        table = AnswerTable(folder, queries)
        lines = table.read(mistakes)
        masks = _masks(folder / MASKS, queries, mistakes)
        for query in queries:
            line = lines.get(query.id, NOTHING)
            try:
                answer = _answer(query, line, masks.get(query.id, {}), classes, table)
            except UserError as error:
                mistakes.append(str(error))
            else:
                if answer is not None:
                    yield answer
        raise_noted(mistakes)


def _answer(query: Query, line: Line, masks: Mapping[int, Path], classes: Classes, table: AnswerTable) -> Answer | None:
    files = [masks[number] for number in sorted(masks)]
    whole = table.answer(query, line, classes)
    if whole is not None:
        if files:
            both = "is skipped" if line.skipped else f"has the class {line.class_name}"
            raise UserError(f"{table.file}: {query.id} {both}, but there is {files[0]} as well; keep one of the two.")
        return whole
    slices = Slices.of(query)
    inside = slices.split(query.inside)
    if len(files) < len(inside):
        return None
    read = [_read(file, of_slice, query, classes) for file, of_slice in zip(files, inside, strict=True)]
    labels = checked_labels(slices.join(read), query, classes, files[0])
    return Answer(query.id, labels, None, line.annotator, modified(files[-1]), line.seconds)


def _read(file: Path, inside: npt.NDArray[np.bool_], query: Query, classes: Classes) -> npt.NDArray[np.uint8]:
    """The labels that a mask holds, shape (H, W), which is that of `inside`, the pixels that count."""
    codes = {label: label for label in range(len(classes.names))}
    shown = {red << 16 | green << 8 | blue: label for label, (red, green, blue) in enumerate(class_colours(len(codes)))}
    try:
        colours = inspect(file).colours
        coloured = colours == "rgb" or (colours == "palette" and _shows_classes(file, shown))
        codes = shown if coloured else codes
        values, step = read_mask(file, coloured)
    except BrokenFile as error:
        raise UserError(f"{file} {error.what}; {error.mend}.") from error
    if values.shape[:2] != inside.shape:
        here, there = map(sized, (values.shape[:2], inside.shape))
        raise UserError(
            f"{file}: it has {here} pixels, but the window of {query.id} has {there}; save the mask in the size of "
            f"{IMAGES}/{file.name}."
        )
    if not coloured and classes.ignore is not None:
        codes[classes.ignore] = classes.ignore
    table = Codes(codes, coloured)
    try:
        labels, _ = table.decode(values, step)
    except ValueError as error:
        raise UserError(f"{file} {error}; save the mask as 8-bit grey.") from error
    _, unknown = table.decode(np.ascontiguousarray(values[inside])[None], step)
    if unknown:
        raise UserError(
            f"{file}: {table.name(unknown[0])} is no class; {CLASSES} has the values and colours of the classes."
        )
    return labels


def _shows_classes(file: Path, shown: Mapping[int, int]) -> bool:
    """Whether all colours of a palette mask are those of classes, so that they count: programs put the palette, and
    with it the values, in an order of their own.

    Raises:
        BrokenFile: if they did so, and other colours are there as well.
    """
    values = read_mask(file, False).values
    labels, others = Codes(shown, True).decode(read_mask(file, True).values)
    if others and ((labels != IGNORE) & (labels != values)).any():
        raise BrokenFile("has a palette in another order, so its values are no classes", "save it as 8-bit grey")
    return not others


def _masks(folder: Path, queries: Sequence[Query], mistakes: list[str]) -> dict[str, dict[int, Path]]:
    """The masks by query and number of the slice; what is none of this cycle's is told."""
    names: dict[str, tuple[str, int]] = {}
    for query in queries:
        for number, name in enumerate(_names(query, len(Slices.of(query).split(query.inside)))):
            names[name] = query.id, number
    found: dict[str, dict[int, Path]] = {}
    for file in sorted(folder.iterdir()) if folder.is_dir() else []:
        if file.name.startswith(".") or file.suffix.lower() not in PICTURES:
            continue
        if file.stem not in names:
            mistakes.append(f"{file}: there is no such region in this cycle; move it away, or give it the right name.")
        elif file.suffix.lower() != ".png":
            mistakes.append(f"{file}: a mask is a PNG file, which keeps its values; save it as {file.stem}.png.")
        else:
            query_id, number = names[file.stem]
            found.setdefault(query_id, {})[number] = file
    return found


def _write_pictures(query: Query, colours: Sequence[tuple[int, int, int]], folder: Path) -> None:
    """Crops, surroundings and prediction of a region, unless they are there."""
    n_slices = len(Slices.of(query).split(query.inside))
    names = _names(query, n_slices)
    pictures = [
        (IMAGES, f"{name}_of_{number}" if number > 1 else name)
        for number in range(1, len(query.files) + 1)
        for name in names
    ]
    if any(not (folder / place / f"{name}.png").exists() for place, name in pictures):
        crops = [picture for of_file in windows_of(query) for picture in of_file]
        for (place, name), picture in zip(pictures, crops, strict=True):
            write_once(folder / place / f"{name}.png", _png(Image.fromarray(picture)))
    around = folder / CONTEXT / f"{query.id}.png"
    if query.files and not around.exists():
        write_once(around, _png(Image.fromarray(surroundings_of(query))))
    if query.prediction is not None:
        for name, labels in zip(names, Slices.of(query).split(query.prediction), strict=True):
            mask = Image.fromarray(np.ascontiguousarray(labels), "P")
            mask.putpalette([value for colour in colours for value in colour])
            write_once(folder / PREDICTIONS / f"{name}.png", _png(mask))


def _names(query: Query, n_slices: int) -> list[str]:
    return [query.id] if n_slices == 1 else [f"{query.id}_{number:03d}" for number in range(1, n_slices + 1)]


def _png(picture: Image.Image) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    return stream.getvalue()
