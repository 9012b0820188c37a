"""One real brain: half slices of the MR image Colin27, with the regions of the AAL atlas, drawn on that very brain.

Both come with Debian's package mricron-data, and are read where it puts them; nothing of them is a part of decomp.

Holmes et al., "Enhancement of MR images using registration for signal averaging", Journal of Computer Assisted
Tomography 22, 1998 (the image); Tzourio-Mazoyer et al., "Automated anatomical labeling of activations in SPM using a
macroscopic anatomical parcellation of the MNI MRI single-subject brain", NeuroImage 15, 2002 (the atlas).
"""

import functools
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

import cv2
import numpy as np
import numpy.typing as npt
from typing_extensions import override

from decomp.platform.datasets.base import IGNORE, Dataset, Split
from decomp.platform.datasets.formats.grid import DamageError
from decomp.platform.datasets.formats.header import expanded
from decomp.platform.datasets.formats.nifti import read_header, read_trailer, read_voxels
from decomp.platform.errors import UserError
from decomp.platform.marks import NotIdentity

VERSION = 1
"""Part of the fingerprint; to be raised with every change here that changes a pixel or a label."""

FOLDER = "/usr/share/mricron/templates"
IMAGE, ATLAS = "ch2.nii.gz", "aal.nii.gz"

CODES = MappingProxyType(
    {
        "background": range(1),  # white matter, fluid, the rest of the head, and air
        "frontal": range(1, 29),
        "insula": range(29, 31),
        "cingulate": range(31, 37),
        "hippocampus": range(37, 39),
        "parahippocampal": range(39, 41),
        "amygdala": range(41, 43),
        "occipital": range(43, 57),
        "parietal": range(57, 71),
        "caudate": range(71, 73),
        "putamen": range(73, 75),
        "pallidum": range(75, 77),
        "thalamus": range(77, 79),
        "temporal": range(79, 91),
        "cerebellum": range(91, 109),
    }
)
"""The atlas's codes of each class, by the groups of the atlas itself; odd codes are left, even ones right."""

VERMIS = range(109, 117)
"""Codes of no class: the vermis lies in the middle, so a half shows a part of it only."""

REMEDY = "install Debian's package again (apt-get install --reinstall mricron-data)"

Volume = npt.NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Head:
    """The whole head, axes (z, y, x) upwards, towards the front and towards the right.

    Attributes:
        intensities: of the MR image, shape (z, y, x), uint8.
        labels: class of every voxel, shape (z, y, x), uint8; `IGNORE` for the vermis.
        inside: voxels of the head, shape (z, y, x), bool.
        middle: index along x of the plane between the hemispheres, which is in neither half.
    """

    intensities: Volume
    labels: Volume
    inside: npt.NDArray[np.bool_]
    middle: int

    @functools.cached_property
    def slices(self) -> tuple[str, ...]:
        """Indices along z, of three digits, of the axial slices in which both halves show a class of the atlas."""
        shown = (self.labels > 0) & (self.labels != IGNORE)
        both = [self.half(shown, side).any(axis=(1, 2)) for side in ("left", "right")]
        return tuple(f"{z:03d}" for z in np.flatnonzero(both[0] & both[1]))

    def half(self, voxels: npt.NDArray[Any], side: str) -> npt.NDArray[Any]:
        """One half of slices (..., y, x): rows from front to back, columns from the side to the middle."""
        width = min(self.middle, voxels.shape[-1] - 1 - self.middle)
        columns = self.middle + np.arange(-width, 0) * (1 if side == "left" else -1)
        return voxels[..., ::-1, columns]


@dataclass(frozen=True)
class Brain(Dataset):
    """Axial half slices of one brain: the left hemisphere's are the pool, the mirrored right ones the test split.

    144 half slices each of 217 x 90 pixels of 1 mm, one channel, and 15 classes; the id of an image is its side and its
    index along z, such as ``left-070``. Neighbouring slices resemble one another, and so do the two hemispheres: scores
    tell how well one brain's other half is labelled, not how well another person's brain would be.
    """

    root: Annotated[str, NotIdentity()] = FOLDER
    """The folder with ``ch2.nii.gz`` and ``aal.nii.gz``, by default where Debian's package mricron-data puts them."""

    classes = tuple(CODES)
    spacing = (1.0, 1.0)

    def __post_init__(self) -> None:
        missing = [str(file) for file in self._files if not file.is_file()]
        if missing:
            raise UserError(
                f"dataset.root: there is no {' and no '.join(missing)}; apt-get install mricron-data, on Debian or "
                "Ubuntu, or give the folder with the templates of MRIcron."
            )

    @override
    def ids(self, split: Split, fold: int) -> tuple[str, ...]:
        """Half slices from below upwards; there is no validation split."""
        side = {"train": "left", "test": "right"}.get(split)
        return tuple(f"{side}-{z}" for z in self._head.slices) if side else ()

    @override
    def shape(self, image: str) -> tuple[int, ...]:
        """Rows and columns, the same for all."""
        return self._half(image, "labels").shape

    @override
    def image(self, image: str) -> Volume:
        """Intensities, shape (H, W, 1), uint8: rows from front to back, columns from the side to the middle."""
        return np.ascontiguousarray(self._half(image, "intensities")[..., None])

    @override
    def labels(self, image: str) -> Volume:
        """True class of every pixel, shape (H, W), uint8; `IGNORE` for the vermis."""
        return np.ascontiguousarray(self._half(image, "labels"))

    @override
    def body(self, image: str) -> npt.NDArray[np.bool_]:
        """Pixels of the head, shape (H, W), bool."""
        return np.ascontiguousarray(self._half(image, "inside"))

    @override
    def problems(self) -> list[str]:
        """What is wrong with the two files, which are read whole."""
        try:
            head = self._head
        except UserError as error:
            return [str(error)]
        return [] if head.slices else [f"dataset.root: {self._files[1]} shows no class in both halves; {REMEDY}."]

    @override
    def fingerprint(self) -> str:
        """Digest of the classes and of header and checksum of the two files; not of where they lie."""
        whole = hashlib.blake2b(json.dumps([VERSION, *map(str, CODES.items()), str(VERMIS)]).encode(), digest_size=16)
        for file in self._files:
            try:
                whole.update(read_header(file).raw + read_trailer(file))
            except DamageError:
                continue  # `problems` reports it
        return whole.hexdigest()

    @property
    def _files(self) -> tuple[Path, Path]:
        return expanded(self.root) / IMAGE, expanded(self.root) / ATLAS

    @property
    def _head(self) -> Head:
        return _head(*self._files, tuple(map(_state, self._files)))

    def _half(self, image: str, what: str) -> npt.NDArray[Any]:
        side, _, z = image.partition("-")
        head = self._head
        if side not in ("left", "right") or z not in head.slices:
            raise KeyError(f"There is no half slice {image!r}; ids look like left-070.")
        section: npt.NDArray[Any] = head.half(getattr(head, what)[int(z)], side)
        return section


# The cache is the module's, so that a pickled data set stays small.
@functools.lru_cache(maxsize=2)
def _head(image: Path, atlas: Path, _states: tuple[tuple[int, ...], ...]) -> Head:
    intensities, codes = _whole(image), _whole(atlas)
    header = read_header(image)
    if intensities.shape != codes.shape or not np.allclose(header.affine, read_header(atlas).affine):
        raise UserError(f"dataset.root: {image} and {atlas} do not cover the same voxels; {REMEDY}.")
    middle = round(float(-header.affine[0, 3] / header.affine[0, 0]))
    if not 0 < middle < intensities.shape[2] - 1:
        raise UserError(f"dataset.root: {image} does not show both halves of the head; {REMEDY}.")
    return Head(intensities, _classes(codes, atlas), _inside(intensities), middle)


def _state(file: Path) -> tuple[int, ...]:
    """What changes when a file does; empty if it is missing."""
    try:
        return file.stat().st_mtime_ns, file.stat().st_size
    except OSError:
        return ()


def _whole(file: Path) -> Volume:
    """Voxels of a file, axes (z, y, x)."""
    try:
        header, voxels = read_header(file), read_voxels(file)
    except DamageError as error:
        raise UserError(f"dataset.root: {file} {error}; {error.mend or REMEDY}.") from error
    if voxels.dtype != np.uint8 or not (np.diag(header.affine)[:3] > 0).all():
        raise UserError(f"dataset.root: {file} is not the package's; {REMEDY}.")
    return np.ascontiguousarray(voxels.transpose(header.axes))


def _classes(codes: Volume, atlas: Path) -> Volume:
    table = np.full(256, len(CODES), np.uint8)
    table[list(VERMIS)] = IGNORE
    for label, of_class in enumerate(CODES.values()):
        table[list(of_class)] = label
    labels: Volume = table[codes]
    if unknown := np.unique(codes[labels == len(CODES)]).tolist():
        raise UserError(f"dataset.root: {atlas} holds {', '.join(map(str, unknown))}, which is of no class; {REMEDY}.")
    return labels


def _inside(intensities: Volume) -> npt.NDArray[np.bool_]:
    """The largest part that is brighter than Otsu's threshold, and what it encloses within a slice."""
    from scipy import ndimage  # takes a while to import

    threshold, _ = cv2.threshold(intensities.reshape(len(intensities), -1), 0, 255, cv2.THRESH_OTSU)
    parts, _ = ndimage.label(intensities > threshold)
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    return np.stack([ndimage.binary_fill_holes(section) for section in parts == np.argmax(sizes)])
