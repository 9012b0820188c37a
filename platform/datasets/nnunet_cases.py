"""Which cases a raw data set of nnU-Net has, by the names of its files."""

import functools
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from decomp.platform.datasets.formats.nnunet_json import Description, read_description, read_splits
from decomp.platform.datasets.paired import entries
from decomp.platform.datasets.problems import Problem, some

DESCRIPTION, SPLITS = "dataset.json", "splits_final.json"
TRAINING, TEST = ("imagesTr", "labelsTr"), ("imagesTs", "labelsTs")

MANY_CHANNELS = (".png", ".bmp", ".tif")
"""Endings of files that can hold all channels of an image."""


class Case(NamedTuple):
    """The files of a case."""

    images: tuple[Path, ...]
    labels: Path
    is_test: bool


def cases_of(root: Path) -> Mapping[str, Case]:
    """The cases of a data set by id: CASE, or ``imagesTs/CASE`` for those of a labelled test set.

    Raises:
        UserError: if ``dataset.json`` is missing or wrong, or a folder cannot be listed.
    """
    return _cases(root, _stamps(root))


def splits_of(root: Path) -> tuple[Mapping[str, tuple[str, ...]], ...]:
    """The cases ``train`` and ``val`` of each fold; empty if there is no ``splits_final.json``."""
    file = _splits_file(root)
    return () if file is None else read_splits(file)


def misplaced(root: Path, labelled: bool = True) -> Iterator[Problem]:
    """What is wrong with the names of the files, their number and the splits; of a pool without labels, its images'."""
    description, cases = read_description(root / DESCRIPTION), cases_of(root)
    has_test = any(case.is_test for case in cases.values())
    count = sum(not case.is_test for case in cases.values())
    if description.count not in (None, count):
        what = f"speaks of {description.count} training cases (numTraining), but there are {count}"
        yield Problem(root / DESCRIPTION, what, "add the missing ones, or correct the number")
    known = {path for case in cases.values() for path in (*case.images, case.labels)}
    folders = [TRAINING] if description.files is None else []
    for images, labels in [*folders, TEST] if _files(root / TEST[1], description.ending) else folders:
        for path in _files(root / images, description.ending):
            if path not in known:
                numbers = f"_0000 to _{len(description.channels) - 1:04d}"
                yield Problem(path, f"is of no channel ({numbers})", "name it CASE_CHANNEL, or move it elsewhere")
        for path in _files(root / labels, description.ending) if labelled or labels == TEST[1] else []:
            if path not in known:
                yield Problem(path, f"has no image in {images}", "add the image, or move it elsewhere")
    file = _splits_file(root)
    if file is not None and labelled and not has_test:
        named = {case for fold in read_splits(file) for part in fold.values() for case in part}
        if unknown := sorted(named - {*cases}):
            yield Problem(file, f"names {some(unknown)}, of which there are no images", "add them, or remove the file")


def _splits_file(root: Path) -> Path | None:
    place = root.absolute()
    beside = place.parent.parent / "nnUNet_preprocessed" / place.name
    return next((file for file in (root / SPLITS, beside / SPLITS) if file.exists()), None)


def _stamps(root: Path) -> tuple[int, ...]:
    """What changes when files are added, removed or described anew."""
    places = (root / DESCRIPTION, *(root / part for part in (*TRAINING, *TEST)))
    return tuple(place.stat().st_mtime_ns if place.exists() else 0 for place in places)


@functools.lru_cache(maxsize=16)
def _cases(root: Path, _: tuple[int, ...]) -> Mapping[str, Case]:
    description = read_description(root / DESCRIPTION)
    if description.files is None:
        cases = _cases_in(root, TRAINING, description)
    else:
        cases = {name: Case(images, labels, False) for name, (images, labels) in description.files.items()}
    if _files(root / TEST[1], description.ending):
        cases |= _cases_in(root, TEST, description)
    return cases


def _cases_in(root: Path, folders: tuple[str, str], description: Description) -> dict[str, Case]:
    images, labels = (root / folder for folder in folders)
    ending, is_test = description.ending, folders == TEST
    channels: dict[str, set[int]] = {}
    for file in _files(images, ending):
        if matched := re.fullmatch(r"(.+)_(\d{4})", file.name.removesuffix(ending)):
            channels.setdefault(matched[1], set()).add(int(matched[2]))
    is_whole = ending.lower() in MANY_CHANNELS and all(numbers == {0} for numbers in channels.values())
    count = 1 if is_whole else len(description.channels)
    return {
        f"{images.name}/{name}" if is_test else name: Case(
            tuple(images / f"{name}_{number:04d}{ending}" for number in range(count)),
            labels / f"{name}{ending}",
            is_test,
        )
        for name in sorted(channels)
    }


def _files(folder: Path, ending: str) -> list[Path]:
    return [file for file in entries(folder) if file.name.endswith(ending)]
