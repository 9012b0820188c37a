from hypothesis import given
from hypothesis import strategies as st

from decomp.platform.regions import Region


def windows():
    return st.builds(
        Region,
        image=st.sampled_from("ab"),
        start=st.tuples(st.integers(0, 8), st.integers(0, 8)),
        size=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    )


def pixels(region):
    (a, b), (n, m) = region.start, region.size
    return {(region.image, i, j) for i in range(a, a + n) for j in range(b, b + m)}


@given(windows(), windows())
def test_overlap_means_a_shared_pixel(one, other):
    assert one.overlaps(other) == bool(pixels(one) & pixels(other))


@given(windows())
def test_area_counts_pixels(region):
    assert region.area == len(pixels(region))
