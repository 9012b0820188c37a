import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from decomp.platform.learners.inference.bottleneck import Bottleneck, ForwardRegions
from decomp.platform.regions import Region

N_CLASSES, N_FEATURES = 4, 3


class Scene:
    """Logits, labels and a bottleneck of one random image."""

    def __init__(self, axes, stride, *, dtype=torch.float32, padding=0, seed=0):
        rng = np.random.default_rng(seed)
        cells = [math.ceil(n / s) + padding for n, s in zip(axes, stride, strict=True)]
        self.stride = stride
        self.values = torch.from_numpy(rng.normal(size=(N_FEATURES, *cells))).to(dtype)
        self.logits = torch.from_numpy(3 * rng.normal(size=(N_CLASSES, *axes))).to(dtype)
        self.labels = self.logits.float().numpy().argmax(0).astype(np.uint8)
        self.reader = ForwardRegions(self.logits, self.labels, Bottleneck(self.values, stride))

    def pixels_of_cells(self, region):
        """The map at every pixel of the region, shape (D, area): repeated, or along short axes interpolated."""
        where = np.argwhere(inside(region)) + region.start
        extent = where.max(0) + 1 - where.min(0)
        values = self.values.double().numpy()
        for axis, step in enumerate(self.stride):
            if extent[axis] >= step:
                values = np.repeat(values, step, axis + 1)
            else:
                centres = (np.arange(values.shape[axis + 1]) + 0.5) * step
                centroid = (where[:, axis] + 0.5).mean()
                line = np.apply_along_axis(lambda x, at=centroid, xs=centres: np.interp(at, xs, x), axis + 1, values)
                values = np.repeat(np.expand_dims(line, axis + 1), self.labels.shape[axis], axis + 1)
        return values[(slice(None), *where.T)]

    def residual(self, region):
        """Mean of one-hot(Y) - p over the region, pixel by pixel."""
        total, area = np.zeros(N_CLASSES), 0
        for offset in itertools.product(*map(range, region.size)):
            if inside(region)[offset]:
                pixel = tuple(np.add(region.start, offset))
                exponentials = [math.exp(logit) for logit in self.logits[(slice(None), *pixel)].tolist()]
                total -= np.array(exponentials) / sum(exponentials)
                total[self.labels[pixel]] += 1
                area += 1
        return total / area


def inside(region):
    if region.mask is None:
        return np.ones(region.size, bool)
    return np.unpackbits(np.frombuffer(region.mask, np.uint8), count=math.prod(region.size)).reshape(region.size) > 0


@st.composite
def scenes(draw):
    """A scene of 1 to 3 axes and up to four of its regions, windows or irregular."""
    n_axes = draw(st.integers(1, 3))
    axes = tuple(draw(st.integers(1, 11)) for _ in range(n_axes))
    stride = tuple(draw(st.integers(1, 5)) for _ in range(n_axes))
    dtype = draw(st.sampled_from([torch.float32, torch.bfloat16, torch.float16]))
    scene = Scene(axes, stride, dtype=dtype, padding=draw(st.integers(0, 1)), seed=draw(st.integers(0, 99)))
    return scene, [draw(regions(axes)) for _ in range(draw(st.integers(1, 4)))]


@st.composite
def regions(draw, axes):
    start = tuple(draw(st.integers(0, n - 1)) for n in axes)
    size = tuple(draw(st.integers(1, n - a)) for a, n in zip(start, axes, strict=True))
    if draw(st.booleans()):
        return Region("a", start, size)
    bits = draw(st.lists(st.booleans(), min_size=math.prod(size), max_size=math.prod(size)).filter(any))
    return Region.of_mask("a", start, np.array(bits).reshape(size))


@settings(max_examples=200, deadline=None)
@given(scenes())
def test_agrees_with_the_map_brought_to_pixels(case):
    scene, some = case
    features, (pooled, residuals) = scene.reader.features(some), scene.reader.gradients(some)
    assert features.dtype == pooled.dtype == residuals.dtype == np.float32
    for row, region in enumerate(some):
        pixels = scene.pixels_of_cells(region)
        assert features[row] == pytest.approx(pixels.mean(1), abs=1e-5)
        assert pooled[row] == pytest.approx(pixels.max(1), abs=1e-5)
        assert residuals[row] == pytest.approx(scene.residual(region), abs=1e-5)


@settings(max_examples=50, deadline=None)
@given(scenes())
def test_a_row_depends_on_its_region_alone(case):
    scene, some = case
    together = scene.reader.features(some), *scene.reader.gradients(some)
    for row, region in enumerate(some):
        alone = scene.reader.features([region]), *scene.reader.gradients([region])
        for many, one in zip(together, alone, strict=True):
            assert np.array_equal(many[row], one[0])


@settings(max_examples=50, deadline=None)
@given(scenes())
def test_a_mask_without_holes_is_the_window(case):
    scene, some = case
    windows = [Region("a", region.start, region.size) for region in some]
    masks = [Region.of_mask("a", region.start, np.ones(region.size, bool)) for region in some]
    for window, mask in zip(
        (scene.reader.features(windows), *scene.reader.gradients(windows)),
        (scene.reader.features(masks), *scene.reader.gradients(masks)),
        strict=True,
    ):
        assert window == pytest.approx(mask, abs=1e-6)


def test_the_bounding_box_of_a_mask_may_be_loose():
    scene, bits = Scene((12, 12), (4, 4)), np.zeros((9, 9), bool)
    bits[3:5, 2:7] = True
    loose, tight = Region.of_mask("a", (1, 2), bits), Region("a", (4, 4), (2, 5))
    assert scene.reader.features([loose]) == pytest.approx(scene.reader.features([tight]), abs=1e-6)


def test_small_regions_are_interpolated_bilinearly():
    scene = Scene((8, 12), (4, 4))
    v = scene.values.numpy()
    # Its centre (3, 7) lies 1 pixel below the centres of row 0 and 1 right of those of column 1.
    expected = 0.75 * (0.75 * v[:, 0, 1] + 0.25 * v[:, 0, 2]) + 0.25 * (0.75 * v[:, 1, 1] + 0.25 * v[:, 1, 2])
    window = Region("a", (2, 6), (2, 2))
    assert scene.reader.features([window])[0] == pytest.approx(expected, abs=1e-6)
    assert scene.reader.gradients([window])[0][0] == pytest.approx(expected, abs=1e-6)


def test_interpolation_is_constant_beyond_the_outermost_centres():
    scene = Scene((8, 8), (4, 4))
    corners = [Region("a", (0, 0), (1, 1)), Region("a", (7, 7), (1, 1))]
    assert np.array_equal(scene.reader.features(corners), scene.values.numpy()[:, [0, 1], [0, 1]].T)


def test_a_slice_of_a_volume_is_interpolated_across_and_averaged_within():
    scene = Scene((8, 8, 8), (4, 2, 2))
    v = scene.values.numpy()
    between = 0.625 * v[:, 0] + 0.375 * v[:, 1]  # slice 3 lies 1.5 slices below the centre of cell 0
    window = Region("a", (3, 2, 4), (1, 4, 4))
    assert scene.reader.features([window])[0] == pytest.approx(between[:, 1:3, 2:4].mean((1, 2)), abs=1e-6)
    assert scene.reader.gradients([window])[0][0] == pytest.approx(between[:, 1:3, 2:4].max((1, 2)), abs=1e-6)


def test_strides_need_not_be_whole_numbers():
    values = torch.tensor([[1.0, 10.0, 100.0]])
    stride = 10 / 3
    reader = ForwardRegions(torch.zeros(2, 10), np.zeros(10, np.uint8), Bottleneck(values, (stride,)))
    windows = [Region("a", (0,), (10,)), Region("a", (2,), (4,))]
    expected = [37.0, (1 * (stride - 2) + 10 * (6 - stride)) / 4]
    assert reader.features(windows)[:, 0] == pytest.approx(expected, rel=1e-6)
    assert reader.gradients(windows)[0][:, 0].tolist() == [100, 10]


def test_rounding_of_a_stride_lends_no_cell():
    values = torch.tensor([[1.0, 10.0, 100.0]])
    reader = ForwardRegions(torch.zeros(2, 21), np.zeros(21, np.uint8), Bottleneck(values, (7 - 1e-12,)))
    assert reader.gradients([Region("a", (0,), (14,))])[0].tolist() == [[10]]


def test_the_feature_of_an_roi_is_its_cell():
    scene = Scene((50,), (1,))
    rois = [Region("a", (k,), (1,)) for k in (7, 49, 0, 7)]
    expected = scene.values.numpy()[:, [7, 49, 0, 7]].T
    assert np.array_equal(scene.reader.features(rois), expected)
    assert np.array_equal(scene.reader.gradients(rois)[0], expected)


def test_the_factors_give_minus_the_gradient_of_the_last_layer():
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(N_FEATURES, 6, generator=generator)
    weights = torch.randn(N_CLASSES, N_FEATURES, generator=generator).requires_grad_()
    logits = weights @ features
    labels = logits.argmax(0)
    reader = ForwardRegions(logits, labels.numpy().astype(np.uint8), Bottleneck(features, (1,)))
    for k in range(6):
        loss = torch.nn.functional.cross_entropy(logits[:, k], labels[k])
        (gradient,) = torch.autograd.grad(loss, weights, retain_graph=True)
        (pooled,), (residual,) = reader.gradients([Region("a", (k,), (1,))])
        assert np.outer(residual, pooled) == pytest.approx(-gradient.numpy(), abs=1e-6)


def test_no_regions_give_no_rows():
    reader = Scene((8, 8), (4, 4)).reader
    pooled, residuals = reader.gradients([])
    assert reader.features([]).shape == pooled.shape == (0, N_FEATURES)
    assert residuals.shape == (0, N_CLASSES)


def test_reads_tensors_of_inference_mode():
    scene, window = Scene((8, 8), (4, 4)), [Region("a", (1, 2), (5, 6))]
    with torch.inference_mode():
        values, logits = scene.values.clone(), scene.logits.clone()
    reader = ForwardRegions(logits, scene.labels, Bottleneck(values, scene.stride))
    assert np.array_equal(reader.features(window), scene.reader.features(window))


@pytest.mark.parametrize(
    ("axes", "cells", "stride", "message"),
    [
        ((8, 9), (2, 2), (4, 4), "belong together"),
        ((8, 8), (2, 2), (4,), "belong together"),
        ((8, 8), (2,), (4, 4), "belong together"),
        ((8, 8), (2, 1), (4, 4), "do not cover"),
    ],
)
def test_parts_of_different_images_are_an_error(axes, cells, stride, message):
    with pytest.raises(ValueError, match=message):
        ForwardRegions(torch.zeros(2, *axes), np.zeros((8, 8), np.uint8), Bottleneck(torch.zeros(1, *cells), stride))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_gives_the_same():
    scene, bits = Scene((9, 30, 21), (2, 4, 4)), np.random.default_rng(0).random((3, 12, 9)) < 0.5
    some = [
        Region("a", (3, 5, 2), (1, 16, 16)),
        Region("a", (0, 0, 0), (1, 1, 1)),
        Region.of_mask("a", (2, 9, 7), bits),
    ]
    there = ForwardRegions(scene.logits.cuda(), scene.labels, Bottleneck(scene.values.cuda(), scene.stride))
    assert there.features(some) == pytest.approx(scene.reader.features(some), abs=1e-5)
    for gpu, cpu in zip(there.gradients(some), scene.reader.gradients(some), strict=True):
        assert gpu == pytest.approx(cpu, abs=1e-5)
    assert np.array_equal(there.features(some)[1], there.features(some[1:2])[0])
