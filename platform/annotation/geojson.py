"""GeoJSON as QuPath reads and writes it: windows, outlines of classes, and classes of a slide's ROIs.

Format: RFC 7946, with the properties of Bankhead et al., "QuPath: open source software for digital pathology image
analysis", Scientific Reports 2017. Coordinates are pixels of the whole image at full resolution, x first.
"""

import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from typing_extensions import override

from decomp.platform.annotation.answer_table import NOTHING, AnswerTable
from decomp.platform.annotation.drawing import REST, Drawing
from decomp.platform.annotation.exchange import (
    ANSWERS,
    answer_files,
    as_picture,
    by_image,
    colours,
    file_name,
    in_axes_of,
    label_named,
    modified,
    noting,
    prepare,
    raise_noted,
    write_once,
)
from decomp.platform.annotation.formats import AnnotationFormat
from decomp.platform.annotation.geojson_shapes import Shape, extent, read_shapes
from decomp.platform.annotation.outlines import Ring, trace
from decomp.platform.annotation.query import Answer, Classes, Query
from decomp.platform.datasets.formats.header import BrokenFile
from decomp.platform.datasets.formats.rasters import inspect
from decomp.platform.errors import UserError

SUFFIX = ".geojson"

QUERY, SKIPPED, LATER = "query", "skipped", "later"
"""What a query's own annotation is classified as: to be answered, skipped, or not answered yet."""

COLOURS = {QUERY: (255, 255, 0), SKIPPED: (160, 160, 160), LATER: (0, 200, 255)}

NUDGE = 0.5  # how far a query's own annotation may have moved, pixels


@dataclass(frozen=True)
class GeoJson(AnnotationFormat):
    """GeoJSON files for QuPath, one for each image: every window as a locked annotation of the class ``query``, and the
    prediction as annotations of the classes.

    A file is imported into the image that it is named after. What QuPath exports as GeoJSON goes into the folder
    ``answers``, and answers all queries in it but those whose own annotation is classified as ``later``; one that is
    classified as ``skipped`` is skipped, with its description as the reason. Outlines of the classes count, the later
    one in the file where two overlap, cut off at the window; a pixel belongs to an outline if its centre lies inside.
    An ROI of a slide is answered by the class of its own annotation.
    """

    rest: str | None = None
    """The class of pixels that nobody outlined, in regions without any outline, too; by default they are of no class,
    and a region waits until something in it is outlined."""

    @override
    def write(self, queries: Sequence[Query], classes: Classes, folder: Path) -> Path:
        if self.rest is not None:
            label_named(self.rest, classes, REST)
        taken = set(COLOURS) & set(classes.names)
        if taken:
            raise UserError(f"annotation.format: geojson uses {min(taken)!r} itself; give the class another name.")
        prepare(folder, folder / ANSWERS)
        for image, asked in by_image(queries).items():
            file = folder / f"{file_name(image)}{SUFFIX}"
            if not file.exists():
                _check_upright(asked[0])
                features = [feature for query in asked for feature in _features(as_picture(query), classes)]
                write_once(file, json.dumps({"type": "FeatureCollection", "features": features}).encode())
        AnswerTable(folder, queries).write()
        return folder

    @override
    def advice(self, opened: Path) -> str:
        return (
            f"Import each {SUFFIX} file in {opened} into its image in QuPath, outline the classes in the regions, and "
            f"export all annotations as GeoJSON into {opened / ANSWERS}."
        )

    @override
    def read(self, queries: Sequence[Query], classes: Classes, folder: Path) -> Iterator[Answer]:
        by_id = {query.id: as_picture(query) for query in queries}
        mistakes: list[str] = []
        lines, whole = AnswerTable(folder, queries).read_answers(classes, mistakes)
        yield from whole.values()
        answers: dict[str, tuple[Path, Answer]] = {}
        for file in answer_files(folder, mistakes, SUFFIX, ".json"):
            with noting(mistakes):
                for answer in self._answers(file, by_id, classes, mistakes):
                    if answer.query in answers:
                        other = answers[answer.query][0].name
                        raise UserError(f"{file}: it answers {answer.query}, and so does {other}; keep one.")
                    answers[answer.query] = file, answer
        for query in queries:
            if query.id in answers and query.id not in whole:
                file, answer = answers[query.id]
                line = lines.get(query.id, NOTHING)
                answer = replace(answer, annotator=line.annotator, answered_at=modified(file), seconds=line.seconds)
                yield in_axes_of(query, answer)
        raise_noted(mistakes)

    def _answers(
        self, file: Path, by_id: Mapping[str, Query], classes: Classes, mistakes: list[str]
    ) -> Iterator[Answer]:
        """The answers in a file; what is wrong with single queries or shapes is noted."""
        shapes = list(read_shapes(file, mistakes))
        frames = {shape.name: shape for shape in shapes if shape.name in by_id}
        asked = [query for query in by_id.values() if query.id in frames]
        if not asked:
            raise UserError(
                f"{file}: it holds the window of no region of this cycle, such as {next(iter(by_id), 'none')}; export "
                f"all annotations of an image into which a {SUFFIX} file of this cycle was imported."
            )
        if len({query.image for query in asked}) > 1:
            raise UserError(f"{file}: it mixes queries of several images; export the annotations image by image.")
        for query in asked:
            _check_place(frames[query.id], query, file)
        drawings = {query: Drawing(query, classes, file, self.rest) for query in asked if len(query.shape) == 2}
        others = [extent(shape.polygons) for shape in shapes if shape.name not in by_id and shape.class_name in COLOURS]
        broken: set[str] = set()
        for shape in shapes:
            if drawings and shape.name not in by_id and shape.class_name not in COLOURS:
                with noting(mistakes):
                    shape.draw(drawings, others, classes, file, broken)
        for query in asked:
            with noting(mistakes):
                if query.id not in broken:
                    yield from _answer(frames[query.id], query, drawings.get(query), classes, file)


def _answer(frame: Shape, query: Query, drawing: Drawing | None, classes: Classes, file: Path) -> Iterator[Answer]:
    """The answer to a query, if there is one yet; ROIs have no drawing."""
    if frame.class_name == SKIPPED:
        yield Answer(query.id, None, frame.description)
    elif drawing is None and frame.class_name not in (QUERY, LATER):
        label = label_named(frame.class_name or "", classes, f"{file}: {query.id}")
        yield Answer(query.id, np.full(query.size, label, np.uint8))
    elif drawing is not None and frame.class_name != LATER and not drawing.waits:
        yield Answer(query.id, drawing.labels())


def _features(query: Query, classes: Classes) -> Iterator[dict[str, Any]]:
    """The query's own annotation, and one for each predicted class."""
    if len(query.shape) > 2:
        raise UserError(
            f"annotation.format: geojson is for images of two axes and for slides, not {query.image}; choose nifti."
        )
    tints = colours(classes)
    if len(query.shape) == 1:
        # Slides are known by their ROIs alone, so these are squares side by side, in their order.
        label = None if query.prediction is None else int(query.prediction[0])
        name, colour = (QUERY, COLOURS[QUERY]) if label is None else (classes.names[label], tints[label])
        yield _feature(query.id, query.id, name, colour, [[_corners(*_bounds(query))]])
        return
    yield _feature(query.id, query.id, QUERY, COLOURS[QUERY], _frame(query))
    if query.prediction is not None:
        for label, name in classes.labels.items():
            outlined = trace((query.prediction == label) & query.inside)
            if outlined:
                polygons = [[_moved(ring, query) for ring in polygon] for polygon in outlined]
                yield _feature(f"{query.id} {name}", None, name, tints[label], polygons)


def _check_upright(query: Query) -> None:
    """That QuPath, which does not turn images, shows the one of a query upright, as its coordinates are."""
    for file in query.files if len(as_picture(query).shape) == 2 else ():
        try:
            lies = inspect(file).orientation != 1
        except BrokenFile as error:
            raise UserError(f"{file}: it {error.what}; {error.mend}.") from error
        if lies:
            raise UserError(
                f"{file}: it is stored lying on its side, as which QuPath shows it; save it upright, or choose another "
                "annotation.format."
            )


def _feature(
    identity: str, name: str | None, class_name: str, colour: tuple[int, int, int], polygons: list[list[Ring]]
) -> dict[str, Any]:
    closed = [[[*ring.tolist(), ring[0].tolist()] for ring in polygon] for polygon in polygons]
    multi = len(closed) > 1
    return {
        "type": "Feature",
        "id": str(uuid.uuid5(uuid.NAMESPACE_OID, identity)),
        "geometry": {"type": "MultiPolygon" if multi else "Polygon", "coordinates": closed if multi else closed[0]},
        "properties": {
            "objectType": "annotation",
            "classification": {"name": class_name, "color": list(colour)},
            **({} if name is None else {"name": name, "isLocked": True}),
        },
    }


def _frame(query: Query) -> list[list[Ring]]:
    """The window or, where the region is irregular, its outlines."""
    if query.mask is None:
        return [[_corners(*_bounds(query))]]
    return [[_moved(ring, query) for ring in polygon] for polygon in trace(query.mask)]


def _bounds(query: Query) -> tuple[tuple[int, int], tuple[int, int]]:
    """Start and stop of x and of y."""
    return (query.window[-1], query.window[0]) if len(query.shape) == 2 else (query.window[0], (0, 1))


def _corners(x: tuple[int, int], y: tuple[int, int]) -> Ring:
    return np.array([(x[0], y[0]), (x[1], y[0]), (x[1], y[1]), (x[0], y[1])], np.float64)


def _moved(ring: Ring, query: Query) -> Ring:
    """A ring of the window in coordinates of the image."""
    (top, _), (left, _) = query.window
    moved: Ring = ring + np.array((left, top), np.float64)
    return moved


def _check_place(shape: Shape, query: Query, file: Path) -> None:
    """That the query's own annotation lies where it was drawn; an ROI's may be moved."""
    if len(query.shape) < 2:
        return
    edges = [extent(polygons) for polygons in (shape.polygons, _frame(query))]
    if np.abs(edges[0] - edges[1]).max() > NUDGE:
        raise UserError(
            f"{file}: the annotation of {query.id} is not where it was drawn, so the file is of another run or of the "
            "image in another size; import and export the annotations in the image at full resolution."
        )
