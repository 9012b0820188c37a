"""Images with annotations in COCO's JSON files, the challenge's own or yours."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import Field
from typing_extensions import override

from decomp.platform.datasets.base import Split
from decomp.platform.datasets.formats.coco import Annotations, Picture, draw, read_annotations, read_segments
from decomp.platform.datasets.formats.codes import Codes
from decomp.platform.datasets.formats.header import BrokenFile, Header, expanded
from decomp.platform.datasets.paired import PairedFiles, entries
from decomp.platform.datasets.pairs import Listing, Pair
from decomp.platform.datasets.problems import Problem, sentences, some
from decomp.platform.errors import UserError, sized
from decomp.platform.marks import NotIdentity

BACKGROUND = "background"

JSON = "annotations/instances_{}.json"
FOLDERS: Mapping[Split, str] = MappingProxyType({"train": "train2017", "test": "val2017"})

Files = Annotated[Mapping[Split, str], NotIdentity(), Field(min_length=2)]


@dataclass(frozen=True)
class Coco(PairedFiles):
    """Images with annotations in COCO's JSON files: outlines of objects (instances), or segments (panoptic).

    The classes are the categories in the order of their ids. By instances, the first class is ``background``, all
    pixels without an object; where objects overlap, the smaller one lies on top, and of two of a size the later one
    in the file; crowds (``iscrowd``) are no class, except where an object lies on them. By panoptic segments, whose
    PNG files lie in a folder named as the JSON file without its ``.json``, pixels of no segment and crowds are no
    class. The id of an image is its split and file name, such as ``train-000000000139``. A process holds all
    annotations in memory::

        dataset:
          name: coco
          root: /data/export
          annotations: {train: train/_annotations.coco.json, test: valid/_annotations.coco.json}
          images: {train: train, test: valid}
    """

    root: Annotated[str, NotIdentity()]
    """The folder of the data set."""

    annotations: Files = field(
        default_factory=lambda: {split: JSON.format(folder) for split, folder in FOLDERS.items()}, hash=False
    )
    """The JSON file of each split, below the root: of train and test, and of validation if the learner uses it."""

    images: Files = field(default_factory=lambda: dict(FOLDERS), hash=False)
    """The folder below the root from which the file names in each split's JSON file lead on."""

    def __post_init__(self) -> None:
        for option, splits in (("annotations", self.annotations), ("images", self.images)):
            if lacking := [split for split in ("train", "test", *self.annotations) if split not in splits]:
                raise UserError(f"dataset.{option}: there is none of {lacking[0]}; give one of each split.")
        read, problems = {}, []
        for split in self.annotations:
            try:
                read[split] = read_annotations(self._json(split))
            except BrokenFile as error:
                problems.append(Problem(self._json(split), error.what, error.mend))
        if problems:
            raise UserError("\n".join(sentences(problems)))
        names = _names(read["train"])
        for split, other in read.items():
            if other.panoptic != read["train"].panoptic:
                raise UserError(f"dataset.annotations: {split} and train are not of one kind, instances or panoptic.")
            if unknown := [name for name in _names(other) if name not in names]:
                raise UserError(
                    f"dataset.annotations: {self._json(split)} has categories that train has not, {some(unknown)}; "
                    "give all files the same categories."
                )
        object.__setattr__(self, "classes", names)  # not a field, which would be an option

    @property
    @override
    def code_table(self) -> Codes:
        """Label of each category of the training images."""
        return Codes(self._labels(self._read("train")))

    @override
    def listing(self) -> Listing:
        """The images that the JSON files list; other files are passed over."""
        pairs: list[Pair] = []
        masks: set[Path] = set()
        for split, read in ((split, self._read(split)) for split in self.annotations):
            drawn = {*entries(self._segments(split))} if read.panoptic else set()
            for name, picture in read.pictures.items():
                image = expanded(self.root) / self.images[split] / picture.file
                mask = image if picture.png is None else self._segments(split) / picture.png
                pairs.append(Pair(split, f"{split}-{name}", image, mask))
                masks |= {mask} & drawn if read.panoptic else {mask}
        return Listing(tuple(pairs), frozenset(masks))

    @override
    def read_labels(self, pair: Pair) -> tuple[npt.NDArray[np.uint8], tuple[int, ...]]:
        """Labels of an image, shape (H, W), uint8, and the ids of categories that are not listed, sorted."""
        read, picture = self._read(pair.split), self._picture(pair)
        labels = self._labels(read)
        return read_segments(pair.mask, picture, labels) if read.panoptic else draw(picture, labels)

    @override
    def digest_labels(self, pair: Pair) -> bytes:
        """Digest of the objects of an image and, for panoptic segments, of their PNG."""
        picture, names = self._picture(pair), self._read(pair.split).categories
        whole = hashlib.blake2b(repr(picture.shape).encode(), digest_size=16)
        for thing in picture.objects:
            whole.update(repr((names.get(thing.category), thing.crowd, picture.png and thing.id)).encode())
            for numbers in (*thing.polygons, *([] if thing.runs is None else [thing.runs])):
                whole.update(f"{numbers.dtype} {len(numbers)}".encode() + numbers.tobytes())
        return whole.digest() + (super().digest_labels(pair) if picture.png is not None else b"")

    @override
    def other_size(self, pair: Pair, shape: tuple[int, ...], header: Header) -> Problem:
        """The problem of an image whose size is not that of its annotations."""
        here, there = map(sized, (header.shape, shape))
        what = f"has {here} pixels, but {there} by its annotations"
        return Problem(pair.image, what, "annotate the image as it is, upright, or take the one that was annotated")

    @override
    def expected(self) -> str:
        """Where files ought to lie."""
        return " and ".join(
            str(expanded(self.root) / place) for place in (*self.annotations.values(), *self.images.values())
        )

    @override
    def mend(self) -> str:
        """What to do about an object of a category that is not listed."""
        return "list it under categories in the JSON file, or delete its objects"

    def _json(self, split: Split) -> Path:
        return expanded(self.root) / self.annotations[split]

    def _segments(self, split: Split) -> Path:
        return self._json(split).with_suffix("")

    def _read(self, split: Split) -> Annotations:
        try:
            return read_annotations(self._json(split))
        except BrokenFile as error:
            raise UserError(*sentences([Problem(self._json(split), error.what, error.mend)])) from error

    def _picture(self, pair: Pair) -> Picture:
        return self._read(pair.split).pictures[pair.id.removeprefix(f"{pair.split}-")]

    def _labels(self, read: Annotations) -> Mapping[int, int]:
        return {category: self.classes.index(name) for category, name in read.categories.items()}


def _names(read: Annotations) -> tuple[str, ...]:
    """Names of the classes in the order of the labels."""
    categories = [read.categories[category] for category in sorted(read.categories)]
    return tuple(dict.fromkeys(categories if read.panoptic else [BACKGROUND, *categories]))
