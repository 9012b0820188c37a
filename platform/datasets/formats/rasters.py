"""Image and mask files: the one place that opens them and decides what is read how; docs/tasks/images.md has the table.

PNG and JPEG are decoded by OpenCV, which takes four fifths of Pillow's time, refuses a PNG that fails a checksum, and
lets other Python threads run meanwhile; palette indices by Pillow, since OpenCV gives only colours; TIFF by tifffile.
"""

import hashlib
import io
import re
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import BinaryIO, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from PIL import PngImagePlugin

from decomp.platform.datasets.formats import jpeg, png, tiff
from decomp.platform.datasets.formats.header import EDGE, SAVE_AS, BrokenFile, Header, opened, tail

Pixels = npt.NDArray[np.uint8 | np.uint16]

MASK_SUFFIXES = (".png", ".tif", ".tiff")
"""Masks are PNG or TIFF, since JPEG alters values."""

JPEG_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif")

SUFFIXES = (*MASK_SUFFIXES, *JPEG_SUFFIXES)
"""File names of images end in one of these, in either case; the contents say which of the formats it is."""

OTHER_PICTURE = re.compile(
    r"\.(avif|bmp|czi|dcm|dng|exr|gif|hdr|heic|heif|j2k|jp2|jpx|jxl|mrxs|ndpi|nii(\.gz)?|np[yz]|p[bgnp]m|pcx|psd|scn|svs"
    r"|tga|webp)$",
    re.IGNORECASE,
)
"""Endings of the names of pictures that are not read."""

MOST_PIXELS, LONGEST_SIDE = 2**30, 1_000_000
"""What OpenCV and libpng decode at most."""

COLOURS = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION

OTHERS = {
    b"GIF8": "a GIF",
    b"BM": "a BMP",
    b"RIFF": "a WebP",
    b"\0\0\0\x0cjP": "a JPEG 2000",
    b"\xff\x4f\xff\x51": "a JPEG 2000",
    b"8BPS": "a Photoshop file",
    b"%PDF": "a PDF",
    b"PK": "a ZIP archive",
}


class Mask(NamedTuple):
    """What a mask holds.

    Attributes:
        values: stored numbers, shape (H, W), uint8 or uint16, or colours, shape (H, W, 3), uint8.
        step: grey levels that viewers show per stored number, as `Header.step`.
    """

    values: Pixels
    step: int


def size(file: Path) -> tuple[int, int]:
    """Height and width of the upright image or mask, from its header.

    Raises:
        BrokenFile: if it is missing, damaged or of a kind that is not read.
    """
    with opened(file) as stream:
        return _header(stream).shape


def inspect(file: Path) -> Header:
    """The header of an image, checked to be complete at its end and to have no transparent pixels.

    Pixels are decoded only if some could be transparent.

    Raises:
        BrokenFile: if it is missing, damaged or of a kind that is not read.
    """
    with opened(file) as stream:
        header = _header(stream)
        _module(stream).check_end(stream)
    if header.alpha:
        read_image(file)
    return header


def read_image(file: Path) -> Pixels:
    """Upright pixels of an image, shape (H, W, channels), red first; uint16 if the file has 16 bits, else uint8.

    Grey images have three equal channels.

    Raises:
        BrokenFile: if it is missing, cannot be decoded whole, or is of a kind that is not read.
    """
    stream, header = _contents(file)
    return _upright(_colours(stream, header), header.orientation)


def read_mask(file: Path, colours: bool) -> Mask:
    """Stored grey values or palette indices of an upright mask, or its colours.

    Raises:
        BrokenFile: if it is missing, cannot be decoded whole, or cannot hold what is asked for, numbers or colours.
    """
    stream, header = _contents(file)
    if header.container == "JPEG" or (header.container == "TIFF" and tiff.is_lossy(stream)):
        raise BrokenFile("is compressed as a JPEG, which alters values", "draw the mask again and save it as PNG")
    if header.colours == "many":
        raise BrokenFile(f"has {header.channels} channels", "save the mask as grey, palette or RGB")
    if not colours:
        if header.colours == "rgb":
            raise BrokenFile(
                "holds colours, and the codes are numbers",
                "write the codes as colours, such as '#804080', or save the mask as 8-bit grey",
            )
        return Mask(_upright(_numbers(stream, header), header.orientation), header.step)
    if header.bits == 16:
        raise BrokenFile("has 16 bits, and the codes are colours of 8", "save the mask as RGB of 8 bits")
    if header.colours == "palette":
        header = replace(header, alpha=False)  # colours of the palette mean something even where they are not shown
    return Mask(_upright(_colours(stream, header), header.orientation), 1)


def digest(file: Path) -> bytes:
    """What tells the contents of a file from those of others, made of its size and a checksum.

    A PNG ends in the Adler-32 checksum of all its pixels, so the first and last `EDGE` bytes of a PNG are taken
    (header, palette, checksum), and all bytes of any other file.

    Raises:
        BrokenFile: if it cannot be read.
    """
    with opened(file) as stream:
        parts = _bytes_of_pixels(stream) + _reading(stream)
        length = stream.seek(0, io.SEEK_END)
    return hashlib.blake2b(length.to_bytes(8, "big") + parts, digest_size=16).digest()


def _bytes_of_pixels(stream: BinaryIO) -> bytes:
    head, end = stream.read(EDGE), tail(stream)
    stream.seek(0)
    return head + end if head.startswith(png.SIGNATURE) and png.END in end else stream.read()


def _reading(stream: BinaryIO) -> bytes:
    """What else the pixels depend on: depth and orientation, which early versions ignored; a palette beyond `EDGE`."""
    try:
        header = _header(stream)
    except BrokenFile:
        return b""
    plain = header.bits < 16 and header.orientation == 1
    how = b"" if plain else f"{header.bits} bits, orientation {header.orientation}".encode()
    if (header.container, header.colours) != ("PNG", "palette"):
        return how
    start = png.before_pixels(stream)
    stream.seek(EDGE)
    return how + stream.read(max(0, start - EDGE))


def _module(stream: BinaryIO) -> ModuleType:
    """The module that reads the format, by the file's first bytes."""
    stream.seek(0)
    head = stream.read(64)
    for module, signatures in ((png, (png.SIGNATURE,)), (jpeg, (jpeg.SIGNATURE,)), (tiff, tiff.SIGNATURES)):
        if head.startswith(signatures):
            return module
    if head.startswith(b"version https://git-lfs"):
        raise BrokenFile("is a pointer of Git LFS", "fetch the file with git lfs pull")
    kind = "a HEIF or AVIF" if head[4:8] == b"ftyp" else None
    kind = kind or next((kind for start, kind in OTHERS.items() if head.startswith(start)), None)
    if kind:
        raise BrokenFile(f"is {kind}, not PNG, JPEG or TIFF", SAVE_AS)
    raise BrokenFile("is damaged or no image")


def _header(stream: BinaryIO) -> Header:
    header: Header = _module(stream).header(stream)
    height, width = header.height, header.width
    if not height or not width:
        raise BrokenFile("is damaged")
    if height * width > MOST_PIXELS or max(height, width) > LONGEST_SIDE:
        raise BrokenFile(
            f"has {height} x {width} pixels; at most {MOST_PIXELS:,} are read, and {LONGEST_SIDE:,} a side",
            "cut it into tiles",
        )
    return header


def _contents(file: Path) -> tuple[BinaryIO, Header]:
    """All bytes of a file, and its header."""
    with opened(file) as stream:
        data = io.BytesIO(stream.read())
    header = _header(data)
    if header.container == "PNG":
        png.check_sums(data)
    else:
        _module(data).check_end(data)
    return data, header


def _colours(stream: BinaryIO, header: Header) -> Pixels:
    """Pixels as stored, (H, W, channels)."""
    if header.container == "TIFF":
        pixels = tiff.samples(stream)
        if header.colours == "palette":
            return tiff.palette(stream)[pixels[..., 0]]
        if header.alpha:
            _check_opaque(pixels[..., -1])
            pixels = pixels[..., :-1]
        if header.step > 1:
            pixels = pixels * np.uint8(header.step)
        return np.repeat(pixels, 3, axis=2) if header.colours == "grey" else pixels
    if not header.alpha:
        return _decoded(stream, COLOURS)
    pixels = _decoded(stream, cv2.IMREAD_UNCHANGED)
    if header.key is not None:
        _check_opaque(pixels != header.key * header.step)
        return np.repeat(pixels[..., None], 3, axis=2)
    _check_opaque(pixels[..., 3:])  # none if libpng passes over a chunk of transparency that is out of place
    return np.ascontiguousarray(pixels[..., 2::-1])


def _numbers(stream: BinaryIO, header: Header) -> Pixels:
    """Stored grey values or palette indices, (H, W)."""
    if header.container == "TIFF":
        pixels = tiff.samples(stream)
        if header.alpha:
            _check_opaque(pixels[..., 1])
        return np.ascontiguousarray(pixels[..., 0])
    if header.colours == "palette":
        return _indices(stream)
    pixels = _decoded(stream, cv2.IMREAD_UNCHANGED)
    if pixels.ndim == 3:  # grey and transparency
        _check_opaque(pixels[..., 3])
        return np.ascontiguousarray(pixels[..., 0])
    if header.key is not None:
        _check_opaque(pixels != header.key * header.step)
    return pixels // np.uint8(header.step) if header.step > 1 else pixels


def _decoded(stream: BinaryIO, flags: int) -> Pixels:
    stream.seek(0)
    try:
        pixels = cv2.imdecode(np.frombuffer(stream.read(), np.uint8), flags)
    except (cv2.error, MemoryError) as error:
        raise BrokenFile("does not fit into memory", "cut it into tiles") from error
    if pixels is None:
        raise BrokenFile("is damaged or of a kind that is not read")
    return np.asarray(pixels)


def _indices(stream: BinaryIO) -> npt.NDArray[np.uint8]:
    stream.seek(0)
    try:
        # Not Image.open, which refuses more than 179 million pixels.
        return np.asarray(PngImagePlugin.PngImageFile(stream), np.uint8)
    except Exception as error:  # broken chunks make Pillow raise errors of several types
        raise BrokenFile("is damaged") from error


def _check_opaque(alpha: npt.NDArray[np.uint8 | np.uint16] | npt.NDArray[np.bool_]) -> None:
    opaque = True if alpha.dtype == bool else 2 ** (8 * alpha.itemsize) - 1
    if (alpha != opaque).any():
        raise BrokenFile(
            "has transparent pixels",
            "save it without transparency; channels of data, such as infrared, belong in a TIFF of more channels",
        )


def _upright(pixels: Pixels, orientation: int) -> Pixels:
    """Stored pixels turned as their orientation says, which is what viewers and annotation programs show."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    rows = slice(None, None, -1 if orientation in (3, 4, 7, 8) else 1)
    columns = slice(None, None, -1 if orientation in (2, 3, 6, 7) else 1)
    return np.ascontiguousarray(pixels[rows, columns])
