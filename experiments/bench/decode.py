"""What decoding costs: `decode` and the counting step against the obvious chains of PyTorch and NumPy.

    python -m decomp.experiments.bench.decode [--classes 19] [--height 1024] [--width 2048] [--repeats 15]

Labels, counts and entropy of one image, on one thread of the CPU and, where there is one, on the GPU; medians of
alternating calls, labels and counts brought to the host included. The GPU's kernel is timed by itself as well: its
effective bandwidth (bytes of the logits and the marks read once and of the outputs written once) as a share of the
bandwidth of copying a large tensor, measured in the same run (goal: at least 60 %).
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch

from decomp.platform.learners.inference.decode import count_classes, decode
from decomp.platform.predictions import Measure, Wanted
from decomp.platform.regions import Region

TAU = 0.9
COPIED = 2**30  # bytes, many times a GPU's cache


def main() -> None:
    """Time everything and print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--classes", type=int, default=19)
    parser.add_argument("--height", type=int, default=1024)
    parser.add_argument("--width", type=int, default=2048)
    parser.add_argument("--repeats", type=int, default=15)
    options = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    shape, repeats = (options.classes, options.height, options.width), options.repeats
    logits = 3 * torch.randn(shape, generator=torch.Generator().manual_seed(0))
    rng = np.random.default_rng(0)
    corners = zip(rng.integers(0, max(1, shape[1] - 64), 50), rng.integers(0, max(1, shape[2] - 64), 50), strict=True)
    size = (min(64, shape[1]), min(64, shape[2]))
    wanted = Wanted(TAU, [Region("", (int(y), int(x)), size) for y, x in corners], Measure.ENTROPY)

    print(f"{' x '.join(map(str, shape))} logits, {len(wanted.annotated)} annotated windows, median of {repeats}, ms")
    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    for device in devices:
        print(f"\n{device_name(device):44s}{'ours':>10s}{'chain':>10s}{'ratio':>8s}")
        for dtype in (torch.float32, torch.bfloat16):
            there = logits.to(device, dtype)
            compare(f"decode, {dtype}", partial(decode, there, wanted), partial(eager, there, wanted), repeats)
        if device == "cpu":
            maps = decode(logits, Wanted(confidence=True))
            assert maps.confidence is not None
            step = (maps.labels, maps.confidence, wanted.annotated, TAU, len(logits))
            compare("count_classes", partial(count_classes, *step), partial(bincount, *step), repeats)
        elif has_triton():
            bandwidth(logits.to(device), wanted)


def compare(name: str, ours: Callable[[], Any], chain: Callable[[], Any], repeats: int) -> None:
    """Print the medians of two ways to compute the same, called in turn."""
    seconds: tuple[list[float], list[float]] = ([], [])
    for repeat in range(repeats + 2):
        for function, times in zip((ours, chain), seconds, strict=True):
            start = time.perf_counter()
            function()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if repeat > 1:  # the first calls compile and allocate
                times.append(time.perf_counter() - start)
    one, other = (1000 * statistics.median(times) for times in seconds)
    print(f"{name:44s}{one:10.2f}{other:10.2f}{other / one:7.1f}x")


def eager(logits: torch.Tensor, wanted: Wanted) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64], torch.Tensor]:
    """Labels, counts and entropy by a chain of PyTorch's operations."""
    n_classes, marks = len(logits), torch.zeros(logits.shape[1:], dtype=torch.bool)
    for region in wanted.annotated:
        marks[region.slices] = True
    probabilities = logits.softmax(0, dtype=torch.float32)
    confidence, labels = probabilities.max(0)
    entropy = torch.special.entr(probabilities).sum(0)
    kind = torch.where(marks.to(logits.device), 0, 1 + (confidence > TAU).long())
    counts = torch.bincount((kind * n_classes + labels).flatten(), minlength=3 * n_classes)
    return labels.to(torch.uint8).cpu().numpy(), counts.reshape(3, n_classes).cpu().numpy(), entropy


def bincount(
    labels: npt.NDArray[np.uint8],
    confidence: npt.NDArray[np.float32],
    annotated: Sequence[Region],
    tau: float,
    n_classes: int,
) -> npt.NDArray[np.int64]:
    """The counts by a chain of NumPy's operations."""
    marks = np.zeros(labels.shape, np.bool_)
    for region in annotated:
        region.mark(marks, True)
    kind = np.where(marks, 0, 1 + (confidence > np.float32(tau)))
    return np.bincount((kind * n_classes + labels).ravel(), minlength=3 * n_classes).reshape(3, n_classes)


def bandwidth(logits: torch.Tensor, wanted: Wanted) -> None:
    """Print the effective bandwidth of the Triton kernel and that of a copy."""
    from triton.testing import do_bench_cudagraph

    from decomp.platform.learners.inference.fused import launch

    source = torch.empty(COPIED, dtype=torch.uint8, device=logits.device)
    target = torch.empty_like(source)
    copy = 2 * COPIED / do_bench_cudagraph(partial(target.copy_, source), return_mode="median")
    print(f"{'copying 1 GiB':44s}{copy / 1e9:10.2f} TB/s")
    marks = np.zeros(logits.shape[1:], np.uint8)
    for region in wanted.annotated:
        region.mark(marks, 1)
    annotated = torch.from_numpy(marks).to(logits.device).flatten()
    for dtype in (torch.float32, torch.bfloat16):
        flat = logits.to(dtype).flatten(1)
        milliseconds = do_bench_cudagraph(partial(launch, flat, wanted, annotated), return_mode="median")
        moved = flat.nbytes + 6 * flat.shape[1]  # marks are read, labels and levels written
        share = moved / milliseconds / copy
        print(f"{f'kernel, {dtype}':44s}{milliseconds:10.3f} ms {moved / milliseconds / 1e9:8.2f} TB/s {share:6.0%}")


def has_triton() -> bool:
    """Whether the kernel can be used."""
    try:
        import triton  # noqa: F401
    except ImportError:
        return False
    return True


def device_name(device: str) -> str:
    """Name of the device, as its maker calls it."""
    if device == "cuda":
        return torch.cuda.get_device_name()
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.split(": ")[1] for line in lines if line.startswith("model name")), device) + ", one thread"


if __name__ == "__main__":
    main()
