import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from decomp.platform.learners.networks.dcnv3 import DeformableConv, deformable_sum

NAMES = {
    "dw_conv.0.weight": (16, 1, 3, 3),
    "dw_conv.0.bias": (16,),
    "dw_conv.1.1.weight": (16,),
    "dw_conv.1.1.bias": (16,),
    "offset.weight": (72, 16),
    "offset.bias": (72,),
    "mask.weight": (36, 16),
    "mask.bias": (36,),
    "input_proj.weight": (16, 16),
    "input_proj.bias": (16,),
    "output_proj.weight": (16, 16),
    "output_proj.bias": (16,),
}


def pixel(plane, y, x):
    """Bilinear interpolation of a plane (H, W, c) at a point, 0 outside."""
    total = np.zeros(plane.shape[2])
    top, left = int(np.floor(y)), int(np.floor(x))
    for row, column in itertools.product((top, top + 1), (left, left + 1)):
        if 0 <= row < plane.shape[0] and 0 <= column < plane.shape[1]:
            total += (1 - abs(y - row)) * (1 - abs(x - column)) * plane[row, column]
    return total


def summed(values, offsets, modulation, groups, kernel, stride, padding, dilation, offset_scale):
    """The operator written out: x before y, points column by column, groups before points."""
    n, out_height, out_width, _ = offsets.shape
    width = values.shape[3] // groups
    offsets = offsets.reshape(n, out_height, out_width, groups, kernel * kernel, 2)
    modulation = modulation.reshape(n, out_height, out_width, groups, kernel * kernel)
    result = np.zeros((n, out_height, out_width, values.shape[3]))
    reach = dilation * (kernel - 1) // 2
    for b, i, j, g in np.ndindex(n, out_height, out_width, groups):
        channels = slice(g * width, (g + 1) * width)
        for across, down in itertools.product(range(kernel), range(kernel)):
            k = across * kernel + down
            x = j * stride - padding + reach + offset_scale * (across * dilation - reach + offsets[b, i, j, g, k, 0])
            y = i * stride - padding + reach + offset_scale * (down * dilation - reach + offsets[b, i, j, g, k, 1])
            result[b, i, j, channels] += modulation[b, i, j, g, k] * pixel(values[b, :, :, channels], y, x)
    return result


def arguments(rng, n=2, size=(6, 5), channels=6, groups=3, kernel=3, stride=1, padding=1, dilation=1, spread=2.0):
    extent = [(length + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1 for length in size]
    points = groups * kernel * kernel
    offsets = spread * rng.standard_normal((n, *extent, 2 * points))
    return rng.standard_normal((n, *size, channels)), offsets, rng.random((n, *extent, points))


@settings(max_examples=40)
@given(
    n=st.integers(1, 2),
    size=st.tuples(st.integers(3, 6), st.integers(3, 7)),
    groups=st.integers(1, 3),
    width=st.integers(1, 2),
    kernel=st.sampled_from([1, 3]),
    stride=st.integers(1, 2),
    padding=st.integers(1, 2),
    dilation=st.integers(1, 2),
    offset_scale=st.sampled_from([0.5, 1.0, 2.0]),
    seed=st.integers(0, 99),
)
def test_equals_the_sum_written_out(n, size, groups, width, kernel, stride, padding, dilation, offset_scale, seed):
    given_ = arguments(np.random.default_rng(seed), n, size, groups * width, groups, kernel, stride, padding, dilation)
    expected = summed(*given_, groups, kernel, stride, padding, dilation, offset_scale)
    options = {"kernel": kernel, "stride": stride, "padding": padding, "dilation": dilation}
    for dtype, tolerance in ((torch.float64, 1e-9), (torch.float32, 1e-4)):
        tensors = [torch.from_numpy(array).to(dtype) for array in given_]
        result = deformable_sum(*tensors, groups=groups, offset_scale=offset_scale, **options)
        assert result.dtype == dtype
        np.testing.assert_allclose(result.numpy(), expected, atol=tolerance)


@pytest.mark.parametrize(("stride", "dilation", "groups"), [(1, 1, 1), (2, 1, 2), (1, 2, 2)])
def test_gradients_are_those_of_the_sum(stride, dilation, groups):
    shape = {"n": 1, "size": (4, 5), "channels": 4, "groups": groups, "stride": stride, "dilation": dilation}
    tensors = [torch.from_numpy(array).requires_grad_() for array in arguments(np.random.default_rng(1), **shape)]
    options = {"groups": groups, "stride": stride, "dilation": dilation, "offset_scale": 0.7}
    assert torch.autograd.gradcheck(lambda *given_: deformable_sum(*given_, **options), tensors)


def test_without_offsets_it_is_a_convolution():
    values, offsets, _ = arguments(np.random.default_rng(2), channels=4, groups=1)
    weights = np.random.default_rng(3).random((3, 3))  # rows, columns
    modulation = np.broadcast_to(weights.T.ravel(), (2, 6, 5, 9))
    result = deformable_sum(
        torch.from_numpy(values), torch.zeros(offsets.shape), torch.from_numpy(modulation.copy()), groups=1
    )
    kernel = torch.from_numpy(weights).expand(4, 1, 3, 3)
    expected = torch.nn.functional.conv2d(torch.from_numpy(values).permute(0, 3, 1, 2), kernel, padding=1, groups=4)
    torch.testing.assert_close(result.permute(0, 3, 1, 2), expected)


def test_coordinates_are_exact_in_bfloat16():
    rng = np.random.default_rng(4)
    tensors = [torch.from_numpy(a).bfloat16() for a in arguments(rng, 1, (4, 400), 2, 1, spread=0.5)]
    result = deformable_sum(*tensors, groups=1)
    assert result.dtype == torch.bfloat16
    expected = deformable_sum(*(tensor.double() for tensor in tensors), groups=1)
    torch.testing.assert_close(result.double(), expected, atol=0.03, rtol=0.01)


def test_layer_has_the_published_names_and_arithmetic():
    layer = DeformableConv(16, 4, offset_scale=1.5).double()
    assert {name: tuple(value.shape) for name, value in layer.state_dict().items()} == NAMES
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(0.5 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    w = {name: value.numpy() for name, value in layer.state_dict().items()}
    x = torch.randn(2, 5, 6, 16, generator=generator, dtype=torch.float64)

    padded, local = np.pad(x.numpy(), ((0, 0), (1, 1), (1, 1), (0, 0))), 0.0
    for i, j in np.ndindex(3, 3):
        local = local + padded[:, i : i + 5, j : j + 6] * w["dw_conv.0.weight"][:, 0, i, j]
    local = local + w["dw_conv.0.bias"]
    local = (local - local.mean(-1, keepdims=True)) / np.sqrt(local.var(-1, keepdims=True) + 1e-6)
    local = local * w["dw_conv.1.1.weight"] + w["dw_conv.1.1.bias"]
    local = torch.nn.functional.gelu(torch.from_numpy(local)).numpy()
    offsets = local @ w["offset.weight"].T + w["offset.bias"]
    scores = np.exp(local @ w["mask.weight"].T + w["mask.bias"]).reshape(2, 5, 6, 4, 9)
    modulation = scores / scores.sum(-1, keepdims=True)
    values = x.numpy() @ w["input_proj.weight"].T + w["input_proj.bias"]
    expected = summed(values, offsets, modulation.reshape(2, 5, 6, 36), 4, 3, 1, 1, 1, 1.5)
    expected = expected @ w["output_proj.weight"].T + w["output_proj.bias"]
    with torch.no_grad():
        np.testing.assert_allclose(layer(x).numpy(), expected, atol=1e-9)


def test_layer_starts_as_an_average_without_offsets():
    layer = DeformableConv(8, 2)
    layer.reset_parameters()
    with torch.no_grad():
        layer.input_proj.weight.copy_(torch.eye(8))
        layer.output_proj.weight.copy_(torch.eye(8))
        x = torch.randn(1, 5, 5, 8)
        expected = torch.nn.functional.avg_pool2d(x.permute(0, 3, 1, 2), 3, stride=1, padding=1)
        torch.testing.assert_close(layer(x).permute(0, 3, 1, 2), expected)
