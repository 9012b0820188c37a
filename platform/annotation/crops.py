"""Pictures of windows: what an annotator sees of the original files, slice by slice where there are several."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from decomp.platform.annotation.query import Query
from decomp.platform.datasets.formats.header import BrokenFile
from decomp.platform.errors import UserError

OUTLINE = (255, 221, 0)
CONTEXT, LEAST = 1.5, 48
"""How much is shown around a window: so many times its size, and at least so many pixels, on each side."""

SHOWN = 512
"""Pixels of the longer side of a picture of the surroundings, about; smaller ones are magnified."""

RASTERS = (".png", ".bmp", ".tif", ".tiff")
"""Endings of files whose axes are slices, rows and columns, where nnU-Net reads them as volumes."""

DARKEST, BRIGHTEST = 0.5, 99.5
"""Percentiles of the intensities that are shown as black and white, where they are no 8-bit colours."""


@dataclass(frozen=True)
class Slices:
    """How a window of a file lies in flat pictures.

    Attributes:
        across: the axis of the file across the slices; None where the file is a picture.
        turned: whether rows of a slice are the later of the two other axes, since volumes begin with x.
    """

    across: int | None
    turned: bool

    @classmethod
    def of(cls, query: Query) -> "Slices":
        """Slices across the axis along which the window is one voxel thick, or else across the last one."""
        if len(query.shape) < 3:
            return cls(None, False)
        thin = [axis for axis, extent in enumerate(query.size) if extent == 1]
        flat = any(file.name.lower().endswith(RASTERS) for file in query.files)
        return cls(thin[-1] if thin else len(query.size) - 1, not flat)

    def split(self, window: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
        """The slices of an array of the file's axes, each with rows and columns first."""
        if self.across is None:
            return [window]
        slices = np.moveaxis(window, self.across, 0)
        return [of_slice.swapaxes(0, 1) if self.turned else of_slice for of_slice in slices]

    def join(self, slices: Sequence[npt.NDArray[Any]]) -> npt.NDArray[Any]:
        """Inverse of `split`."""
        if self.across is None:
            return slices[0]
        return np.moveaxis(np.stack([of.swapaxes(0, 1) if self.turned else of for of in slices]), 0, self.across)


def windows_of(query: Query) -> list[list[npt.NDArray[np.uint8]]]:
    """Pictures of the window, shape (H, W, 3), uint8: for every file one for each slice."""
    slices = Slices.of(query)
    return [slices.split(pixels[query.slices]) for pixels in _files(query)]


def surroundings_of(query: Query) -> npt.NDArray[np.uint8]:
    """The window, outlined, in what lies around it, magnified if small; shape (H, W, 3), uint8. Of a volume, its middle
    slice."""
    slices, (pixels, *_) = Slices.of(query), _files(query)
    index, inner = [], []
    for axis, ((start, stop), extent) in enumerate(zip(query.window, query.shape, strict=True)):
        if axis == slices.across:
            middle = (start + stop) // 2
            index.append(slice(middle, middle + 1))
            inner.append(slice(middle - start, middle - start + 1))
            continue
        margin = max(LEAST, round(CONTEXT * (stop - start)))
        first, last = max(0, start - margin), min(extent, stop + margin)
        index.append(slice(first, last))
        inner.append(slice(start - first, stop - first))
    (picture,) = slices.split(pixels[tuple(index)])
    inside = np.zeros([s.stop - s.start for s in index], np.uint8)
    target = tuple(slice(0, 1) if axis == slices.across else part for axis, part in enumerate(inner))
    own = tuple(part if axis == slices.across else slice(None) for axis, part in enumerate(inner))
    inside[target] = query.inside[own]
    (region,) = slices.split(inside)
    factor = max(1, SHOWN // max(picture.shape[:2]))
    large = np.ascontiguousarray(picture.repeat(factor, 0).repeat(factor, 1))
    outlines, _ = cv2.findContours(
        np.ascontiguousarray(region.repeat(factor, 0).repeat(factor, 1)), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE
    )
    cv2.drawContours(large, outlines, -1, OUTLINE, max(1, factor // 2))
    return large


def _files(query: Query) -> list[npt.NDArray[np.uint8]]:
    return [_pixels(file, len(query.shape)) for file in query.files]


@functools.lru_cache(maxsize=2)
def _pixels(file: Path, axes: int) -> npt.NDArray[np.uint8]:
    """Pixels of a file as they are shown, shape (*axes, 3), uint8."""
    if axes == 3:
        return _shown(_voxels(file))
    from decomp.platform.datasets.formats.rasters import read_image

    try:
        pixels = read_image(file)
    except BrokenFile as error:
        raise UserError(f"{file} {error.what}; {error.mend}.") from error
    if pixels.shape[-1] < 3:
        return _shown(pixels[..., 0])
    colours = pixels[..., :3]
    return colours.astype(np.uint8) if colours.dtype == np.uint8 else _scaled(colours)


def _voxels(file: Path) -> npt.NDArray[Any]:
    """Voxels of the first channel, in the axes of the file."""
    from decomp.platform.datasets.formats.grid import DamageError
    from decomp.platform.datasets.formats.nifti import Nifti
    from decomp.platform.datasets.formats.nnunet_reader import NnUNetReader, reader_for

    try:
        if file.name.lower().endswith(".nii.gz"):
            return np.asarray(Nifti().voxels(file)[0])
        return np.asarray(NnUNetReader(reader_for("".join(file.suffixes[-1:]), file), False).voxels(file)[0])
    except DamageError as error:
        raise UserError(f"{file} {error}; restore the file.") from error


def _shown(values: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Intensities as grey values, shape (*axes, 3)."""
    return np.repeat(_scaled(values)[..., None], 3, axis=-1)


def _scaled(values: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    darkest, brightest = np.percentile(values, (DARKEST, BRIGHTEST))
    scaled = (values.astype(np.float32) - darkest) * (255 / max(brightest - darkest, 1e-6))
    return np.asarray(np.clip(scaled, 0, 255), np.uint8)
