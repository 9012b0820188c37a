"""What Label Studio exports: annotations of tasks, and the pixels that their shapes cover."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NotRequired

import numpy as np
import numpy.typing as npt
import pydantic
from scipy import ndimage
from typing_extensions import TypedDict

from decomp.platform.annotation import brush
from decomp.platform.annotation.exchange import read_json
from decomp.platform.annotation.outlines import fill
from decomp.platform.annotation.query import Query
from decomp.platform.errors import UserError

REASON = "reason"
"""Name of the control into which an annotator writes why a task is skipped."""

EVERYWHERE = np.ones((3, 3), np.bool_)  # neighbours in all eight directions
FARTHEST = 1e6  # of a corner, percent


class Result(TypedDict):
    """A shape, a text, or a relation of shapes, which has no value."""

    type: str
    from_name: NotRequired[str]
    value: NotRequired[dict[str, Any]]
    original_width: NotRequired[float]
    original_height: NotRequired[float]
    image_rotation: NotRequired[float | None]


class Annotation(TypedDict):
    """What one annotator submitted for a task."""

    result: list[Result]
    was_cancelled: NotRequired[bool | None]
    completed_by: NotRequired[dict[str, Any] | int | str | None]
    created_at: NotRequired[str | None]
    updated_at: NotRequired[str | None]
    lead_time: NotRequired[Annotated[float, pydantic.Field(ge=0, allow_inf_nan=False)] | None]


class _Task(TypedDict):
    data: "_Data"
    annotations: list[Annotation]


class _Data(TypedDict):
    """What a task is about: in tasks that decomp wrote, a query."""

    query: NotRequired[str]
    image_id: NotRequired[str]
    window: NotRequired[list[list[int]]]


_EXPORT = pydantic.TypeAdapter(list[_Task])


def annotations(file: Path, queries: Sequence[Query]) -> Iterator[tuple[Query, Annotation]]:
    """The annotations of the queries in an export, which may hold those of other cycles, too.

    Raises:
        UserError: if the file cannot be read, is no such export, answers none of the queries, or is of another run.
    """
    by_id = {query.id: query for query in queries}
    tasks = read_json(file, _EXPORT, "an export of Label Studio in its format JSON")
    asked = [task for task in tasks if task["data"].get("query") in by_id]
    if tasks and not asked:
        other = tasks[0]["data"].get("query", "a task that decomp did not write")
        raise UserError(
            f"{file}: it answers {other}, and no region of this cycle, such as {next(iter(by_id), 'none')}; export the "
            "project into which the tasks of this cycle were imported."
        )
    for task in asked:
        query = by_id[task["data"]["query"]]
        image, window = task["data"].get("image_id"), task["data"].get("window")
        if (image, window) != (query.image, [list(bounds) for bounds in query.window]):
            raise UserError(
                f"{file}: its {query.id} asks for the window {window} of {image}, not for {query.window} of "
                f"{query.image}, so it is of another run; export the project of this run."
            )
        for annotation in task["annotations"]:
            yield query, annotation


def rank(annotation: Annotation) -> tuple[bool, str]:
    """The greatest is taken: an annotation rather than a skip, and the one that was changed last."""
    return not annotation.get("was_cancelled"), answered_at(annotation) or ""


def answered_at(annotation: Annotation) -> str | None:
    """When it was changed last: ISO 8601, in UTC."""
    return annotation.get("updated_at") or annotation.get("created_at") or None


def annotator(annotation: Annotation) -> str | None:
    """Whom it is of: the address where the export has it, else the number of the user."""
    who = annotation.get("completed_by")
    name = who.get("email") or who.get("id") if isinstance(who, Mapping) else who
    return None if name is None else str(name)


def reason(annotation: Annotation) -> str | None:
    """What was written as the reason of a skip."""
    values = [result.get("value", {}) for result in annotation["result"] if result.get("from_name") == REASON]
    return " ".join(str(line) for value in values for line in _listed(value.get("text"))) or None


def class_name(result: Result, query: Query, file: Path) -> str:
    """The name of a shape's class; `UserError` if it has none, or several."""
    names = _listed(result["value"].get(result["type"]))
    if len(names) != 1:
        said = f"the classes {', '.join(map(str, names))}" if names else "no class"
        raise UserError(f"{file}: a shape of {query.id} has {said}; give it one class.")
    return str(names[0])


def _listed(value: Any) -> list[Any]:
    """Texts and names come as lists, or alone."""
    return value if isinstance(value, list) else [] if value is None else [value]


def covered(result: Result, query: Query, file: Path) -> npt.NDArray[np.bool_]:
    """The pixels of the window that a shape covers, shape of the window.

    Raises:
        UserError: if it is no brush mask or polygon, is broken, is of an image of another size, or lies outside.
    """

    def wrong(what: str, mend: str) -> UserError:
        return UserError(f"{file}: a shape of {query.id} {what}; {mend}.")

    size = result.get("original_height") or 0, result.get("original_width") or 0
    if size != query.shape:
        (height, width), (rows, columns) = size, query.shape
        other = f"is of an image of {height:g} x {width:g} pixels, and {query.image} has {rows} x {columns}"
        raise wrong(other, "import the tasks again and annotate the image that they show")
    if result.get("image_rotation"):
        raise wrong("was drawn on the image turned", "turn the image back and draw it again")
    value = result["value"]
    if "rle" in value:
        try:
            painted = brush.decode(value["rle"], (query.shape[0], query.shape[1]))
        except ValueError as error:
            raise wrong(f"cannot be read, since its brush mask {error}", "export the project again") from error
        inside = painted[query.slices]
        if int(painted.sum()) > int(inside.sum()):
            groups, n_groups = ndimage.label(painted, EVERYWHERE)
            outside = n_groups - len(np.setdiff1d(groups[query.slices], [0]))
            if outside:
                raise wrong(f"has {outside} stroke(s) outside the window", "erase what lies outside")
    elif "points" in value:
        corners = _corners(value["points"])
        if corners is None or value.get("closed") is False:
            raise wrong("is an unfinished polygon", "close it or delete it")
        inside = fill([corners * (query.shape[1] / 100, query.shape[0] / 100)], query.window)
        if not inside.any():
            raise wrong("covers no pixel of the window", "draw it inside the window or delete it")
    else:
        raise wrong(f"is of the kind {result['type']!r}", "draw with the brush or polygons")
    return inside


def _corners(points: Any) -> npt.NDArray[np.float64] | None:
    """Corners of a polygon, shape (n, 2), in percent; None if they are none."""
    try:
        corners = np.array(points, np.float64)
    except (TypeError, ValueError):
        return None
    fits = corners.ndim == 2 and len(corners) > 2 and corners.shape[1] == 2
    return corners if fits and np.isfinite(corners).all() and np.abs(corners).max() < FARTHEST else None
