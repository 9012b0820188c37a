"""Folding on CUDA in one Triton kernel: of each pass it reads the logits twice, and reads and writes the sums once."""

# mypy: disable-error-code="no-untyped-def, untyped-decorator"
# The arguments of a kernel have no types before Triton compiles it.

import torch
import triton
import triton.language as tl

from decomp.platform.learners.inference.maps import not_finite

BLOCK = 1024
"""Pixels per program."""


def add_pixels(logits: torch.Tensor, probabilities: torch.Tensor, entropies: torch.Tensor | None) -> None:
    """Add the probabilities and entropies of one pass to the sums; arguments and errors are those of `add_chunks`.

    The logits may have any strides, the pixels preferably contiguous; the sums are contiguous.
    """
    n_classes, n_pixels = logits.shape
    n_broken = torch.zeros(1, dtype=torch.int32, device=logits.device)
    with torch.cuda.device(logits.get_device()):
        _fold[(triton.cdiv(n_pixels, BLOCK),)](
            logits,
            probabilities,
            entropies,
            n_broken,
            n_classes,
            n_pixels,
            *logits.stride(),
            BLOCK=BLOCK,
            enable_fp_fusion=True,  # given because its default differs between versions of Triton
        )
    if n_broken.item():
        raise not_finite()


@triton.jit
def _fold(
    logits,
    probabilities,
    entropies,
    n_broken,
    n_classes,
    n_pixels,
    class_stride,
    pixel_stride,
    BLOCK: tl.constexpr,
):
    pixel = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = pixel < n_pixels
    source = logits + pixel * pixel_stride
    top = tl.load(source, mask=inside, other=0.0).to(tl.float32)
    broken = ~(top < float("inf"))  # true of NaN as well
    total = tl.full((BLOCK,), 1.0, tl.float32)
    moment = tl.zeros((BLOCK,), tl.float32)
    for _ in tl.range(1, n_classes, loop_unroll_factor=4):
        source += class_stride
        value = tl.load(source, mask=inside, other=0.0).to(tl.float32)
        broken |= ~(value < float("inf"))
        greater = value > top
        # Bounded, and 0 between two -inf, since the products below would be NaN; exp(-128) is 0 in float32.
        gap = tl.where(value == top, 0.0, tl.minimum(tl.abs(value - top), 128.0))
        exponential = tl.exp(-gap)
        if entropies is not None:
            moment = tl.where(greater, exponential * (moment - gap * total), moment - gap * exponential)
        total = tl.where(greater, total * exponential + 1.0, total + exponential)
        top = tl.where(greater, value, top)
    broken |= top == float("-inf")
    n = tl.sum((broken & inside).to(tl.int32))
    tl.atomic_add(n_broken, n, mask=n > 0, sem="relaxed")
    if entropies is not None:
        entropy = tl.log(total) - moment / total
        tl.store(entropies + pixel, tl.load(entropies + pixel, mask=inside, other=0.0) + entropy, mask=inside)
    source = logits + pixel * pixel_stride
    target = probabilities + pixel
    for _ in tl.range(0, n_classes, loop_unroll_factor=4):
        value = tl.load(source, mask=inside, other=0.0).to(tl.float32)
        share = tl.exp(value - top) / total
        tl.store(target, tl.load(target, mask=inside, other=0.0) + share, mask=inside)
        source += class_stride
        target += n_pixels
