"""What docs/tasks/images.md promises of every kind of file, row by row, and that damage is told."""

import errno
import io
import os
import re
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from helpers.pictures import SIGNATURE, chunk, exif, jpeg, png, stored, tiff, with_exif
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from decomp.platform.datasets.folder import Folder
from decomp.platform.datasets.formats import rasters
from decomp.platform.datasets.formats.header import BrokenFile
from decomp.platform.datasets.formats.rasters import digest, inspect, read_image, read_mask, size
from decomp.platform.errors import UserError

PAGE = Path(__file__).parents[4] / "docs" / "tasks" / "images.md"
RNG = np.random.default_rng(0)
H, W = 12, 20
GREY, RGB = RNG.integers(0, 256, (H, W), np.uint8), RNG.integers(0, 256, (H, W, 3), np.uint8)
DEEP, DEEP_RGB = RNG.integers(0, 4096, (H, W), np.uint16), RNG.integers(0, 65536, (H, W, 3), np.uint16)
FOUR, DEEP_FOUR = RNG.integers(0, 256, (H, W, 4), np.uint8), RNG.integers(0, 65536, (H, W, 4), np.uint16)
FIVE = np.dstack([FOUR, GREY])
SMOOTH = cv2.resize(RNG.integers(0, 256, (2, 3, 3), np.uint8), (W, H), interpolation=cv2.INTER_CUBIC)
LABELS = RNG.integers(0, 4, (H, W)).astype(np.uint8)
PALETTE = np.array([[0, 0, 0], [255, 0, 0], [0, 200, 7], [1, 2, 3]], np.uint8)
PLTE = (b"PLTE", PALETTE.tobytes())
NUMBERS = {"a": 0, "b": (1, 2), "c": 3}
COLOURS = {"a": "#000000", "b": ("#ff0000", "#00c807"), "c": "#010203"}


def three(grey):
    return np.repeat(grey[..., None], 3, axis=2)


def tiff_bytes(samples, **options) -> bytes:
    stream = io.BytesIO()
    tiff(stream, samples, **options)
    return stream.getvalue()


def opaque(samples):
    return np.dstack([samples, np.full(samples.shape[:2], np.iinfo(samples.dtype).max, samples.dtype)])


def stack(channels, contiguous=False, **options) -> bytes:
    """A TIFF whose pages are channels; `contiguous` as ImageJ writes large ones: only one page is described."""
    stream = io.BytesIO()
    metadata = {"axes": "CYX", "Pixels": {"PhysicalSizeX": 0.2}} if options.get("ome") else {"axes": "CYX"}
    tifffile.imwrite(stream, np.ascontiguousarray(np.moveaxis(channels, 2, 0)), metadata=metadata, **options)
    data = bytearray(stream.getvalue())
    if contiguous:
        order = "<" if data[:2] == b"II" else ">"
        (first,) = struct.unpack_from(f"{order}I", data, 4)
        (n_tags,) = struct.unpack_from(f"{order}H", data, first)
        struct.pack_into(f"{order}I", data, first + 2 + 12 * n_tags, 0)  # no next page
    return bytes(data)


IMAGES = {
    "of 8 bits, RGB": [
        (lambda: png(RGB, kind="rgb"), RGB),
        (lambda: tiff_bytes(RGB), RGB),
        (lambda: tiff_bytes(RGB, compression="zlib", predictor=True), RGB),
        (lambda: tiff_bytes(RGB, compression="lzw", tile=(16, 16)), RGB),
        (lambda: tiff_bytes(np.moveaxis(RGB, 2, 0), planarconfig="separate"), RGB),
        (lambda: tiff_bytes(RGB, bigtiff=True, byteorder=">"), RGB),
        (lambda: jpeg(SMOOTH), SMOOTH),
        (lambda: tiff_bytes(SMOOTH, compression="jpeg", compressionargs={"level": 98}), SMOOTH),
    ],
    "of 8 bits, grey": [
        (lambda: png(GREY), three(GREY)),
        (lambda: tiff_bytes(GREY, compression="packbits"), three(GREY)),
        (lambda: jpeg(SMOOTH[..., 0]), three(SMOOTH[..., 0])),
    ],
    "of 1, 2 or 4 bits, grey": [
        (lambda: png(LABELS % 2, 1), three(LABELS % 2 * 255)),
        (lambda: png(LABELS, 2), three(LABELS * 85)),
        (lambda: png(GREY // 16, 4), three(GREY // 16 * 17)),
        (lambda: tiff_bytes(LABELS % 2 == 1), three(LABELS % 2 * 255)),
    ],
    "with a palette": [
        (lambda: png(LABELS, 8, "palette", [PLTE]), PALETTE[LABELS]),
        (lambda: png(LABELS, 2, "palette", [PLTE]), PALETTE[LABELS]),
        (lambda: palette_tiff(), PALETTE[LABELS]),
    ],
    "of 16 bits, grey or RGB": [
        (lambda: png(DEEP, 16), three(DEEP)),
        (lambda: png(DEEP_RGB, 16, "rgb"), DEEP_RGB),
        (lambda: tiff_bytes(DEEP, byteorder=">"), three(DEEP)),
        (lambda: tiff_bytes(DEEP_RGB, compression="zlib"), DEEP_RGB),
    ],
    "TIFF of 2, 4 or more channels, none of them transparency": [
        (lambda: tiff_bytes(FOUR, extrasamples=[0]), FOUR),
        (lambda: tiff_bytes(DEEP_FOUR, extrasamples=[0]), DEEP_FOUR),
        (lambda: tiff_bytes(DEEP_FOUR, photometric="minisblack", planarconfig="contig"), DEEP_FOUR),
        (lambda: tiff_bytes(FOUR[..., :2], photometric="minisblack", planarconfig="contig"), FOUR[..., :2]),
        (lambda: tiff_bytes(FIVE, photometric="rgb", extrasamples=[0, 0]), FIVE),
        (lambda: tiff_bytes(opaque(DEEP_FOUR), photometric="rgb", extrasamples=[0, 2]), DEEP_FOUR),
    ],
    "TIFF of ImageJ or OME whose pages are channels": [
        (lambda: stack(DEEP_FOUR, imagej=True), DEEP_FOUR),
        (lambda: stack(DEEP_FOUR, imagej=True, contiguous=True), DEEP_FOUR),
        (lambda: stack(FOUR[..., :2], imagej=True, compression="zlib"), FOUR[..., :2]),
        (lambda: stack(DEEP_FOUR, ome=True, photometric="minisblack", tile=(16, 16), compression="zlib"), DEEP_FOUR),
        (lambda: stack(DEEP_RGB, ome=True, photometric="minisblack"), DEEP_RGB),
    ],
    "that could be transparent, and nowhere is": [
        (lambda: png(opaque(RGB), 8, "rgb+alpha"), RGB),
        (lambda: png(opaque(GREY), 8, "grey+alpha"), three(GREY)),
        (lambda: png(opaque(DEEP_RGB), 16, "rgb+alpha"), DEEP_RGB),
        (lambda: png(opaque(DEEP), 16, "grey+alpha"), three(DEEP)),
        (lambda: png(LABELS, 8, "palette", [PLTE, (b"tRNS", b"\xff" * 4)]), PALETTE[LABELS]),
        (lambda: png(LABELS, 8, "palette", [(b"tRNS", b"\0"), PLTE]), PALETTE[LABELS]),  # out of place, so passed over
        (lambda: png(np.maximum(GREY, 1), before=[(b"tRNS", b"\0\0")]), three(np.maximum(GREY, 1))),
        (lambda: tiff_bytes(opaque(RGB), extrasamples=["unassalpha"]), RGB),
    ],
    "with an orientation tag (EXIF, or TIFF's own)": [
        (lambda: png(stored(RGB, 6), kind="rgb", before=[(b"eXIf", exif(6))]), RGB),
        (lambda: png(stored(RGB, 3), kind="rgb", after=[(b"eXIf", exif(3))]), RGB),
        (lambda: tiff_bytes(stored(RGB, 8), orientation=8), RGB),
        *[(lambda k=k: jpeg(stored(SMOOTH, k), k), SMOOTH) for k in range(2, 9)],
    ],
    "whose name tells another format than its contents": [
        (lambda: tiff_bytes(RGB), RGB),
        (lambda: jpeg(SMOOTH), SMOOTH),
    ],
    "with anything behind its end, such as a phone's film": [
        (lambda: png(RGB, kind="rgb") + bytes(9999), RGB),
        (lambda: jpeg(SMOOTH) + jpeg(SMOOTH // 2) + bytes(9999), SMOOTH),
    ],
    "with a colour profile or a gamma": [
        (lambda: png(RGB, kind="rgb", before=[(b"gAMA", struct.pack(">I", 22222))]), RGB),
    ],
    "TIFF with smaller copies of itself (overviews)": [(lambda: tiff_with_overview(RGB), RGB)],
}

MASKS = {
    "of 8 bits, grey": [
        (lambda: png(LABELS), NUMBERS),
        (lambda: png(opaque(LABELS), 8, "grey+alpha"), NUMBERS),
        (lambda: png(stored(LABELS, 5), before=[(b"eXIf", exif(5))]), NUMBERS),
    ],
    "with a palette, and codes are numbers": [
        (lambda: png(LABELS, 8, "palette", [PLTE]), NUMBERS),
        (lambda: png(LABELS, 2, "palette", [PLTE]), NUMBERS),
        (lambda: palette_tiff(), NUMBERS),
    ],
    "of 16 bits, grey": [
        (lambda: png(LABELS, 16), NUMBERS),
        (lambda: tiff_bytes(LABELS.astype(np.uint16)), NUMBERS),
    ],
    "of 1, 2 or 4 bits, grey": [
        (lambda: png(LABELS, 2), NUMBERS),
        (lambda: png(LABELS, 2), {"a": 0, "b": (85, 170), "c": 255}),
        (lambda: png(LABELS, 4), NUMBERS),
        (lambda: png(LABELS, 4), {"a": 0, "b": (17, 34), "c": 51}),
    ],
    "RGB, grey or with a palette, and codes are colours": [
        (lambda: png(PALETTE[LABELS], kind="rgb"), COLOURS),
        (lambda: png(opaque(PALETTE[LABELS]), 8, "rgb+alpha"), COLOURS),
        (lambda: png(LABELS, 8, "palette", [PLTE]), COLOURS),
        (lambda: png(LABELS, 2), {"a": "#000000", "b": ("#555555", "#aaaaaa"), "c": "#ffffff"}),
        (lambda: tiff_bytes(PALETTE[LABELS]), COLOURS),
    ],
    "TIFF without loss (uncompressed, LZW, Deflate, PackBits)": [
        (lambda: tiff_bytes(LABELS), NUMBERS),
        (lambda: tiff_bytes(LABELS, compression="lzw"), NUMBERS),
        (lambda: tiff_bytes(LABELS, compression="zlib", tile=(16, 16)), NUMBERS),
        (lambda: tiff_bytes(LABELS, compression="packbits", byteorder=">"), NUMBERS),
    ],
}

TRANSPARENT = "has transparent pixels; save it without transparency"
SEVERAL = "several pictures in one (TIFF of pages that are no channels, such as slices; animated PNG)"
DAMAGED = "cut off, damaged or empty"

REFUSED_IMAGES = {
    "image with transparent pixels": [
        (lambda: png(FOUR, 8, "rgb+alpha"), TRANSPARENT),
        (lambda: png(FOUR[..., :2], 8, "grey+alpha"), TRANSPARENT),
        (lambda: png(LABELS, 8, "palette", [PLTE, (b"tRNS", b"\0")]), TRANSPARENT),
        (lambda: png(LABELS, 2, before=[(b"tRNS", b"\0\3")]), TRANSPARENT),
        (lambda: png(DEEP, 16, before=[(b"tRNS", DEEP[:1, :1].astype(">u2").tobytes())]), TRANSPARENT),
        (lambda: tiff_bytes(FOUR, extrasamples=["unassalpha"]), TRANSPARENT),
        (lambda: png(DEEP_RGB, 16, "rgb", [(b"tRNS", DEEP_RGB[0, 0].astype(">u2").tobytes())]), TRANSPARENT),
        (lambda: png(RGB, 8, "rgb", [(b"tRNS", RGB[0, 0].astype(">u2").tobytes())]), TRANSPARENT),
    ],
    "images of 16 bits among images of 8": [(lambda: png(DEEP, 16), "1 images have 16 bits, such as")],
    "images of more channels than others": [
        (lambda: tiff_bytes(FOUR, extrasamples=[0]), "1 images have 4 channels, such as"),
        (lambda: tiff_bytes(FOUR[..., :2], photometric="minisblack", planarconfig="contig"), "have fewer, such as"),
    ],
    SEVERAL: [
        (
            lambda: tiff_bytes(np.stack([GREY, GREY])),
            "holds 2 pictures; save the one that is meant as a file of its own or, if",
        ),
        (lambda: slices(), "holds 4 pictures; save the one that is meant"),
        (lambda: png(GREY, before=[(b"acTL", struct.pack(">II", 2, 0))]), "is animated; save the picture that is"),
    ],
    "CMYK": [
        (lambda: tiff_bytes(FOUR, photometric="separated"), "is in CMYK, the colours of print; save it as RGB"),
        (lambda: cmyk_jpeg(), "is in CMYK, the colours of print; save it as RGB"),
    ],
    "TIFF of signed or floating-point numbers, or of 32 bits": [
        (lambda: tiff_bytes(GREY.astype(np.float32)), "holds floating-point numbers of 32 bits; save it as TIFF"),
        (lambda: tiff_bytes(GREY.astype(np.int16)), "holds signed numbers of 16 bits"),
        (lambda: tiff_bytes(GREY.astype(np.uint32)), "holds unsigned numbers of 32 bits"),
    ],
    "TIFF that stores white as 0": [
        (lambda: tiff_bytes(GREY, photometric="miniswhite"), "stores white as 0; save it with black as 0")
    ],
    "TIFF compressed in another way": [(lambda: tiff_bytes(GREY, compression="zstd"), "is compressed by")],
    "JPEG of 12 bits": [
        (lambda: jpeg(SMOOTH).replace(b"\xff\xc0\0\x11\x08", b"\xff\xc0\0\x11\x0c"), "is a JPEG of 12 bits")
    ],
    "GIF, BMP, WebP, JPEG 2000, HEIF and others": [
        (lambda: b"GIF89a" + bytes(99), "is a GIF, not PNG, JPEG or TIFF; save it as PNG"),
        (lambda: cv2.imencode(".bmp", RGB)[1].tobytes(), "is a BMP, not PNG"),
        (lambda: cv2.imencode(".webp", RGB)[1].tobytes(), "is a WebP, not PNG"),
        (lambda: b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(99), "is a JPEG 2000, not PNG"),
        (lambda: b"\0\0\0\x18ftypheic" + bytes(99), "is a HEIF or AVIF, not PNG"),
    ],
    "more than 1,073,741,824 pixels, or 1,000,000 a side": [
        (lambda: empty_png(40_000, 40_000), "has 40000 x 40000 pixels; at most 1,073,741,824 are read"),
        (lambda: empty_png(1, 1_000_001), "and 1,000,000 a side; cut it into tiles"),
    ],
    DAMAGED: [
        (lambda: png(RGB, kind="rgb")[:-9], "is cut off; copy the file again"),
        (lambda: jpeg(SMOOTH)[:-9], "is cut off; copy the file again"),
        (lambda: with_thumbnail(jpeg(SMOOTH))[:-9], "is cut off; copy the file again"),
        (lambda: tiff_bytes(RGB, compression="zlib")[:-9], "is cut off; copy the file again"),
        (lambda: stack(DEEP_FOUR, imagej=True, contiguous=True)[: -5 * H * W], "is cut off; copy the file again"),
        (lambda: png(RGB, kind="rgb")[:20], "is cut off"),
        (lambda: jpeg(SMOOTH)[:9], "is cut off"),
        (lambda: tiff_bytes(GREY)[:20], "is damaged"),
        (lambda: b"", "is empty; copy the file again"),
        (lambda: b"no picture", "is damaged or no image; copy the file again"),
    ],
    "pointer of Git LFS": [
        (lambda: b"version https://git-lfs.github.com/spec/v1\n", "is a pointer of Git LFS; fetch the file with")
    ],
}

REFUSED_MASKS = {
    "mask compressed as a JPEG": [
        (lambda: jpeg(LABELS), NUMBERS, "is compressed as a JPEG, which alters values; draw the mask again"),
        (lambda: tiff_bytes(LABELS, compression="jpeg"), NUMBERS, "is compressed as a JPEG"),
    ],
    "mask in RGB where codes are numbers": [
        (lambda: png(RGB, kind="rgb"), NUMBERS, "holds colours, and the codes are numbers; write the codes as")
    ],
    "mask of 16 bits where codes are colours": [
        (lambda: png(DEEP_RGB, 16, "rgb"), COLOURS, "has 16 bits, and the codes are colours of 8; save the mask as")
    ],
    "mask of 1, 2 or 4 bits that means two things": [
        (lambda: png(LABELS % 2, 1), {"a": 0, "b": 1, "c": 255}, "may mean 1 or 255, which are both codes; save it"),
        (lambda: png(LABELS, 2), {"a": 0, "b": (1, 2, 3), "c": (85, 170, 255)}, "may mean 3 or 255, which are both"),
    ],
    "mask with a value that is no code": [
        (lambda: png(LABELS), {"a": 0, "b": 1}, "holds 2, 3, which is of no class; give it a class"),
        (lambda: png(LABELS, 2), {"a": 0, "b": 1}, "holds 2, 3, which is of no class"),
        (lambda: png(LABELS * np.uint16(200), 16), NUMBERS, "holds 200, 400, 600, which is of no class"),
        (lambda: png(RGB[:, :, :3] // 128 * 9, kind="rgb"), COLOURS, "holds #000009"),
    ],
    SEVERAL: [(lambda: tiff_bytes(np.stack([GREY, GREY])), NUMBERS, "holds 2 pictures")],
    DAMAGED: [
        (lambda: png(LABELS)[:-9], NUMBERS, "is cut off; copy the file again"),
        (lambda: png(LABELS, 8, "palette", [PLTE])[:-19], NUMBERS, "is cut off; copy the file again"),
        (lambda: png(LABELS).replace(b"IDAT", b"IDAU"), NUMBERS, "is damaged"),
        (lambda: b"", NUMBERS, "is empty; copy the file again"),
    ],
}

NO_FILES = [
    (os.mkfifo, "is a device, pipe or socket, not a file; move it elsewhere"),
    (os.mkdir, "is a folder, not a file; move it elsewhere"),
    (lambda file: file.symlink_to("nowhere"), "is a link to a file that is missing; mend the link"),
    (lambda file: file.symlink_to(file.name), "cannot be read (Too many levels of symbolic links); mend the link"),
]

TESTED_ELSEWHERE = {
    "mask of another size than its upright image",
    "pipe, device, folder, or link that leads nowhere",
    "one without the right to read it",
}


def each(rows):
    """Parameters of a test: every case of every row."""
    return [pytest.param(*case, id=f"{row} {k}") for row, cases in rows.items() for k, case in enumerate(cases)]


def empty_png(height, width) -> bytes:
    return SIGNATURE + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)) + chunk(b"IDAT", b"")


def with_thumbnail(data) -> bytes:
    """A JPEG whose EXIF data hold a small JPEG with an end of its own."""
    inside = b"Exif\0\0" + exif(1) + jpeg(SMOOTH[:4, :4])
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(inside) + 2) + inside + data[2:]


def palette_tiff() -> bytes:
    colormap = np.zeros((3, 256), np.uint16)
    colormap[:, :4] = PALETTE.T.astype(np.uint16) * 257
    return tiff_bytes(LABELS, photometric="palette", colormap=colormap)


def tiff_with_overview(pixels) -> bytes:
    stream = io.BytesIO()
    with tifffile.TiffWriter(stream) as file:
        for copy, is_smaller in ((pixels, 0), (pixels[::2, ::2], 1)):
            file.write(copy, photometric="rgb", subfiletype=is_smaller, metadata=None)
    return stream.getvalue()


def slices() -> bytes:
    stream = io.BytesIO()
    tifffile.imwrite(stream, np.stack([DEEP] * 4), imagej=True, metadata={"axes": "ZYX"})
    return stream.getvalue()


def cmyk_jpeg() -> bytes:
    stream = io.BytesIO()
    Image.fromarray(FOUR, "CMYK").save(stream, "JPEG")
    return stream.getvalue()


@pytest.fixture
def file(tmp_path):
    return tmp_path / "picture.png"  # whatever the contents


@pytest.fixture
def folder(tmp_path):
    """Two pairs and a test pair; a test puts another image or mask in place of the first."""
    for split, names in (("train", "ab"), ("test", "c")):
        for kind, data in (("images", png(RGB, kind="rgb")), ("masks", png(LABELS))):
            (tmp_path / split / kind).mkdir(parents=True)
            for name in names:
                (tmp_path / split / kind / f"{name}.png").write_bytes(data)
    return tmp_path


def problems_of(folder, codes=NUMBERS, name="a"):
    return [p for p in Folder(str(folder), codes).problems() if f"{name}.png" in p]


def rows_of(heading):
    """First cells of the table below a heading of the page."""
    section = re.split(r"\n##+ ", PAGE.read_text().partition(f"\n### {heading}\n")[2])[0]
    cells = re.findall(r"^\| (.*?) \|", section, re.MULTILINE)
    return set(cells[1:])


def test_every_row_of_the_page_has_a_test():
    assert rows_of("How images are read") == set(IMAGES)
    assert rows_of("How masks are read") == set(MASKS)
    assert rows_of("What is refused") == {*REFUSED_IMAGES, *REFUSED_MASKS, *TESTED_ELSEWHERE}


@pytest.mark.parametrize(("data", "pixels"), each(IMAGES))
def test_an_image_is_read_as_the_page_says(file, data, pixels):
    file.write_bytes(data())
    read = read_image(file)
    assert read.dtype == pixels.dtype
    if pixels is SMOOTH or b"JFIF" in data():
        assert np.abs(read.astype(int) - pixels).mean() < 4  # another orientation or order of colours is 20 off
    else:
        assert np.array_equal(read, pixels)
    assert inspect(file).shape == size(file) == (H, W)


@pytest.mark.parametrize(("data", "codes"), each(MASKS))
def test_a_mask_is_read_as_the_page_says(folder, data, codes):
    (folder / "train" / "masks" / "a.png").write_bytes(data())
    assert problems_of(folder, codes) == []
    labels = Folder(str(folder), codes).labels("train-a")
    assert labels.dtype == np.uint8
    assert np.array_equal(labels, np.array([0, 1, 1, 2])[LABELS])


@pytest.mark.parametrize(("data", "sentence"), each(REFUSED_IMAGES))
def test_an_image_that_is_refused_is_named_with_the_mend(folder, data, sentence):
    (folder / "train" / "images" / "a.png").write_bytes(data())
    (problem,) = problems_of(folder)
    assert sentence in problem


@pytest.mark.parametrize(("data", "codes", "sentence"), each(REFUSED_MASKS))
def test_a_mask_that_is_refused_is_named_with_the_mend(folder, data, codes, sentence):
    (folder / "train" / "masks" / "a.png").write_bytes(data())
    (problem,) = problems_of(folder, codes)
    assert f"train/masks/a.png {sentence}" in problem
    with pytest.raises(UserError) as caught:
        Folder(str(folder), codes).labels("train-a")
    assert str(caught.value) == problem


@pytest.mark.parametrize("kind", ["images", "masks"])
@pytest.mark.parametrize(("make", "sentence"), NO_FILES)
def test_what_is_no_file_is_told_at_once(folder, kind, make, sentence):
    place = folder / "train" / kind / "a.png"
    place.unlink()
    make(place)
    (problem,) = problems_of(folder)
    assert f"{place} {sentence}" in problem


@pytest.mark.parametrize("kind", ["images", "masks"])
def test_a_file_that_may_not_be_read_is_told_as_that(folder, kind, monkeypatch):
    forbidden = folder / "train" / kind / "a.png"
    opening = Path.open

    def refuse(path, *arguments, **options):
        if path == forbidden:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return opening(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", refuse)
    (problem,) = problems_of(folder)
    assert f"{forbidden} cannot be read (Permission denied); give yourself the right to read it." in problem


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_the_system_tells_what_may_not_be_read(folder):
    forbidden = folder / "train" / "images" / "a.png"
    forbidden.chmod(0)
    assert "Permission denied" in problems_of(folder)[0]


def test_a_picture_beyond_the_limit_of_pillow_is_read(folder):
    """Pillow refuses more than 179 million pixels; here the shape comes from the header and the mask is decoded."""
    grey = np.zeros((14_000, 13_000), np.uint8)
    grey[5, 7] = 3
    (folder / "train" / "images" / "a.png").write_bytes(cv2.imencode(".png", grey)[1].tobytes())
    (folder / "train" / "masks" / "a.png").write_bytes(
        cv2.imencode(".png", grey, [cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE])[1].tobytes()
    )
    data = Folder(str(folder), NUMBERS)
    assert problems_of(folder) == []
    assert data.shape("train-a") == grey.shape
    assert data.labels("train-a")[5, 7] == 2


def test_a_mask_of_another_size_is_told(folder):
    (folder / "train" / "masks" / "a.png").write_bytes(png(LABELS[:9]))
    (problem,) = problems_of(folder)
    assert "a.png has 9 x 20 pixels and its image 12 x 20; copy the pair again or scale the mask" in problem


def test_a_mask_that_was_drawn_on_the_stored_pixels_is_told_with_the_tag(folder):
    (folder / "train" / "images" / "a.png").write_bytes(jpeg(SMOOTH, orientation=6))
    (problem,) = problems_of(folder)
    assert "has 12 x 20 pixels and its image 20 x 12, upright as its orientation tag (6) says" in problem
    assert "delete the tag" in problem


WRITERS = {"tiff": {}, "lzw": {"compression": "lzw"}, "deflate": {"compression": "zlib"}, "tiles": {"tile": (16, 16)}}


@given(
    seed=st.integers(0, 2**32 - 1),
    shape=st.tuples(st.integers(1, 20), st.integers(1, 20)),
    channels=st.sampled_from([1, 3]),
    alpha=st.booleans(),
    bits=st.sampled_from([8, 16]),
    orientation=st.integers(1, 8),
    writer=st.sampled_from(["png", *WRITERS]),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_any_depth_channels_and_orientation_are_read_from_any_container(
    file, seed, shape, channels, alpha, bits, orientation, writer
):
    kind = np.uint16 if bits == 16 else np.uint8
    upright = np.random.default_rng(seed).integers(0, 2**bits, (*shape, channels), kind)
    samples = stored(opaque(upright) if alpha else upright, orientation)
    if writer == "png":
        name = ("grey" if channels == 1 else "rgb") + ("+alpha" if alpha else "")
        file.write_bytes(png(samples, bits, name, [(b"eXIf", exif(orientation))]))
    else:
        options = WRITERS[writer] | ({"extrasamples": ["unassalpha"]} if alpha else {})
        planes = {"planarconfig": "contig"} if samples.shape[2] > 1 else {}
        photometric = "rgb" if channels == 3 else "minisblack"
        samples = samples if planes else samples[..., 0]
        tiff(file, samples, orientation, photometric=photometric, **options, **planes)
    read = read_image(file)
    assert read.dtype == kind
    assert np.array_equal(read, three(upright[..., 0]) if channels == 1 else upright)
    assert size(file) == inspect(file).shape == shape
    if channels == 1:
        assert np.array_equal(read_mask(file, colours=False).values, upright[..., 0])


FUZZED = {
    "rgb png": lambda: png(SMOOTH, kind="rgb"),
    "palette png": lambda: png(LABELS, 2, "palette", [PLTE]),
    "deep png": lambda: png(DEEP, 16),
    "turned png": lambda: png(opaque(RGB), 8, "rgb+alpha", [(b"eXIf", exif(6))]),
    "jpeg": lambda: jpeg(SMOOTH, 8),
    "tiff": lambda: tiff_bytes(RGB),
    "lzw": lambda: tiff_bytes(RGB, compression="lzw"),
    "deflate": lambda: tiff_bytes(DEEP, compression="zlib", tile=(16, 16)),
    "packbits": lambda: tiff_bytes(LABELS, compression="packbits"),
    "palette tiff": lambda: palette_tiff(),
    "jpeg tiff": lambda: tiff_bytes(SMOOTH, compression="jpeg"),
}


@pytest.mark.parametrize("kind", FUZZED)
def test_a_damaged_file_gives_a_sentence_or_pixels(file, kind):
    """Never a traceback; whatever is cut off is found, and in a PNG every changed bit."""
    data, rng = FUZZED[kind](), np.random.default_rng(len(kind))
    file.write_bytes(data)
    whole = read_image(file)
    for trial in range(60):
        cut = trial % 3 == 0
        changed = bytearray(data[: rng.integers(1, len(data))] if cut else data)
        for bit in rng.integers(8 * len(data), size=trial % 3).tolist():
            changed[bit // 8] ^= 1 << bit % 8
        file.write_bytes(changed)
        digest(file)
        for read in (inspect, read_image, read_numbers):
            try:
                result = read(file)
            except BrokenFile:
                continue
            assert not cut
            assert read is not read_image or "png" not in kind or np.array_equal(result, whole)


def read_numbers(file):
    return read_mask(file, colours=False)


def test_the_digest_tells_how_pixels_are_made(file):
    plain = {data: None for data in (png(RGB, kind="rgb"), jpeg(SMOOTH), jpeg(SMOOTH, 1), with_exif(jpeg(SMOOTH), 6))}
    digests = []
    for data in plain:
        file.write_bytes(data)
        digests.append(digest(file))
    assert len(set(digests)) == len(plain)


def test_the_digest_of_a_png_sees_a_palette_behind_a_long_profile(file):
    def written(palette) -> bytes:
        profile = (b"tEXt", b"a\0" + bytes(2 * rasters.EDGE))
        file.write_bytes(png(LABELS, 8, "palette", [profile, (b"PLTE", palette.tobytes())], [profile]))
        return digest(file)

    assert written(PALETTE) != written(PALETTE[::-1])


def test_decoding_is_that_of_tifffile_for_tiff(file):
    file.write_bytes(tiff_bytes(DEEP_RGB, photometric="rgb", compression="zlib", rowsperstrip=5))
    assert np.array_equal(read_image(file), tifffile.imread(file))
