"""What several passes cost beyond the forward passes themselves: time for one image, and memory.

    python -m decomp.experiments.bench.passes [--passes 5] [--height 1024] [--width 2048] [--repeats 9]

On one thread of the CPU and, where there is one, on the GPU. The network is one whose logits exist already, so what is
timed is decoding, folding, and the choice of ten windows of 128 x 128 by entropy (one pass) or mutual information
(several); for comparison, one forward pass of the small U-Net of the digit scenes, and the least that folding could
cost, adding the logits of a pass to the sums. Medians, called in turn; the ratio of several passes to one is taken in
each turn, so that programs beside it slow down both. Memory is the peak of a process of its own, above that of the same
process before it predicts, with logits that are made anew in every pass.
"""

import argparse
import json
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import nn
from torch.nn import functional
from typing_extensions import override

from decomp.experiments.bench.decode import device_name
from decomp.platform.learners.inference.bottleneck import Bottleneck
from decomp.platform.learners.inference.fold import Fold
from decomp.platform.learners.inference.passes import FoldedPredictor, ForwardPredictor
from decomp.platform.learners.inference.segmentation import SegmentationPredictor
from decomp.platform.learners.networks.unet import Network
from decomp.platform.learners.unet import UNet
from decomp.platform.predictions import Measure, Prediction, Wanted
from decomp.platform.samplers import ImageView
from decomp.platform.samplers.uncertainty import UncertaintyRegions
from decomp.platform.samplers.windows import Windows

N_CLASSES = 19
WINDOW, N_REGION = (128, 128), 10
WANTED = {one: Wanted(0.7, (), Measure.MUTUAL_INFORMATION if one > 1 else Measure.ENTROPY) for one in range(1, 101)}
GRID = [(19, 1), (19, 2), (19, 5), (19, 10), (5, 5), (38, 5)]
"""Classes and passes of which the memory is measured."""


class Recorded(ForwardPredictor):
    """A network whose logits exist already.

    Args:
        logits: shape (C, H, W).
        copied: whether each pass makes them anew.
    """

    def __init__(self, logits: torch.Tensor, copied: bool = False) -> None:
        super().__init__(nn.Identity(), logits.device, 1)
        self._logits, self._copied = logits, copied

    @override
    def forward(self, image: Any, regions: bool = False) -> tuple[torch.Tensor, Bottleneck | None]:
        return self._logits.clone() if self._copied else self._logits, None


def ensemble(shape: tuple[int, ...], n_classes: int, n: int, device: str) -> list[Recorded]:
    """Models that agree within blobs and differ along their borders."""
    generator = torch.Generator().manual_seed(0)
    coarse = 4 * torch.randn((1, n_classes, shape[0] // 32, shape[1] // 32), generator=generator)
    common = functional.interpolate(coarse, shape, mode="bilinear")[0]
    drawn = [torch.randn((n_classes, 1, 1), generator=generator) for _ in range(n)]
    return [Recorded((common + 0.3 * shift).to(device)) for shift in drawn]


def chosen(prediction: Prediction) -> int:
    """Choose regions as UNCERT does, in an image of which nothing is annotated."""
    view = ImageView(Windows("", prediction.labels.shape, WINDOW, ()), uncertainty=prediction.uncertainty)
    return len(UncertaintyRegions().choose(view, N_REGION, np.random.default_rng(0)))


def timed(steps: dict[str, Callable[[], Any]], repeats: int) -> dict[str, list[float]]:
    """Seconds of each step in each turn."""
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for repeat in range(repeats + 2):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if repeat > 1:  # the first calls compile and allocate
                seconds[name].append(time.perf_counter() - start)
    return seconds


def compare(shape: tuple[int, ...], n: int, device: str, repeats: int) -> None:
    """Print the times of one pass and of n."""
    models = ensemble(shape, N_CLASSES, n, device)
    several = FoldedPredictor(models, "ensemble", (None,) * n)
    fold, sums = Fold(entropies=True), torch.zeros((N_CLASSES, *shape), device=device)
    network = Network(3, N_CLASSES, UNet.widths).to(device).to(memory_format=torch.channels_last)
    unet = SegmentationPredictor(network.eval(), torch.device(device), "U-Net", 1)
    image = np.zeros((*shape, 3), np.uint8)
    with torch.inference_mode():
        measured = timed(
            {
                "forward pass of the U-Net": lambda: unet.forward(image),
                "one pass: decode": lambda: models[0].predict(None, WANTED[1]),
                "one pass: decode and choose": lambda: chosen(models[0].predict(None, WANTED[1])),
                "each pass: fold": partial(fold.add, models[1].forward(None)[0]),
                "each pass: add the logits alone": partial(sums.add_, models[1].forward(None)[0]),
                f"{n} passes: fold and decode": lambda: several.predict(None, WANTED[n]),
                f"{n} passes: fold, decode and choose": lambda: chosen(several.predict(None, WANTED[n])),
            },
            repeats,
        )
    print(f"{device_name(device):44s}{'ms':>10s}")
    for name, seconds in measured.items():
        print(f"{name:44s}{1000 * statistics.median(seconds):10.1f}")
    turns = zip(measured[f"{n} passes: fold, decode and choose"], measured["one pass: decode and choose"], strict=True)
    ratios = sorted(several / one for several, one in turns)
    print(f"{'ratio':44s}{statistics.median(ratios):10.1f} ({ratios[0]:.1f} to {ratios[-1]:.1f})\n")


def peak(shape: tuple[int, ...], n_classes: int, n: int) -> None:
    """Print the memory of one prediction, in bytes for each pixel."""
    model = Recorded(torch.zeros((n_classes, *shape)), copied=True)
    model.forward(None)  # so that the pages of the logits are there
    Path("/proc/self/clear_refs").write_text("5")  # forgets the peak so far
    before = _peak()
    if n == 1:
        model.predict(None, WANTED[1])
    else:
        FoldedPredictor([model] * n, "ensemble", (None,) * n).predict(None, WANTED[n])
    print(json.dumps(1024 * (_peak() - before) / (shape[0] * shape[1])))


def _peak() -> int:
    """Peak of the resident memory in kilobytes."""
    (line,) = re.findall(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())
    return int(line)


def main() -> None:
    """Measure everything and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--passes", type=int, default=5)
    parser.add_argument("--height", type=int, default=1024)
    parser.add_argument("--width", type=int, default=2048)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--only", type=int, nargs=2, help="measure the memory of so many classes and passes alone")
    options = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    shape = (options.height, options.width)
    if options.only:
        peak(shape, *options.only)
        return
    print(f"{N_CLASSES} x {options.height} x {options.width} logits, median of {options.repeats}\n")
    for device in ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]:
        compare(shape, options.passes, device, options.repeats)
    print("classes  passes  peak memory, bytes per pixel  per pixel and class")
    command = [sys.executable, "-m", "decomp.experiments.bench.passes", *sys.argv[1:], "--only"]
    for n_classes, n in GRID:
        done = subprocess.run([*command, str(n_classes), str(n)], check=True, capture_output=True, text=True)
        measured = json.loads(done.stdout)
        print(f"{n_classes:7d} {n:7d} {measured:29.1f} {measured / n_classes:20.1f}")


if __name__ == "__main__":
    main()
