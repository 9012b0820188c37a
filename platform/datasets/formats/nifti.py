"""Volumes in NIfTI-1 files compressed by gzip (``.nii.gz``): header, voxels and signs of damage.

Format: Cox et al., "A (sort of) new image data format standard: NIfTI-1", NeuroImage 2004; gzip: RFC 1952, by which a
file ends in a CRC-32 and the size of the contents modulo 2^32.
"""

import functools
import gzip
import logging
import math
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import numpy.typing as npt
from nibabel.affines import voxel_sizes
from nibabel.orientations import io_orientation
from nibabel.spatialimages import HeaderDataError

HEADER_BYTES = 348
TRAILER_BYTES = 8
MAX_SHIFT = 0.1
"""Farthest that two affines of one grid may place a voxel apart, in voxels."""

CACHED_HEADERS = 4096

Voxels = npt.NDArray[Any]


class DamageError(Exception):
    """What is wrong with a file, to be read after its name: ``is missing``."""


@dataclass(frozen=True, eq=False)
class Header:
    """What a NIfTI header says.

    Attributes:
        raw: the header's bytes.
        shape: voxels per axis of the file, shape (3,).
        affine: from the file's voxel indices to millimetres towards right, anterior, superior; shape (4, 4), float64.
        spacing: size of a voxel per axis of the file, mm, shape (3,).
        axes: which axes of the file are z (closest to inferior-superior), y (anterior-posterior) and x (left-right).
        dtype: how a voxel is stored.
        offset: where the voxels begin, bytes.
        slope: factor on the stored values.
        intercept: to be added then.
    """

    raw: bytes
    shape: tuple[int, int, int]
    affine: npt.NDArray[np.float64]
    spacing: tuple[float, float, float]
    axes: tuple[int, int, int]
    dtype: np.dtype[Any]
    offset: int
    slope: float
    intercept: float

    @property
    def nbytes(self) -> int:
        """Size of the uncompressed file."""
        return self.offset + math.prod(self.shape) * self.dtype.itemsize


def read_header(file: Path) -> Header:
    """The header of a file, checked.

    Raises:
        DamageError: if the file is missing, is no compressed NIfTI-1 file, holds no volume of numbers, or does not say
            where in space its voxels are.
    """
    try:
        state = file.stat()
    except OSError as error:
        raise DamageError(_reason(error)) from error
    return _read_header(file, state.st_mtime_ns, state.st_size)


def read_voxels(file: Path) -> Voxels:
    """Voxels of a file, slope and intercept applied, axes (z, y, x) as `Header.axes` says; float32 or the stored type.

    Integers without slope and intercept keep their type. The whole file is decompressed, so its CRC is verified.

    Raises:
        DamageError: as `read_header`, and if the file is truncated or corrupt, or if a voxel is not finite.
    """
    header = read_header(file)
    contents = _decompressed(file)
    if len(contents) < header.nbytes:
        raise DamageError(f"is truncated (it holds {len(contents)} bytes, its header speaks of {header.nbytes})")
    stored = np.frombuffer(contents, header.dtype, math.prod(header.shape), header.offset)
    turned = stored.reshape(header.shape, order="F").transpose(header.axes)
    if header.dtype.kind in "iu" and (header.slope, header.intercept) == (1, 0):
        return turned
    values = np.array(turned, np.float32, order="C")
    if (header.slope, header.intercept) != (1, 0):
        values *= np.float32(header.slope)
        values += np.float32(header.intercept)
    if not np.isfinite(values).all():
        raise DamageError("has voxels that are not finite")
    return values


def read_trailer(file: Path) -> bytes:
    """CRC-32 and size modulo 2^32 of the contents, 8 bytes: they differ where the contents do, and cost no reading.

    Raises:
        DamageError: if there is no such file.
    """
    try:
        with file.open("rb") as stream:
            stream.seek(max(0, file.stat().st_size - TRAILER_BYTES))
            return stream.read()
    except OSError as error:
        raise DamageError(_reason(error)) from error


def check_complete(file: Path) -> None:
    """Tell a truncated file without decompressing it.

    A truncated file ends in compressed data in the place of the size, which then differs from the size that the header
    speaks of (by chance it agrees once in 2^32). A file whose size differs is decompressed to be sure, since gzip files
    may be concatenated.

    Raises:
        DamageError: as `read_header`, and if the file is truncated or corrupt.
    """
    header = read_header(file)
    if int.from_bytes(read_trailer(file)[4:], "little") == header.nbytes % 2**32:
        return
    size = len(_decompressed(file))
    if size < header.nbytes:
        raise DamageError(f"is truncated (it holds {size} bytes, its header speaks of {header.nbytes})")


def same_place(first: Header, second: Header) -> bool:
    """Whether two files of the same shape place their voxels alike, to a tenth of a voxel."""
    corners = np.array(
        [(*(index * n for index, n in zip(corner, first.shape, strict=True)), 1) for corner in np.ndindex(2, 2, 2)]
    )
    shifts = np.linalg.norm(corners @ (first.affine - second.affine)[:3].T, axis=1)
    return bool(shifts.max() <= MAX_SHIFT * min(first.spacing))


# The cache is the module's, so that a pickled data set stays small.
@functools.lru_cache(maxsize=CACHED_HEADERS)
def _read_header(file: Path, mtime_ns: int, size: int) -> Header:
    try:
        with gzip.open(file) as stream:
            raw = stream.read(HEADER_BYTES)
    except (OSError, EOFError, zlib.error) as error:
        raise DamageError(_reason(error)) from error
    if len(raw) < HEADER_BYTES:
        raise DamageError("has no NIfTI header")
    try:
        header = nibabel.Nifti1Header(raw, check=False)
        pixels = np.array(header["pixdim"][1:4], np.float64)  # the check mends them silently
        header.check_fix(logger=_SILENT)
        affine = np.array(header.get_best_affine(), np.float64)
        slope, intercept = header.get_slope_inter()
        dtype = header.get_data_dtype()
        shape = tuple(int(n) for n in header.get_data_shape())
    except (HeaderDataError, ValueError, KeyError) as error:
        raise DamageError(f"has an unreadable NIfTI header ({error})") from error
    if len(shape) != 3 or min(shape) < 1:
        raise DamageError(f"is no volume (its shape is {shape})")
    if dtype.kind not in "iuf":
        raise DamageError(f"holds no numbers per voxel (its type is {dtype})")
    if not np.isfinite(affine).all():
        raise DamageError("has an affine that is not finite")
    spacing = tuple(float(length) for length in voxel_sizes(affine))
    for lengths in (pixels, spacing):
        if not (np.isfinite(lengths).all() and np.min(lengths) > 0):
            raise DamageError(f"has a spacing that is not positive ({', '.join(f'{n:g}' for n in lengths)} mm)")
    world = io_orientation(affine)[
        :, 0
    ]  # per axis of the file: 0 left-right, 1 posterior-anterior, 2 inferior-superior
    if not np.array_equal(np.sort(world), (0, 1, 2)):
        raise DamageError("has an affine that maps two axes to one direction")
    z, y, x = (int(np.flatnonzero(world == direction)[0]) for direction in (2, 1, 0))
    return Header(
        raw,
        shape,
        affine,
        spacing,  # type: ignore[arg-type]
        (z, y, x),
        dtype,
        int(header.get_data_offset()),
        1.0 if slope is None else float(slope),
        0.0 if intercept is None else float(intercept),
    )


def _decompressed(file: Path) -> bytes:
    try:
        return gzip.decompress(file.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise DamageError(_reason(error)) from error


def _reason(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "is missing"
    if isinstance(error, EOFError):
        return "is truncated"
    if isinstance(error, gzip.BadGzipFile | zlib.error):
        return f"is corrupt ({error})"
    return f"cannot be read ({error})"


_SILENT = logging.Logger("silent", logging.CRITICAL + 1)
