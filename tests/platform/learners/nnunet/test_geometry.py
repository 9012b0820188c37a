import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from decomp.platform.learners.nnunet.geometry import Geometry, covered, nearest
from decomp.platform.regions import Region

lengths = st.floats(0.3, 8)
voxels = st.tuples(lengths, lengths, lengths)
shapes = st.tuples(*[st.integers(4, 60)] * 3)


@given(shapes, voxels, voxels)
def test_the_shape_of_the_grid_is_the_one_that_nnunet_computes(
    shape: tuple[int, ...], voxel: tuple[float, ...], spacing: tuple[float, ...]
) -> None:
    from nnunetv2.preprocessing.resampling.default_resampling import compute_new_shape

    grid = Geometry(shape, voxel).resampled(spacing)
    assert grid.shape == tuple(compute_new_shape(shape, voxel, spacing))
    assert grid.voxel == spacing


def test_in_two_dimensions_the_slices_stay() -> None:
    assert Geometry((7, 10, 20), (5.0, 1.0, 1.0)).resampled((2.0, 4.0)) == Geometry((7, 5, 5), (5.0, 2.0, 4.0))


@st.composite
def windows(draw: st.DrawFn) -> tuple[Region, tuple[int, ...], tuple[int, ...]]:
    grid, volume = draw(shapes), draw(shapes)
    start = tuple(draw(st.integers(0, n - 1)) for n in grid)
    size = tuple(draw(st.integers(1, n - a)) for n, a in zip(grid, start, strict=True))
    return Region("a", start, size), grid, volume


@given(windows())
def test_a_window_covers_the_same_place_in_the_volume(
    case: tuple[Region, tuple[int, ...], tuple[int, ...]],
) -> None:
    region, grid, volume = case
    found = covered(region, grid, volume)
    for axis in range(3):
        ratio = volume[axis] / grid[axis]
        first, last = region.start[axis] * ratio, (region.start[axis] + region.size[axis]) * ratio
        a, b = found.start[axis], found.start[axis] + found.size[axis]
        assert 0 <= a < b <= volume[axis]
        assert abs((a + b) / 2 - (first + last) / 2) <= 1
        if region.size[axis] > 1:
            assert a <= first + 1e-6
            assert b >= last - 1e-6
            assert b - a < last - first + 2
        else:
            assert b - a <= max(1, ratio + 1)


def test_one_slice_stays_one_slice_where_slices_are_as_thick() -> None:
    assert covered(Region("a", (3, 2, 2), (1, 4, 4)), (10, 10, 10), (10, 20, 20)) == Region("a", (3, 4, 4), (1, 8, 8))


def test_a_thick_slice_is_the_thin_ones_within_it_and_a_thin_one_the_nearest() -> None:
    assert covered(Region("a", (1,), (1,)), (10,), (30,)) == Region("a", (3,), (3,))
    assert covered(Region("a", (4,), (1,)), (30,), (10,)) == Region("a", (1,), (1,))


@given(windows(), st.integers(0, 2**32 - 1))
def test_the_mask_of_an_irregular_region_is_that_of_the_nearest_voxels(
    case: tuple[Region, tuple[int, ...], tuple[int, ...]], seed: int
) -> None:
    window, grid, volume = case
    mask = np.random.default_rng(seed).random(window.size) < 0.5
    mask.flat[0] = True
    region = Region.of_mask("a", window.start, mask)
    found = covered(region, grid, volume)
    box = covered(window, grid, volume)
    assert (found.start, found.size) == (box.start, box.size)
    for place in np.ndindex(*found.size):
        centre = [(a + k + 0.5) * g / v for a, k, g, v in zip(found.start, place, grid, volume, strict=True)]
        inside = [min(max(int(c), a), a + n - 1) - a for c, a, n in zip(centre, region.start, region.size, strict=True)]
        near_border = any(abs(c - round(c)) < 1e-9 for c in centre)
        assert near_border or found.inside[place] == mask[tuple(inside)]


@given(shapes, shapes)
def test_the_nearest_voxel_is_taken(old: tuple[int, ...], new: tuple[int, ...]) -> None:
    where = np.stack(np.meshgrid(*map(np.arange, old), indexing="ij"), -1).reshape(-1, 3)
    number = np.arange(len(where)).reshape(old)
    resampled = nearest(number, new)
    assert resampled.shape == new
    places = where[resampled.ravel()] + 0.5
    centres = np.stack(np.meshgrid(*map(np.arange, new), indexing="ij"), -1).reshape(-1, 3) + 0.5
    assert np.all(np.abs(places - centres * np.array(old) / np.array(new)) <= 0.5 + 1e-9)
