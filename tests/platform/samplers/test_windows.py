import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.stats import chisquare

from decomp.platform.regions import Region
from decomp.platform.samplers.windows import best_window, fixed_point, free_windows, random_window, window_sums

SHAPES = st.tuples(st.integers(4, 12), st.integers(4, 12))
SIZES = st.tuples(st.integers(1, 4), st.integers(1, 4))


def starts(shape, size):
    return [(i, j) for i in range(shape[0] - size[0] + 1) for j in range(shape[1] - size[1] + 1)]


@given(SHAPES.flatmap(lambda shape: hnp.arrays(np.uint8, shape, elements=st.integers(0, 1))), SIZES)
def test_window_sums_equal_brute_force(mask, size):
    sums = window_sums(mask, size)
    assert sums.shape == tuple(n - k + 1 for n, k in zip(mask.shape, size, strict=True))
    for i, j in starts(mask.shape, size):
        assert sums[i, j] == mask[i : i + size[0], j : j + size[1]].sum(dtype=int)


@given(SHAPES.flatmap(lambda s: hnp.arrays(np.float32, s, elements=st.floats(0, 5, width=32))), SIZES)
def test_fixed_point_sums_are_exact_and_close_to_the_mean(values, size):
    scaled, to_mean = fixed_point(values, size)
    sums = window_sums(scaled, size)
    for i, j in starts(values.shape, size):
        window = np.s_[i : i + size[0], j : j + size[1]]
        assert sums[i, j] == scaled[window].sum(dtype=np.int64)
        np.testing.assert_allclose(sums[i, j] * to_mean, values[window].mean(dtype=np.float64), atol=1e-6)


@given(SHAPES, SIZES, st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), SIZES), max_size=3))
def test_free_windows_overlap_nothing_annotated(shape, size, corners):
    annotated = [Region("a", (i, j), tuple(np.minimum(s, np.subtract(shape, (i, j))))) for i, j, s in corners]
    free = free_windows(shape, size, annotated)
    for start in starts(shape, size):
        assert free[start] == (not any(Region("a", start, size).overlaps(other) for other in annotated))


def test_ties_have_no_position_bias():
    free = np.ones((4, 5), bool)
    values = np.zeros((4, 5), np.int32)
    rng = np.random.default_rng(0)
    hits = np.zeros((2, 4, 5))
    for _ in range(4000):
        hits[0][best_window(values, free, rng)] += 1
        hits[1][random_window(free, rng)] += 1
    for counts in hits:
        assert chisquare(counts.ravel()).pvalue > 1e-4


def test_no_free_window_gives_none():
    nothing = np.zeros((2, 2), bool)
    rng = np.random.default_rng(0)
    assert best_window(np.ones((2, 2), np.int32), nothing, rng) is None
    assert random_window(nothing, rng) is None
