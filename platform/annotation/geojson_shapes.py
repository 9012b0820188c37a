"""Annotations in QuPath's GeoJSON, and what they mark in the windows of queries."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired

import numpy as np
import numpy.typing as npt
import pydantic
from pydantic import Field
from typing_extensions import TypedDict

from decomp.platform.annotation.drawing import Drawing
from decomp.platform.annotation.exchange import label_named, read_json
from decomp.platform.annotation.outlines import Ring, fill
from decomp.platform.annotation.query import Classes, Query
from decomp.platform.errors import UserError

DESCRIPTION = "ANNOTATION_DESCRIPTION"
"""Key under which QuPath stores the text that a user writes to describe an annotation."""

FARTHEST = 1e9  # of a corner, pixels


@dataclass(frozen=True, eq=False)
class Shape:
    """An annotation of QuPath.

    Attributes:
        name: its name.
        class_name: the name of its class.
        description: what the user wrote about it.
        polygons: its outlines, each its outer ring and then its holes.
    """

    name: str | None
    class_name: str | None
    description: str | None
    polygons: tuple[tuple[Ring, ...], ...]

    def draw(
        self,
        drawings: Mapping[Query, Drawing],
        others: Sequence[npt.NDArray[np.float64]],
        classes: Classes,
        file: Path,
        broken: set[str],
    ) -> None:
        """Mark the windows into which the shape reaches.

        Args:
            drawings: the windows.
            others: the extents of the windows of other cycles, in which a shape may lie instead.
            classes: the classes among which the annotator chooses.
            file: the file of the shape, for messages.
            broken: takes the ids of the queries into whose windows a shape without a known class reaches.

        Raises:
            UserError: if it reaches into no window, or has no known class.
        """
        reached = {}
        extents = np.array([extent([polygon]) for polygon in self.polygons])
        for query in drawings:
            first, last = np.array(query.window).T[:, ::-1]
            near = (extents[:, 0] < last) & (extents[:, 1] > first)
            inside = np.zeros(query.size, np.bool_)
            for number in np.flatnonzero(near.all(axis=1)):
                inside |= fill(self.polygons[number], query.window)
            if inside.any():
                reached[query] = inside
        if not reached:
            first, last = extent(self.polygons)
            if any((first < other[1]).all() and (last > other[0]).all() for other in others):
                return
            x, y = first
            raise UserError(
                f"{file}: the annotation of class {self.class_name!r} at x {x:g}, y {y:g} lies outside the windows of "
                "all queries; draw inside a window, or delete it."
            )
        ids = {query.id for query in reached}
        try:
            label = self._label(min(ids), classes, file)
        except UserError:
            broken |= ids
            raise
        for query, inside in reached.items():
            drawings[query].mark(inside, label)

    def _label(self, query_id: str, classes: Classes, file: Path) -> int:
        if self.class_name is None:
            raise UserError(f"{file}: an annotation in the window of {query_id} has no class; give it one.")
        return label_named(self.class_name, classes, f"{file}: {query_id}")


_Corner = Annotated[list[Annotated[float, Field(ge=-FARTHEST, le=FARTHEST)]], Field(min_length=2)]
_Ring = Annotated[list[_Corner], Field(min_length=3)]


class _Polygon(TypedDict):
    type: Literal["Polygon"]
    coordinates: Annotated[list[_Ring], Field(min_length=1)]


class _MultiPolygon(TypedDict):
    type: Literal["MultiPolygon"]
    coordinates: Annotated[list[Annotated[list[_Ring], Field(min_length=1)]], Field(min_length=1)]


class _NoArea(TypedDict):
    type: Literal["Point", "MultiPoint", "LineString", "MultiLineString", "GeometryCollection"]


class _Class(TypedDict):
    name: NotRequired[str | None]
    names: NotRequired[list[str]]


class _Properties(TypedDict):
    name: NotRequired[str | None]
    classification: NotRequired[_Class | None]
    metadata: NotRequired[dict[str, Any] | None]
    childObjects: NotRequired[list["_Feature"]]


class _Feature(TypedDict):
    type: Literal["Feature"]
    geometry: Annotated[_Polygon | _MultiPolygon | _NoArea, Field(discriminator="type")]
    properties: NotRequired[_Properties | None]


class _Collection(TypedDict):
    type: Literal["FeatureCollection"]
    features: list[_Feature]


_FILE: pydantic.TypeAdapter[Any] = pydantic.TypeAdapter(_Collection)


def read_shapes(file: Path, mistakes: list[str]) -> Iterator[Shape]:
    """All annotations in a file that mark areas, those within others after these; others are noted as mistakes.

    Raises:
        UserError: if it cannot be read, or is no GeoJSON FeatureCollection of polygons.
    """
    collection = read_json(file, _FILE, "a GeoJSON FeatureCollection of polygons")
    waiting = list(reversed(collection["features"]))
    while waiting:
        feature = waiting.pop()
        properties = feature.get("properties") or {}
        waiting += reversed(properties.get("childObjects", []))
        class_of = properties.get("classification") or {}
        names = class_of.get("names") or [class_of.get("name")]
        class_name = ": ".join(names) if names[0] else None
        kind = feature["geometry"]["type"]
        if kind not in ("Polygon", "MultiPolygon"):
            mistakes.append(
                f"{file}: an annotation of class {class_name!r} is a {kind}, which marks no area; delete it."
            )
            continue
        coordinates = feature["geometry"]["coordinates"]
        polygons = [coordinates] if kind == "Polygon" else coordinates
        yield Shape(
            properties.get("name"),
            class_name,
            (properties.get("metadata") or {}).get(DESCRIPTION) or None,
            tuple(tuple(_ring(ring) for ring in polygon) for polygon in polygons),
        )


def _ring(corners: Sequence[Sequence[float]]) -> Ring:
    closed = corners[:-1] if corners[0] == corners[-1] else corners
    return np.array([corner[:2] for corner in closed], np.float64)


def extent(polygons: Sequence[Sequence[Ring]]) -> npt.NDArray[np.float64]:
    """Least and greatest x and y of the corners, shape (2, 2)."""
    corners = np.concatenate([ring for polygon in polygons for ring in polygon])
    return np.stack([corners.min(axis=0), corners.max(axis=0)])
