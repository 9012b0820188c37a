"""What the header of an image file says, and the error for one that cannot be read."""

import errno
import os
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

EDGE = 4096  # bytes
EXIF = b"Exif\0\0"
ORIENTATION = (0x0112, 3, 1)  # tag, type and count

REMEDY = "copy the file again"
SAVE_AS = "save it as PNG of 8 or 16 bits, grey or RGB"


class BrokenFile(Exception):
    """A file that is missing, damaged or of a kind that is not read.

    Attributes:
        what: what is wrong, the end of a sentence that begins with the file.
        mend: what to do about it.
    """

    def __init__(self, what: str, mend: str = REMEDY) -> None:
        super().__init__(f"{what}; {mend}")
        self.what, self.mend = what, mend


Colours = Literal["grey", "palette", "rgb", "many"]


@dataclass(frozen=True)
class Header:
    """What is known of an image before its pixels are decoded.

    Attributes:
        container: the format, by the contents of the file.
        height: rows as stored.
        width: columns as stored.
        bits: per sample; 1, 2 and 4 for grey and palette images only.
        colours: what the samples are; "many" for two channels, or more than three, none of which is transparency.
        alpha: whether the file can hold transparent pixels.
        key: the stored grey value that is transparent.
        orientation: how the stored pixels are to be turned, 1 to 8 as in EXIF.
        channels: of the pixels that learners get.
    """

    container: Literal["PNG", "JPEG", "TIFF"]
    height: int
    width: int
    bits: int
    colours: Colours
    alpha: bool = False
    key: int | None = None
    orientation: int = 1
    channels: int = 3

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the upright image."""
        return (self.width, self.height) if self.orientation >= 5 else (self.height, self.width)

    @property
    def step(self) -> int:
        """Shown grey levels, of 0 to 255, per stored one: 255, 85 and 17 for 1, 2 and 4 bits."""
        return 255 // (2**self.bits - 1) if self.colours == "grey" and self.bits < 8 else 1


@contextmanager
def opened(file: Path) -> Iterator[BinaryIO]:
    """The file, open for reading; a special file, such as a FIFO, is not waited for.

    Raises:
        BrokenFile: if it is not a file, or the system does not let it be read.
    """
    try:
        if not stat.S_ISREG(mode := file.stat().st_mode):
            kind = "a folder" if stat.S_ISDIR(mode) else "a device, pipe or socket"
            raise BrokenFile(f"is {kind}, not a file", "move it elsewhere")
        with file.open("rb") as stream:
            if not stream.read(1):
                raise BrokenFile("is empty")
            stream.seek(0)
            yield stream
    except FileNotFoundError as error:
        if file.is_symlink():
            raise BrokenFile("is a link to a file that is missing", "mend the link") from error
        raise BrokenFile("is missing") from error
    except PermissionError as error:
        raise BrokenFile(f"cannot be read ({error.strerror})", "give yourself the right to read it") from error
    except OSError as error:
        mend = "mend the link" if error.errno == errno.ELOOP else REMEDY
        raise BrokenFile(f"cannot be read ({error.strerror or error})", mend) from error


def tail(stream: BinaryIO) -> bytes:
    """The last `EDGE` bytes."""
    length = stream.seek(0, os.SEEK_END)
    stream.seek(max(0, length - EDGE))
    return stream.read(EDGE)


def exif_orientation(data: bytes) -> int:
    """Orientation according to EXIF data, 1 to 8; 1 where they are damaged or give none, as in viewers."""
    data = data.removeprefix(EXIF)
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(data[:4])
    try:
        (start,) = struct.unpack_from(f"{order}I", data, 4)
        (n_tags,) = struct.unpack_from(f"{order}H", data, start)
        for k in range(n_tags):
            tag, kind, count, orientation = struct.unpack_from(f"{order}HHIH", data, start + 2 + 12 * k)
            if (tag, kind, count) == ORIENTATION and 1 <= orientation <= 8:
                return int(orientation)
    except struct.error:
        return 1
    return 1


def expanded(root: str) -> Path:
    """A folder as the user wrote it, with ``~`` expanded where there is such a home."""
    return Path(os.path.expanduser(root))  # Path.expanduser raises if there is none
