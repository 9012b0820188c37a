"""Pairs of image files and mask files, and which of them do not belong together."""

import functools
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from decomp.platform.datasets.base import Split
from decomp.platform.datasets.formats.header import Header
from decomp.platform.datasets.problems import ONE_BY_ONE, Problem, some
from decomp.platform.errors import sized


@dataclass(frozen=True)
class Pair:
    """An image and its mask: where they are, or ought to be; `labelled` is False where there is no mask yet."""

    split: Split
    id: str
    image: Path
    mask: Path
    labelled: bool = True


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


def key(name: str) -> str:
    """The same string for names that look the same: macOS writes an umlaut as two characters, Linux as one."""
    return unicodedata.normalize("NFC", name)


def unpaired(listing: Listing) -> Iterator[Problem]:
    """Images without a mask, and masks without an image; in one sentence if many of both differ in their names."""
    lacking = [pair for pair in listing.pairs if pair.labelled and pair.mask not in listing.masks]
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


def repeated(listing: Listing) -> Iterator[str]:
    """A sentence if several images have one name."""
    counts = Counter(key(pair.id) for pair in listing.pairs)
    if twice := sorted(image for image, n in counts.items() if n > 1):
        yield f"dataset.root: there are several images {some(twice)}; keep one of each name."


def mixed(images: Mapping[Path, bool], with_it: str, without: str) -> Iterator[str]:
    """A sentence if some images have something that others lack."""
    have, lack = ([image for image, has in images.items() if has is wanted] for wanted in (True, False))
    if have and lack:
        yield (
            f"dataset.root: {len(have)} images have {with_it}, such as {have[0]}, and {len(lack)} have {without}, such "
            f"as {lack[0]}; save all alike."
        )


def other_size(mask: Path, shape: tuple[int, ...], header: Header) -> Problem:
    """The problem of a mask of another shape (H, W) than its image."""
    here, there = map(sized, (shape, header.shape))
    what, mend = (
        f"has {here} pixels and its image {there}",
        "copy the pair again or scale the mask without interpolation",
    )
    if header.orientation != 1 and shape == (header.height, header.width):
        what += f", upright as its orientation tag ({header.orientation}) says"
        mend = "turn the mask as viewers show the image, or delete the tag if the mask was drawn without regard to it"
    return Problem(mask, what, mend)
