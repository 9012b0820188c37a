"""PNG files: headers and checksums."""

import struct
import zlib
from collections.abc import Iterator, Mapping
from typing import BinaryIO, NamedTuple

from decomp.platform.datasets.formats.header import BrokenFile, Colours, Header, exif_orientation, tail

SIGNATURE = b"\x89PNG\r\n\x1a\n"
END = b"IEND" + zlib.crc32(b"IEND").to_bytes(4, "big")
COLOURS: Mapping[int, Colours] = {0: "grey", 2: "rgb", 3: "palette", 4: "grey", 6: "rgb"}
WITH_ALPHA = (4, 6)
CHECKED = (b"tRNS", b"eXIf")  # besides all chunks that a decoder must understand
OPTIONAL = 0x20  # bit of the first letter of a chunk's kind: it is lower case
PIECE = 1 << 20  # bytes
IHDR_LENGTH = 13
EXIF_LIMIT = 1 << 20  # bytes


class Chunk(NamedTuple):
    """A chunk: its kind, where its data begin and how long they are."""

    kind: bytes
    start: int
    length: int


def header(stream: BinaryIO) -> Header:
    """Header of a PNG, read from its two ends.

    Raises:
        BrokenFile: if it is damaged or of a kind that is not read.
    """
    chunks = _chunks(stream)
    try:
        first = next(chunks)
    except StopIteration:
        raise BrokenFile("is cut off") from None
    data = stream.read(IHDR_LENGTH)
    if (first.kind, first.length) != (b"IHDR", IHDR_LENGTH) or not _is_intact(stream, first):
        raise BrokenFile("is damaged")
    width, height, bits, kind = struct.unpack(">IIBB", data[:10])
    if kind not in COLOURS:
        raise BrokenFile("is damaged")
    alpha, key, exif = kind in WITH_ALPHA, None, b""
    for chunk in chunks:
        if chunk.kind == b"IDAT":
            break
        if chunk.kind == b"acTL":
            raise BrokenFile("is animated", "save the picture that is meant as a file of its own")
        if chunk.kind == b"tRNS":
            alpha = True
            if kind == 0:
                key = int.from_bytes(stream.read(2), "big")
        if chunk.kind == b"eXIf":
            exif = exif or stream.read(min(chunk.length, EXIF_LIMIT))
    orientation = exif_orientation(exif or _late_exif(tail(stream)))
    return Header("PNG", height, width, bits, COLOURS[kind], alpha, key, orientation)


def before_pixels(stream: BinaryIO) -> int:
    """Bytes before the first chunk of pixels."""
    return next((chunk.start for chunk in _chunks(stream) if chunk.kind == b"IDAT"), 0)


def check_end(stream: BinaryIO) -> None:
    """Raise `BrokenFile` if the end of the file is missing; bytes of another program may follow it."""
    if END in tail(stream):
        return
    if not any(chunk.kind == b"IEND" and _is_intact(stream, chunk) for chunk in _chunks(stream)):
        raise BrokenFile("is cut off")


def check_sums(stream: BinaryIO) -> None:
    """Raise `BrokenFile` unless the file is whole and the checksums of all that determines the pixels are right."""
    for chunk in _chunks(stream):
        if (not chunk.kind[0] & OPTIONAL or chunk.kind in CHECKED) and not _is_intact(stream, chunk):
            raise BrokenFile("is damaged (a checksum is wrong)")
        if chunk.kind == b"IEND":
            return
    raise BrokenFile("is cut off")


def _chunks(stream: BinaryIO) -> Iterator[Chunk]:
    """The chunks that are there whole, but for the last one's checksum; the stream stands at each one's data."""
    start, size = len(SIGNATURE), stream.seek(0, 2)
    while start + 8 <= size:
        stream.seek(start)
        length, kind = struct.unpack(">I4s", stream.read(8))
        yield Chunk(kind, start + 8, length)
        start += length + 12


def _is_intact(stream: BinaryIO, chunk: Chunk) -> bool:
    stream.seek(chunk.start)
    checksum, left = zlib.crc32(chunk.kind), chunk.length
    while left > 0:
        piece = stream.read(min(left, PIECE))
        if not piece:
            raise BrokenFile("is cut off")
        checksum, left = zlib.crc32(piece, checksum), left - len(piece)
    return stream.read(4) == checksum.to_bytes(4, "big")


def _late_exif(end: bytes) -> bytes:
    """EXIF data after the pixels, where some programs write them."""
    at = end.find(b"eXIf")
    if at < 4:
        return b""
    data = end[at + 4 : at + 4 + int.from_bytes(end[at - 4 : at], "big")]
    checksum = zlib.crc32(b"eXIf" + data).to_bytes(4, "big")
    return data if end[at + 4 + len(data) :].startswith(checksum) else b""
