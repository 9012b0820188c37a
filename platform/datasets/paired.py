"""Data sets of image files and mask files, whatever the layout of their folders."""

import errno
import functools
import hashlib
import json
from abc import abstractmethod
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from typing_extensions import override

from decomp.platform.datasets.base import IGNORE, Dataset, Split
from decomp.platform.datasets.formats.codes import Codes
from decomp.platform.datasets.formats.header import REMEDY, BrokenFile, Header
from decomp.platform.datasets.formats.rasters import Pixels, digest, inspect, read_image, read_mask, size
from decomp.platform.datasets.pairs import Listing, Pair, mixed, other_size, repeated, unpaired
from decomp.platform.datasets.problems import Problem, sentences, strange
from decomp.platform.errors import UserError

T = TypeVar("T")


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
        return other_size(pair.mask, shape, header)

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
        if not pair.labelled:
            return np.full(self.shape(image), IGNORE, np.uint8)
        try:
            labels, unknown = self.read_labels(pair)
        except BrokenFile as error:
            raise _told(pair.mask, error) from error
        if unknown:
            raise UserError(*sentences([self._strange(pair.mask, unknown)]))
        return labels

    @override
    def original_files(self, image: str) -> tuple[Path, ...]:
        return (self._pair(image).image,)

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
            *sentences([*problems, *unpaired(listing), *listing.others]),
            *repeated(listing),
            *mixed({image: header.bits == 16 for image, header in headers.items()}, "16 bits", "8 bits"),
            *mixed({image: header.channels == most for image, header in headers.items()}, f"{most} channels", "fewer"),
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
            labels = pool.map(lambda pair: self.digest_labels(pair) if pair.labelled else b"none", listing.pairs)
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
        if not pair.labelled or pair.mask not in listing.masks:
            return header, problems  # `unpaired` reports what is missing
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


def _told(file: Path, error: BrokenFile) -> UserError:
    return UserError(*sentences([Problem(file, error.what, error.mend)]))


def _unlisted(folder: Path, error: OSError) -> UserError:
    mend = "mend the link" if error.errno == errno.ELOOP else "give yourself the right to read it"
    return UserError(f"dataset.root: {folder} cannot be listed ({error.strerror}); {mend}.")


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
