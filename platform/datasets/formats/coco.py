"""Annotations in COCO's JSON: outlines of objects (instances), or segments in PNG files (panoptic).

Lin et al., "Microsoft COCO: Common Objects in Context", ECCV 2014; Kirillov et al., "Panoptic Segmentation", CVPR 2019.
Format: https://cocodataset.org/#format-data.
"""

import functools
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NotRequired

import numpy as np
import numpy.typing as npt
import pydantic
from pycocotools import mask as outlines
from pydantic import Field
from typing_extensions import TypedDict

from decomp.platform.datasets.base import IGNORE
from decomp.platform.datasets.formats.header import BrokenFile, opened
from decomp.platform.datasets.formats.rasters import MOST_PIXELS, read_mask

SHOWN = 3  # mistakes of a file in a message
OUTSIDE = 1.0  # how far an outline may reach beyond the image, in sides of the image

Labels = npt.NDArray[np.uint8]
Polygon = npt.NDArray[np.float64]
Runs = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False, slots=True)
class Object:
    """An object of an image, or a segment of a panoptic PNG.

    Attributes:
        id: of the annotation, or the number that the segment has in the PNG.
        category: id of its category.
        crowd: whether it is a region of many objects that are not told apart.
        polygons: its outlines, each x and y by turns in pixels from the upper left corner, shape (2 n,), float64.
        runs: in their place, how many pixels, column by column, are outside, inside, outside and so on.
        shape: height and width that the runs are for, where they are given.
    """

    id: int
    category: int
    crowd: bool
    polygons: tuple[Polygon, ...] = ()
    runs: Runs | None = None
    shape: tuple[int, int] | None = None


@dataclass(frozen=True, eq=False, slots=True)
class Picture:
    """An image with its objects.

    Attributes:
        file: its name, below the folder of images.
        shape: height and width.
        objects: in the order of the file.
        png: name of the panoptic PNG; None for instances.
    """

    file: str
    shape: tuple[int, int]
    objects: tuple[Object, ...]
    png: str | None = None


@dataclass(frozen=True, eq=False, slots=True)
class Annotations:
    """All that is read of a file.

    Attributes:
        panoptic: whether it lists segments of PNG files, not outlines.
        categories: names by id.
        pictures: the images by their file names without the suffix.
    """

    panoptic: bool
    categories: Mapping[int, str]
    pictures: Mapping[str, Picture]


def read_annotations(file: Path) -> Annotations:
    """Read a JSON file; once in a process, as long as the file stays as it is.

    Raises:
        BrokenFile: if it is missing, damaged, or not in COCO's format; naming up to `SHOWN` mistakes.
    """
    with opened(file) as stream:
        state = os.fstat(stream.fileno())
    return _read(file, state.st_mtime_ns, state.st_size)


def draw(picture: Picture, labels: Mapping[int, int]) -> tuple[Labels, tuple[int, ...]]:
    """Class of every pixel by the outlines of the objects, as COCO's own tools fill them.

    Where objects overlap, the smaller one (in pixels) lies on top, and of two of a size the later one in the file.
    Crowds lie beneath all objects; their pixels are `IGNORE`. Pixels without an object have label 0.

    Args:
        picture: an image of instances.
        labels: label of each category.

    Returns:
        Shape (H, W), uint8; the ids of categories that have no label, sorted.

    Raises:
        BrokenFile: if an object has no outline, or a broken one.
    """
    drawn = np.zeros(picture.shape, np.uint8)
    outlined = [(thing, _filled(thing, *picture.shape)) for thing in picture.objects if thing.category in labels]
    for thing, runs in sorted(outlined, key=lambda pair: (not pair[0].crowd, -pair[1][1::2].sum())):
        inside = np.repeat(np.arange(len(runs)) % 2 > 0, runs).reshape(drawn.shape[::-1]).T
        drawn[inside] = IGNORE if thing.crowd else labels[thing.category]
    return drawn, _unknown(picture, labels)


def read_segments(file: Path, picture: Picture, labels: Mapping[int, int]) -> tuple[Labels, tuple[int, ...]]:
    """Class of every pixel of a panoptic PNG; `IGNORE` for crowds and for pixels of no segment.

    Args:
        file: the PNG, in which a segment's number is R + 256 G + 65536 B.
        picture: its image.
        labels: label of each category.

    Returns:
        Shape (H, W), uint8; the ids of categories that have no label, sorted.

    Raises:
        BrokenFile: if the PNG is missing or damaged, or has a segment that is not listed.
    """
    red, green, blue = np.moveaxis(read_mask(file, colours=True).values.astype(np.uint32), 2, 0)
    numbers, places = np.unique(red + 256 * green + 65536 * blue, return_inverse=True)
    meaning = {thing.id: IGNORE if thing.crowd else labels.get(thing.category, IGNORE) for thing in picture.objects}
    unlisted = sorted({*numbers.tolist()} - {0, *meaning})
    if unlisted:
        raise BrokenFile(
            f"holds segment {unlisted[0]}, which its JSON file does not list", "take PNG and JSON files of one version"
        )
    table = np.array([meaning.get(number, IGNORE) for number in numbers.tolist()], np.uint8)
    return table[places].reshape(red.shape), _unknown(picture, labels)


def _unknown(picture: Picture, labels: Mapping[int, int]) -> tuple[int, ...]:
    return tuple(sorted({thing.category for thing in picture.objects} - {*labels}))


def _filled(thing: Object, height: int, width: int) -> Runs:
    """The object's pixels as `Object.runs`; its outlines are checked, since the library trusts them with its memory."""
    if thing.runs is not None:
        if thing.shape not in (None, (height, width)) or thing.runs.sum() != height * width or thing.runs.min() < 0:
            raise _broken(thing, "whose runs are not those of its image")
        return thing.runs
    if not thing.polygons:
        raise _broken(thing, "without an outline (a box is none)")
    for polygon in thing.polygons:
        if len(polygon) < 6 or len(polygon) % 2:
            raise _broken(thing, "with an outline of less than three points")
        points = polygon.reshape(-1, 2) / (width, height)
        if points.min() < -OUTSIDE or points.max() > 1 + OUTSIDE:
            raise _broken(thing, "whose outline lies far outside")
    filled = outlines.merge(outlines.frPyObjects(list(thing.polygons), height, width))
    return _runs(filled["counts"].decode())


def _broken(thing: Object, what: str) -> BrokenFile:
    return BrokenFile(f"has an object {what} (annotation {thing.id})", "mend or delete it in the JSON file")


class _Image(TypedDict):
    id: int | str
    file_name: str
    height: Annotated[int, Field(ge=1, le=1_000_000)]
    width: Annotated[int, Field(ge=1, le=1_000_000)]


class _Category(TypedDict):
    id: int
    name: str


class _Runs(TypedDict):
    size: NotRequired[tuple[int, int]]
    counts: list[int] | str


class _Instance(TypedDict):
    id: NotRequired[int]
    image_id: int | str
    category_id: int
    iscrowd: NotRequired[bool]
    segmentation: NotRequired[list[list[Annotated[float, Field(allow_inf_nan=False)]]] | _Runs | None]


class _Segment(TypedDict):
    id: int
    category_id: int
    iscrowd: NotRequired[bool]


class _Panoptic(TypedDict):
    image_id: int | str
    file_name: str
    segments_info: list[_Segment]


class _Instances(TypedDict):
    images: list[_Image]
    categories: Annotated[list[_Category], Field(min_length=1)]
    annotations: list[_Instance]


class _Panoptics(TypedDict):
    images: list[_Image]
    categories: Annotated[list[_Category], Field(min_length=1)]
    annotations: list[_Panoptic]


@functools.lru_cache(maxsize=4)
def _read(file: Path, mtime_ns: int, size: int) -> Annotations:
    with opened(file) as stream:
        text = stream.read()
    panoptic = b'"segments_info"' in text
    try:
        contents: Any = pydantic.TypeAdapter(_Panoptics if panoptic else _Instances).validate_json(text)
    except pydantic.ValidationError as error:
        raise BrokenFile(f"is not in COCO's format ({_mistakes(error)})", "export it again, or mend it") from error
    pictures = {image["id"]: image for image in contents["images"]}
    if len(pictures) < len(contents["images"]):
        raise BrokenFile("gives several images one id", "export it again")
    strays = [entry["image_id"] for entry in contents["annotations"] if entry["image_id"] not in pictures]
    if strays:
        raise BrokenFile(f"annotates image {strays[0]!r}, which it does not list", "export it again")
    categories = {category["id"]: category["name"] for category in contents["categories"]}
    if len(categories) < len(contents["categories"]):
        raise BrokenFile("gives several categories one id", "export it again")
    described = _panoptic(contents, pictures) if panoptic else _instances(contents, pictures)
    by_name = {os.path.splitext(picture.file)[0]: picture for picture in described}
    if len(by_name) < len(described):
        raise BrokenFile("lists two images of one name", "keep one of each name")
    return Annotations(panoptic, categories, by_name)


def _instances(contents: Any, images: Mapping[Any, Any]) -> tuple[Picture, ...]:
    objects: dict[Any, list[Object]] = {image: [] for image in images}
    for number, entry in enumerate(contents["annotations"]):
        outline = entry.get("segmentation") or []
        polygons = tuple(np.array(polygon, np.float64) for polygon in outline) if isinstance(outline, list) else ()
        runs, shape = (None, None) if isinstance(outline, list) else (_runs(outline["counts"]), outline.get("size"))
        crowd = entry.get("iscrowd", False)
        thing = Object(entry.get("id", number), entry["category_id"], crowd, polygons, runs, shape)
        objects[entry["image_id"]].append(thing)
    return tuple(
        Picture(image["file_name"], (image["height"], image["width"]), tuple(objects[identity]))
        for identity, image in images.items()
    )


def _panoptic(contents: Any, images: Mapping[Any, Any]) -> tuple[Picture, ...]:
    entries = {entry["image_id"]: entry for entry in contents["annotations"]}
    if lacking := [image["file_name"] for identity, image in images.items() if identity not in entries]:
        raise BrokenFile(f"has no segments of {lacking[0]}", "export it again")
    if len(entries) < len(contents["annotations"]):
        raise BrokenFile("annotates an image twice", "export it again")
    return tuple(
        Picture(
            image["file_name"],
            (image["height"], image["width"]),
            tuple(Object(s["id"], s["category_id"], s.get("iscrowd", False)) for s in entry["segments_info"]),
            entry["file_name"],
        )
        for image, entry in ((image, entries[identity]) for identity, image in images.items())
    )


def _runs(counts: list[int] | str) -> Runs:
    """Lengths of runs; compressed ones are groups of five bits in ASCII, each the difference to the last but one."""
    lengths: list[int] = [] if isinstance(counts, str) else counts
    value = shift = 0
    for character in counts if isinstance(counts, str) else "":
        bits = ord(character) - 48
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        lengths.append(value + (lengths[-2] if len(lengths) > 2 else 0))
        value = shift = 0
    return np.array([min(max(length, -1), MOST_PIXELS) for length in lengths or [-1]], np.int64)


def _mistakes(error: pydantic.ValidationError) -> str:
    found = error.errors(include_url=False, include_context=False, include_input=False)
    told = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}".removeprefix(": ") for one in found[:SHOWN]]
    more = f", and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return f"{'; '.join(told)}{more}"
