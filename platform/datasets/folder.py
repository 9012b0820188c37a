"""Any folder of images and masks, with a table of what the masks' values mean."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, get_args

from pydantic import Field
from typing_extensions import override

from decomp.platform.datasets.base import IGNORE, Split
from decomp.platform.datasets.formats.codes import Code, Codes
from decomp.platform.datasets.formats.header import expanded
from decomp.platform.datasets.formats.rasters import JPEG_SUFFIXES, MASK_SUFFIXES, OTHER_PICTURE, SUFFIXES
from decomp.platform.datasets.paired import PairedFiles, entries, is_folder
from decomp.platform.datasets.pairs import Listing, Pair, key
from decomp.platform.datasets.problems import Problem
from decomp.platform.errors import UserError
from decomp.platform.marks import NotIdentity


@dataclass(frozen=True)
class Folder(PairedFiles):
    """Images and masks in a folder for each split, in PNG, JPEG or TIFF.

    The layout is::

        root/train/images/NAME.png            root/train/masks/NAME.png
        root/validation/images/NAME.png       root/validation/masks/NAME.png
        root/test/images/NAME.png             root/test/masks/NAME.png

    An image is PNG, JPEG or TIFF, its mask a PNG or TIFF of the same name before the suffix: grey, palette, or RGB;
    the page on 2-D segmentation has tables of what is read how and what is refused. The pool is ``train``, ``test``
    gives the score; ``validation`` may be missing if the learner does not use it. Where people annotate the pool
    (``labelled: false``), ``train/masks`` is not read, and without ``test/masks`` there is no test split. The id of an
    image is its split and name, such as ``train-NAME``. A class may have several codes::

        dataset:
          name: folder
          root: /data/scenes
          codes: {road: 7, vehicle: [26, 27, 28], sky: 23}
          ignore: [0, 255]
    """

    root: Annotated[str, NotIdentity()]
    """The folder."""

    codes: Annotated[Mapping[str, Code | tuple[Code, ...]], Field(min_length=1, max_length=IGNORE)] = field(hash=False)
    """The code or codes of each class, in the order of the labels: grey values or palette indices (0 to 255), or
    colours, written as "#804080" (in quotes, else YAML takes them for a comment)."""

    ignore: tuple[Code, ...] = ()
    """Codes of pixels that belong to no class; any other code is damage."""

    labelled: bool = True
    """Whether the images of the pool have masks; false where people are to annotate them (`decomp annotate`)."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "classes", tuple(self.codes))  # not a field, which would be an option
        try:
            Codes.of(self.codes, self.ignore)
        except ValueError as error:
            raise UserError(f"dataset.codes: {error}.") from error
        splits: tuple[Split, ...] = ("train", "test") if self.labelled else ("train",)
        needed = [self._folder(split, "images") for split in splits]
        missing = [str(folder) for folder in needed if not is_folder(folder)]
        if missing:
            raise UserError(f"dataset.root: there is no {' and no '.join(missing)}; expected: {self.expected()}.")

    @property
    @override
    def code_table(self) -> Codes:
        """What the codes in the masks mean."""
        return Codes.of(self.codes, self.ignore)

    @override
    def listing(self) -> Listing:
        """List the six folders; hidden files and files that are no pictures are passed over."""
        pairs: list[Pair] = []
        masks: set[Path] = set()
        others: list[Problem] = []
        for split in get_args(Split):
            place = self._folder(split, "masks")
            inside, drawn = entries(self._folder(split, "images")), entries(place)
            labelled = self.labelled or split != "train"
            if not labelled:
                drawn = []
            elif not self.labelled and not drawn:  # nothing to score
                continue
            images = _of(inside, SUFFIXES)
            # A JPEG in place of a mask is reported when it is read; beside one it is a preview.
            named = [*_of(drawn, MASK_SUFFIXES), *_of(drawn, JPEG_SUFFIXES)]
            by_key = {key(mask.stem): mask for mask in reversed(named)}
            pairs += [
                Pair(
                    split,
                    f"{split}-{image.stem}",
                    image,
                    by_key.get(key(image.stem), place / f"{image.stem}.png"),
                    labelled,
                )
                for image in images
            ]
            wanted = {key(image.stem) for image in images}
            masks |= {mask for name, mask in by_key.items() if name in wanted or mask in _of([mask], MASK_SUFFIXES)}
            others += [
                Problem(mask, f"and {by_key[key(mask.stem)].name} are masks of one name", "keep one", "several masks")
                for mask in _of(drawn, MASK_SUFFIXES)
                if mask != by_key[key(mask.stem)]
            ]
            others += _unread(inside, wanted) + _unread(drawn, set(by_key))
        return Listing(tuple(pairs), frozenset(masks), tuple(others))

    @override
    def expected(self) -> str:
        """Where files ought to lie."""
        root = expanded(self.root)
        return f"{root}/train/images/NAME.png, {root}/train/masks/NAME.png, and test and validation likewise"

    @override
    def mend(self) -> str:
        """What to do about a code without a meaning."""
        return "give it a class under dataset.codes or list it under dataset.ignore"

    def _folder(self, split: Split, kind: str) -> Path:
        return expanded(self.root) / split / kind


def _of(files: list[Path], suffixes: tuple[str, ...]) -> list[Path]:
    return [file for file in files if file.name.lower().endswith(suffixes)]


def _unread(files: list[Path], known: set[str]) -> list[Problem]:
    """Pictures of formats that are not read, unless another file of their name is."""
    return [
        Problem(file, "is of a format that is not read", "save it as PNG or TIFF or move it elsewhere")
        for file in files
        if OTHER_PICTURE.search(file.name) and key(file.stem) not in known
    ]
