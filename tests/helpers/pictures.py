"""Image files of any kind, written with as little help as possible."""

import struct
import zlib

import cv2
import numpy as np
import tifffile

SIGNATURE = b"\x89PNG\r\n\x1a\n"
COLOUR_TYPES = {"grey": 0, "rgb": 2, "palette": 3, "grey+alpha": 4, "rgb+alpha": 6}


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def exif(orientation: int) -> bytes:
    return b"MM\0*" + struct.pack(">IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)


def png(samples, bits=8, kind="grey", before=(), after=()) -> bytes:
    """A PNG of samples of shape (H, W) or (H, W, channels), with chunks (kind, data) before and after the pixels."""
    samples = np.asarray(samples)
    rows = samples.reshape(len(samples), -1)
    if bits == 16:
        lines = [row.astype(">u2").tobytes() for row in rows]
    else:
        shifts = np.arange(bits - 1, -1, -1)
        lines = [np.packbits((row[:, None].astype(np.uint8) >> shifts) & 1).tobytes() for row in rows]
    head = struct.pack(">IIBBBBB", samples.shape[1], samples.shape[0], bits, COLOUR_TYPES[kind], 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + line for line in lines))
    inside = [(b"IHDR", head), *before, (b"IDAT", pixels), *after, (b"IEND", b"")]
    return SIGNATURE + b"".join(chunk(*parts) for parts in inside)


def jpeg(pixels, orientation=1, quality=98) -> bytes:
    """A JPEG of RGB pixels, (H, W, 3), or grey ones, (H, W)."""
    done, data = cv2.imencode(".jpg", pixels[..., ::-1] if pixels.ndim == 3 else pixels, [1, quality, 5, 0x111111])
    assert done
    return with_exif(data.tobytes(), orientation) if orientation != 1 else data.tobytes()


def with_exif(data: bytes, orientation: int) -> bytes:
    told = b"Exif\0\0" + exif(orientation)
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(told) + 2) + told + data[2:]


def tiff(file, samples, orientation=1, **options) -> None:
    """A TIFF file, written by tifffile; of three or four channels it is RGB unless `photometric` says otherwise."""
    samples = np.asarray(samples)
    rgb = samples.ndim == 3 and (samples.shape[2] in (3, 4) or options.get("planarconfig") == "separate")
    options.setdefault("photometric", "rgb" if rgb else "minisblack")
    tags = [(274, 3, 1, orientation, True)] if orientation != 1 else []
    tifffile.imwrite(file, samples, extratags=tags, metadata=None, **options)


def stored(upright, orientation: int):
    """What a camera that notes this orientation stores of an upright picture."""
    turned = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.swapaxes(0, 1),
        6: lambda a: np.rot90(a),
        7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
        8: lambda a: np.rot90(a, -1),
    }
    return np.ascontiguousarray(turned[orientation](np.asarray(upright)))
