"""Volumes in NIfTI-1 files compressed by gzip (``.nii.gz``): header, voxels and signs of damage.

Format: Cox et al., "A (sort of) new image data format standard: NIfTI-1", NeuroImage 2004; gzip: RFC 1952, by which a
file ends in a CRC-32 and the size of the contents modulo 2^32.
"""

import functools
import gzip
import logging
import math
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import nibabel
import numpy as np
import numpy.typing as npt
from nibabel.affines import voxel_sizes
from nibabel.spatialimages import HeaderDataError
from typing_extensions import override

from decomp.platform.datasets.formats.grid import DamageError, Grid, VolumeFormat, Voxels, axes_of
from decomp.platform.datasets.formats.header import REMEDY, BrokenFile, opened

HEADER_BYTES, NIFTI_2_BYTES = 348, 540
TRAILER_BYTES = 8
GZIP = b"\x1f\x8b"
CHUNK = 2**20  # bytes that are decompressed at once

SURPLUS = 2**20
"""Bytes that may follow the voxels: some programs fill the last block of a file."""

DENSEST = 1032
"""How many times smaller a file can be than its contents: what deflate reaches at most."""

MILLIMETRES = {1: 1e3, 3: 1e-3}
"""Length of a header's unit by its code, where it is not the millimetre: the metre and the micrometre."""

CACHED_HEADERS = 4096


@dataclass(frozen=True)
class Nifti(VolumeFormat):
    """NIfTI-1 files compressed by gzip, of one channel."""

    @override
    def grid(self, file: Path) -> "Header":
        return read_header(file)

    @override
    def voxels(self, file: Path) -> Voxels:
        return read_voxels(file)[None]

    @override
    def check(self, file: Path) -> None:
        check_complete(file)

    @override
    def state(self, file: Path) -> tuple[int | str, ...] | str:
        """Size, header and gzip trailer: the trailer holds a checksum of the contents, which need not be read."""
        try:
            header = read_header(file)
            state: tuple[int | str, ...] = file.stat().st_size, header.raw.hex(), read_trailer(file).hex()
        except (DamageError, OSError) as error:
            return "missing" if isinstance(error, FileNotFoundError) else str(error)
        # Where the two differ, the voxel's size was once taken from the affine.
        return state if np.allclose(header.spacing, voxel_sizes(header.affine), rtol=1e-4) else (*state, "pixdim")


@dataclass(frozen=True, eq=False)
class Header(Grid):
    """What a NIfTI header says.

    `spacing` is the header's own (pixdim, in its unit), as nnU-Net's reader (ITK) takes it, even where the affine's
    columns have another length.

    Attributes:
        raw: the header's bytes.
        dtype: how a voxel is stored.
        offset: where the voxels begin, bytes.
        slope: factor on the stored values.
        intercept: added to the product.
    """

    raw: bytes
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
        DamageError: if the file is missing or cannot be read, is no compressed NIfTI-1 file, holds no volume of
            numbers, or does not say where in space its voxels are.
    """
    with _opened(file) as stream:
        state = os.fstat(stream.fileno())
    return _read_header(file, state.st_mtime_ns, state.st_size)


def read_voxels(file: Path) -> Voxels:
    """Voxels of a file, slope and intercept applied, shape as `Header.shape` says; float32 or the stored type.

    Integers without slope and intercept keep their type. The whole file is decompressed, so its CRC is verified.

    Raises:
        DamageError: as `read_header`, and if the file is truncated or corrupt, or if a voxel is not finite.
    """
    header = read_header(file)
    contents = np.empty(header.nbytes, np.uint8)  # takes memory only as it is filled
    _decompress(file, header, contents)
    stored = np.frombuffer(contents, header.dtype, math.prod(header.shape), header.offset)
    voxels = stored.reshape(header.shape, order="F")
    if header.dtype.kind in "iu" and (header.slope, header.intercept) == (1, 0):
        return voxels
    values = np.array(voxels, np.float32, order="K")
    if (header.slope, header.intercept) != (1, 0):
        with np.errstate(over="ignore"):  # what becomes infinite is refused
            values *= np.float32(header.slope)
            values += np.float32(header.intercept)
    if not np.isfinite(values).all():
        raise DamageError("has voxels that are not finite")
    return values


def read_trailer(file: Path) -> bytes:
    """CRC-32 and size modulo 2^32 of the contents, 8 bytes: they tell contents apart without reading them.

    Raises:
        DamageError: if there is no such file, or it cannot be read.
    """
    with _opened(file) as stream:
        stream.seek(max(0, os.fstat(stream.fileno()).st_size - TRAILER_BYTES))
        return stream.read()


def check_complete(file: Path) -> None:
    """Detect a truncated file without decompressing it.

    A truncated file has compressed data in the place of the size, which then differs from the size that the header
    states (it agrees by chance once in 2^32). A file whose size differs is decompressed to be sure, since gzip files
    may be concatenated.

    Raises:
        DamageError: as `read_header`, and if the file is truncated or corrupt.
    """
    header = read_header(file)
    if int.from_bytes(read_trailer(file)[4:], "little") == header.nbytes % 2**32:
        return
    _decompress(file, header)


# The cache is the module's, so that a pickled data set stays small.
@functools.lru_cache(maxsize=CACHED_HEADERS)
def _read_header(file: Path, mtime_ns: int, size: int) -> Header:
    with _opened(file) as packed, gzip.open(packed) as stream:
        raw = stream.read(HEADER_BYTES)
    if len(raw) < HEADER_BYTES:
        raise DamageError("has no NIfTI header")
    if NIFTI_2_BYTES in (int.from_bytes(raw[:4], order) for order in ("little", "big")):
        raise DamageError("is a NIfTI-2 file", "save it as NIfTI-1")
    try:
        header = nibabel.Nifti1Header(raw, check=False)
        pixels = np.array(header["pixdim"][1:4], np.float64)  # the check mends them silently
        header.check_fix(logger=_SILENT)
        unit = MILLIMETRES.get(int(header["xyzt_units"]) % 8, 1.0)
        affine = np.array(header.get_best_affine(), np.float64)
        affine[:3] *= unit
        slope, intercept = header.get_slope_inter()
        dtype = header.get_data_dtype()
        shape = tuple(int(n) for n in header.get_data_shape())
        offset = int(header.get_data_offset())
    except (ArithmeticError, HeaderDataError, ValueError, KeyError) as error:
        raise DamageError(f"has an unreadable NIfTI header ({error})") from error
    if len(shape) != 3 or min(shape) < 1:
        raise DamageError(f"is no volume (its shape is {shape})")
    if dtype.kind not in "iuf":
        raise DamageError(f"holds no numbers per voxel (its type is {dtype})")
    if not np.isfinite(affine).all():
        raise DamageError("has an affine that is not finite")
    spacing = tuple(float(length) * unit for length in pixels)
    for lengths in (spacing, voxel_sizes(affine)):
        if not (np.isfinite(lengths).all() and np.min(lengths) > 0):
            raise DamageError(f"has a spacing that is not positive ({', '.join(f'{n:g}' for n in lengths)} mm)")
    result = Header(
        shape,
        affine,
        spacing,  # type: ignore[arg-type]
        axes_of(affine),
        raw,
        dtype,
        offset,
        1.0 if slope is None else float(slope),
        0.0 if intercept is None else float(intercept),
    )
    if result.nbytes > DENSEST * size:
        raise DamageError(f"is truncated (its {size} bytes cannot hold the {result.nbytes} that its header speaks of)")
    if result.nbytes > _memory():
        raise DamageError(f"holds {result.nbytes / 1e9:.0f} GB, more than this machine's memory", "cut it into parts")
    return result


def _decompress(file: Path, header: Header, into: npt.NDArray[np.uint8] | None = None) -> None:
    """Decompress the whole file, so that its CRC is verified, and keep as much as the header states."""
    size = 0
    with _opened(file) as packed, gzip.open(packed) as stream:
        while part := stream.read(CHUNK):
            if into is not None:
                kept = part[: max(0, header.nbytes - size)]
                into[size : size + len(kept)] = np.frombuffer(kept, np.uint8)
            size += len(part)
            if size > header.nbytes + SURPLUS:
                raise DamageError(f"holds far more than the {header.nbytes} bytes that its header speaks of")
    if size < header.nbytes:
        raise DamageError(f"is truncated (it holds {size} bytes, its header speaks of {header.nbytes})")


@contextmanager
def _opened(file: Path) -> Iterator[IO[bytes]]:
    """The compressed file; whatever goes wrong while it is read is raised as `DamageError`."""
    try:
        with opened(file) as stream:
            magic = stream.read(len(GZIP))
            stream.seek(0)
            if magic != GZIP:
                raise DamageError("is not compressed by gzip")
            try:
                yield stream
            except EOFError as error:
                raise DamageError("is truncated") from error
            except (gzip.BadGzipFile, zlib.error) as error:
                raise DamageError(f"is corrupt ({error})") from error
    except BrokenFile as error:
        raise DamageError(error.what, None if error.mend == REMEDY else error.mend) from error


def _memory() -> float:
    """Bytes of this machine's memory; infinite where it does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return math.inf


_SILENT = logging.Logger("silent", logging.CRITICAL + 1)
