import cv2
import numpy as np
import pytest

from decomp.platform.datasets import IGNORE
from decomp.platform.learners.training.augmentation import BRIGHTNESS, cut, distorted, jittered

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (40, 50, 3)).astype(np.uint8)
LABELS = RNG.integers(0, 7, (40, 50)).astype(np.uint8)


def test_a_cut_at_scale_one_is_the_window():
    pixels, labels = cut(PIXELS, LABELS, (slice(3, 23), slice(7, 37)), 1.0, (20, 30))
    assert np.array_equal(pixels, PIXELS[3:23, 7:37])
    assert np.array_equal(labels, LABELS[3:23, 7:37])


@pytest.mark.parametrize("channels", [1, 2, 3, 7])
@pytest.mark.parametrize("kind", [np.uint8, np.float64, np.int32])
def test_a_cut_has_the_size_of_the_crop(channels, kind):
    image = RNG.integers(0, 200, (40, 50, channels)).astype(kind)
    for scale in (0.5, 0.73, 1.9):
        sides = [min(40, round(20 / scale)), min(50, round(30 / scale))]
        pixels, labels = cut(image, LABELS, (slice(0, sides[0]), slice(0, sides[1])), scale, (20, 30))
        assert pixels.shape == (20, 30, channels)
        assert pixels.dtype == (np.uint8 if kind == np.uint8 else np.float32)
        assert labels.shape == (20, 30)
        assert labels.dtype == np.uint8
        if 30 / scale <= 50 and 20 / scale <= 40:
            assert not (labels == IGNORE).any()


def test_what_the_image_lacks_is_ignored():
    pixels, labels = cut(PIXELS, LABELS, (slice(0, 40), slice(0, 50)), 0.5, (30, 30))
    assert (labels[20:] == IGNORE).all()
    assert (labels[:, 25:] == IGNORE).all()
    assert not (labels[:20, :25] == IGNORE).any()
    assert np.array_equal(pixels[20:, :25], np.broadcast_to(pixels[19, :25], (10, 25, 3)))


def test_distortion_keeps_what_an_image_is():
    images = [distorted(PIXELS, np.random.default_rng(seed)) for seed in range(400)]
    assert all(image.shape == PIXELS.shape and image.dtype == np.uint8 for image in images)
    assert np.array_equal(images[3], distorted(PIXELS, np.random.default_rng(3)))
    unchanged = sum(np.array_equal(image, PIXELS) for image in images)
    assert 15 < unchanged < 60  # at least one in sixteen


def test_each_change_of_colour_is_what_it_says():
    """Grey stays grey under saturation and hue, so that only brightness and contrast are left."""
    grey = np.broadcast_to(np.arange(0, 250, 5, dtype=np.uint8)[:, None, None], (50, 4, 3)).copy()
    slopes, offsets = [], []
    for seed in range(200):
        image = distorted(grey, np.random.default_rng(seed))
        assert np.ptp(image, axis=2).max() <= 1
        middle = slice(20, 30)
        slope, offset = np.polyfit(grey[middle, 0, 0], image[middle, 0, 0], 1)
        slopes.append(slope)
        offsets.append(offset)
    assert 0.45 < min(slopes) < 0.6
    assert 1.4 < max(slopes) < 1.6
    assert np.max(np.abs(offsets)) < 1.5 * BRIGHTNESS + 2
    assert np.mean(np.isclose(slopes, 1, atol=0.01)) > 0.4


def test_hue_turns_by_a_bounded_angle():
    red = np.broadcast_to(np.array([200, 50, 50], np.uint8), (3, 3, 3)).copy()
    hues = {int(cv2.cvtColor(distorted(red, np.random.default_rng(s)), cv2.COLOR_RGB2HSV)[0, 0, 0]) for s in range(200)}
    turns = {(hue + 90) % 180 - 90 for hue in hues}
    assert max(map(abs, turns)) <= 20
    assert min(turns) < -10
    assert max(turns) > 10


def test_jitter_is_a_small_gain_and_offset():
    image = RNG.normal(1000, 30, (20, 30, 2)).astype(np.float32)
    mean, std = np.array([1000, 1000], np.float32), np.array([30, 30], np.float32)
    changed = jittered(image, mean, std, np.random.default_rng(1))
    slope, offset = np.polyfit((image - 1000).ravel(), (changed - 1000).ravel(), 1)
    assert slope != 1
    assert abs(slope - 1) <= 0.1
    assert abs(offset) <= 3
    np.testing.assert_allclose(changed - 1000, slope * (image - 1000) + offset, atol=0.01)
