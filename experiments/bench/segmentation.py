"""What UperNet with InternImage-T costs: training, the forward pass alone, and prediction reduced to counts.

    python -m decomp.experiments.bench.segmentation [--device cuda] [--height 1024] [--width 2048] [--classes 19]
        [--crop 512 1024] [--batch 16] [--checkpointing] [--iterations 20] [--repeats 20]

Training steps are on random crops that are ready in memory, a quarter of whose pixels are annotated. `forward` ends
with the logits at full resolution on the device; `predict` is what a shard does with an image: forward pass, labels,
and counts of confident pixels by class, brought to the host. Medians; forward and predict are timed in turn. On the
CPU choose a smaller image and crop.
"""

import argparse
import resource
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch

from decomp.experiments.bench.decode import device_name
from decomp.platform.datasets import IGNORE
from decomp.platform.learners.inference.segmentation import SegmentationPredictor
from decomp.platform.learners.training.distributed import Group
from decomp.platform.learners.training.streamed_crops import Batch
from decomp.platform.learners.upernet import UperNet
from decomp.platform.predictions import Wanted

TAU = 0.7
UNTIMED = 2  # the first calls compile and allocate


def main() -> None:
    """Time everything and print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--height", type=int, default=1024)
    parser.add_argument("--width", type=int, default=2048)
    parser.add_argument("--classes", type=int, default=19)
    parser.add_argument("--crop", type=int, nargs=2, default=(512, 1024))
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--checkpointing", action="store_true")
    parser.add_argument("--iterations", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=20)
    options = parser.parse_args()
    device = torch.device(options.device)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    learner = UperNet(batch=options.batch, crop=tuple(options.crop), checkpointing=options.checkpointing)
    network = learner.network(learner.network_options(), 3, options.classes)
    n_parameters = sum(parameter.numel() for parameter in network.parameters()) / 1e6
    network.mean.fill_(127.5)
    network.std.fill_(64)
    network.to(device).to(memory_format=torch.channels_last)
    print(f"{device_name(device.type)}; {n_parameters:.1f} M parameters, torch {torch.__version__}\n")

    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (options.batch, *options.crop, 3)).astype(np.uint8)
    labels = rng.integers(0, options.classes, (options.batch, *options.crop)).astype(np.uint8)
    labels[:, :, options.crop[1] // 4 :] = IGNORE
    descent = learner.descent(network, np.ones(options.classes, np.float32), device, Group())
    step = partial(descent, 1000, Batch(pixels, labels), float((labels != IGNORE).sum()))
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    (seconds,) = medians([step], options.iterations, device)
    kind = f"{options.batch} crops of {' x '.join(map(str, options.crop))}"
    print(f"training, {kind:34s}{1 / seconds:8.3f} iterations/s {options.batch / seconds:8.2f} crops/s")
    print(f"{'peak memory':44s}{peak_memory(device):8.2f} GB\n")

    predictor = SegmentationPredictor(network.eval(), device, learner.title, 1, learner.strict)
    image = rng.integers(0, 256, (options.height, options.width, 3)).astype(np.uint8)
    forward, predict = medians(
        [inferred(predictor, image), partial(predictor.predict, image, Wanted(tau=TAU))], options.repeats, device
    )
    for name, seconds in (("forward", forward), ("predict", predict)):
        print(f"{name + f', {options.height} x {options.width}':44s}{1 / seconds:8.3f} images/s")
    print(f"{'share of the forward pass':44s}{forward / predict:8.0%}")


def inferred(predictor: SegmentationPredictor, image: Any) -> Callable[[], Any]:
    """The forward pass by itself."""

    def forward() -> Any:
        with torch.inference_mode():
            return predictor.forward(image)

    return forward


def medians(functions: list[Callable[[], Any]], repeats: int, device: torch.device) -> list[float]:
    """Median seconds of functions called in turn."""
    seconds: list[list[float]] = [[] for _ in functions]
    for repeat in range(repeats + UNTIMED):
        for function, times in zip(functions, seconds, strict=True):
            start = time.perf_counter()
            function()
            if device.type == "cuda":
                torch.cuda.synchronize()
            if repeat >= UNTIMED:
                times.append(time.perf_counter() - start)
    return [statistics.median(times) for times in seconds]


def peak_memory(device: torch.device) -> float:
    """Peak memory in GB: of tensors on CUDA, otherwise of the process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated() / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


if __name__ == "__main__":
    main()
