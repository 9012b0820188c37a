"""Images and masks in the layout of PASCAL VOC, the challenge's own or yours.

    root/JPEGImages/NAME.jpg
    root/SegmentationClass/NAME.png
    root/ImageSets/Segmentation/{train,val,trainval,test}.txt       a NAME on each line

Everingham et al., "The PASCAL Visual Object Classes (VOC) Challenge", IJCV 88, 2010.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field
from typing_extensions import override

from decomp.platform.datasets.base import IGNORE, Split
from decomp.platform.datasets.formats.codes import Codes
from decomp.platform.datasets.formats.header import BrokenFile, expanded, opened
from decomp.platform.datasets.formats.rasters import MASK_SUFFIXES, SUFFIXES
from decomp.platform.datasets.paired import PairedFiles, entries
from decomp.platform.datasets.pairs import Listing, Pair, key
from decomp.platform.datasets.problems import Problem, some
from decomp.platform.errors import UserError
from decomp.platform.marks import NotIdentity

CLASSES = (
    "background",
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
)
"""Classes of VOC 2012, in the order of the masks' palette."""


@dataclass(frozen=True)
class Voc(PairedFiles):
    """Images and masks in the layout of PASCAL VOC; the id of an image is its name in the lists.

    The entry k of a mask's palette is class k, and 255, with which VOC draws the outlines of objects, is no class. The
    labels of the challenge's own ``test`` are not public, so ``val`` is the test split by default.
    """

    root: Annotated[str, NotIdentity()]
    """The folder with ``JPEGImages``, ``SegmentationClass`` and ``ImageSets``, such as ``VOCdevkit/VOC2012``."""

    train: Annotated[str, NotIdentity()] = "train"
    """The list of the pool: the name of a file in ``ImageSets/Segmentation`` without its ``.txt``."""

    test: Annotated[str, NotIdentity()] = "val"
    """The list of the images that give the score."""

    validation: Annotated[str | None, NotIdentity()] = None
    """The list of the images for choices, if the learner makes any."""

    classes: Annotated[tuple[str, ...], Field(min_length=1, max_length=IGNORE)] = CLASSES
    """Names of the classes, in the order of the masks' numbers from 0; by default the 21 of VOC 2012."""

    def __post_init__(self) -> None:
        if twice := sorted({name for name in self.classes if self.classes.count(name) > 1}):
            raise UserError(f"dataset.classes: {some(twice)} is named twice; give every class a name of its own.")
        missing = [str(self._list(name)) for name in self._lists.values() if not self._list(name).is_file()]
        if missing:
            raise UserError(f"dataset.root: there is no {' and no '.join(missing)}; expected: {self.expected()}.")

    @property
    @override
    def code_table(self) -> Codes:
        """A class's place among `classes` is its code."""
        return Codes.of({name: label for label, name in enumerate(self.classes)}, (IGNORE,))

    @override
    def listing(self) -> Listing:
        """The images that the lists name; others are passed over, as are masks without a listed image."""
        images = _by_name(entries(self._images), SUFFIXES)
        masks = _by_name(entries(self._masks), MASK_SUFFIXES)
        pairs: dict[str, Pair] = {}
        others: list[Problem] = []
        for split, name in self._lists.items():
            file = self._list(name)
            try:
                names = _names(file)
            except BrokenFile as error:
                others.append(Problem(file, error.what, error.mend))
                continue
            for image in names:
                if key(image) not in images and (len(image.split()) > 1 or image.lower().endswith(SUFFIXES)):
                    what = f"lists {image!r}, which is no name of an image"
                    others.append(Problem(file, what, "write names alone, without suffix or further columns", "names"))
                    continue
                if image in pairs:
                    where = f"{self._lists[pairs[image].split]}.txt"
                    what = f"lists {image}, which stands in {where} already"
                    others.append(Problem(file, what, "take it from one of the lists", f"twice {split}"))
                    continue
                pixels = images.get(key(image), self._images / f"{image}.jpg")
                pairs[image] = Pair(split, image, pixels, masks.get(key(image), self._masks / f"{image}.png"))
        return Listing(
            tuple(pairs.values()), frozenset(masks.values()) & {p.mask for p in pairs.values()}, tuple(others)
        )

    @override
    def expected(self) -> str:
        """Where files ought to lie."""
        lists = " and ".join(str(self._list(name)) for name in self._lists.values())
        return f"{self._images}/NAME.jpg, {self._masks}/NAME.png, and the names in {lists}"

    @override
    def mend(self) -> str:
        """What to do about a number without a class."""
        return f"name all classes under dataset.classes, where there are {len(self.classes)}, or mend the mask"

    @property
    def _lists(self) -> Mapping[Split, str]:
        lists: dict[Split, str] = {"train": self.train, "test": self.test}
        return lists if self.validation is None else {**lists, "validation": self.validation}

    def _list(self, name: str) -> Path:
        return expanded(self.root) / "ImageSets" / "Segmentation" / f"{name}.txt"

    @property
    def _images(self) -> Path:
        return expanded(self.root) / "JPEGImages"

    @property
    def _masks(self) -> Path:
        return expanded(self.root) / "SegmentationClass"


def _by_name(files: list[Path], suffixes: tuple[str, ...]) -> dict[str, Path]:
    """Files by their names before the suffix; of several, the first."""
    fitting = [file for file in files if file.name.lower().endswith(suffixes)]
    return {key(file.stem): file for file in reversed(fitting)}


def _names(file: Path) -> list[str]:
    """The lines that are not empty."""
    with opened(file) as stream:
        try:
            lines = stream.read().decode("utf-8-sig").splitlines()
        except UnicodeDecodeError as error:
            raise BrokenFile("is no text in UTF-8", "save it as that") from error
    return [name for name in map(str.strip, lines) if name]
