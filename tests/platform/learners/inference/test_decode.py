import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from decomp.platform.learners.inference import decode as module
from decomp.platform.learners.inference.bottleneck import Bottleneck
from decomp.platform.learners.inference.decode import count_classes, count_on_device, decode, decode_chunks
from decomp.platform.learners.inference.softmax import CHUNK
from decomp.platform.predictions import LEVELS, Measure, Wanted
from decomp.platform.regions import Region
from decomp.platform.samplers.windows import Windows

TYPES = [torch.float32, torch.bfloat16, torch.float16]
EVERYTHING = Wanted(tau=0.5, measure=Measure.ENTROPY, confidence=True)


def random_logits(n_classes, axes, dtype=torch.float32, seed=0):
    """Steep and flat pixels, with ties and now and then a single -inf."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n_classes, *axes)) * 10.0 ** rng.uniform(-2, 2, size=axes)
    logits = np.where(rng.random(axes) < 0.3, np.round(logits), logits)
    logits[:-1][rng.random((n_classes - 1, *axes)) < 0.02] = -np.inf
    return torch.from_numpy(logits).to(dtype)


def random_regions(axes, seed=0):
    """A window and an irregular region, which may overlap."""
    rng = np.random.default_rng(seed)
    start = tuple(int(rng.integers(0, n)) for n in axes)
    window = Region("a", start, tuple(int(rng.integers(1, n - a + 1)) for n, a in zip(axes, start, strict=True)))
    return window, Region.of_mask("a", (0,) * len(axes), rng.random(axes) < 0.4)


def probabilities(logits):
    exponentials = np.exp(logits.double().numpy() - logits.double().numpy().max(0))
    return exponentials / exponentials.sum(0)


def uncertainty_of_pixel(p, measure):
    p = sorted(p.tolist(), reverse=True)
    if measure is Measure.MUTUAL_INFORMATION:
        return 0.0  # of a single prediction
    if measure in (Measure.ENTROPY, Measure.EXPECTED_ENTROPY):
        return -sum(x * math.log(x) for x in p if x > 0)
    if measure is Measure.LEAST_CONFIDENCE:
        return 1 - p[0]
    return 1 - (p[0] - (p[1] if len(p) > 1 else 0)) if len(p) > 1 else 0.0


def counted(labels, confidence, annotated, tau, n_classes):
    """The counts, pixel by pixel."""
    marks = np.zeros(labels.shape, bool)
    for region in annotated:
        region.mark(marks, True)
    counts = np.zeros((3, n_classes), np.int64)
    for label, sure, mark in zip(labels.flat, confidence.flat, marks.flat, strict=True):
        counts[0 if mark else 2 if sure > np.float32(tau) else 1, label] += 1
    return counts


@settings(max_examples=150, deadline=None)
@given(
    n_classes=st.sampled_from([1, 2, 3, 7, 19, 255]),
    axes=st.lists(st.integers(1, 9), min_size=1, max_size=3).map(tuple),
    measure=st.sampled_from(list(Measure)),
    dtype=st.sampled_from(TYPES),
    tau=st.sampled_from([0.0, 0.1, 1 / 3, 0.5, 0.9, 1.0]),
    seed=st.integers(0, 999),
)
def test_agrees_with_the_definitions(n_classes, axes, measure, dtype, tau, seed):
    logits, annotated = random_logits(n_classes, axes, dtype, seed), random_regions(axes, seed)
    given = logits.clone()
    prediction = decode(logits, Wanted(tau, annotated, measure, confidence=True))
    assert torch.equal(logits, given)
    p = probabilities(logits)
    assert prediction.labels.dtype == np.uint8
    assert prediction.confidence.dtype == np.float32
    assert prediction.uncertainty.levels.dtype == np.uint16
    assert np.array_equal(prediction.labels, logits.float().numpy().argmax(0))
    assert prediction.confidence == pytest.approx(p.max(0), rel=1e-5)
    greatest = measure.greatest(n_classes)
    value = np.apply_along_axis(uncertainty_of_pixel, 0, p, measure)
    levels = np.rint(value / greatest * LEVELS)
    assert np.abs(prediction.uncertainty.levels.astype(np.int64) - levels).max() <= 1
    assert prediction.uncertainty.unit == greatest / LEVELS
    assert prediction.counts.dtype == np.int64
    assert np.array_equal(
        prediction.counts, counted(prediction.labels, prediction.confidence, annotated, tau, n_classes)
    )
    assert prediction.regions is None


def test_only_what_is_wanted_is_there():
    logits = random_logits(3, (4, 5))
    nothing = decode(logits, Wanted())
    assert nothing.counts is nothing.uncertainty is nothing.confidence is nothing.regions is None
    counts = decode(logits, Wanted(tau=0.5))
    assert counts.counts.sum() == 20
    assert counts.confidence is None


def test_among_equal_logits_the_lowest_class_wins():
    logits = torch.zeros(255, 3, 4)
    logits[[7, 200, 254], 0, 0] = 1
    labels = decode(logits, EVERYTHING).labels
    assert labels[0, 0] == 7
    assert not labels.flat[1:].any()


@pytest.mark.parametrize("n_classes", [2, 19, 255])
def test_equal_logits_are_as_uncertain_as_can_be(n_classes):
    logits = torch.full((n_classes, 5), -3.5)
    for measure in (Measure.ENTROPY, Measure.MARGIN):
        assert (decode(logits, Wanted(measure=measure)).uncertainty.levels == LEVELS).all()


def test_one_class_is_certain():
    for measure in Measure:
        prediction = decode(torch.randn(1, 6, 7), replace(EVERYTHING, measure=measure))
        assert not prediction.labels.any()
        assert not prediction.uncertainty.levels.any()
        assert (prediction.confidence == 1).all()
        assert prediction.counts.tolist() == [[0], [0], [42]]


@pytest.mark.parametrize("wanted", [Wanted(), Wanted(tau=0.5), EVERYTHING])
@pytest.mark.parametrize(
    ("classes", "value"), [(0, math.nan), (2, math.nan), (1, math.inf), (slice(None), -math.inf), ([0, 2], math.inf)]
)
def test_a_diverged_model_is_an_error(wanted, classes, value):
    logits = torch.randn(3, 40, 50)
    logits[classes, 39, 49] = value
    with pytest.raises(FloatingPointError, match="lower learning_rate"):
        decode(logits, wanted)


@pytest.mark.parametrize("measure", Measure)
def test_a_single_infinite_logit_is_the_probability_zero(measure):
    logits = torch.tensor([[-math.inf], [1.0], [1.0]])
    prediction = decode(logits, replace(EVERYTHING, measure=measure))
    assert prediction.confidence[0] == 0.5
    uncertainty = prediction.uncertainty.levels[0] * prediction.uncertainty.unit
    assert uncertainty == pytest.approx(uncertainty_of_pixel(np.array([0, 0.5, 0.5]), measure), abs=1e-4)


@pytest.mark.parametrize("layout", ["contiguous", "classes last", "cropped"])
@pytest.mark.parametrize("measure", Measure)
def test_chunks_and_layout_do_not_show(monkeypatch, layout, measure):
    logits = random_logits(19, (31, 37))
    wanted = replace(EVERYTHING, measure=measure, annotated=random_regions((31, 37)))
    expected = decode(logits, wanted)
    if layout == "classes last":
        logits = logits.permute(1, 2, 0).contiguous().permute(2, 0, 1)
    elif layout == "cropped":
        logits = torch.nn.functional.pad(logits, (1, 4, 2, 3))[:, 2:-3, 1:-4]
    for pixels in (1, 2, 7, 64, 1000, 31 * 37 - 1):
        monkeypatch.setitem(CHUNK, "cpu", 19 * pixels)
        prediction = decode(logits, wanted)
        assert np.array_equal(prediction.labels, expected.labels)
        assert np.array_equal(prediction.confidence, expected.confidence)
        assert np.array_equal(prediction.uncertainty.levels, expected.uncertainty.levels)
        assert np.array_equal(prediction.counts, expected.counts)


@pytest.mark.parametrize("stripe", [1, 7, 500, 600, 601])
def test_large_maps_are_counted_in_stripes(monkeypatch, stripe):
    rng, axes = np.random.default_rng(0), (20, 30)
    labels, confidence = rng.integers(0, 255, axes).astype(np.uint8), rng.random(axes).astype(np.float32)
    annotated = random_regions(axes)
    monkeypatch.setattr(module, "STRIPE", stripe)
    counts = count_classes(labels, confidence, annotated, 0.4, 255)
    assert np.array_equal(counts, counted(labels, confidence, annotated, 0.4, 255))


@pytest.mark.parametrize("tau", [0.1, 0.5, 1 / 3, 0.9])
def test_confidence_equal_to_tau_does_not_exceed_it(tau):
    at = np.float32(tau)
    confidence = np.array([np.nextafter(at, np.float32(0)), at, np.nextafter(at, np.float32(2))])
    assert count_classes(np.zeros(3, np.uint8), confidence, [], tau, 1).tolist() == [[0], [2], [1]]


def test_counts_on_a_device_are_the_same():
    logits, annotated = random_logits(19, (31, 37)), random_regions((31, 37))
    wanted = Wanted(tau=0.7, annotated=annotated)
    marks = torch.zeros(31, 37, dtype=torch.uint8)
    for region in annotated:
        region.mark(marks.numpy(), 1)
    maps = decode_chunks(logits.flatten(1), wanted)
    assert np.array_equal(count_on_device(maps, marks.flatten(), 0.7, 19).numpy(), decode(logits, wanted).counts)
    unmarked = count_on_device(maps, None, 0.7, 19).numpy()
    assert np.array_equal(unmarked, decode(logits, Wanted(tau=0.7)).counts)


def test_regions_are_read_from_the_same_forward_pass():
    bottleneck = Bottleneck(torch.randn(5, 4, 3), (2.0, 2.0))
    prediction = decode(random_logits(3, (8, 6)), Wanted(regions=True), bottleneck)
    assert prediction.regions.features([Region("a", (0, 0), (4, 4))]).shape == (1, 5)
    with pytest.raises(ValueError, match="bottleneck"):
        decode(random_logits(3, (8, 6)), Wanted(regions=True))


@given(st.integers(1, 21), st.sampled_from(TYPES), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_further_maps_are_made_one_by_one(n_classes, dtype, seed):
    logits = random_logits(n_classes, (7, 9), dtype, seed)
    maps = decode(logits, Wanted(maps=True)).maps
    p = probabilities(logits.float())
    entropy = -(p * np.log(p, where=p > 0, out=np.zeros_like(p))).sum(0)
    for class_ in range(n_classes):
        share, expected = maps.class_entropy(class_), p[class_] * entropy
        assert share.levels.dtype == np.uint16
        assert share.levels * share.unit == pytest.approx(expected, rel=1e-4, abs=expected.max() / LEVELS + 1e-12)
    for measure in Measure:
        expected = decode(logits, Wanted(measure=measure)).uncertainty
        assert np.array_equal(maps.measure(measure).levels, expected.levels)
    assert decode(logits, Wanted()).maps is None


@pytest.mark.parametrize("rare", [1e-3, 1e-6, 1e-12, 1e-30])
def test_a_rare_class_has_a_share_of_the_entropy_whose_pixels_differ(rare):
    logits = torch.from_numpy(np.random.default_rng(0).normal(size=(4, 7, 9))).float()
    logits[2] += math.log(rare)
    share = decode(logits, Wanted(maps=True)).maps.class_entropy(2)
    p = probabilities(logits)
    expected = p[2] * -(p * np.log(p)).sum(0)
    assert share.levels.max() == LEVELS
    assert share.levels * share.unit == pytest.approx(expected, rel=1e-4, abs=expected.max() / LEVELS)
    windows = Windows("a", (7, 9), (2, 3), ()).mean_values(share)
    exact = np.lib.stride_tricks.sliding_window_view(expected, (2, 3)).mean((2, 3))
    assert np.log(windows) == pytest.approx(np.log(exact), abs=1e-3)


def test_a_class_without_probability_has_no_share_of_the_entropy():
    logits = random_logits(4, (7, 9))
    logits[2] = -math.inf
    share = decode(logits, Wanted(maps=True)).maps.class_entropy(2)
    assert not share.levels.any()
    assert share.unit > 0


def test_gradients_of_the_logits_do_not_matter():
    logits = random_logits(3, (8, 6)).requires_grad_()
    assert np.array_equal(decode(logits, EVERYTHING).labels, decode(logits.detach(), EVERYTHING).labels)


def compare_kernel(device):
    """The Triton kernel on `device` against the chunks on the CPU."""
    from decomp.platform.learners.inference.fused import decode_pixels

    # Both sum in float32, in another order: with 255 classes the rounding of z alone exceeds 1e-6.
    cases = [
        (1, 5, torch.float32, 1e-6),
        (2, 1024, torch.float16, 1e-6),
        (19, 1500, torch.bfloat16, 1e-6),
        (19, 1500, torch.float32, 1e-6),
        (255, 200, torch.float32, 5e-6),
    ]
    for n_classes, n_pixels, dtype, tolerance in cases:
        annotated = torch.arange(n_pixels).remainder(3).eq(0).to(torch.uint8)
        logits = random_logits(n_classes, (n_pixels,), dtype)
        for there in (logits.to(device), logits.to(device).t().contiguous().t()):
            # Of 255 classes, over which the interpreter takes long, one measure is enough.
            for measure in (None, *Measure) if n_classes < 255 or device == "cuda" else (None, Measure.ENTROPY):
                wanted = Wanted(0.5, (), measure, confidence=True)
                marks = annotated if measure else None
                kernel = decode_pixels(there, wanted, None if marks is None else marks.to(device))
                cpu = decode_chunks(logits, wanted)
                assert torch.equal(kernel.labels.cpu(), cpu.labels)
                torch.testing.assert_close(kernel.confidence.cpu(), cpu.confidence, rtol=tolerance, atol=0)
                if measure:
                    assert (kernel.levels.cpu() - cpu.levels.int()).abs().max() <= 1
                # Counted from its own confidence, since that may differ in the last digit.
                own = kernel._replace(labels=kernel.labels.cpu(), confidence=kernel.confidence.cpu())
                assert torch.equal(kernel.counts.long(), count_on_device(own, marks, 0.5, n_classes))
    logits = random_logits(3, (1030,)).to(device)
    maps = decode_pixels(logits, Wanted(), None)
    assert maps.confidence is maps.levels is maps.counts is None
    assert decode_pixels(logits, Wanted(tau=0.5), None).counts.sum() == 1030
    for classes, value in [(0, math.nan), (2, math.nan), (1, math.inf), (slice(None), -math.inf)]:
        broken = logits.clone()
        broken[classes, 1027] = value
        for wanted in (Wanted(), EVERYTHING):
            with pytest.raises(FloatingPointError):
                decode_pixels(broken, wanted, None)


def test_the_kernel_agrees_in_tritons_interpreter():
    pytest.importorskip("triton")
    # The interpreter is chosen when Triton is imported.
    code = f"import runpy; runpy.run_path({str(Path(__file__))!r})['compare_kernel']('cpu')"
    environment = os.environ | {"TRITON_INTERPRET": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_kernel_agrees_on_a_gpu():
    pytest.importorskip("triton")
    compare_kernel("cuda")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("triton", [True, False])
def test_a_gpu_gives_the_same(monkeypatch, triton):
    if not triton:
        monkeypatch.setattr(module, "_kernel", lambda: None)
    logits, annotated = random_logits(19, (31, 37)), random_regions((31, 37))
    for measure in Measure:
        wanted = replace(EVERYTHING, measure=measure, annotated=annotated)
        expected, prediction = decode(logits, wanted), decode(logits.cuda(), wanted)
        levels = prediction.uncertainty.levels
        assert levels.is_cuda
        assert levels.dtype == torch.int32
        assert np.array_equal(prediction.labels, expected.labels)
        assert prediction.confidence == pytest.approx(expected.confidence, rel=1e-6)
        assert np.abs(levels.cpu().numpy() - expected.uncertainty.levels.astype(np.int32)).max() <= 1
        own = counted(prediction.labels, prediction.confidence, annotated, wanted.tau, 19)
        assert np.array_equal(prediction.counts, own)
