"""JPEG files: headers and ends."""

import re
import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from decomp.platform.datasets.formats.header import EXIF, SAVE_AS, BrokenFile, Header, exif_orientation

SIGNATURE = b"\xff\xd8\xff"
END, SCAN, APP1 = 0xD9, 0xDA, 0xE1
FRAMES = {0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF}
ALONE = {0x00, 0x01, *range(0xD0, 0xD8)}  # markers without data
MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # what ends the coded pixels of a scan


class Segment(NamedTuple):
    """A segment: its marker, where its data begin and how long they are."""

    marker: int
    start: int
    length: int


def header(stream: BinaryIO) -> Header:
    """Header of a JPEG, without reading its pixels.

    Raises:
        BrokenFile: if it is damaged or of a kind that is not read.
    """
    frame, exif = None, b""
    for segment in _segments(stream):
        if segment.marker in FRAMES and frame is None:
            frame = stream.read(6)
        if segment.marker == APP1 and not exif:
            data = stream.read(segment.length)
            exif = data if data.startswith(EXIF) else b""
        if segment.marker in (SCAN, END):
            break
    if frame is None or len(frame) < 6:
        raise BrokenFile("is cut off")
    bits, height, width, components = struct.unpack(">BHHB", frame)
    if bits != 8:
        raise BrokenFile(f"is a JPEG of {bits} bits", SAVE_AS)
    if components == 4:
        raise BrokenFile("is in CMYK, the colours of print", "save it as RGB")
    if components not in (1, 3):
        raise BrokenFile("is damaged")
    return Header("JPEG", height, width, bits, "rgb" if components == 3 else "grey", orientation=exif_orientation(exif))


def check_end(stream: BinaryIO) -> None:
    """Raise `BrokenFile` if the end of the picture is missing; anything may follow it, as in a phone's pictures.

    A decoder fills what is missing with grey, and a small picture within the header has an end of its own.
    """
    if not any(segment.marker == END for segment in _segments(stream)):
        raise BrokenFile("is cut off")


def _segments(stream: BinaryIO) -> Iterator[Segment]:
    """The segments in their order, up to the end of the picture; the stream stands at each one's data."""
    start, size = 2, stream.seek(0, 2)
    while start + 2 <= size:
        stream.seek(start)
        lead, marker = stream.read(2)
        if lead != 0xFF:  # stray bytes, which decoders pass over
            start = _next_marker(stream, start)
        elif marker == 0xFF:  # filling
            start += 1
        elif marker in ALONE:
            start += 2
        elif marker == END:
            yield Segment(marker, start + 2, 0)
            return
        else:
            length = int.from_bytes(stream.read(2), "big")
            if length < 2:
                raise BrokenFile("is damaged")
            yield Segment(marker, start + 4, length - 2)
            start += 2 + length
            if marker == SCAN:
                start = _next_marker(stream, start)


def _next_marker(stream: BinaryIO, start: int) -> int:
    """Where the segment after coded pixels begins; the end of the file if none does."""
    stream.seek(start)
    marker = MARKER.search(data := stream.read())
    return start + (marker.start() if marker else len(data))
