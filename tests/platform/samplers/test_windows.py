import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from decomp.platform.predictions import LEVELS, UncertaintyMap
from decomp.platform.regions import Region
from decomp.platform.samplers.places import MapPeaks
from decomp.platform.samplers.tiny import KINDS, TinyImage, free, tiny_image
from decomp.platform.samplers.uncertainty import UncertaintyRegions
from decomp.platform.samplers.windows import Windows, window_sums


@st.composite
def maps(draw, dtype, greatest):
    shape = draw(st.lists(st.integers(1, 9), min_size=2, max_size=3))
    size = [draw(st.integers(1, n)) for n in shape]
    values = np.random.default_rng(draw(st.integers(0, 2**32))).integers(greatest + 1, size=shape)
    return values.astype(dtype), tuple(size)


def brute_force_sums(values, size):
    sums = np.zeros([n - k + 1 for n, k in zip(values.shape, size, strict=True)], np.int64)
    for start in itertools.product(*map(range, sums.shape)):
        window = tuple(slice(a, a + k) for a, k in zip(start, size, strict=True))
        sums[start] = values[window].sum(dtype=np.int64)
    return sums


@given(st.one_of(maps(np.uint8, 1), maps(np.uint8, 255), maps(np.uint16, LEVELS)))
def test_window_sums_equal_brute_force(case):
    values, size = case
    sums = window_sums(values, size, int(values.max()))
    np.testing.assert_array_equal(sums, brute_force_sums(values, size))


@given(maps(np.uint16, LEVELS))
def test_window_sums_of_a_tensor_are_the_same(case):
    values, size = case
    tensor = torch.from_numpy(values.astype(np.int32))
    np.testing.assert_array_equal(window_sums(tensor, size, LEVELS).numpy(), brute_force_sums(values, size))


@pytest.mark.parametrize("kind", [np.asarray, lambda values: torch.from_numpy(values.astype(np.int32))])
def test_sums_beyond_the_range_of_int32_are_exact(kind):
    values = np.full((200, 201), LEVELS, np.uint16)
    values[-1, -1] -= 1
    sums = window_sums(kind(values), (200, 200), LEVELS)
    assert [int(total) for total in sums[0]] == [LEVELS * 40_000, LEVELS * 40_000 - 1]


@given(st.integers(0, 2**32))
def test_regions_are_the_same_where_the_map_stays_on_the_device(seed):
    """The CPU stands in for the device: what counts is that the map is a tensor."""
    rng = np.random.default_rng(seed)
    image = tiny_image("slice" if seed % 2 else "rectangle", rng)
    view = image.view(rng)
    tensor = UncertaintyMap(torch.from_numpy(view.uncertainty.levels.astype(np.int32)), view.uncertainty.unit)
    assert tensor.mean == view.uncertainty.mean
    selector = UncertaintyRegions()
    here = selector.choose(view, 5, np.random.default_rng(1))
    there = selector.choose(type(view)(image.places(), uncertainty=tensor), 5, np.random.default_rng(1))
    assert here == there


@pytest.mark.parametrize("shape", KINDS)
@settings(max_examples=30)
@given(st.integers(0, 2**32))
def test_places_are_free_unless_they_overlap(shape, seed):
    rng = np.random.default_rng(seed)
    image = tiny_image(shape, rng)
    places = image.places()
    peaks, found = places.uniform(), []
    while (place := peaks.best(rng)) is not None:
        found.append(places.take(place))
        assert found[-1] in image.free(found[:-1])
    assert image.free(found) == []


@settings(max_examples=100)
@given(maps(np.uint8, 1), st.integers(0, 2**32))
def test_of_regions_that_may_be_annotated_again_the_very_window_is_free(case, seed):
    """Brute force over any annotated boxes, of the size of a window or not, reaching over each other or not."""
    values, size = case
    rng = np.random.default_rng(seed)
    annotated = []
    for _ in range(rng.integers(1, 4)):
        start = tuple(int(rng.integers(n)) for n in values.shape)
        extent = tuple(int(rng.integers(1, n - a + 1)) for n, a in zip(values.shape, start, strict=True))
        fitting = all(a + k <= n for a, k, n in zip(start, size, values.shape, strict=True))
        annotated.append(Region("a", start, size if fitting and rng.random() < 0.8 else extent))
    again = [region for region in annotated if rng.random() < 0.7]
    image = TinyImage(values.shape, size, annotated=tuple(annotated), again=tuple(again))
    is_free = np.ones([n - k + 1 for n, k in zip(values.shape, size, strict=True)], bool)
    for block in image.places().taken:
        is_free[block] = False
    for region in image.regions():
        others = [other for other in annotated if other != region or other not in again]
        assert is_free[region.start] == (free([region], others) == [region])


@pytest.mark.parametrize("shape", [shape for shape in KINDS if shape != "segments"])
@settings(max_examples=30)
@given(st.integers(0, 2**32))
def test_a_free_window_is_seen(shape, seed):
    rng = np.random.default_rng(seed)
    image = tiny_image(shape, rng)
    taken = list(image.annotated)
    for region in rng.permutation(np.array(image.regions(), object)):
        left = free(image.regions(), taken)
        assert Windows("a", image.shape, image.region_shape, taken).any_free() == bool(left)
        taken += [region] if region in left else []


@given(st.integers(0, 2**32))
def test_peaks_are_the_greatest_free_values_drawn_uniformly_among_ties(seed):
    rng = np.random.default_rng(seed)
    values = rng.integers(3, size=(4, 5)).astype(np.int32)
    taken = [(slice(1, 3), slice(0, 4))] if seed % 2 else []
    blocked = np.zeros((4, 5), bool)
    for block in taken:
        blocked[block] = True
    peaks = MapPeaks(values.copy(), taken)
    ties = np.argwhere(~blocked & (values == values[~blocked].max()))

    class Last:
        def integers(self, n):
            assert n == len(ties)
            return n - 1

    assert peaks.best(Last()) == tuple(ties[-1])
    assert peaks.score(tuple(ties[-1])) == values[tuple(ties[-1])]
