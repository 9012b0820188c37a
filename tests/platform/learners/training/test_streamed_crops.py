import threading
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import pytest

from decomp.platform.datasets import IGNORE, Dataset
from decomp.platform.learners.training.streamed_crops import IMAGENET_MEAN, StreamedCrops
from decomp.platform.ledger import Annotation, Ledger
from decomp.platform.randomness import stream
from decomp.platform.regions import Region

SIZE = (60, 90)


@dataclass(frozen=True)
class Places(Dataset):
    """Images whose pixels say where they lie: row, column, and the image's number; the label is the row's tenth."""

    kind: type = np.float32
    reads: Counter = field(default_factory=Counter, compare=False)

    classes = tuple(f"row {k}0" for k in range(6))

    def ids(self, split, fold):
        return tuple(f"{k}" for k in range(4))

    def shape(self, image):
        return SIZE

    def image(self, image):
        self.reads[image] += 1
        rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
        return np.stack([rows, columns, np.full(SIZE, int(image))], -1).astype(self.kind)

    def labels(self, image):
        return np.broadcast_to(np.arange(SIZE[0], dtype=np.uint8)[:, None] // 10, SIZE).copy()

    def fingerprint(self):
        return "0"


LEDGER = Ledger.of(
    Annotation(Region(image, start, (12, 14)), 1, rank)
    for image in "013"
    for rank, start in enumerate([(0, 0), (48, 76), (20, 30)])
)


def crops(dataset, size=(24, 32), scales=(0.5, 2.0), batch=4, balanced=0.5, workers=2, cache=1e9, **options):
    return StreamedCrops(dataset, LEDGER, size, scales, batch, balanced, workers, cache, **options)


def drawn(streamed, n=10, seed=0):
    return list(streamed.batches(stream(seed, "training"), n))


def test_labels_lie_where_their_pixels_do():
    for batch in drawn(crops(Places(), augment=False), 30):
        assert batch.pixels.shape == (4, 24, 32, 3)
        assert batch.labels.shape == (4, 24, 32)
        rows, columns, images = np.moveaxis(batch.pixels, -1, 0)
        known = batch.labels != IGNORE
        # Nearest and linear interpolation differ by less than a pixel of the image.
        assert (np.abs(rows[known] - 10 * batch.labels[known] - 4.5) <= 4.5 + 1).all()
        inside = np.zeros(batch.labels.shape, bool)
        for top, left in [(0, 0), (48, 76), (20, 30)]:
            inside |= (rows > top - 1) & (rows < top + 12) & (columns > left - 1) & (columns < left + 14)
        assert not (known & ~inside).any()
        assert not np.isin(images, 2).any()
        assert known.any(axis=(1, 2)).all()


def test_every_scale_in_the_range_occurs():
    steps = [
        np.median(np.diff(pixels[:, :, 1], axis=1)[:, :8])
        for batch in drawn(crops(Places(), size=(16, 16), augment=False), 40)
        for pixels in batch.pixels
    ]
    assert min(steps) == pytest.approx(0.5, abs=0.05)
    assert max(steps) == pytest.approx(2, abs=0.1)
    assert np.mean(steps) == pytest.approx(np.log(4) / 1.5, rel=0.1)  # mean of 1 / scale


def test_half_of_the_crops_are_mirrored():
    rising = [
        bool((np.diff(pixels[8, :8, 1]) > 0).all())
        for batch in drawn(crops(Places(), size=(16, 16)), 40)
        for pixels in batch.pixels
    ]
    assert 0.35 < np.mean(rising) < 0.65


def test_crops_larger_than_the_image_are_extended():
    batch = drawn(crops(Places(), size=(80, 120), scales=(1.0, 1.0), augment=False), 1)[0]
    assert (batch.labels[:, 60:] == IGNORE).all()
    assert (batch.labels[:, :, 90:] == IGNORE).all()
    assert (batch.pixels[:, 60:, :90] == batch.pixels[:, 59:60, :90]).all()
    assert np.array_equal(batch.pixels[0, :60, :90, :2], Places().image("0")[..., :2])


def test_threads_and_cache_change_nothing():
    first = drawn(crops(Places(np.uint8), workers=1, cache=0.0))
    second = drawn(crops(Places(np.uint8), workers=5))
    assert len(first) == len(second) == 10
    for a, b in zip(first, second, strict=True):
        assert np.array_equal(a.pixels, b.pixels)
        assert np.array_equal(a.labels, b.labels)
    assert not np.array_equal(first[0].pixels, drawn(crops(Places(np.uint8)), seed=1)[0].pixels)


def test_images_are_read_when_needed_and_kept_within_the_limit():
    places = Places(np.uint8)
    streamed = crops(places, workers=1)
    assert sum(places.reads.values()) == 1  # to see what kind of image it is
    drawn(streamed, 20)
    assert places.reads == {"0": 2, "1": 1, "3": 1}
    uncached = Places(np.uint8)
    drawn(crops(uncached, workers=1, cache=0.0), 20)
    assert sum(uncached.reads.values()) == 1 + 20 * 4


def test_all_classes_are_drawn_where_balanced():
    labels = np.concatenate([batch.labels.ravel() for batch in drawn(crops(Places(), balanced=1.0), 40)])
    assert set(np.unique(labels)) == {0, 1, 2, 3, 4, 5, IGNORE}


def test_rgb_is_normalised_as_pretrained_weights_expect_and_other_images_by_themselves():
    assert crops(Places(np.uint8)).mean == pytest.approx(IMAGENET_MEAN)
    streamed = crops(Places())
    pixels = np.stack([Places().image(k) for k in "013"]).astype(np.float64)
    assert streamed.mean == pytest.approx(pixels.mean((0, 1, 2)), rel=1e-5)
    assert streamed.std == pytest.approx(pixels.std((0, 1, 2)), rel=1e-5)


def test_8_bits_stay_8_bits():
    assert drawn(crops(Places(np.uint8)), 1)[0].pixels.dtype == np.uint8
    assert drawn(crops(Places(np.float64)), 1)[0].pixels.dtype == np.float32


def test_stopping_early_leaves_no_thread_behind():
    before = threading.active_count()
    batches = crops(Places()).batches(stream(0, "training"), 1000)
    next(batches)
    batches.close()
    assert threading.active_count() == before
