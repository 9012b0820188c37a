"""Data sets of volumes.

To add your own volumes, stored as NIfTI files, derive a dataclass from `NiftiVolumes` and define `classes`, `ids`,
`image_file` and `label_file`; the rest is inherited. For volumes stored otherwise, derive from `Volumes`.
"""

import hashlib
import json
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, TypeVar, get_args

import numpy as np
import numpy.typing as npt
from typing_extensions import override

from decomp.platform.datasets.base import IGNORE, Dataset, Split
from decomp.platform.datasets.body import detect_body, detect_bright
from decomp.platform.datasets.formats.grid import DamageError, Grid, Turn, VolumeFormat, Voxels, same_place
from decomp.platform.datasets.formats.nifti import Nifti
from decomp.platform.datasets.hounsfield import RESCALE, is_ct, misfit
from decomp.platform.datasets.threads import threaded
from decomp.platform.errors import UserError
from decomp.platform.regions import Region

READ_WHOLE = 2**29
"""Bytes of image files that `NiftiVolumes.problems` decompresses at most: half a minute on two cores."""

ROUNDING = 1e-3
"""How far a label stored as a float may be from a whole number."""

T = TypeVar("T")


class Volumes(Dataset):
    """Volumes of three axes, the first of which lies across the slices: (z, y, x) where slices are axial.

    The direction of the axes is as stored. The voxels' size differs between volumes, so it is a method, `voxel`, and
    `spacing` is None. Label 0 is the background.

    Attributes:
        channels: names of the channels, by which nnU-Net normalises them: ``CT`` for Hounsfield units (HU), any other
            name, such as ``T2``, for intensities that are standardised volume by volume.
        hounsfield: whether the units of the channel ``CT`` are checked; False for other units.
    """

    channels: tuple[str, ...] = ("CT",)
    hounsfield: bool = True

    @abstractmethod
    @override
    def image(self, image: str) -> npt.NDArray[np.float32]:
        """Intensities of a volume, shape (z, y, x, channels), float32."""

    @abstractmethod
    def voxel(self, image: str) -> tuple[float, float, float]:
        """Size of a voxel along z, y and x in millimetres, without reading the voxels where possible."""

    @override
    def body(self, image: str) -> npt.NDArray[np.bool_]:
        """Voxels of the body, shape (z, y, x), bool: by HU, or else what is brighter than the dark around it."""
        volume = self.image(image)
        ct = [place for place, name in enumerate(self.channels) if is_ct(name)]
        if ct:
            return detect_body(volume[..., ct[0]], self.voxel(image))
        return detect_bright(volume)


def nested_or_foreground(dataset: Dataset) -> Mapping[str, tuple[int, ...]]:
    """The sets of labels that nnU-Net scores: the nested classes, or else every class but the background."""
    return dataset.nested or {name: (label,) for label, name in enumerate(dataset.classes) if label}


class FileVolumes(Volumes):
    """Volumes stored as files: one or more for the channels of the image, and one for its segmentation.

    The axes of a file may come in any order and direction; its affine tells which is which. They are put into the order
    (z, y, x), or with y or x first where slices are coronal or sagittal, and only flipped if `reorient` says so.

    Attributes:
        remedy: the end of the sentences about damaged files: what the user can do.
        realign: the same where a file has another affine; None for `remedy`.
        reorient: whether indices along z, y and x grow towards superior, anterior and right in all volumes.
    """

    remedy: ClassVar[str] = "restore the file or leave the volume out"
    realign: ClassVar[str | None] = None
    reorient: bool = False

    @property
    @abstractmethod
    def format(self) -> VolumeFormat:
        """The format of the image's files."""

    @property
    def label_format(self) -> VolumeFormat:
        """The format of the segmentations."""
        return self.format

    @abstractmethod
    def image_files(self, image: str) -> tuple[Path, ...]:
        """The files of a volume's channels, in their order; KeyError if there is no such volume."""

    @abstractmethod
    def label_file(self, image: str) -> Path | None:
        """The file of a volume's labels, on the same grid; None if it has none yet, KeyError if it does not exist."""

    def across(self, image: str) -> int:
        """Which axis lies across the slices: 0 for z (axial slices), 1 for y (coronal), 2 for x (sagittal)."""
        return 0

    @property
    def label_table(self) -> tuple[int, ...]:
        """The class of each label in the files, or `IGNORE`."""
        return tuple(range(len(self.classes)))

    @override
    def shape(self, image: str) -> tuple[int, int, int]:
        """Voxels along z, y and x; reads the header only."""
        grid = self._grid(image)
        z, y, x = self._turn(image).axes
        return grid.shape[z], grid.shape[y], grid.shape[x]

    @override
    def voxel(self, image: str) -> tuple[float, float, float]:
        """Size of a voxel along z, y and x in millimetres; reads the header only."""
        grid = self._grid(image)
        z, y, x = self._turn(image).axes
        return grid.spacing[z], grid.spacing[y], grid.spacing[x]

    @override
    def image(self, image: str) -> npt.NDArray[np.float32]:
        """Intensities of a volume, slope and intercept applied, shape (z, y, x, channels), float32.

        Raises:
            UserError: if a file is missing, damaged or not in Hounsfield units where it should be, or if a voxel is not
                finite.
        """
        read = partial(self._read_image, image)
        channels = [channel for file in self.image_files(image) for channel in self._try(image, file, read)]
        turned = [self._turn(image).of_file(channel) for channel in channels]
        volume = np.empty((*turned[0].shape, len(turned)), np.float32)
        for place, channel in enumerate(turned):
            volume[..., place] = channel
        return volume

    @override
    def labels(self, image: str) -> npt.NDArray[np.uint8]:
        """True class of every voxel, shape (z, y, x), uint8.

        Labels stored as floats are rounded if they are within `ROUNDING` of whole numbers.

        Raises:
            UserError: if the file is missing or damaged, or has a label that is no class.
        """
        file = self.label_file(image)
        if file is None:
            return np.full(self.shape(image), IGNORE, np.uint8)
        labels = self._try(image, file, self._read_labels)
        return np.ascontiguousarray(self._turn(image).of_file(labels))

    def file_axes(self, image: str) -> tuple[int, int, int]:
        """Which axes of the volume's file are z, y and x, or y or x first where the slices are not axial."""
        return self._turn(image).axes

    @override
    def original(self, region: Region) -> Region:
        """The region in voxel indices of the volume's file, as a viewer shows them: its axes in the file's order."""
        return self._turn(region.image).to_file(region, self.shape(region.image))

    @override
    def original_files(self, image: str) -> tuple[Path, ...]:
        return self.image_files(image)

    @override
    def to_original(self, image: str, labels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        return self._turn(image).to_file_voxels(labels)

    @override
    def of_original(self, image: str, labels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        return np.ascontiguousarray(self._turn(image).of_file(labels))

    @override
    def problems(self) -> list[str]:
        """A sentence for every piece of damage in every volume.

        Segmentations are read as a whole, and so are images up to `READ_WHOLE` bytes of files; in larger data sets, a
        sample of them. For the other images only the headers and the ends of the files are read, which finds missing
        and truncated files (`decomp.platform.datasets.formats.nifti.check_complete`); corruption in their middle,
        voxels that are not finite and units other than HU are reported when they are read.
        """
        return [self._sentence(*damage) for damage in self.damages()]

    def damages(self) -> list[tuple[str, Path, DamageError]]:
        """What `problems` tells: the volume, its file, and what is wrong with it."""
        whole = self._sample()
        by_volume = threaded(lambda image: list(self._damages(image, image in whole)), self._all())
        return [damage for damages in by_volume for damage in damages]

    @override
    def fingerprint(self) -> str:
        """Digest of the classes, of the splits, and of what tells the contents of every file (`VolumeFormat.state`).

        A damaged file counts as such; `problems` names it.
        """
        splits = [[self.ids(split, fold) for split in get_args(Split)] for fold in range(self.folds)]
        files = threaded(lambda image: (image, *self._states(image)), self._all())
        state = json.dumps([self.classes, dict(self.nested), splits, files, *self._reading()])
        return hashlib.blake2b(state.encode(), digest_size=16).hexdigest()

    def _reading(self) -> tuple[Any, ...]:
        """What else the volumes depend on, as JSON has it."""
        return ()

    def _states(self, image: str) -> list[Any]:
        label_file = self.label_file(image)
        states = [self.format.state(file) for file in self.image_files(image)]
        return [*states, None if label_file is None else self.label_format.state(label_file)]

    def _all(self) -> list[str]:
        return sorted(
            {image for split in get_args(Split) for fold in range(self.folds) for image in self.ids(split, fold)}
        )

    def _sample(self) -> set[str]:
        """Volumes, evenly spread over all, whose images together have about `READ_WHOLE` bytes at most."""
        images = self._all()
        total = sum(_size(file) for image in images for file in self.image_files(image))
        count = max(1, len(images) * READ_WHOLE // max(total, READ_WHOLE))
        return set(images[:: -(-len(images) // count)])

    def _damages(self, image: str, whole: bool) -> Iterator[tuple[str, Path, DamageError]]:
        check_image = partial(self._read_image, image) if whole else self.format.check
        checks: list[tuple[Path, VolumeFormat, Callable[[Path], Any]]] = [
            (file, self.format, check_image) for file in self.image_files(image)
        ]
        if (label_file := self.label_file(image)) is not None:
            checks.append((label_file, self.label_format, self._read_labels))
        grids = []
        for file, file_format, check in checks:
            try:
                grids.append((file, file_format.grid(file)))
                check(file)
            except DamageError as damage:
                yield image, file, damage
        for file, grid in grids[1:]:
            first = grids[0][1]
            if grid.shape != first.shape:
                yield image, file, DamageError(f"has the shape {grid.shape}, but the image {first.shape}")
            elif not same_place(first, grid):
                misfit = "has another affine than the image, so they do not lie upon each other"
                yield image, file, DamageError(misfit, self.realign)

    def _read_image(self, image: str, file: Path) -> Voxels:
        """All channels of a file, shape (channels, *axes of the file)."""
        files = self.image_files(image)
        names = self.channels if len(files) == 1 else (self.channels[files.index(file)],)
        channels = self.format.voxels(file)
        if len(channels) != len(names):
            has = f"has {len(channels)} channel(s), but {len(names)} are expected ({', '.join(names)})"
            raise DamageError(has, "save a file for each channel, or name the channels that there are")
        for name, channel in zip(names, channels, strict=True):
            if self.hounsfield and is_ct(name) and (wrong := misfit(channel)):
                raise DamageError(wrong, RESCALE)
        return channels

    def _read_labels(self, file: Path) -> npt.NDArray[np.uint8]:
        voxels = self.label_format.voxels(file)[0]
        if voxels.dtype.kind == "f":
            whole = np.rint(voxels)
            voxels = np.where(np.abs(voxels - whole) <= ROUNDING, whole, voxels)
        table = self.label_table
        last = len(table) - 1
        if voxels.min() < 0 or voxels.max() > last or (voxels.dtype.kind == "f" and (voxels % 1).any()):
            unknown = np.setdiff1d(voxels, np.arange(last + 1))
            listed = ", ".join(f"{value:g}" for value in unknown[:5]) + (" ..." if len(unknown) > 5 else "")
            raise DamageError(f"has unknown labels ({listed}; known are 0 to {last})")
        labels: npt.NDArray[np.uint8] = voxels.astype(np.uint8)
        return labels if table == tuple(range(len(table))) else np.array(table, np.uint8)[labels]

    def _grid(self, image: str) -> Grid:
        return self._try(image, self.image_files(image)[0], self.format.grid)

    def _turn(self, image: str) -> Turn:
        return Turn.of(self._grid(image), self.across(image), self.reorient)

    def _try(self, image: str, file: Path, read: Callable[[Path], T]) -> T:
        try:
            return read(file)
        except DamageError as damage:
            raise UserError(self._sentence(image, file, damage)) from damage

    def _sentence(self, image: str, file: Path, damage: DamageError) -> str:
        return f"dataset: {image}: {file} {damage}; {damage.mend or self.remedy}."


class NiftiVolumes(FileVolumes):
    """Volumes of one channel stored as a pair of NIfTI files each, ``.nii.gz``: the image and its segmentation."""

    @property
    @override
    def format(self) -> VolumeFormat:
        return Nifti()

    @abstractmethod
    def image_file(self, image: str) -> Path:
        """The file of a volume's intensities; KeyError if there is no such volume."""

    @override
    def image_files(self, image: str) -> tuple[Path, ...]:
        return (self.image_file(image),)


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return 0
