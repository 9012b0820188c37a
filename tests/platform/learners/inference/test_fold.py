import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from decomp.platform.learners.inference.decode import decode
from decomp.platform.learners.inference.fold import Fold, add_chunks
from decomp.platform.learners.inference.softmax import CHUNK
from decomp.platform.predictions import LEVELS, Measure, Wanted

EVERYTHING = Wanted(tau=0.5, measure=Measure.MUTUAL_INFORMATION, confidence=True, maps=True)


def random_passes(n, n_classes, axes, dtype=torch.float32, seed=0):
    """Passes that agree here and differ there, steep and flat, now and then with a single -inf."""
    rng = np.random.default_rng(seed)
    common = rng.normal(size=(1, n_classes, *axes)) * 10.0 ** rng.uniform(-2, 2, size=axes)
    logits = common + rng.normal(size=(n, n_classes, *axes)) * 10.0 ** rng.uniform(-3, 1, size=axes)
    logits[:, :-1][rng.random((n, n_classes - 1, *axes)) < 0.02] = -np.inf
    return list(torch.from_numpy(logits).to(dtype))


def folded(passes, wanted):
    fold = Fold(entropies=True)
    for logits in passes:
        fold.add(logits)
    return decode(fold.mean_logits(), wanted, expected=fold.expected_entropy())


def probabilities(logits):
    exponentials = np.exp(logits.double().numpy() - logits.double().numpy().max(0))
    return exponentials / exponentials.sum(0)


def entropy(p):
    return -np.sum(p * np.log(p, where=p > 0, out=np.zeros_like(p)), axis=0)


@settings(max_examples=100, deadline=None)
@given(
    n=st.integers(1, 6),
    n_classes=st.sampled_from([1, 2, 3, 19]),
    axes=st.lists(st.integers(1, 9), min_size=1, max_size=3).map(tuple),
    dtype=st.sampled_from([torch.float32, torch.bfloat16, torch.float16]),
    seed=st.integers(0, 999),
)
def test_agrees_with_the_definitions(n, n_classes, axes, dtype, seed):
    passes = random_passes(n, n_classes, axes, dtype, seed)
    given = [logits.clone() for logits in passes]
    prediction = folded(passes, EVERYTHING)
    assert all(map(torch.equal, passes, given))
    each = [probabilities(logits) for logits in passes]
    mean = np.mean(each, axis=0)
    highest = np.sort(mean, axis=0)
    clear = highest[-1] - highest[-2] > 1e-5 if n_classes > 1 else np.ones(axes, bool)
    assert np.array_equal(prediction.labels[clear], mean.argmax(0)[clear])
    assert prediction.confidence == pytest.approx(mean.max(0), rel=1e-5)
    quantum = Measure.ENTROPY.greatest(n_classes) / LEVELS
    total, expected = entropy(mean), np.mean([entropy(p) for p in each], axis=0)
    maps, information = prediction.maps, prediction.uncertainty
    assert information.levels.dtype == np.uint16
    for levels, value in [
        (information, total - expected),
        (maps.measure(Measure.MUTUAL_INFORMATION), total - expected),
        (maps.measure(Measure.EXPECTED_ENTROPY), expected),
        (maps.measure(Measure.ENTROPY), total),
        *((maps.class_entropy(c), mean[c] * total) for c in range(n_classes)),
    ]:
        assert levels.levels * levels.unit == pytest.approx(value, abs=1.6 * quantum)
    assert (information.levels == maps.measure(Measure.MUTUAL_INFORMATION).levels).all()


def test_entropy_is_shared_between_expected_entropy_and_information_to_the_level():
    """So means over windows of the three agree, in whatever way they are added up."""
    maps = folded(random_passes(4, 5, (40, 50)), EVERYTHING).maps
    total, expected, information = (
        maps.measure(measure).levels.astype(int)
        for measure in (Measure.ENTROPY, Measure.EXPECTED_ENTROPY, Measure.MUTUAL_INFORMATION)
    )
    assert (information == np.maximum(total - expected, 0)).all()


def test_passes_that_agree_have_no_information():
    logits = random_passes(1, 7, (30, 40))[0]
    prediction = folded([logits] * 5, EVERYTHING)
    assert prediction.uncertainty.levels.max() <= 1
    once = decode(logits, Wanted(confidence=True))
    assert np.array_equal(prediction.labels, once.labels)
    assert prediction.confidence == pytest.approx(once.confidence, rel=1e-5)


def test_entropies_are_kept_only_if_wanted():
    fold = Fold(entropies=False)
    fold.add(random_passes(1, 3, (4, 5))[0])
    assert fold.expected_entropy() is None


@pytest.mark.parametrize("pixels", [1, 3, 64])
def test_the_size_of_the_chunks_does_not_matter(monkeypatch, pixels):
    passes = random_passes(3, 19, (13, 17))
    whole = folded(passes, EVERYTHING)
    monkeypatch.setitem(CHUNK, "cpu", 19 * pixels)
    parts = folded(passes, EVERYTHING)
    assert np.array_equal(whole.labels, parts.labels)
    assert np.array_equal(whole.counts, parts.counts)
    assert np.abs(whole.uncertainty.levels.astype(int) - parts.uncertainty.levels).max() <= 1


@pytest.mark.parametrize(("classes", "value"), [(0, math.nan), (2, math.nan), (1, math.inf), (slice(None), -math.inf)])
def test_a_pass_that_is_not_finite_is_an_error(classes, value):
    first, second = random_passes(2, 3, (6, 7))
    second[classes, 5, 6] = value
    fold = Fold(entropies=False)
    fold.add(first)
    with pytest.raises(FloatingPointError, match="NaN or infinite"):
        fold.add(second)


def compare_kernel(device):
    """The kernel's sums and the CPU's; called in a process of its own where Triton is interpreted."""
    from decomp.platform.learners.inference.fused_fold import add_pixels

    for n_classes, n_pixels, dtype in [(1, 5, torch.float32), (2, 1024, torch.bfloat16), (19, 1500, torch.float32)]:
        for entropies in (True, False):
            sums = [
                (torch.zeros(n_classes, n_pixels, device=where), torch.zeros(n_pixels, device=where))
                for where in ("cpu", device)
            ]
            for number, logits in enumerate(random_passes(3, n_classes, (n_pixels,), dtype)):
                there = logits.to(device)
                add_chunks(logits, sums[0][0], sums[0][1] if entropies else None)
                strided = there.t().contiguous().t() if number == 1 else there
                add_pixels(strided, sums[1][0], sums[1][1] if entropies else None)
            torch.testing.assert_close(sums[1][0].cpu(), sums[0][0], rtol=1e-5, atol=1e-6)
            torch.testing.assert_close(sums[1][1].cpu(), sums[0][1], rtol=1e-5, atol=1e-5)
    for classes, value in [(0, math.nan), (2, math.nan), (1, math.inf), (slice(None), -math.inf)]:
        broken = random_passes(1, 3, (1030,))[0].to(device)
        broken[classes, 1027] = value
        with pytest.raises(FloatingPointError):
            add_pixels(broken, torch.zeros(3, 1030, device=device), None)


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
def test_a_gpu_gives_the_same():
    passes = random_passes(4, 19, (31, 37))
    expected, prediction = folded(passes, EVERYTHING), folded([logits.cuda() for logits in passes], EVERYTHING)
    assert prediction.uncertainty.levels.dtype == torch.int32
    assert np.mean(prediction.labels == expected.labels) > 0.999
    levels = prediction.uncertainty.levels.cpu().numpy()
    assert np.abs(levels - expected.uncertainty.levels.astype(np.int32)).max() <= 2
