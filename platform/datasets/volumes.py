"""Data sets of CT volumes.

To add your own CT volumes, stored as NIfTI files, derive a dataclass from `NiftiVolumes` and define `classes`, `ids`,
`image_file` and `label_file`; the rest is inherited. For volumes stored otherwise, derive from `Volumes`.
"""

import hashlib
import json
import os
from abc import abstractmethod
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar, TypeVar, get_args

import numpy as np
import numpy.typing as npt
from nibabel.affines import voxel_sizes
from typing_extensions import override

from decomp.platform.datasets.base import Dataset, Split
from decomp.platform.datasets.body import detect_body
from decomp.platform.datasets.formats.nifti import (
    DamageError,
    Voxels,
    check_complete,
    read_header,
    read_trailer,
    read_voxels,
    same_place,
)
from decomp.platform.datasets.hounsfield import RESCALE, misfit
from decomp.platform.errors import UserError
from decomp.platform.regions import Region

MAX_THREADS = 8  # files under way at once; a volume takes up to about a gigabyte

READ_WHOLE = 2**29
"""Bytes of image files that `NiftiVolumes.problems` decompresses at most: half a minute on two cores."""

ROUNDING = 1e-3
"""How far a label stored as a float may be from a whole number."""

T = TypeVar("T")


class Volumes(Dataset):
    """CT volumes in Hounsfield units (HU), axes (z, y, x); a slice ``volume[z]`` is axial.

    The direction of the axes is as stored: only their order is the same in all volumes. The voxels' size differs
    between volumes, so it is a method, `voxel`, and `spacing` is None.

    Attributes:
        hounsfield: whether intensities are HU, which is checked; False for other units, such as those of MR, in which
            no body is found.
    """

    hounsfield: ClassVar[bool] = True

    @abstractmethod
    @override
    def image(self, image: str) -> npt.NDArray[np.float32]:
        """Hounsfield units of a volume, shape (z, y, x, 1), float32."""

    @abstractmethod
    def voxel(self, image: str) -> tuple[float, float, float]:
        """Size of a voxel along z, y and x in millimetres, without reading the voxels where possible."""

    @override
    def body(self, image: str) -> npt.NDArray[np.bool_]:
        """Voxels of the body, gas within it included, without couch and air; shape (z, y, x), bool."""
        return detect_body(self.image(image)[..., 0], self.voxel(image))


class NiftiVolumes(Volumes):
    """CT volumes stored as a pair of NIfTI files each, ``.nii.gz``: the image and its segmentation.

    The axes of a file may come in any order and direction; its affine tells which is which. They are put into the order
    (z, y, x) and never flipped.

    Attributes:
        remedy: the end of the sentences about damaged files: what the user can do.
    """

    remedy: ClassVar[str] = "restore the file or leave the volume out"

    @abstractmethod
    def image_file(self, image: str) -> Path:
        """The file of a volume's Hounsfield units; KeyError if there is no such volume."""

    @abstractmethod
    def label_file(self, image: str) -> Path:
        """The file of a volume's labels, on the same grid; KeyError if there is no such volume."""

    @override
    def shape(self, image: str) -> tuple[int, int, int]:
        """Voxels along z, y and x; reads the header only."""
        header = self._try(image, self.image_file(image), read_header)
        z, y, x = header.axes
        return header.shape[z], header.shape[y], header.shape[x]

    @override
    def voxel(self, image: str) -> tuple[float, float, float]:
        """Size of a voxel along z, y and x in millimetres; reads the header only."""
        header = self._try(image, self.image_file(image), read_header)
        z, y, x = header.axes
        return header.spacing[z], header.spacing[y], header.spacing[x]

    @override
    def image(self, image: str) -> npt.NDArray[np.float32]:
        """Hounsfield units of a volume, slope and intercept applied, shape (z, y, x, 1), float32.

        Raises:
            UserError: if the file is missing, damaged or not in Hounsfield units, or if a voxel is not finite.
        """
        voxels = self._try(image, self.image_file(image), self._read_image)
        return np.ascontiguousarray(voxels, np.float32)[..., None]

    @override
    def labels(self, image: str) -> npt.NDArray[np.uint8]:
        """True class of every voxel, shape (z, y, x), uint8; no voxel is ignored.

        Labels stored as floats are rounded if they are within `ROUNDING` of whole numbers.

        Raises:
            UserError: if the file is missing or damaged, or has a label that is no class.
        """
        return self._try(image, self.label_file(image), self._read_labels)

    def file_axes(self, image: str) -> tuple[int, int, int]:
        """Which axes of the volume's file are z, y and x: ``image`` is the file's array transposed by them."""
        return self._try(image, self.image_file(image), read_header).axes

    @override
    def original(self, region: Region) -> Region:
        """The region in voxel indices of the volume's file, as a viewer shows them: its axes in the file's order."""
        axes = self.file_axes(region.image)
        order = [axes.index(axis) for axis in range(3)]
        start = tuple(region.start[k] for k in order)
        if region.mask is not None:
            return Region.of_mask(region.image, start, region.inside.transpose(order))
        return Region(region.image, start, tuple(region.size[k] for k in order))

    @override
    def problems(self) -> list[str]:
        """A sentence for every piece of damage in every volume.

        Segmentations are read as a whole, and so are images up to `READ_WHOLE` bytes of files; in larger data sets, a
        sample of them. For the other images only the headers and the ends of the files are read, which finds missing
        and truncated files (`decomp.platform.datasets.formats.nifti.check_complete`); corruption in their middle,
        voxels that are not finite and units other than HU are reported when they are read.
        """
        whole = self._sample()
        by_volume = _threaded(lambda image: list(self._problems(image, image in whole)), self._all())
        return [problem for problems in by_volume for problem in problems]

    @override
    def fingerprint(self) -> str:
        """Digest of the classes, of the splits, and of every file's size, header and gzip trailer.

        The trailer holds a checksum of the file's contents, so every change of the contents is seen without reading
        them. A damaged file counts as such; `problems` names it.
        """
        splits = [[self.ids(split, fold) for split in get_args(Split)] for fold in range(self.folds)]
        files = _threaded(lambda image: (image, *map(_state, self._files(image))), self._all())
        state = json.dumps([self.classes, dict(self.nested), splits, files])
        return hashlib.blake2b(state.encode(), digest_size=16).hexdigest()

    def _all(self) -> list[str]:
        return sorted(
            {image for split in get_args(Split) for fold in range(self.folds) for image in self.ids(split, fold)}
        )

    def _files(self, image: str) -> tuple[Path, Path]:
        return self.image_file(image), self.label_file(image)

    def _sample(self) -> set[str]:
        """Volumes, evenly spread over all, whose images together have about `READ_WHOLE` bytes at most."""
        images = self._all()
        total = sum(map(_size, map(self.image_file, images)))
        count = max(1, len(images) * READ_WHOLE // max(total, READ_WHOLE))
        return set(images[:: -(-len(images) // count)])

    def _problems(self, image: str, whole: bool) -> Iterator[str]:
        headers = []
        checks = (self._read_image if whole else check_complete, self._read_labels)
        for file, check in zip(self._files(image), checks, strict=True):
            try:
                headers.append(read_header(file))
                check(file)
            except DamageError as damage:
                yield self._sentence(image, file, damage)
        if len(headers) < 2:
            return
        first, second = headers
        if first.shape != second.shape:
            misfit = f"has the shape {second.shape}, but the image {first.shape}"
        elif not same_place(first, second):
            misfit = "has another affine than the image, so they do not lie upon each other"
        else:
            return
        yield self._sentence(image, self.label_file(image), DamageError(misfit))

    def _read_image(self, file: Path) -> Voxels:
        voxels = read_voxels(file)
        if self.hounsfield and (wrong := misfit(voxels)):
            raise DamageError(wrong, RESCALE)
        return voxels

    def _read_labels(self, file: Path) -> npt.NDArray[np.uint8]:
        voxels = read_voxels(file)
        if voxels.dtype.kind == "f":
            whole = np.rint(voxels)
            voxels = np.where(np.abs(voxels - whole) <= ROUNDING, whole, voxels)
        last = len(self.classes) - 1
        if voxels.min() < 0 or voxels.max() > last or (voxels.dtype.kind == "f" and (voxels % 1).any()):
            unknown = np.setdiff1d(voxels, np.arange(last + 1))
            listed = ", ".join(f"{value:g}" for value in unknown[:5]) + (" ..." if len(unknown) > 5 else "")
            raise DamageError(f"has unknown labels ({listed}; known are 0 to {last})")
        return np.ascontiguousarray(voxels, np.uint8)

    def _try(self, image: str, file: Path, read: Callable[[Path], T]) -> T:
        try:
            return read(file)
        except DamageError as damage:
            raise UserError(self._sentence(image, file, damage)) from damage

    def _sentence(self, image: str, file: Path, damage: DamageError) -> str:
        return f"dataset: {image}: {file} {damage}; {damage.mend or self.remedy}."


def _state(file: Path) -> tuple[int | str, ...] | str:
    try:
        header = read_header(file)
        state: tuple[int | str, ...] = file.stat().st_size, header.raw.hex(), read_trailer(file).hex()
    except (DamageError, OSError) as error:
        return "missing" if isinstance(error, FileNotFoundError) else str(error)
    # Where the two differ, the voxel's size was once taken from the affine.
    return state if np.allclose(header.spacing, voxel_sizes(header.affine), rtol=1e-4) else (*state, "pixdim")


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return 0


def _threaded(work: Callable[[str], T], images: list[str]) -> list[T]:
    # Threads suffice: zlib releases the interpreter lock.
    with ThreadPoolExecutor(min(MAX_THREADS, os.cpu_count() or 1)) as workers:
        return list(workers.map(work, images))
