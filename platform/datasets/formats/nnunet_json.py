"""The files ``dataset.json`` and ``splits_final.json`` of nnU-Net v2.

Format: Isensee et al., nnU-Net's documentation: dataset_format.md, region_based_training.md, ignore_label.md.
"""

import functools
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeGuard

from decomp.platform.datasets.base import IGNORE
from decomp.platform.datasets.formats.header import BrokenFile, opened
from decomp.platform.errors import UserError

CONVERSIONS = {
    "training": ("of the Medical Segmentation Decathlon", "nnUNetv2_convert_MSD_dataset -i FOLDER"),
    "modality": ("of the first version of nnU-Net", "nnUNetv2_convert_old_nnUNet_dataset FOLDER DatasetXXX_NAME"),
}
"""Keys that older formats have and this one does not: whose format, and what converts it."""


@dataclass(frozen=True)
class Description:
    """What ``dataset.json`` says.

    Attributes:
        channels: names of the channels.
        classes: names of the classes, which exclude each other; 0 is the background.
        table: the class of each label in the files, or `IGNORE`.
        nested: the classes of each region, the outermost first; empty where the labels are no regions.
        ending: what the files' names end in.
        reader: name of nnU-Net's reader class, where it is prescribed.
        files: the image files and the label file of each case, where they are listed.
        count: number of training cases, where it is given.
    """

    channels: tuple[str, ...]
    classes: tuple[str, ...]
    table: tuple[int, ...]
    nested: Mapping[str, tuple[int, ...]]
    ending: str
    reader: str | None
    files: Mapping[str, tuple[tuple[Path, ...], Path]] | None
    count: int | None


def read_description(file: Path) -> Description:
    """Read ``dataset.json``.

    Raises:
        UserError: with one line per mistake, if it is missing or not as nnU-Net wants it, or if its regions are not
            nested.
    """
    return _description(file, *_stamp(file))


def read_splits(file: Path) -> tuple[Mapping[str, tuple[str, ...]], ...]:
    """The cases ``train`` and ``val`` of each fold in ``splits_final.json``; `UserError` if it is no such file."""
    return _splits(file, *_stamp(file))


@functools.lru_cache(maxsize=16)
def _description(file: Path, *_: int) -> Description:
    content = _json(file)
    mistakes = list(_mistakes(content))
    if mistakes:
        raise UserError("\n".join(f"dataset.root: {file}: {mistake}." for mistake in mistakes))
    labels = _labels(content)
    ignore = labels.pop("ignore", None)
    named = {name: values for name, values in labels.items() if name != "background"}
    classes, table, nested = _nested(named) if _has_regions(named) else _exclusive(named)
    if ignore is not None:
        table = (*table, IGNORE)
    reader = content.get("overwrite_image_reader_writer")
    channels = content.get("channel_names", content.get("modality"))
    return Description(
        tuple(str(channels[number]) for number in sorted(channels, key=int)),
        classes,
        table,
        nested,
        content["file_ending"],
        None if reader in (None, "None") else reader,
        _files(content.get("dataset"), file.parent),
        content.get("numTraining"),
    )


@functools.lru_cache(maxsize=16)
def _splits(file: Path, *_: int) -> tuple[Mapping[str, tuple[str, ...]], ...]:
    content = _json(file, list)
    folds = []
    for fold in content:
        train, held_out = (fold.get(part) if isinstance(fold, dict) else None for part in ("train", "val"))
        if not (_are_names(train) and _are_names(held_out)):
            raise UserError(f"dataset.root: {file} is no list of folds with 'train' and 'val'; mend or remove it.")
        if both := {*train} & {*held_out}:
            raise UserError(
                f"dataset.root: {file} has {min(both)!r} in 'train' and 'val' of one fold; keep one of them."
            )
        folds.append({"train": tuple(sorted({*train})), "val": tuple(sorted({*held_out}))})
    if not folds:
        raise UserError(f"dataset.root: {file} has no folds; mend or remove it.")
    return tuple(folds)


def _are_names(value: Any) -> TypeGuard[list[str]]:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def _stamp(file: Path) -> tuple[int, int]:
    """What changes when the file does; `UserError` if there is no such file."""
    try:
        with opened(file) as stream:
            state = os.fstat(stream.fileno())
    except BrokenFile as error:
        inner = "give the folder DatasetXXX_NAME, which holds it"
        raise UserError(f"dataset.root: {file} {error.what}; {inner if not file.exists() else error.mend}.") from error
    return state.st_mtime_ns, state.st_size


def _json(file: Path, kind: type = dict) -> Any:
    try:
        content = json.loads(file.read_bytes())
    except (ValueError, RecursionError) as error:
        raise UserError(f"dataset.root: {file} is no JSON ({error}); mend it.") from error
    if not isinstance(content, kind):
        raise UserError(f"dataset.root: {file} is no {'list' if kind is list else 'object'} of JSON; mend it.")
    return content


def _mistakes(content: dict[str, Any]) -> Iterator[str]:
    labels = content.get("labels")
    if isinstance(labels, dict) and labels and all(str(name).isdigit() for name in labels):
        for key, (whose, command) in CONVERSIONS.items():
            if key in content:
                yield f"is {whose}; convert it with {command}"
                return
    yield from _channel_mistakes(content.get("channel_names", content.get("modality")))
    yield from _file_mistakes(content)
    if not isinstance(labels, dict) or labels.get("background") not in (0, "0"):
        yield "labels: give the label of each class by name, with background: 0"
    elif wrong := [name for name, value in labels.items() if not _is_label(value)]:
        yield f"labels: {wrong[0]!r} is {labels[wrong[0]]!r}; give a whole number, or a list of them for a region"
    else:
        yield from _label_mistakes(_labels(content), content.get("regions_class_order"))


def _channel_mistakes(channels: Any) -> Iterator[str]:
    if not isinstance(channels, dict) or not channels or {*channels} != {str(n) for n in range(len(channels))}:
        yield 'channel_names: give the name of each channel by its number from "0", e.g. {"0": "CT"}'


def _file_mistakes(content: dict[str, Any]) -> Iterator[str]:
    if not isinstance(content.get("file_ending"), str) or not content["file_ending"].startswith("."):
        yield 'file_ending: give what the files\' names end in, e.g. ".nii.gz"'
    if not isinstance(content.get("overwrite_image_reader_writer"), str | None):
        yield "overwrite_image_reader_writer: give the name of one of nnU-Net's reader classes"
    if not isinstance(content.get("numTraining"), int | None):
        yield "numTraining: give the number of training cases"
    listed = content.get("dataset") or {}
    if not isinstance(listed, dict):
        yield "dataset: give the files of each case by its name"
        return
    channels = content.get("channel_names", content.get("modality"))
    n_channels = len(channels) if isinstance(channels, dict) else 1
    for case, files in listed.items():
        images = files.get("images") if isinstance(files, dict) else None
        if not _are_names(images) or not _are_names([files.get("label")]):
            yield f"dataset: {case!r} needs 'images', a list of files, and 'label', a file"
        elif len(images) not in (1, n_channels):
            yield f"dataset: {case!r} lists {len(images)} images; give one for each channel"


def _label_mistakes(labels: dict[str, tuple[int, ...]], order: Any) -> Iterator[str]:
    ignore = labels.get("ignore")
    named = {name: values for name, values in labels.items() if name not in ("background", "ignore")}
    used = sorted({label for values in named.values() for label in values})
    if meant := [name for name in named if name.casefold() == "ignore"]:
        yield f"labels: {meant[0]!r} would be a class; write it in small letters if it is the ignored label"
    if not used or used != list(range(1, len(used) + 1)):
        yield f"labels: must be 1 to {max(1, len(used))} without gaps, not {', '.join(map(str, used)) or 'none'}"
    elif ignore not in (None, (len(used) + 1,)):
        yield f"labels: 'ignore' must be {len(used) + 1}, one more than the greatest label"
    elif len(used) >= IGNORE:
        yield f"labels: at most {IGNORE - 1} are possible"
    elif not _has_regions(named):
        if len(used) < len(named):
            yield "labels: two classes have the same label; give each its own"
    elif not isinstance(order, list) or len(order) != len(named):
        yield f"regions_class_order: give a label for each of the {len(named)} regions"
    else:
        yield from _region_mistakes(named, order)


def _region_mistakes(regions: dict[str, tuple[int, ...]], order: list[Any]) -> Iterator[str]:
    for (outer, labels), (inner, others) in pairwise(regions.items()):
        if not {*others} < {*labels}:
            yield (
                f"labels: the region {inner!r} does not lie within {outer!r}, the one before; only nested regions are "
                f"possible, the outermost first, so give each label a class of its own"
            )
            return
    for name, painted, own in zip(regions, order, _differences(regions), strict=True):
        if painted not in list(own):  # which may be unhashable
            yield (
                f"regions_class_order: {painted!r} stands for {name!r}, but of its labels only "
                f"{', '.join(map(str, sorted(own)))} lie in no region after it; give one of these"
            )


def _labels(content: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(map(int, _listed(value))) for name, value in content["labels"].items()}


def _is_label(value: Any) -> bool:
    values = _listed(value)
    return bool(values) and all(type(label) is int or (isinstance(label, str) and label.isdigit()) for label in values)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _has_regions(named: Mapping[str, tuple[int, ...]]) -> bool:
    return any(len(labels) > 1 for labels in named.values())


def _exclusive(
    named: Mapping[str, tuple[int, ...]],
) -> tuple[tuple[str, ...], tuple[int, ...], Mapping[str, tuple[int, ...]]]:
    names = {label: name for name, (label,) in named.items()}
    return ("background", *(names[label] for label in sorted(names))), tuple(range(len(names) + 1)), {}


def _nested(
    regions: Mapping[str, tuple[int, ...]],
) -> tuple[tuple[str, ...], tuple[int, ...], Mapping[str, tuple[int, ...]]]:
    """The classes are what a region has and the next one has not; labels that no region tells apart are one class."""
    differences = _differences(regions)
    names = [f"{outer} without {inner}" for outer, inner in pairwise(regions)] + [list(regions)[-1]]
    order = sorted(range(len(names)), key=lambda place: min(differences[place]))
    label_of = {label: 1 + order.index(place) for place, labels in enumerate(differences) for label in labels}
    return (
        ("background", *(names[place] for place in order)),
        (0, *(label_of[label] for label in sorted(label_of))),
        {name: tuple(sorted({label_of[label] for label in labels})) for name, labels in regions.items()},
    )


def _differences(regions: Mapping[str, tuple[int, ...]]) -> list[set[int]]:
    sets = [set(labels) for labels in regions.values()]
    return [outer - inner for outer, inner in zip(sets, [*sets[1:], set()], strict=True)]


def _files(dataset: Any, root: Path) -> Mapping[str, tuple[tuple[Path, ...], Path]] | None:
    """Paths are relative to the folder and may hold environment variables, as nnU-Net reads them."""
    if not dataset:
        return None

    def place(name: str) -> Path:
        return root / os.path.expandvars(name)

    return {case: (tuple(map(place, files["images"])), place(files["label"])) for case, files in dataset.items()}
