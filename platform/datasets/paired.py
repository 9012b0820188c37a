"""Data sets of image files and mask files, whatever the layout of their folders."""

import errno
import functools
import hashlib
import json
import unicodedata
from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from typing_extensions import override

from decomp.platform.datasets.base import Dataset, Split
from decomp.platform.datasets.formats.codes import Codes
from decomp.platform.datasets.formats.header import REMEDY, BrokenFile, Header
from decomp.platform.datasets.formats.rasters import Pixels, digest, inspect, read_image, read_mask, size
from decomp.platform.datasets.problems import ONE_BY_ONE, Problem, sentences, some, strange
from decomp.platform.errors import UserError

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
    """What lies in the folder: a pair for every image, all masks, and problems of other files that look like them."""

    pairs: tuple[Pair, ...]
    masks: frozenset[Path]
    others: tuple[Problem, ...] = ()

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
        """What the codes in the masks mean."""

    @abstractmethod
    def listing(self) -> Listing:
        """List the folder; opens no file."""

    @abstractmethod
    def expected(self) -> str:
        """Where files ought to lie, for messages."""

    def mend(self) -> str:
        """What to do about a code without a meaning, for messages."""
        return REMEDY

    def read_labels(self, pair: Pair) -> tuple[npt.NDArray[np.uint8], tuple[int, ...]]:
        """Labels of an image, shape (H, W), uint8, and the codes among its annotations that have no meaning, sorted.

        Raises:
            BrokenFile: if the annotations cannot be read whole.
        """
        values, step = read_mask(pair.mask, self.code_table.colours)
        try:
            return self.code_table.decode(values, step)
        except ValueError as error:
            raise BrokenFile(str(error), "save it as 8-bit grey") from error

    def digest_labels(self, pair: Pair) -> bytes:
        """What tells the annotations of an image from others; empty if they cannot be read."""
        return _digest(pair.mask)

    def other_size(self, pair: Pair, shape: tuple[int, ...], header: Header) -> Problem:
        """The problem of an image whose labels have another shape (H, W)."""
        return _other_size(pair.mask, shape, header)

    @override
    def ids(self, split: Split, fold: int) -> tuple[str, ...]:
        """Images of a split, sorted; the split is fixed, so `fold` has no effect."""
        return tuple(sorted(pair.id for pair in self._listed().pairs if pair.split == split))

    @override
    def shape(self, image: str) -> tuple[int, ...]:
        """Height and width from the file's header."""
        return self._try(self._pair(image).image, _size)

    @override
    def image(self, image: str) -> Pixels:
        """Upright pixels of an image, shape (H, W, channels), red first; uint16 for a 16-bit file, else uint8.

        Raises:
            UserError: if the file is missing, damaged or of a kind that is not read.
        """
        return self._try(self._pair(image).image, read_image)

    @override
    def labels(self, image: str) -> npt.NDArray[np.uint8]:
        """True class of every pixel, shape (H, W), uint8; `IGNORE` where there is none.

        Raises:
            UserError: if the mask is missing or damaged or holds a code without a meaning.
        """
        pair = self._pair(image)
        try:
            labels, unknown = self.read_labels(pair)
        except BrokenFile as error:
            raise _told(pair.mask, error) from error
        if unknown:
            raise UserError(*sentences([self._strange(pair.mask, unknown)]))
        return labels

    @override
    def problems(self) -> list[str]:
        """One sentence for everything that is damaged or does not fit, or one for the same mistake in many files.

        Masks are decoded and their codes looked up in background threads, which takes a core 10 ms per mask of 1024 x
        2048 pixels. For an image, whose decoding takes several times as long, the header and the end of the file are
        read, which finds files that are not images, that are cut off, or whose size is not the mask's. Damage in the
        middle of a PNG is found by its checksums when it is read.
        """
        listing = self.listing()
        if not listing.pairs and not listing.others:
            return [f"dataset.root: there are no images in {self.root}; expected: {self.expected()}."]
        with ThreadPoolExecutor() as pool:
            # Every worker holds one mask; only headers and sentences are collected.
            checked = list(pool.map(lambda pair: self._check(pair, listing), listing.pairs))
        headers = {pair.image: header for pair, (header, _) in zip(listing.pairs, checked, strict=True) if header}
        problems = [problem for _, problems in checked for problem in problems]
        most = max((header.channels for header in headers.values()), default=0)
        return [
            *sentences([*problems, *_unpaired(listing), *listing.others]),
            *_repeated(listing),
            *_mixed({image: header.bits == 16 for image, header in headers.items()}, "16 bits", "8 bits"),
            *_mixed({image: header.channels == most for image, header in headers.items()}, f"{most} channels", "fewer"),
        ]

    @override
    def fingerprint(self) -> str:
        """Digest of the codes, and of the id, split, size and checksum of every file; not of the folder's path.

        Only the two ends of a PNG, which hold the checksum of its pixels, are read: thousands of files take a second.
        """
        listing = self.listing()
        table = self.code_table
        options = json.dumps([self.classes, table.colours, list(table.labels.items())])
        whole = hashlib.blake2b(options.encode(), digest_size=16)
        with ThreadPoolExecutor() as pool:
            images = pool.map(_digest, (pair.image for pair in listing.pairs))
            labels = pool.map(self.digest_labels, listing.pairs)
            for pair, *parts in zip(listing.pairs, images, labels, strict=True):
                for part in parts:
                    whole.update(json.dumps([f"{pair.split} {pair.id}", part.hex()]).encode())
        return whole.hexdigest()

    def _listed(self) -> Listing:
        return _listing(self)

    def _pair(self, image: str) -> Pair:
        try:
            return self._listed().by_id[image]
        except KeyError:
            raise KeyError(f"There is no image {image!r} in {self.root}.") from None

    def _check(self, pair: Pair, listing: Listing) -> tuple[Header | None, list[Problem]]:
        """Header of the image, if it is whole, and what is wrong with it and its mask."""
        header, problems = None, []
        try:
            header = inspect(pair.image)
        except BrokenFile as error:
            problems.append(Problem(pair.image, error.what, error.mend))
        if pair.mask not in listing.masks:
            return header, problems  # `_unpaired` reports it
        try:
            labels, unknown = self.read_labels(pair)
        except BrokenFile as error:
            return header, [*problems, Problem(pair.mask, error.what, error.mend)]
        if header and labels.shape != header.shape:
            problems.append(self.other_size(pair, labels.shape, header))
        if unknown:
            problems.append(self._strange(pair.mask, unknown))
        return header, problems

    def _try(self, file: Path, read: Callable[[Path], T]) -> T:
        try:
            return read(file)
        except BrokenFile as error:
            raise _told(file, error) from error

    def _strange(self, mask: Path, unknown: Iterable[int]) -> Problem:
        return strange(mask, [self.code_table.name(code) for code in unknown], self.mend())


def is_folder(place: Path) -> bool:
    """Whether there is such a folder; `UserError` if that cannot be found out."""
    try:
        return place.is_dir()
    except OSError as error:
        raise _unlisted(place, error) from error


def entries(folder: Path) -> list[Path]:
    """What a folder holds, sorted, without hidden entries; nothing if there is no such folder.

    Raises:
        UserError: if it cannot be listed.
    """
    try:
        return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise _unlisted(folder, error) from error


def key(name: str) -> str:
    """The same string for names that look the same: macOS writes an umlaut as two characters, Linux as one."""
    return unicodedata.normalize("NFC", name)


def _told(file: Path, error: BrokenFile) -> UserError:
    return UserError(*sentences([Problem(file, error.what, error.mend)]))


def _unlisted(folder: Path, error: OSError) -> UserError:
    mend = "mend the link" if error.errno == errno.ELOOP else "give yourself the right to read it"
    return UserError(f"dataset.root: {folder} cannot be listed ({error.strerror}); {mend}.")


def _unpaired(listing: Listing) -> Iterator[Problem]:
    """Images without a mask, and masks without an image; in one sentence if many of both differ in their names."""
    lacking = [pair for pair in listing.pairs if pair.mask not in listing.masks]
    stray = sorted(listing.masks - {pair.mask for pair in listing.pairs})
    if min(len(lacking), len(stray)) > ONE_BY_ONE:
        first = lacking[0]
        beside = [mask for mask in stray if mask.parent == first.mask.parent] or stray
        similar = next((mask for mask in beside if first.image.stem in mask.name), beside[0])
        yield Problem(
            first.image,
            f"and {len(lacking) - 1} other images have no mask of their name, and {len(stray)} masks, such as "
            f"{similar}, have no image of theirs",
            f"name each mask as its image, such as {first.mask.name}",
        )
        return
    for pair in lacking:
        yield Problem(pair.image, "has no mask", f"add {pair.mask} or leave the image out", "no mask")
    for mask in stray:
        yield Problem(mask, "has no image", "add the image or delete the mask")


def _repeated(listing: Listing) -> Iterator[str]:
    counts = Counter(key(pair.id) for pair in listing.pairs)
    if twice := sorted(image for image, n in counts.items() if n > 1):
        yield f"dataset.root: there are several images {some(twice)}; keep one of each name."


def _mixed(images: Mapping[Path, bool], with_it: str, without: str) -> Iterator[str]:
    """A sentence if some images have something that others lack."""
    have, lack = ([image for image, has in images.items() if has is wanted] for wanted in (True, False))
    if have and lack:
        yield (
            f"dataset.root: {len(have)} images have {with_it}, such as {have[0]}, and {len(lack)} have {without}, such "
            f"as {lack[0]}; save all alike."
        )


def _other_size(mask: Path, shape: tuple[int, ...], header: Header) -> Problem:
    here, there = (" x ".join(map(str, axes)) for axes in (shape, header.shape))
    what, mend = (
        f"has {here} pixels and its image {there}",
        "copy the pair again or scale the mask without interpolation",
    )
    if header.orientation != 1 and shape == (header.height, header.width):
        what += f", upright as its orientation tag ({header.orientation}) says"
        mend = "turn the mask as viewers show the image, or delete the tag if the mask was drawn without regard to it"
    return Problem(mask, what, mend)


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
        return b""  # `problems` reports it
