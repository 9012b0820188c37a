"""TIFF files of one picture, by tifffile, which reads any depth as it is, where Pillow and OpenCV convert.

The channels of a picture are its samples or, where the metadata of ImageJ or OME say so, pages of their own.
"""

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

from decomp.platform.datasets.formats.header import BrokenFile, Colours, Header

if TYPE_CHECKING:
    from tifffile import TiffPage, TiffPageSeries  # imported only for such files: it takes a tenth of a second

SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
NONE, JPEG = 1, 7
COMPRESSIONS = (NONE, 5, JPEG, 8, 32946, 32773)  # LZW, Deflate and its old number, PackBits
WHITE_IS_ZERO, GREY, RGB, PALETTE, CMYK, YCBCR = 0, 1, 2, 3, 5, 6
ALPHA = (1, 2)  # of ExtraSamples: multiplied into the colours, or not
UNSIGNED = 1
CHANNELS = "CYX"  # axes of a series whose pages are channels
SAVE_AS = "save it as TIFF, uncompressed or by Deflate, of unsigned numbers of 8 or 16 bits"


class Picture(NamedTuple):
    """The page of a picture, the first of several if its channels are pages, and then the series of them."""

    page: "TiffPage"
    stack: "TiffPageSeries | None"


def header(stream: BinaryIO) -> Header:
    """Header of a TIFF.

    Raises:
        BrokenFile: if it is damaged or of a kind that is not read.
    """
    with _picture(stream) as picture:
        return _header(picture)


def is_lossy(stream: BinaryIO) -> bool:
    """Whether the pixels are compressed as a JPEG's are; `BrokenFile` as for `header`."""
    with _picture(stream) as picture:
        return int(picture.page.compression) == JPEG


def check_end(stream: BinaryIO) -> None:
    """Raise `BrokenFile` if pixels lie beyond the end of the file."""
    with _picture(stream) as picture:
        _check_segments(picture, stream.seek(0, 2))


def samples(stream: BinaryIO) -> npt.NDArray[np.uint8 | np.uint16]:
    """Stored samples, shape (H, W, channels), with those of transparency; palette images as their indices.

    Raises:
        BrokenFile: if the pixels cannot be decoded whole.
    """
    with _picture(stream) as picture:
        page, stack = picture
        _check_segments(picture, stream.seek(0, 2))
        values = page.asarray(maxworkers=1) if stack is None else stack.asarray(maxworkers=1)
        depth = np.uint16 if page.bitspersample == 16 else np.uint8
        height, width = page.imagelength, page.imagewidth
        channels = page.samplesperpixel if stack is None else stack.shape[0]
        planes = stack is not None or (page.planarconfig == 2 and channels > 1)
        values = values.reshape((channels, height, width) if planes else (height, width, channels))
        return np.ascontiguousarray(np.moveaxis(values, 0, 2) if planes else values, depth)


def palette(stream: BinaryIO) -> npt.NDArray[np.uint8]:
    """Colours of a palette image, shape (2 ** bits, 3)."""
    with _picture(stream) as picture:
        colours = np.asarray(picture.page.colormap).T
        # Meant to have 16 bits; some programs write only 8.
        return np.asarray(colours >> 8 if colours.max() > 255 else colours, np.uint8)


@contextmanager
def _picture(stream: BinaryIO) -> Iterator[Picture]:
    """The one picture that is not a reduced copy of another."""
    import tifffile

    tifffile.logger().setLevel(logging.CRITICAL)  # our own sentence says what it would log of a damaged file
    stream.seek(0)
    try:
        with tifffile.TiffFile(stream) as file:
            pages = [page for page in (page.aspage() for page in file.pages) if not page.is_reduced]
            told = file.imagej_metadata or {}
            n_pictures = max(len(pages), int(told.get("images", 1)))
            stack = file.series[0] if n_pictures > 1 and len(file.series) == 1 else None
            if n_pictures != 1 and (stack is None or stack.axes != CHANNELS):
                if told.get("channels") == n_pictures:
                    raise BrokenFile("is cut off")
                raise BrokenFile(
                    f"holds {n_pictures} pictures",
                    "save the one that is meant as a file of its own or, if these are channels, save it as OME-TIFF",
                )
            yield Picture(pages[0], stack)
    except BrokenFile:
        raise
    except MemoryError as error:
        raise BrokenFile("does not fit into memory", "cut it into tiles") from error
    except Exception as error:  # damaged files make tifffile and its decoders raise errors of some twenty types
        raise BrokenFile("is damaged") from error


def _header(picture: Picture) -> Header:
    page, stack = picture
    photometric, compression = int(page.photometric), int(page.compression)
    bits, channels = page.bitspersample, page.samplesperpixel if stack is None else stack.shape[0]
    if photometric == CMYK:
        raise BrokenFile("is in CMYK, the colours of print", "save it as RGB")
    if photometric == WHITE_IS_ZERO:
        raise BrokenFile("stores white as 0", "save it with black as 0")
    if not isinstance(bits, int):
        raise BrokenFile("has channels of different depths", SAVE_AS)
    if not all(isinstance(number, int) for number in (page.imagelength, page.imagewidth, page.imagedepth, channels)):
        raise BrokenFile("is damaged")
    if page.sampleformat not in (None, UNSIGNED) or bits not in (1, 2, 4, 8, 16):
        kind = {2: "signed", 3: "floating-point"}.get(page.sampleformat, "unsigned")
        raise BrokenFile(f"holds {kind} numbers of {bits} bits", SAVE_AS)
    if compression not in COMPRESSIONS:
        raise BrokenFile(f"is compressed by {page.compression!s:.40}, which is not read", SAVE_AS)
    if photometric not in (GREY, RGB, PALETTE) and (photometric, compression) != (YCBCR, JPEG):
        raise BrokenFile(f"is in colours that are not read ({page.photometric!s:.40})", "save it as RGB")
    if page.imagedepth != 1:
        raise BrokenFile(f"holds {page.imagedepth} slices", "save the one that is meant as a file of its own")
    alpha = sum(int(extra) in ALPHA for extra in page.extrasamples or ())
    n_colours = channels - alpha
    by_channels: dict[int, Colours] = {1: "palette" if photometric == PALETTE else "grey", 3: "rgb"}
    if n_colours < 1 or alpha > 1 or (bits < 8 and channels > 1):
        raise BrokenFile(f"has {channels} channels of {bits} bits", "save channels of 8 or 16 bits")
    tag = page.tags.get(274)
    orientation = tag.value if tag is not None and tag.value in range(1, 9) else 1
    return Header(
        "TIFF",
        page.imagelength,
        page.imagewidth,
        bits,
        by_channels.get(n_colours, "many"),
        alpha > 0,
        orientation=int(orientation),
        channels=max(3, n_colours) if n_colours in by_channels else n_colours,
    )


def _check_segments(picture: Picture, size: int) -> None:
    """Raise `BrokenFile` if pixels are missing, which tifffile would fill with zeros."""
    page, stack = picture
    if stack is not None and stack.dataoffset is not None:  # all pages in one piece, which ImageJ describes once
        if stack.dataoffset + stack.nbytes > size:
            raise BrokenFile("is cut off")
        return
    for single in (page,) if stack is None else stack.pages:
        _check_page((single or page).aspage(), size)


def _check_page(page: "TiffPage", size: int) -> None:
    lengths = page.databytecounts
    if len(page.dataoffsets) != math.prod(page.chunked) or len(lengths) != len(page.dataoffsets) or 0 in lengths:
        raise BrokenFile("is damaged (pixels are missing)")
    if any(offset + length > size for offset, length in zip(page.dataoffsets, lengths, strict=True)):
        raise BrokenFile("is cut off")
    if int(page.compression) == NONE and not page.is_tiled:
        row = -(-page.imagewidth * page.bitspersample * (page.samplesperpixel if page.planarconfig == 1 else 1) // 8)
        rows = page.imagelength * (page.samplesperpixel if page.planarconfig == 2 else 1)
        if sum(lengths) < row * rows:
            raise BrokenFile("is damaged (pixels are missing)")
