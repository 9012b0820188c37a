"""Data sets of image files and mask files, whatever the layout of their folders."""

import functools
import hashlib
import json
from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from typing_extensions import override

from decomp.platform.datasets.base import Dataset, Split
from decomp.platform.datasets.formats.codes import Codes
from decomp.platform.datasets.formats.rasters import BrokenFile, check_end, digest, read_image, read_mask, size
from decomp.platform.errors import UserError

REMEDY = "copy the file again"
SHOWN = 5  # unknown codes per mask

T = TypeVar("T")


@dataclass(frozen=True)
class Pair:
    """An image and its mask: where they are, or ought to be."""

    split: Split
    id: str
    image: Path
    mask: Path


@dataclass(frozen=True)
class Listing:
    """What lies in the folder: a pair for every image, and all masks."""

    pairs: tuple[Pair, ...]
    masks: frozenset[Path]

    @functools.cached_property
    def by_id(self) -> Mapping[str, Pair]:
        """The pair of each id."""
        return {pair.id: pair for pair in self.pairs}


class PairedFiles(Dataset):
    """Images and masks in files, read and decoded when asked for; a subclass knows the layout and the codes.

    A process lists the folder once, when it first needs to; `problems` and `fingerprint` always list it anew.

    Attributes:
        root: the data set's folder.
    """

    root: str
    readers = 4

    @property
    @abstractmethod
    def code_table(self) -> Codes:
        """What the masks say."""

    @abstractmethod
    def listing(self) -> Listing:
        """List the folder; opens no file."""

    @abstractmethod
    def expected(self) -> str:
        """Where files ought to lie, for messages."""

    def mend(self) -> str:
        """What to do about a code without a meaning, for messages."""
        return REMEDY

    @override
    def ids(self, split: Split, fold: int) -> tuple[str, ...]:
        """Images of a split, sorted; the split is fixed, so `fold` has no effect."""
        return tuple(sorted(pair.id for pair in self._listed().pairs if pair.split == split))

    @override
    def shape(self, image: str) -> tuple[int, ...]:
        """Height and width from the file's header."""
        return self._try(self._pair(image).image, _size)

    @override
    def image(self, image: str) -> npt.NDArray[np.uint8]:
        """Pixels of an image, shape (H, W, 3), uint8, red first.

        Raises:
            UserError: if the file is missing or damaged.
        """
        return self._try(self._pair(image).image, read_image)

    @override
    def labels(self, image: str) -> npt.NDArray[np.uint8]:
        """True class of every pixel, shape (H, W), uint8; `IGNORE` where there is none.

        Raises:
            UserError: if the mask is missing or damaged or holds a code without a meaning.
        """
        file = self._pair(image).mask
        labels, unknown = self._try(file, self._decoded)
        if unknown:
            raise UserError(self._strange(file, unknown))
        return labels

    @override
    def problems(self) -> list[str]:
        """One sentence for everything that is damaged or does not fit.

        Masks are decoded and their codes looked up in background threads, which takes a core 10 ms per mask of 1024 x
        2048 pixels. Of an image, whose decoding takes several times as long, the header and the end of the file are
        read, which finds files that are no image, that are cut off, or whose size is not the mask's. Damage in the
        middle of a PNG is found by its checksums when it is read.
        """
        listing = self.listing()
        if not listing.pairs:
            return [f"dataset.root: there are no images in {self.root}; expected are {self.expected()}."]
        stray = sorted(listing.masks - {pair.mask for pair in listing.pairs})
        twice = sorted(image for image, n in Counter(pair.id for pair in listing.pairs).items() if n > 1)
        with ThreadPoolExecutor() as pool:
            # Every worker holds one mask; only sentences are collected.
            checked = pool.map(lambda pair: list(self._problems_of(pair, listing)), listing.pairs)
            found = [problem for problems in checked for problem in problems]
        found += [f"dataset.root: {mask} has no image; add the image or delete the mask." for mask in stray]
        return found + [f"dataset.root: there are several images {image}; keep one." for image in twice]

    @override
    def fingerprint(self) -> str:
        """Digest of the codes, and of the id, split, size and checksum of every file; not of the folder's place.

        Of a PNG only the two ends are read, which hold the checksum of its pixels: thousands of files take a second.
        """
        listing = self.listing()
        files = [(f"{pair.split} {pair.id}", file) for pair in listing.pairs for file in (pair.image, pair.mask)]
        table = self.code_table
        options = json.dumps([self.classes, table.colours, list(table.labels.items())])
        whole = hashlib.blake2b(options.encode(), digest_size=16)
        with ThreadPoolExecutor() as pool:
            for (name, _), part in zip(files, pool.map(_digest, (file for _, file in files)), strict=True):
                whole.update(json.dumps([name, part.hex()]).encode())
        return whole.hexdigest()

    def _listed(self) -> Listing:
        return _listing(self)

    def _pair(self, image: str) -> Pair:
        try:
            return self._listed().by_id[image]
        except KeyError:
            raise KeyError(f"There is no image {image!r} in {self.root}.") from None

    def _problems_of(self, pair: Pair, listing: Listing) -> Iterator[str]:
        sizes = []
        try:
            sizes.append(size(pair.image))
            check_end(pair.image)
        except BrokenFile as error:
            yield str(self._broken(pair.image, error))
        if pair.mask not in listing.masks:
            yield f"dataset.root: {pair.image} has no mask; add {pair.mask} or delete the image."
            return
        try:
            check_end(pair.mask)
            labels, unknown = self._decoded(pair.mask)
        except BrokenFile as error:
            yield str(self._broken(pair.mask, error))
            return
        if sizes and labels.shape != sizes[0]:
            here, there = (" x ".join(map(str, axes)) for axes in (labels.shape, sizes[0]))
            yield (
                f"dataset.root: {pair.mask} has {here} pixels and its image {there}; "
                f"copy the pair again or scale the mask without interpolation."
            )
        if unknown:
            yield self._strange(pair.mask, unknown)

    def _decoded(self, mask: Path) -> tuple[npt.NDArray[np.uint8], tuple[int, ...]]:
        """Labels of a mask, and its codes without a meaning."""
        return self.code_table.decode(read_mask(mask, self.code_table.colours))

    def _try(self, file: Path, read: Callable[[Path], T]) -> T:
        try:
            return read(file)
        except BrokenFile as error:
            raise self._broken(file, error) from error

    def _broken(self, file: Path, error: BrokenFile) -> UserError:
        return UserError(f"dataset.root: {file} {error}; {REMEDY}.")

    def _strange(self, file: Path, unknown: tuple[int, ...]) -> str:
        names = ", ".join(self.code_table.name(code) for code in unknown[:SHOWN])
        more = f" and {len(unknown) - SHOWN} more" if len(unknown) > SHOWN else ""
        return f"dataset.root: {file} holds {names}{more}, which is of no class; {self.mend()}."


# The caches are the module's, not the instances', so that a pickled data set stays small.
@functools.lru_cache(maxsize=4)
def _listing(dataset: PairedFiles) -> Listing:
    return dataset.listing()


@functools.lru_cache(maxsize=100_000)
def _size(file: Path) -> tuple[int, int]:
    return size(file)


def _digest(file: Path) -> bytes:
    try:
        return digest(file)
    except BrokenFile:
        return b""  # `problems` tells
