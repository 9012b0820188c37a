from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import ndimage

from decomp.platform.annotation.outlines import fill, trace

MASKS = arrays.arrays(np.bool_, arrays.array_shapes(min_dims=2, max_dims=2, max_side=9))


def whole(mask):
    return (0, mask.shape[0]), (0, mask.shape[1])


@given(MASKS)
def test_outlines_of_a_mask_filled_again_are_the_mask(mask):
    filled = [fill(polygon, whole(mask)) for polygon in trace(mask)]
    assert (np.sum(filled, axis=0, initial=0) == mask).all() if filled else not mask.any()


@given(MASKS)
def test_each_group_of_pixels_that_share_edges_is_one_polygon(mask):
    groups, n_groups = ndimage.label(mask)
    polygons = trace(mask)
    assert len(polygons) == n_groups
    for polygon in polygons:
        assert len(np.unique(groups[fill(polygon, whole(mask))])) == 1
        np.testing.assert_array_equal(fill(polygon, whole(mask)), groups == groups[fill(polygon, whole(mask))][0])


@given(MASKS)
def test_no_ring_meets_itself_and_holes_lie_in_the_outer_ring_which_runs_clockwise(mask):
    for outer, *holes in trace(mask):
        for ring in (outer, *holes):
            assert max(Counter(map(tuple, walked(ring))).values()) == 1
        area = fill([outer], whole(mask))
        assert all((fill([hole], whole(mask)) <= area).all() for hole in holes)
        assert turning(outer) > 0 > max(map(turning, holes), default=-1)


@given(MASKS)
def test_rings_have_no_corner_on_a_straight_line(mask):
    for ring in (ring for polygon in trace(mask) for ring in polygon):
        along_x = np.roll(ring, -1, axis=0)[:, 0] != ring[:, 0]
        assert (along_x != np.roll(along_x, 1)).all()


@given(MASKS, st.integers(-3, 9), st.integers(-3, 9))
def test_a_window_is_filled_as_the_same_place_of_the_whole(mask, top, left):
    window = (top, top + 4), (left, left + 5)
    padded = np.pad(mask, 20)[top + 20 : top + 24, left + 20 : left + 25]
    filled = [fill(polygon, window) for polygon in trace(mask)]
    assert (np.sum(filled, axis=0, initial=0) == padded).all() if filled else not padded.any()


@given(
    st.lists(st.tuples(st.floats(-9, 15), st.floats(-9, 15)), min_size=3, max_size=9),
    st.lists(st.tuples(st.floats(-9, 15), st.floats(-9, 15)), max_size=6),
)
def test_a_pixel_belongs_if_a_ray_from_its_centre_crosses_the_rings_an_odd_number_of_times(outer, hole):
    rings = [np.array(ring, np.float64) for ring in (outer, hole) if len(ring) > 2]
    filled = fill(rings, ((0, 7), (0, 8)))
    for row, column in np.ndindex(7, 8):
        assert filled[row, column] == crossed(rings, column + 0.5, row + 0.5)


def test_a_centre_on_a_line_belongs_to_what_lies_right_of_it_or_below():
    square = [np.array([(1.5, 1.5), (3.5, 1.5), (3.5, 3.5), (1.5, 3.5)])]
    assert np.argwhere(fill(square, ((0, 5), (0, 5)))).tolist() == [[1, 1], [1, 2], [2, 1], [2, 2]]


@pytest.mark.parametrize("far", [-1e9, 1e9])
def test_corners_may_lie_far_beyond_the_window(far):
    triangle = [np.array([(far, -1e9), (far, 1e9), (2.2, 0.0)])]
    inside = fill(triangle, ((0, 1), (0, 4)))
    assert inside.tolist() == [[True, True, False, False] if far < 0 else [False, False, False, True]]


def crossed(rings, x, y):
    """The rule, corner by corner."""
    inside = False
    for ring in rings:
        for (x0, y0), (x1, y1) in zip(ring, np.roll(ring, -1, axis=0), strict=True):
            if min(y0, y1) <= y < max(y0, y1) and x0 + (y - y0) * ((x1 - x0) / (y1 - y0)) <= x:
                inside = not inside
    return inside


def walked(ring):
    """All corners of pixels on a ring."""
    for corner, following in zip(ring, np.roll(ring, -1, axis=0), strict=True):
        steps = int(np.abs(following - corner).sum())
        yield from (tuple(corner + (following - corner) * k / steps) for k in range(steps))


def turning(ring):
    x, y = ring.T
    return np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y)
