import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from decomp.platform.learners.nnunet.bottleneck import Mosaic


def coordinates(start: tuple[int, ...], cells: tuple[int, ...], stride: tuple[float, ...]) -> torch.Tensor:
    """The centre of every cell of a window, one feature per axis."""
    axes = [a + (np.arange(k) + 0.5) * s for a, k, s in zip(start, cells, stride, strict=True)]
    return torch.from_numpy(np.stack(np.meshgrid(*axes, indexing="ij"))).float()


@given(st.data())
def test_every_cell_tells_its_own_place(data: st.DataObject) -> None:
    cells = data.draw(st.tuples(st.integers(2, 4), st.integers(2, 4)))
    stride = data.draw(st.tuples(st.sampled_from([1, 2, 4]), st.sampled_from([1, 2, 4])))
    size = tuple(k * s for k, s in zip(cells, stride, strict=True))
    shape = tuple(data.draw(st.integers(max(2, n // 2), 3 * n)) for n in size)
    padding = tuple(max(0, n - m) // 2 for n, m in zip(size, shape, strict=True))
    places = []
    for n, m in zip(shape, size, strict=True):
        # Each window starts within the one before; the last one ends where the volume does.
        starts = [0]
        while starts[-1] + m < n:
            starts.append(min(starts[-1] + data.draw(st.integers(max(1, m // 2), m)), n - m))
        places.append(starts)
    starts = list(itertools.product(*places))
    mosaic = Mosaic(shape, padding, starts, size)
    for start in starts:
        mosaic.add(coordinates(start, cells, stride))
    found = mosaic.bottleneck()
    assert found.stride == stride
    for cell in np.ndindex(*found.values.shape[1:]):
        for axis in range(2):
            centre = padding[axis] + (cell[axis] + 0.5) * stride[axis]
            nearest = min(places[axis], key=lambda a: abs(a + size[axis] / 2 - centre))
            edge = nearest + 0.5 * stride[axis], nearest + size[axis] - 0.5 * stride[axis]
            assert found.values[(axis, *cell)] == pytest.approx(np.clip(centre, *edge), abs=1e-4)


def test_the_window_with_the_nearest_centre_describes_a_cell() -> None:
    mosaic = Mosaic((6,), (0,), [(0,), (2,)], (4,))
    for value in (1.0, 2.0):
        mosaic.add(torch.full((1, 2), value))
    assert mosaic.bottleneck().values[0].tolist() == [1, 1, 2]


def test_a_window_too_few_is_noticed() -> None:
    mosaic = Mosaic((6,), (0,), [(0,), (2,)], (4,))
    mosaic.add(torch.zeros(1, 2))
    with pytest.raises(ValueError, match="1 of 2 windows"):
        mosaic.bottleneck()
