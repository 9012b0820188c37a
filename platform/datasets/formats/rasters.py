"""Image and mask files: headers, decoding, and checksums without reading the whole.

Images are decoded by OpenCV, which takes four fifths of Pillow's time for PNG, refuses a PNG that fails a checksum,
and lets other Python threads run meanwhile. Masks are decoded by Pillow, which knows palette indices.
"""

import hashlib
import zlib
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

SUFFIXES = (".png", ".jpg", ".jpeg")
"""File names of images end in one of these; masks are PNG, since JPEG alters values."""

PNG_END = b"IEND" + zlib.crc32(b"IEND").to_bytes(4, "big")
JPEG_END = b"\xff\xd9"
EDGE = 4096  # bytes

GREY = ("L", "P")  # what Pillow calls 8-bit grey and palette


class BrokenFile(Exception):
    """A file that is missing, damaged or of the wrong kind; the message says what is wrong without naming it."""


def size(file: Path) -> tuple[int, int]:
    """Height and width of an image or mask, from its header.

    Raises:
        BrokenFile: if it is missing or no image.
    """
    with _opened(file) as image:
        return image.height, image.width


def read_image(file: Path) -> npt.NDArray[np.uint8]:
    """Pixels of an image, shape (H, W, 3), uint8, red first; other depths and numbers of channels are converted.

    An orientation that a camera noted is not applied, since the mask would not follow.

    Raises:
        BrokenFile: if it is missing or cannot be decoded whole.
    """
    try:
        data = np.fromfile(file, np.uint8)
    except OSError as error:
        raise BrokenFile(f"cannot be read ({error.strerror})") from error
    _check_tail(file, data[-EDGE:].tobytes())  # OpenCV fills what is missing of a JPEG with grey
    pixels = cv2.imdecode(data, cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION) if data.size else None
    if pixels is None:
        raise BrokenFile("is damaged or no image")
    return np.asarray(pixels, np.uint8)


def read_mask(file: Path, colours: bool) -> npt.NDArray[np.uint8]:
    """Grey values or palette indices of a mask, shape (H, W), or its colours, shape (H, W, 3); uint8.

    Raises:
        BrokenFile: if it is missing, cannot be decoded, or is of another kind.
    """
    with _opened(file) as mask:
        kinds = ("RGB", "P") if colours else GREY
        if mask.mode not in kinds:
            wanted = "RGB or a palette" if colours else "8-bit grey or a palette"
            raise BrokenFile(f"is of the mode {mask.mode}, not {wanted}")
        try:
            return np.asarray(mask.convert("RGB") if colours and mask.mode == "P" else mask)
        except (OSError, SyntaxError) as error:  # Pillow's errors of broken chunks
            raise BrokenFile(f"is damaged ({error})") from error


def check_end(file: Path) -> None:
    """Find files that were cut off, without decoding.

    Raises:
        BrokenFile: if it is missing or its end is.
    """
    _check_tail(file, _edges(file)[2])


def digest(file: Path) -> bytes:
    """What tells the contents of a file from others, made of its size and a checksum.

    A PNG ends in the Adler-32 checksum of all its pixels, so of a PNG the first and last `EDGE` bytes are taken
    (header, palette, checksum); of any other file all bytes.

    Raises:
        BrokenFile: if it is missing.
    """
    length, head, tail = _edges(file)
    parts = head + tail if file.suffix.lower() == ".png" else file.read_bytes()
    return hashlib.blake2b(length.to_bytes(8, "big") + parts, digest_size=16).digest()


def _check_tail(file: Path, tail: bytes) -> None:
    # Some programs append bytes of their own, so the mark need not come last.
    if (PNG_END if file.suffix.lower() == ".png" else JPEG_END) not in tail:
        raise BrokenFile("is cut off")


def _edges(file: Path) -> tuple[int, bytes, bytes]:
    """Length, first and last bytes of a file."""
    try:
        with file.open("rb") as stream:
            head = stream.read(EDGE)
            length = stream.seek(0, 2)
            stream.seek(max(0, length - EDGE))
            return length, head, stream.read(EDGE)
    except OSError as error:
        raise BrokenFile(f"cannot be read ({error.strerror})") from error


def _opened(file: Path) -> Image.Image:
    try:
        return Image.open(file)
    except FileNotFoundError as error:
        raise BrokenFile("is missing") from error
    except (OSError, SyntaxError) as error:
        raise BrokenFile("is damaged or no image") from error
