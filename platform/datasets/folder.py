"""Any folder of images and masks, with a table of what the masks' values mean."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, get_args

from pydantic import Field
from typing_extensions import override

from decomp.platform.datasets.base import IGNORE, Split
from decomp.platform.datasets.formats.codes import Code, Codes
from decomp.platform.datasets.formats.rasters import SUFFIXES
from decomp.platform.datasets.paired import Listing, Pair, PairedFiles
from decomp.platform.errors import UserError


@dataclass(frozen=True)
class Folder(PairedFiles):
    """Images and masks in a folder for each split, read as they are, without a conversion.

    The layout is::

        root/train/images/NAME.png            root/train/masks/NAME.png
        root/validation/images/NAME.png       root/validation/masks/NAME.png
        root/test/images/NAME.png             root/test/masks/NAME.png

    An image is PNG or JPEG, its mask a PNG of the same name before the suffix: 8-bit grey, palette, or RGB. The pool is
    ``train``, ``test`` gives the score; ``validation`` may be missing if the learner chooses nothing by it. The id of
    an image is its split and name, such as ``train-NAME``. A class may have several codes::

        dataset:
          name: folder
          root: /data/scenes
          codes: {road: 7, vehicle: [26, 27, 28], sky: 23}
          ignore: [0, 255]
    """

    root: str
    """The folder."""

    codes: Annotated[Mapping[str, Code | tuple[Code, ...]], Field(min_length=1, max_length=IGNORE)] = field(hash=False)
    """The code or codes of each class, in the order of the labels: grey values or palette indices (0 to 255), or
    colours, written as "#804080" (in quotes, else YAML takes them for a comment)."""

    ignore: tuple[Code, ...] = ()
    """Codes of pixels that belong to no class; any other code is damage."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "classes", tuple(self.codes))  # not a field, which would be an option
        try:
            Codes.of(self.codes, self.ignore)
        except ValueError as error:
            raise UserError(f"dataset.codes: {error}.") from error
        needed = (self._folder("train", "images"), self._folder("test", "images"))
        missing = [str(folder) for folder in needed if not folder.is_dir()]
        if missing:
            raise UserError(f"dataset.root: there is no {' and no '.join(missing)}; expected are {self.expected()}.")

    @property
    @override
    def code_table(self) -> Codes:
        """What the masks say."""
        return Codes.of(self.codes, self.ignore)

    @override
    def listing(self) -> Listing:
        """List the six folders; files of other suffixes and hidden files are passed over."""
        pairs: list[Pair] = []
        masks: set[Path] = set()
        for split in get_args(Split):
            place = self._folder(split, "masks")
            masks.update(_files(place, (".png",)))
            pairs += [
                Pair(split, f"{split}-{image.stem}", image, place / f"{image.stem}.png")
                for image in _files(self._folder(split, "images"), SUFFIXES)
            ]
        return Listing(tuple(pairs), frozenset(masks))

    @override
    def expected(self) -> str:
        """Where files ought to lie."""
        root = Path(self.root).expanduser()
        return f"{root}/train/images/NAME.png, {root}/train/masks/NAME.png, and test and validation likewise"

    @override
    def mend(self) -> str:
        """What to do about a code without a meaning."""
        return "give it a class under dataset.codes or list it under dataset.ignore"

    def _folder(self, split: Split, kind: str) -> Path:
        return Path(self.root).expanduser() / split / kind


def _files(folder: Path, suffixes: tuple[str, ...]) -> Iterator[Path]:
    if folder.is_dir():
        for file in sorted(folder.iterdir()):
            if file.suffix.lower() in suffixes and not file.name.startswith("."):
                yield file
