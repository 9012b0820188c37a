import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from decomp.platform.regions import Region


@st.composite
def regions(draw):
    """Windows and irregular regions."""
    image, start = draw(st.sampled_from("ab")), (draw(st.integers(0, 8)), draw(st.integers(0, 8)))
    size = (draw(st.integers(1, 5)), draw(st.integers(1, 5)))
    if draw(st.booleans()):
        return Region(image, start, size)
    inside = np.random.default_rng(draw(st.integers(0, 99))).random(size) < 0.5
    inside[0, 0] = True
    return Region.of_mask(image, start, inside)


def pixels(region):
    image = np.zeros((13, 13), bool)
    region.mark(image, True)
    return {(region.image, int(i), int(j)) for i, j in np.argwhere(image)}


@given(regions(), regions())
def test_overlap_means_a_shared_pixel(one, other):
    assert one.overlaps(other) == bool(pixels(one) & pixels(other))


@given(regions())
def test_area_counts_pixels(region):
    assert region.area == len(pixels(region))


@given(regions())
def test_values_are_read_and_written_in_the_same_order(region):
    image = np.arange(169).reshape(13, 13)
    copy = np.zeros_like(image)
    region.mark(copy, region.of(image))
    assert {(region.image, int(i), int(j)) for i, j in np.argwhere(copy > 0)} == pixels(region) - {(region.image, 0, 0)}
    assert (copy[copy > 0] == image[copy > 0]).all()
    for number, value in enumerate(region.of(image)):
        assert image[region.pixel(number)] == value


def test_a_window_has_its_size_and_no_mask():
    region = Region("a", (2, 3), (4, 5))
    assert region.slices == (slice(2, 6), slice(3, 8))
    assert region.mask is None
