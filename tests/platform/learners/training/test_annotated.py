import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from decomp.platform.datasets import IGNORE
from decomp.platform.errors import UserError
from decomp.platform.learners.training.annotated import AnnotatedPixels, revealed
from decomp.platform.regions import Region


def example(seed, n_images=3, n_classes=4):
    """Labels of images that are annotated in windows and in an irregular region; one label is rare."""
    rng = np.random.default_rng(seed)
    images = []
    for number in range(n_images):
        labels = np.full((12, 15), IGNORE, np.uint8)
        regions = [Region(str(number), (0, 0), (4, 5)), Region(str(number), (6, 8), (3, 7))]
        regions.append(Region.of_mask(str(number), (5, 1), rng.random((4, 5)) < 0.6))
        for region in regions:
            kinds = rng.choice([0, 1, 2, 3, IGNORE], region.area, p=[0.4, 0.3, 0.05, 0.05, 0.2])
            region.mark(labels, kinds.astype(np.uint8))
        images.append((regions, labels))
    return images


@given(seed=st.integers(0, 30))
def test_every_annotated_pixel_has_exactly_one_number(seed):
    images = example(seed)
    table = AnnotatedPixels(images, 4)
    for column in range(5):
        expected = {
            (k, int(y), int(x))
            for k, (_, labels) in enumerate(images)
            for y, x in np.argwhere(labels == column if column < 4 else labels != IGNORE)
        }
        found = set()
        for ordinal in range(len(expected)):
            image = table.image((column, ordinal))
            found.add((image, *table.position((column, ordinal), images[image][1])))
        assert found == expected


def test_pixels_are_drawn_by_class_or_by_area():
    images = example(0)
    table = AnnotatedPixels(images, 4)
    rng = np.random.default_rng(0)

    def shares(balanced):
        kinds = []
        for pixel in table.draw(rng, 4000, balanced):
            labels = images[table.image(pixel)][1]
            kinds.append(labels[table.position(pixel, labels)])
        return np.bincount(kinds, minlength=4) / len(kinds)

    counts = sum(np.bincount(labels[labels != IGNORE], minlength=4) for _, labels in images)
    assert shares(0.0) == pytest.approx(counts / counts.sum(), abs=0.03)
    assert shares(1.0) == pytest.approx(np.full(4, 0.25), abs=0.03)
    assert table.class_weights(1.0)[:4] == pytest.approx(counts.sum() / counts)
    assert not table.class_weights(1.0)[4:].any()


def test_labels_beyond_the_classes_are_a_user_error():
    with pytest.raises(UserError, match="beyond the 3 classes"):
        AnnotatedPixels(example(0), 3)


@pytest.mark.parametrize("shape", [(9, 12), (4, 9, 12)])
def test_labels_are_revealed_in_the_annotated_regions_alone(shape):
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 4, shape).astype(np.uint8)
    truth[(0,) * len(shape)] = IGNORE

    class Volumes:
        def labels(self, image):
            return truth.copy()

    start, size = (0, 1, 2)[-len(shape) :], (2, 3, 5)[-len(shape) :]
    regions = [Region("a", (0,) * len(shape), (1,) * len(shape)), Region("a", start, size)]
    regions.append(Region.of_mask("a", (1,) * len(shape), rng.random(size) < 0.5))
    expected = np.full(shape, IGNORE, np.uint8)
    for region in regions:
        for number in range(region.area):
            expected[region.pixel(number)] = truth[region.pixel(number)]
    assert np.array_equal(revealed(Volumes(), "a", regions), expected)
