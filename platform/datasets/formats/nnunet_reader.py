"""Files of volumes and images that nnU-Net's own reader classes read: MHA, NRRD, uncompressed NIfTI, TIFF, PNG, BMP.

Isensee et al., nnU-Net v2, ``nnunetv2.imageio``; geometry by SimpleITK, where it is a format of medical images.
"""

import functools
import hashlib
import importlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from typing_extensions import override

from decomp.platform.datasets.formats.grid import DamageError, Grid, VolumeFormat, Voxels, axes_of
from decomp.platform.datasets.formats.header import REMEDY, BrokenFile, opened

MEDICAL = ("SimpleITKIO", "NibabelIO")
"""Readers whose files have an affine; their arrays have a file's axes in reverse order."""

CACHED_GRIDS = 4096

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0])
"""ITK counts towards left and posterior, affines towards right and anterior."""


@dataclass(frozen=True)
class NnUNetReader(VolumeFormat):
    """What one of nnU-Net's reader classes reads.

    An image of two axes is a volume of one slice, as for nnU-Net. Where a file says nothing about space, its axes are
    z, y and x, and the voxel's size is what nnU-Net takes: for TIFF that of the file ``CASE.json`` beside it, else 1.

    Attributes:
        name: name of the class in ``nnunetv2.imageio``.
        of_labels: whether the files hold labels, whose names end in no channel.
    """

    name: str
    of_labels: bool = False

    @override
    def grid(self, file: Path) -> Grid:
        state = _status(file)
        return _grid(self, file, state.st_mtime_ns, state.st_size)

    @override
    def voxels(self, file: Path) -> Voxels:
        grid = self.grid(file)
        array, _ = _read(self, file)
        if self.name in MEDICAL:
            array = array.transpose(0, 3, 2, 1)
        if array.shape[1:] != grid.shape:
            raise DamageError(f"holds {array.shape[1:]} voxels, but its header says {grid.shape}")
        if not np.isfinite(array).all():
            raise DamageError("has voxels that are not finite")
        return array

    @override
    def check(self, file: Path) -> None:
        self.grid(file)

    @override
    def state(self, file: Path) -> str:
        """Digest of the contents and, for TIFF, of the voxel's size."""
        try:
            spacing = self.grid(file).spacing
            with opened(file) as stream:
                return hashlib.blake2b(repr(spacing).encode() + stream.read(), digest_size=16).hexdigest()
        except (DamageError, BrokenFile) as error:
            return str(error)


def reader_for(ending: str, example: Path) -> str:
    """Name of nnU-Net's reader class for files of an ending, by nnU-Net's rule: the first that can read an example.

    Raises:
        DamageError: if none can, or none is for this ending; to be read after the example's name.
    """
    from nnunetv2.imageio.reader_writer_registry import LIST_OF_IO_CLASSES

    fitting: list[str] = [cls.__name__ for cls in LIST_OF_IO_CLASSES if ending.lower() in cls.supported_file_endings]
    if not fitting:
        known = sorted({known for cls in LIST_OF_IO_CLASSES for known in cls.supported_file_endings})
        raise DamageError(f"has an ending that nnU-Net does not read ({', '.join(known)})")
    for name in fitting if len(fitting) > 1 else ():
        try:
            _read(NnUNetReader(name), example)
        except DamageError:
            continue
        return name
    return fitting[0]


def find_reader(name: str) -> type[Any] | None:
    """nnU-Net's reader class of a name; None if there is none."""
    from nnunetv2.imageio import base_reader_writer, reader_writer_registry

    try:
        found: type[Any] = reader_writer_registry.recursive_find_reader_writer_by_name(name)
    except RuntimeError:
        return None
    return found if issubclass(found, base_reader_writer.BaseReaderWriter) else None


# The cache is the module's, so that a pickled data set stays small.
@functools.lru_cache(maxsize=CACHED_GRIDS)
def _grid(format: NnUNetReader, file: Path, mtime_ns: int, size: int) -> Grid:
    if format.name in MEDICAL:
        return _medical_grid(file)
    array, properties = _read(format, file)
    z, y, x = (float(length) for length in properties["spacing"])
    affine = np.zeros((4, 4))
    affine[[2, 1, 0, 3], [0, 1, 2, 3]] = (z, y, x, 1)
    return Grid(array.shape[1:], affine, (z, y, x), (0, 1, 2))


def _medical_grid(file: Path) -> Grid:
    import SimpleITK

    def read() -> Any:
        reader: Any = SimpleITK.ImageFileReader()  # type: ignore[no-untyped-call]
        reader.SetFileName(str(file))
        reader.ReadImageInformation()
        return reader

    header = _trying(read)
    axes = header.GetDimension()
    if axes not in (2, 3):
        raise DamageError(f"is no volume (its shape is {header.GetSize()})", "save a file for each channel")
    if header.GetNumberOfComponents() != 1:
        raise DamageError("holds vectors instead of numbers", "save a file for each channel")
    size, spacing, origin = header.GetSize(), np.abs(header.GetSpacing()), header.GetOrigin()
    direction = np.eye(3)
    direction[:axes, :axes] = np.reshape(header.GetDirection(), (axes, axes))
    if axes == 2:  # a volume of one slice, whose thickness is nnU-Net's stand-in for none
        size, spacing, origin = (*size, 1), np.append(spacing, 999 * spacing.max()), (*origin, 0.0)
    if not (np.isfinite(spacing).all() and spacing.min() > 0):
        raise DamageError(f"has a spacing that is not positive ({', '.join(f'{n:g}' for n in spacing)} mm)")
    affine = np.eye(4)
    affine[:3, :3] = LPS_TO_RAS @ direction * spacing
    affine[:3, 3] = LPS_TO_RAS @ origin
    x, y, z = (float(length) for length in spacing)
    return Grid(tuple(size), affine, (x, y, z), axes_of(affine))


def _read(format: NnUNetReader, file: Path) -> tuple[Voxels, dict[str, Any]]:
    """What nnU-Net's reader gives: an array of shape (channels, 3 axes), float32, and its properties."""
    _status(file)
    reader = find_reader(format.name)
    assert reader is not None
    # It prints what it supposes about each file; who wants to know reads the documentation.
    vars(importlib.import_module(reader.__module__))["print"] = lambda *_, **__: None
    name = str(file)
    array, properties = _trying(lambda: reader().read_seg(name) if format.of_labels else reader().read_images((name,)))
    return np.asarray(array), properties


def _trying(read: Callable[[], Any]) -> Any:
    try:
        return read()
    except Exception as error:  # of a damaged file, the libraries below raise errors of many types
        told = str(error).strip().splitlines()
        raise DamageError(f"cannot be read ({told[-1].strip() if told else type(error).__name__})") from error


def _status(file: Path) -> os.stat_result:
    """The file's status; `DamageError` if it is missing, empty or no file."""
    try:
        with opened(file) as stream:
            return os.fstat(stream.fileno())
    except BrokenFile as error:
        raise DamageError(error.what, None if error.mend == REMEDY else error.mend) from error
