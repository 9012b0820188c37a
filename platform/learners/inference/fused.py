"""Decoding on CUDA in one Triton kernel, which reads each logit once and writes only what is wanted.

The softmax is online, as in Milakov and Gimelshein, "Online normalizer calculation for softmax", 2018: z and the sum of
e_c s_c (named as in `decomp.platform.learners.inference.decode`) refer to the greatest logit so far and are rescaled
when a greater one comes.
"""

# mypy: disable-error-code="no-untyped-def, untyped-decorator"
# The arguments of a kernel have no types before Triton compiles it.

import torch
import triton
import triton.language as tl

from decomp.platform.learners.inference.maps import Maps, not_finite
from decomp.platform.predictions import LEVELS, Measure, Wanted

BLOCK = 1024
"""Pixels per program."""

MOST = tl.constexpr(float(LEVELS))
ENTROPY = tl.constexpr(1)
LEAST_CONFIDENCE = tl.constexpr(2)
MARGIN = tl.constexpr(3)
MUTUAL_INFORMATION = tl.constexpr(4)
CODES = {
    Measure.ENTROPY: ENTROPY,
    Measure.LEAST_CONFIDENCE: LEAST_CONFIDENCE,
    Measure.MARGIN: MARGIN,
    Measure.EXPECTED_ENTROPY: ENTROPY,
    Measure.MUTUAL_INFORMATION: MUTUAL_INFORMATION,
}


def decode_pixels(logits: torch.Tensor, wanted: Wanted, annotated: torch.Tensor | None) -> Maps:
    """Decode the logits of P pixels.

    Args:
        logits: shape (C, P) with any strides, the pixels preferably contiguous; float32, bfloat16 or float16.
        wanted: what is wanted besides the labels.
        annotated: shape (P,), uint8, 1 in annotated pixels; None where there are none.

    Raises:
        FloatingPointError: if the model's output is not finite, as `decode` says.
    """
    maps, tally = launch(logits, wanted, annotated)
    tally = tally.cpu()
    if tally[-1] > 0:
        raise not_finite()
    return maps if wanted.tau is None else maps._replace(counts=tally[:-1].reshape(3, -1))


def launch(logits: torch.Tensor, wanted: Wanted, annotated: torch.Tensor | None) -> tuple[Maps, torch.Tensor]:
    """Do the same without waiting for the device.

    Returns:
        Maps without counts; the counts (3, C) flattened and after them the number of pixels whose logits are not
        finite, shape (3 * C + 1,), int32, so that they come to the host together.
    """
    n_classes, n_pixels = logits.shape
    device, measure = logits.device, wanted.built_in
    labels = torch.empty(n_pixels, dtype=torch.uint8, device=device)
    confidence = torch.empty(n_pixels, device=device) if wanted.confidence else None
    levels = torch.empty(n_pixels, dtype=torch.int32, device=device) if measure else None
    tally = torch.zeros(3 * n_classes + 1, dtype=torch.int32, device=device)
    with torch.cuda.device(logits.get_device()):
        _decode[(triton.cdiv(n_pixels, BLOCK),)](
            logits,
            annotated,
            labels,
            confidence,
            levels,
            tally,
            n_classes,
            n_pixels,
            *logits.stride(),
            0.0 if wanted.tau is None else wanted.tau,
            LEVELS / measure.greatest(n_classes) if measure else 0.0,
            MEASURE=CODES[measure].value if measure else 0,
            COUNT=wanted.tau is not None,
            BINS=triton.next_power_of_2(3 * n_classes),
            BLOCK=BLOCK,
            enable_fp_fusion=True,  # given because its default differs between versions of Triton
        )
    return Maps(labels, confidence, levels), tally


@triton.jit
def _decode(
    logits,
    annotated,
    labels,
    confidence,
    levels,
    tally,
    n_classes,
    n_pixels,
    class_stride,
    pixel_stride,
    tau,
    scale,
    MEASURE: tl.constexpr,
    COUNT: tl.constexpr,
    BINS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    scored: tl.constexpr = COUNT or MEASURE != 0 or confidence is not None
    pixel = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = pixel < n_pixels
    source = logits + pixel * pixel_stride
    top = tl.load(source, mask=inside, other=0.0).to(tl.float32)
    label = tl.zeros((BLOCK,), tl.int32)
    broken = ~(top < float("inf"))  # true of NaN as well
    total = tl.full((BLOCK,), 1.0, tl.float32)
    moment = tl.zeros((BLOCK,), tl.float32)
    second = tl.full((BLOCK,), float("-inf"), tl.float32)
    for index in tl.range(1, n_classes, loop_unroll_factor=4):
        source += class_stride
        value = tl.load(source, mask=inside, other=0.0).to(tl.float32)
        broken |= ~(value < float("inf"))
        greater = value > top
        if scored:
            # Bounded, and 0 between two -inf, since the products below would be NaN; exp(-128) is 0 in float32.
            gap = tl.where(value == top, 0.0, tl.minimum(tl.abs(value - top), 128.0))
            exponential = tl.exp(-gap)
            if MEASURE == ENTROPY:
                moment = tl.where(greater, exponential * (moment - gap * total), moment - gap * exponential)
            total = tl.where(greater, total * exponential + 1.0, total + exponential)
        if MEASURE == MARGIN:
            second = tl.maximum(second, tl.where(greater, top, value))
        top = tl.where(greater, value, top)
        label = tl.where(greater, index, label)
    broken |= top == float("-inf")
    n_broken = tl.sum((broken & inside).to(tl.int32))
    tl.atomic_add(tally + 3 * n_classes, n_broken, mask=n_broken > 0, sem="relaxed")
    tl.store(labels + pixel, label.to(tl.uint8), mask=inside)
    if scored:
        sure = tl.div_rn(tl.full((BLOCK,), 1.0, tl.float32), total)  # exact where classes tie at tau
        if confidence is not None:
            tl.store(confidence + pixel, sure, mask=inside)
        if MEASURE != 0:
            if MEASURE == ENTROPY:
                uncertainty = tl.log(total) - moment * sure
            elif MEASURE == LEAST_CONFIDENCE:
                uncertainty = 1.0 - sure
            elif MEASURE == MUTUAL_INFORMATION:
                uncertainty = sure * 0.0  # of a single prediction
            else:
                uncertainty = 1.0 - (1.0 - tl.exp(second - top)) * sure
            level = tl.floor(uncertainty * scale + 0.5)
            level = tl.minimum(tl.maximum(level, 0.0), MOST)
            tl.store(levels + pixel, level.to(tl.int32), mask=inside)
        if COUNT:
            row = tl.where(sure > tau, 2, 1)
            if annotated is not None:
                row = tl.where(tl.load(annotated + pixel, mask=inside, other=0) != 0, 0, row)
            counts = tl.histogram(row * n_classes + label, BINS, mask=inside)
            place = tl.arange(0, BINS)
            tl.atomic_add(tally + place, counts, mask=(place < 3 * n_classes) & (counts > 0), sem="relaxed")
