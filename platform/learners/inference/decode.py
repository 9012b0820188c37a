"""From a network's logits to a `Prediction` (Sec. 2 and 6 of the method notes).

With s_c = l_c - max_k l_k, e_c = exp(s_c) and z = sum_c e_c, the confidence max_c p_c is 1 / z, the entropy
-sum_c p_c ln p_c is ln z - sum_c e_c s_c / z, and the margin p_1 - p_2 is (1 - e_2) / z, e_2 belonging to the second
greatest logit. That is one exponential per pixel and class, and the probabilities themselves are never stored.

Three implementations stand behind `decode`: chunks of pixels that stay in the cache on the CPU, one Triton kernel on
CUDA (`decomp.platform.learners.inference.fused`), and large chunks on CUDA where Triton is not installed.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, cached_property

import cv2
import numpy as np
import numpy.typing as npt
import torch
from typing_extensions import override

from decomp.platform.learners.inference.bottleneck import Bottleneck, ForwardRegions
from decomp.platform.learners.inference.maps import Maps, levels_type, self_scaled, uncertainty_map
from decomp.platform.learners.inference.own import add_pass, own_uncertainty
from decomp.platform.learners.inference.softmax import chunks_of, class_sum, entropy_of, shifted
from decomp.platform.measures import OwnMeasure
from decomp.platform.predictions import LEVELS, MapReader, Measure, Prediction, UncertaintyMap, Wanted
from decomp.platform.regions import Region

STRIPE = 2**24
"""Pixels counted at once; `cv2.calcHist` counts in float32, which is exact up to this number."""


def decode(
    logits: torch.Tensor,
    wanted: Wanted,
    bottleneck: Bottleneck | None = None,
    expected: torch.Tensor | None = None,
) -> Prediction:
    """Decode the logits of a softmax model; among equal logits the lowest class is predicted.

    Args:
        logits: shape (C, *axes) with 1 to 3 axes and C at most 255; float32, bfloat16 or float16, on the CPU or CUDA.
            They are left as they are; the arithmetic is in float32.
        wanted: what is wanted besides the labels.
        bottleneck: of the same forward pass; needed where `wanted.regions` is true.
        expected: mean entropy of several predictions, of whose mean the logits are the logarithm, in levels, shape
            (*axes), integer; None for a single prediction.

    Returns:
        Arrays in memory, but for levels of uncertainty decoded on CUDA, which stay there.

    Raises:
        FloatingPointError: if the logits of a pixel contain NaN or +inf, or are all -inf; a single -inf is the
            probability 0.
        ValueError: if regions are wanted without a bottleneck.
    """
    if wanted.regions and bottleneck is None:
        raise ValueError("Features of regions are wanted; give `decode` the bottleneck of the same forward pass.")
    if isinstance(wanted.measure, OwnMeasure):
        add_pass(wanted.measure, logits)
        prediction = decode(logits, replace(wanted, measure=None), bottleneck, expected)
        return replace(prediction, uncertainty=own_uncertainty(wanted.measure, logits))
    logits = logits.detach()
    n_classes, *axes = logits.shape
    flat = logits.reshape(n_classes, -1)
    measure = wanted.built_in
    over_passes = expected is not None and measure is not None and measure.over_passes
    given = replace(wanted, measure=Measure.ENTROPY) if over_passes else wanted
    kernel = _kernel() if logits.is_cuda else None
    maps = kernel(flat, given, _annotated(given, axes, logits.device)) if kernel else decode_chunks(flat, given)
    labels = maps.labels.cpu().numpy().reshape(axes)
    uncertainty = confidence = None
    if maps.levels is not None and measure is not None:
        levels = maps.levels.reshape(axes)
        if expected is not None and over_passes:
            levels = _over_passes(levels, measure, expected)
        uncertainty = uncertainty_map(levels, measure.greatest(n_classes))
    if maps.confidence is not None and wanted.confidence:
        confidence = maps.confidence.cpu().numpy().reshape(axes)
    return Prediction(
        labels,
        _counts(maps, wanted, axes, n_classes),
        uncertainty,
        confidence,
        None if bottleneck is None or not wanted.regions else ForwardRegions(logits, labels, bottleneck),
        ForwardMaps(logits, expected) if wanted.maps else None,
    )


class ForwardMaps(MapReader):
    """Makes maps from the logits of one image.

    Args:
        logits: shape (C, *axes), float, on any device; kept, not copied.
        expected: as for `decode`.
    """

    def __init__(self, logits: torch.Tensor, expected: torch.Tensor | None = None) -> None:
        self._logits, self._expected = logits, expected
        self.n_classes = len(logits)

    @override
    def measure(self, measure: Measure) -> UncertaintyMap:
        with torch.inference_mode():
            uncertainty = decode(self._logits, Wanted(measure=measure), expected=self._expected).uncertainty
        assert uncertainty is not None
        return uncertainty

    @override
    def class_entropy(self, class_: int) -> UncertaintyMap:
        axes = self._logits.shape[1:]
        with torch.inference_mode():
            log_total, entropy = self._totals
            share = self._logits[class_].float().reshape(-1).sub(log_total).exp_().mul_(entropy)
            return self_scaled(share.reshape(axes))

    @cached_property
    def _totals(self) -> tuple[torch.Tensor, torch.Tensor]:
        """ln sum_c exp(l_c) and the entropy of every pixel, each of shape (P,), float32."""
        flat = self._logits.flatten(1)
        log_total, entropy = (torch.empty(flat.shape[1], device=flat.device) for _ in range(2))
        for chunk in chunks_of(flat):
            gaps, top = shifted(flat, chunk)
            exponentials = gaps.exp()
            total = class_sum(exponentials)
            entropy[chunk] = entropy_of(gaps, exponentials, total)
            log_total[chunk] = total.log_().add_(top)
        return log_total, entropy


def count_classes(
    labels: npt.NDArray[np.uint8],
    confidence: npt.NDArray[np.float32],
    annotated: Sequence[Region],
    tau: float,
    n_classes: int,
) -> npt.NDArray[np.int64]:
    """Count the pixels predicted as each class (Eq. 1), in one pass over the confidence and one over the labels.

    Args:
        labels: predicted classes, shape (*axes), uint8, below `n_classes`.
        confidence: their probabilities, shape (*axes), float32.
        annotated: the image's annotated regions.
        tau: confidence threshold, compared in float32.
        n_classes: number of classes C.

    Returns:
        Pixels that are annotated, others with confidence <= tau, others with confidence > tau; shape (3, C), int64.
    """
    flags = np.greater(confidence, np.float32(tau)).view(np.uint8)
    for region in annotated:
        region.mark(flags, 2)
    rows, counts = (labels.reshape(1, -1), flags.reshape(1, -1)), np.zeros((n_classes, 3), np.int64)
    for first in range(0, labels.size, STRIPE):
        stripe = [row[:, first : first + STRIPE] for row in rows]
        counts += cv2.calcHist(stripe, [0, 1], None, [n_classes, 3], [0, n_classes, 0, 3]).astype(np.int64)
    return np.ascontiguousarray(counts[:, [2, 0, 1]].T)


def decode_chunks(logits: torch.Tensor, wanted: Wanted) -> Maps:
    """Decode chunk by chunk, so that nothing of the size of the logits is stored.

    Args:
        logits: shape (C, P), any float type, on any device.
        wanted: what is wanted besides the labels.

    Raises:
        FloatingPointError: if the model's output is not finite, as `decode` says.
    """
    n_classes, n_pixels = logits.shape
    device, measure = logits.device, wanted.built_in
    labels = torch.empty(n_pixels, dtype=torch.uint8, device=device)
    scored = wanted.confidence or wanted.tau is not None
    confidence = torch.empty(n_pixels, device=device) if scored else None
    levels = torch.empty(n_pixels, dtype=levels_type(device), device=device) if measure is not None else None
    # The first class among the greatest has the greatest rank.
    ranks = torch.arange(n_classes, 0, -1, dtype=torch.uint8, device=device)[:, None]
    for chunk in chunks_of(logits):
        gaps, _ = shifted(logits, chunk)
        torch.sub(n_classes, (_is_zero(gaps) * ranks).amax(0), out=labels[chunk])
        if confidence is None and measure is None:
            continue
        exponentials = gaps.exp()
        total = class_sum(exponentials)
        if confidence is not None:
            torch.reciprocal(total, out=confidence[chunk])
        if levels is not None and measure is not None:
            match measure:
                case Measure.ENTROPY | Measure.EXPECTED_ENTROPY:
                    value = entropy_of(gaps, exponentials, total)
                case Measure.MUTUAL_INFORMATION:
                    value = torch.zeros_like(total)
                case Measure.LEAST_CONFIDENCE:
                    value = 1 - total.reciprocal()
                case Measure.MARGIN:
                    second = exponentials.scatter_(0, labels[None, chunk].long(), 0).amax(0)
                    value = 1 - (1 - second).div_(total)
            scale = LEVELS / measure.greatest(n_classes)
            levels[chunk] = value.mul_(scale).round_().clamp_(0, LEVELS)
    return Maps(labels, confidence, levels)


def count_on_device(maps: Maps, annotated: torch.Tensor | None, tau: float, n_classes: int) -> torch.Tensor:
    """Count what `count_classes` counts, in tensors; `annotated` has shape (P,), uint8, 1 where annotated."""
    assert maps.confidence is not None
    kind = (maps.confidence > float(np.float32(tau))).long().add_(1)
    if annotated is not None:
        kind *= 1 - annotated
    return torch.bincount(kind.mul_(n_classes).add_(maps.labels), minlength=3 * n_classes).reshape(3, n_classes)


def _counts(maps: Maps, wanted: Wanted, axes: Sequence[int], n_classes: int) -> npt.NDArray[np.int64] | None:
    if wanted.tau is None:
        return None
    if maps.counts is not None:
        return maps.counts.cpu().numpy().astype(np.int64)
    if maps.labels.is_cuda:
        return count_on_device(maps, _annotated(wanted, axes, maps.labels.device), wanted.tau, n_classes).cpu().numpy()
    assert maps.confidence is not None
    labels, confidence = (values.numpy().reshape(axes) for values in (maps.labels, maps.confidence))
    return count_classes(labels, confidence, wanted.annotated, wanted.tau, n_classes)


def _over_passes(entropy: torch.Tensor, measure: Measure, expected: torch.Tensor) -> torch.Tensor:
    """The measure in levels, given the entropy of the mean prediction in levels and `expected` of `decode`."""
    kind = entropy.dtype
    if measure is Measure.EXPECTED_ENTROPY:
        return expected.to(kind)
    return (entropy.int() - expected.int()).clamp_(min=0).to(kind)


def _is_zero(values: torch.Tensor) -> torch.Tensor:
    if values.device.type == "cpu":  # PyTorch's comparison of floats takes ten times as long as NumPy's
        return torch.from_numpy(np.equal(values.numpy(), 0).view(np.uint8))
    return values == 0


def _annotated(wanted: Wanted, axes: Sequence[int], device: torch.device) -> torch.Tensor | None:
    """1 in annotated pixels and 0 elsewhere, shape (P,), uint8; None if that makes no difference."""
    if wanted.tau is None or not wanted.annotated:
        return None
    marks = np.zeros(axes, np.uint8)
    for region in wanted.annotated:
        region.mark(marks, 1)
    return torch.from_numpy(marks.reshape(-1)).to(device)


@cache
def _kernel() -> Callable[[torch.Tensor, Wanted, torch.Tensor | None], Maps] | None:
    """The Triton kernel, where Triton is installed."""
    try:
        from decomp.platform.learners.inference.fused import decode_pixels
    except ImportError:
        return None
    return decode_pixels
