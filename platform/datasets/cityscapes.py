"""Cityscapes: 5000 street scenes of 1024 x 2048 pixels and 19 classes, read from the published files as they are.

    root/leftImg8bit/{train,val}/CITY/CITY_SSSSSS_FFFFFF_leftImg8bit.png
    root/gtFine/{train,val}/CITY/CITY_SSSSSS_FFFFFF_gtFine_labelIds.png

Cordts et al., "The Cityscapes Dataset for Semantic Urban Scene Understanding", CVPR 2016. The table of ids is that of
``helpers/labels.py`` in the data set's own scripts.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Annotated

from typing_extensions import override

from decomp.platform.datasets.base import Split
from decomp.platform.datasets.formats.codes import Codes
from decomp.platform.datasets.formats.header import expanded
from decomp.platform.datasets.paired import PairedFiles, entries, is_folder
from decomp.platform.datasets.pairs import Listing, Pair
from decomp.platform.errors import UserError, nearest
from decomp.platform.marks import NotIdentity

LABEL_IDS = MappingProxyType(
    {
        "road": 7,
        "sidewalk": 8,
        "building": 11,
        "wall": 12,
        "fence": 13,
        "pole": 17,
        "traffic light": 19,
        "traffic sign": 20,
        "vegetation": 21,
        "terrain": 22,
        "sky": 23,
        "person": 24,
        "rider": 25,
        "car": 26,
        "truck": 27,
        "bus": 28,
        "train": 31,
        "motorcycle": 32,
        "bicycle": 33,
    }
)
"""Label id of each class in the masks; the order is that of the train ids."""

VOID_IDS = MappingProxyType(
    {
        "unlabeled": 0,
        "ego vehicle": 1,
        "rectification border": 2,
        "out of roi": 3,
        "static": 4,
        "dynamic": 5,
        "ground": 6,
        "parking": 9,
        "rail track": 10,
        "guard rail": 14,
        "bridge": 15,
        "tunnel": 16,
        "polegroup": 18,
        "caravan": 29,
        "trailer": 30,
    }
)
"""Label ids that neither train nor count."""

VALIDATION_CITIES = ("darmstadt", "ulm")

FOLDERS = ("train", "val")
IMAGE, MASK = "_leftImg8bit.png", "_gtFine_labelIds.png"

CODES = Codes.of(LABEL_IDS, VOID_IDS.values())


@dataclass(frozen=True)
class Cityscapes(PairedFiles):
    """Cityscapes with fine annotations; the id of an image is its frame, such as ``aachen_000000_000019``.

    The published ``val`` (500 images of 3 cities) is the test split, as in the paper; labels of the published ``test``
    are not public. Choices, such as when to stop training, may not be made on the test split, so whole cities of the
    published ``train`` (2975 images of 18 cities) are set aside as the validation split: frames of a city resemble one
    another, so a city is never in two splits. With the default of Darmstadt (85 images) and Ulm (95) the pool has 2795
    images, 94 % of the paper's. With ``validation: []`` it is the paper's pool, and a learner has nothing to choose by.
    """

    root: Annotated[str, NotIdentity("data/cityscapes")]
    """The folder with ``leftImg8bit`` and ``gtFine``."""

    validation: tuple[str, ...] = VALIDATION_CITIES
    """Cities of the published ``train`` that are the validation split."""

    classes = tuple(LABEL_IDS)

    def __post_init__(self) -> None:
        for folder in FOLDERS:
            if not is_folder(self._images(folder)):
                raise UserError(f"dataset.root: there is no {self._images(folder)}; expected: {self.expected()}.")
            if not _folders(self._images(folder)):
                raise UserError(f"dataset.root: {self._images(folder)} has no cities; expected: {self.expected()}.")
        cities = _folders(self._images("train"))
        for city in self.validation:
            if city not in cities:
                raise UserError(
                    f"dataset.validation: there is no city {city!r} in {self._images('train')}"
                    f"{nearest(city, dict.fromkeys(cities))}; give some of {', '.join(cities)}."
                )
        if set(cities) <= set(self.validation):
            raise UserError("dataset.validation: all cities are listed, so that none is left to train; list fewer.")

    @property
    @override
    def code_table(self) -> Codes:
        """The official table of label ids."""
        return CODES

    @override
    def listing(self) -> Listing:
        """List the folders of all cities; other files than images and masks of label ids are passed over."""
        pairs: list[Pair] = []
        masks: set[Path] = set()
        for folder in FOLDERS:
            place = self._masks(folder)
            masks.update(_files(place, MASK))
            for image in _files(self._images(folder), IMAGE):
                city, frame = image.parent.name, image.name.removesuffix(IMAGE)
                pairs.append(Pair(self._split(folder, city), frame, image, place / city / f"{frame}{MASK}"))
        return Listing(tuple(pairs), frozenset(masks))

    @override
    def expected(self) -> str:
        """Where files ought to lie."""
        images, masks = self._images("train"), self._masks("train")
        frame = "CITY/CITY_SSSSSS_FFFFFF"
        return f"{images}/{frame}{IMAGE}, {masks}/{frame}{MASK}, and val likewise"

    def _split(self, folder: str, city: str) -> Split:
        if folder == "val":
            return "test"
        return "validation" if city in self.validation else "train"

    def _images(self, folder: str) -> Path:
        return expanded(self.root) / "leftImg8bit" / folder

    def _masks(self, folder: str) -> Path:
        return expanded(self.root) / "gtFine" / folder


def _folders(folder: Path) -> list[str]:
    return [entry.name for entry in entries(folder) if is_folder(entry)]


def _files(folder: Path, ending: str) -> Iterator[Path]:
    """Files of all cities whose names have that ending."""
    for city in _folders(folder):
        for file in entries(folder / city):
            if file.name.endswith(ending):
                yield file
