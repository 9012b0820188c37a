"""Label Studio: tasks to import, with the window and the model's prediction drawn, and exports that come back.

Label Studio: https://labelstud.io, by HumanSignal; the JSON of tasks and results is described in its guide.
"""

import base64
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt
from typing_extensions import override

from decomp.platform.annotation import brush
from decomp.platform.annotation import label_studio_results as results
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
    noting,
    prepare,
    raise_noted,
    write_once,
)
from decomp.platform.annotation.formats import AnnotationFormat
from decomp.platform.annotation.outlines import trace
from decomp.platform.annotation.pictures import browser_picture
from decomp.platform.annotation.query import Answer, Classes, Query
from decomp.platform.errors import UserError

TASKS, CONFIG, IMAGES = "label-studio.json", "label-studio.xml", "images"

IMAGE, WINDOW, REGION, BRUSH, POLYGON = "image", "window", "region", "brush", "polygon"
"""Names of the controls in the labelling configuration."""

Labels = npt.NDArray[np.uint8]

QUERY_COLOUR = "#ffff00"

MEGABYTE = 2**20
LARGEST = 250 * MEGABYTE
"""Bytes of a file that Label Studio imports, unless it is set up otherwise."""


@dataclass(frozen=True)
class LabelStudio(AnnotationFormat):
    """Tasks for Label Studio, one for each region: the image, the window as a rectangle, the prediction as brush masks.

    A project is set up once with ``label-studio.xml`` as its labelling configuration; ``label-studio.json`` of every
    cycle is imported into it. What it exports as JSON goes into the folder ``answers``. Brush masks and polygons count,
    the later one where two overlap, cut off at the window; a pixel belongs to a polygon if its centre lies inside, and
    to a brush mask if half of it is painted. A task that is skipped counts as skipped, with what was written as the
    reason. For images of two axes.
    """

    address: str = ""
    """Where a server shows the experiment's folder ``annotation``, such as
    ``/data/local-files/?d=scenes/annotation/``; by default the images are put into the JSON file itself, which suits
    small ones."""

    rest: str | None = None
    """The class of pixels that nobody marked; by default they are of no class, and something must be marked."""

    @override
    def write(self, queries: Sequence[Query], classes: Classes, folder: Path) -> Path:
        if self.rest is not None:
            label_named(self.rest, classes, REST)
        if (folder / TASKS).exists():  # which is written last
            return folder / TASKS
        prepare(folder, folder / ANSWERS)
        pictures = [as_picture(query) for query in queries]
        addresses = {image: self._address(asked[0], folder) for image, asked in by_image(pictures).items()}
        tasks = [_task(query, classes, addresses[query.image]) for query in pictures]
        write_once(folder / CONFIG, _config(classes).encode())
        content = json.dumps(tasks).encode()
        if len(content) > LARGEST:
            raise UserError(
                f"annotation.format: the tasks with their images have {len(content) // MEGABYTE} MB, and Label Studio "
                f"imports at most {LARGEST // MEGABYTE}; let it read the images from a folder (annotation.address)."
            )
        write_once(folder / TASKS, content)
        return folder / TASKS

    @override
    def advice(self, opened: Path) -> str:
        return (
            f"Import {opened} into the project in Label Studio, whose labelling configuration is {CONFIG} beside it, "
            f"annotate, and export as JSON into {opened.parent / ANSWERS}."
        )

    @override
    def read(self, queries: Sequence[Query], classes: Classes, folder: Path) -> Iterator[Answer]:
        mistakes: list[str] = []
        pictures = [as_picture(query) for query in queries]
        latest: dict[str, tuple[Path, results.Annotation]] = {}
        for file in answer_files(folder, mistakes, ".json"):
            with noting(mistakes):
                for query, annotation in results.annotations(file, pictures):
                    if query.id not in latest or results.rank(latest[query.id][1]) <= results.rank(annotation):
                        latest[query.id] = file, annotation
        for query, picture in zip(queries, pictures, strict=True):
            if query.id in latest:
                with noting(mistakes):
                    yield in_axes_of(query, self._answer(picture, classes, *latest[query.id]))
        raise_noted(mistakes)

    def _address(self, query: Query, folder: Path) -> str:
        """Where the browser finds the image of a query."""
        if len(query.shape) != 2:
            raise UserError(
                f"annotation.format: Label Studio shows images of two axes, and {query.image} has {len(query.shape)}; "
                "choose nifti for volumes, geojson for slides, or folders."
            )
        if not query.files:
            raise UserError(
                f"annotation.format: Label Studio needs a file of the image {query.image}, and there is none; choose "
                "folders."
            )
        media_type, content = browser_picture(query.files[0], query.shape)
        if not self.address:
            return f"data:{media_type};base64,{base64.b64encode(content).decode()}"
        prepare(folder / IMAGES)
        name = f"{file_name(query.image)}.{media_type.removeprefix('image/')}"
        write_once(folder / IMAGES / name, content)
        return self.address + quote(f"{folder.parent.name}/{folder.name}/{IMAGES}/{name}")

    def _answer(self, query: Query, classes: Classes, file: Path, annotation: results.Annotation) -> Answer:
        skipped = annotation.get("was_cancelled") or False
        return Answer(
            query.id,
            None if skipped else self._labels(query, classes, file, annotation),
            results.reason(annotation) if skipped else None,
            results.annotator(annotation),
            results.answered_at(annotation),
            annotation.get("lead_time"),
        )

    def _labels(self, query: Query, classes: Classes, file: Path, annotation: results.Annotation) -> Labels:
        drawing = Drawing(query, classes, file, self.rest)
        for result in annotation["result"]:
            if result.get("from_name") in (WINDOW, REGION, results.REASON) or "value" not in result:
                continue
            label = label_named(results.class_name(result, query, file), classes, f"{file}: {query.id}")
            drawing.mark(results.covered(result, query, file), label)
        if drawing.waits:
            raise UserError(f"{file}: nothing of the region of {query.id} is marked; mark it, or skip the task.")
        return drawing.labels()


def _config(classes: Classes) -> str:
    """The labelling configuration: brush and polygons of all classes; what shows the query cannot be chosen."""
    view = ElementTree.Element("View")
    ElementTree.SubElement(view, "Header", value="$query")
    ElementTree.SubElement(view, "Image", name=IMAGE, value="$image", zoom="true", zoomControl="true")
    hidden = ElementTree.SubElement(view, "View", style="display: none")
    for control, name in (("RectangleLabels", WINDOW), ("PolygonLabels", REGION)):
        shown = ElementTree.SubElement(hidden, control, name=name, toName=IMAGE, fillOpacity="0", strokeWidth="2")
        ElementTree.SubElement(shown, "Label", value=name, background=QUERY_COLOUR)
    for control, name, title in (("BrushLabels", BRUSH, "Brush"), ("PolygonLabels", POLYGON, "Polygons")):
        ElementTree.SubElement(view, "Header", value=title, size="5")
        labels = ElementTree.SubElement(view, control, name=name, toName=IMAGE)
        for label, colour in colours(classes).items():
            red, green, blue = colour
            background = f"#{red:02x}{green:02x}{blue:02x}"
            ElementTree.SubElement(labels, "Label", value=classes.labels[label], background=background)
    ElementTree.SubElement(
        view,
        "TextArea",
        name=results.REASON,
        toName=IMAGE,
        placeholder="Why do you skip this region?",
        maxSubmissions="1",
    )
    ElementTree.indent(view)
    return ElementTree.tostring(view, encoding="unicode")


def _task(query: Query, classes: Classes, address: str) -> dict[str, Any]:
    identity = {"query": query.id, "image_id": query.image, "window": query.window}
    return {
        "data": {"image": address, **identity},
        "predictions": [{"model_version": "decomp", "result": _drawn(query, classes)}],
    }


def _drawn(query: Query, classes: Classes) -> list[dict[str, Any]]:
    """The window, the region where it is irregular, and the prediction."""
    height, width = query.shape
    (top, bottom), (left, right) = query.window
    place = {"x": 100 * left / width, "y": 100 * top / height}
    size = {"width": 100 * (right - left) / width, "height": 100 * (bottom - top) / height}
    shapes: list[tuple[str, str, str, dict[str, Any]]] = [
        (WINDOW, "rectanglelabels", WINDOW, {**place, **size, "rotation": 0})
    ]
    if query.mask is not None:
        for polygon in trace(query.mask):
            for ring in polygon:
                corners = (np.array((left, top)) + ring) * (100 / width, 100 / height)
                shapes.append((REGION, "polygonlabels", REGION, {"points": corners.tolist(), "closed": True}))
    if query.prediction is not None:
        for label, name in classes.labels.items():
            painted = np.zeros(query.shape, np.bool_)
            painted[query.slices] = (query.prediction == label) & query.inside
            if painted.any():
                shapes.append((BRUSH, "brushlabels", name, {"format": "rle", "rle": brush.encode(painted)}))
    return [
        {
            "id": f"{query.id}-{number}",
            "type": kind,
            "from_name": control,
            "to_name": IMAGE,
            "original_width": width,
            "original_height": height,
            "image_rotation": 0,
            "readonly": control in (WINDOW, REGION),
            "value": {**value, kind: [name]},
        }
        for number, (control, kind, name, value) in enumerate(shapes)
    ]
