import cv2
import numpy as np
import pytest
from helpers.pictures import jpeg, png, stored, tiff

from decomp.platform.annotation.pictures import browser_picture
from decomp.platform.errors import UserError

H, W = 12, 20
RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (H, W, 3), np.uint8)
GREY = RNG.integers(0, 256, (H, W), np.uint8)


def shown(file):
    """What a browser shows, red first."""
    kind, content = browser_picture(file, (H, W))
    assert kind == "image/png"
    assert content[:4] == b"\x89PNG"
    return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)[..., ::-1]


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.png", png(RGB, kind="rgb")), ("a.png", png(GREY)), ("a.jpg", jpeg(RGB)), ("a.jpg", jpeg(GREY))],
)
def test_what_every_browser_shows_is_taken_as_it_is(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    kind = {"a.png": "image/png", "a.jpg": "image/jpeg"}[name]
    assert browser_picture(tmp_path / name, (H, W)) == (kind, content)


@pytest.mark.parametrize(
    ("samples", "pixels"),
    [
        (RGB, RGB),
        (GREY, np.dstack([GREY] * 3)),
        (np.dstack([RGB, GREY, GREY]), RGB),
        (np.dstack([GREY, RGB[..., 0]]), np.dstack([GREY] * 3)),
    ],
)
def test_a_tiff_becomes_a_png_of_its_first_three_channels_or_else_of_the_first(tmp_path, samples, pixels):
    many = {"photometric": "minisblack", "planarconfig": "contig"} if samples.shape[2:] not in ((), (3,)) else {}
    tiff(tmp_path / "a.tif", samples, **many)
    np.testing.assert_array_equal(shown(tmp_path / "a.tif"), pixels)


def test_16_bits_are_spread_from_the_darkest_to_the_brightest_pixels(tmp_path):
    deep = np.linspace(1000, 5000, H * W).astype(np.uint16).reshape(H, W)
    (tmp_path / "a.png").write_bytes(png(deep, bits=16))
    grey = shown(tmp_path / "a.png")[..., 0].astype(int)
    assert (grey[0, 0], grey[-1, -1]) == (0, 255)
    assert (np.diff(grey.ravel()) >= 0).all()


def test_an_image_of_one_value_is_shown(tmp_path):
    (tmp_path / "a.png").write_bytes(png(np.full((H, W), 700), bits=16))
    assert shown(tmp_path / "a.png").max() == 0


def test_a_picture_that_is_stored_on_its_side_is_shown_upright(tmp_path):
    tiff(tmp_path / "a.tif", stored(RGB, 6), orientation=6)
    np.testing.assert_array_equal(shown(tmp_path / "a.tif"), RGB)


def test_files_that_cannot_be_read_or_have_another_size_are_told(tmp_path):
    (tmp_path / "a.png").write_bytes(png(RGB, kind="rgb")[:-30])
    with pytest.raises(UserError, match=r"a.png: it is cut off; copy the file again\."):
        browser_picture(tmp_path / "a.png", (H, W))
    (tmp_path / "b.png").write_bytes(png(RGB, kind="rgb"))
    with pytest.raises(UserError, match=r"b.png: it has 12 x 20 pixels, and had 20 x 12"):
        browser_picture(tmp_path / "b.png", (W, H))
