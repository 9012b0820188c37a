"""What one image of the pool costs from its file to its chosen regions, and what reading ahead saves.

    python -m decomp.experiments.bench.pipeline [--images 32] [--cores 8] [--forward-ms 40] [--folder /tmp/streets]

Street scenes of 1024 x 2048 pixels in the layout of Cityscapes are generated in the folder and kept there. Timed are
reading and decoding (one thread, then --cores threads, the share of one GPU), the forward pass, its reduction to labels
and counts, compression of the label map, and DECOMP's choice of 10 regions of 128 x 128; then the whole, once read in
line and once by background threads. The forward pass is a U-Net's on the GPU, or on the CPU where there is none;
--forward-ms replaces it by a wait, as if a GPU took so long. Files may be in the page cache: the rates are those of
decoding, and of the disk only where it is slower.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch

from decomp.platform.datasets.cityscapes import Cityscapes
from decomp.platform.datasets.synthetic.streets import write_streets
from decomp.platform.learners.inference.decode import decode
from decomp.platform.learners.networks.unet import Network
from decomp.platform.predictions import Prediction, Wanted
from decomp.platform.prefetch import prefetch
from decomp.platform.samplers import ImageView
from decomp.platform.samplers.decomposition import DecompositionRegions
from decomp.platform.samplers.windows import Windows

N_CLASSES = 19
SIDE, N_REGION = 128, 10
TAU = 0.7


@dataclass
class Stages:
    """Wall time of each stage, image by image, in ms."""

    times: dict[str, list[float]] = field(default_factory=dict)

    def timed(self, stage: str, work: Callable[[], Any]) -> Any:
        """Do the work and note its time."""
        start = time.perf_counter()
        done = work()
        self.times.setdefault(stage, []).append(1000 * (time.perf_counter() - start))
        return done


class Model:
    """The forward pass: logits (19, H, W) of an image, on the device, finished."""

    def __init__(self, wait_ms: float | None) -> None:
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._wait_ms = wait_ms
        self._logits: torch.Tensor | None = None
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(0)
            self._network = Network(3, N_CLASSES, (16, 32, 48, 64)).to(self.device).eval()
            self._network = self._network.to(memory_format=torch.channels_last)
        self._network.mean.fill_(128)
        self._network.std.fill_(64)

    @property
    def title(self) -> str:
        """What the forward pass is."""
        kind = "U-Net" if self._wait_ms is None else "wait instead of a forward pass"
        return f"{kind}, {torch.cuda.get_device_name() if self.device.type == 'cuda' else 'CPU, one thread'}"

    def __call__(self, pixels: npt.NDArray[np.uint8]) -> torch.Tensor:
        """Logits of an image; the same for every image where the forward pass is a wait."""
        if self._wait_ms is None:
            return self._forward(pixels)
        if self._logits is None:
            self._logits = self._forward(pixels)
        time.sleep(self._wait_ms / 1000)
        return self._logits

    def _forward(self, pixels: npt.NDArray[np.uint8]) -> torch.Tensor:
        with torch.inference_mode():
            images = torch.from_numpy(pixels).to(self.device)[None].permute(0, 3, 1, 2).float()
            # A trained network is more certain than one of random weights.
            logits: torch.Tensor = 8 * self._network(images)[0][0].contiguous()
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return logits


def process(image: str, pixels: npt.NDArray[np.uint8], model: Model, stages: Stages) -> None:
    """Predict, reduce, keep, choose: what a shard does with an image that is selected."""
    logits = stages.timed("forward pass", lambda: model(pixels))
    prediction: Prediction = stages.timed("reduce to labels and counts", lambda: decode(logits, Wanted(tau=TAU)))
    stages.timed("compress the label map", lambda: pa.compress(prediction.labels, codec="lz4", asbytes=True))
    stages.timed("choose 10 regions", lambda: choose(image, prediction))


def choose(image: str, prediction: Prediction) -> None:
    """DECOMP's regions under uniform weights."""
    assert prediction.counts is not None
    shape = prediction.labels.shape
    side = min(SIDE, shape[0] // 4)
    view = ImageView(
        Windows(image, shape, (side, side), ()),
        prediction.labels,
        weights=np.full(N_CLASSES, 1 / N_CLASSES),
        predicted=prediction.counts.sum(axis=0),
    )
    DecompositionRegions().choose(view, N_REGION, np.random.default_rng(0))


def stage_table(data: Cityscapes, images: tuple[str, ...], model: Model) -> dict[str, float]:
    """Print the median time of each stage, one thread and in line; returns them in ms."""
    stages = Stages()
    for image in images:
        pixels = stages.timed("read and decode", lambda image=image: data.image(image))  # type: ignore[misc]
        process(image, pixels, model, stages)
    medians = {stage: statistics.median(times[1:] or times) for stage, times in stages.times.items()}
    total = sum(medians.values())
    print(f"{'stage, in line':34s}{'ms':>9s}{'share':>8s}")
    for stage, elapsed in medians.items():
        print(f"{stage:34s}{elapsed:9.2f}{elapsed / total:8.0%}")
    print(f"{'all':34s}{total:9.2f}")
    return medians


def read_rates(data: Cityscapes, images: tuple[str, ...], cores: int) -> float:
    """Print images read per second by number of threads; returns that of `cores` threads, projected if need be."""
    print(f"\n{'reading and decoding alone':34s}{'images/s':>9s}{'speed-up':>10s}")
    first = rate = 0.0
    most = min(cores, available_cores())
    for threads in sorted({1, min(2, most), most}):
        rate = per_second(read(data, images, threads), len(images))
        first = first or rate
        print(f"{f'{threads} threads':34s}{rate:9.1f}{rate / first:9.1f}x")
    if most < cores:  # decoding shares nothing between threads
        rate *= cores / most
        print(f"{f'{cores} threads, projected from {most}':34s}{rate:9.1f}{rate / first:9.1f}x")
    return rate


def read(data: Cityscapes, images: tuple[str, ...], threads: int) -> Generator[Any, None, None]:
    """The images, read as a shard reads them, by that many background threads (0: in line)."""
    return prefetch((partial(data.image, image) for image in images), threads, threads)


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def per_second(items: Iterator[Any], n: int) -> float:
    """Rate at which an iterator gives its items."""
    start = time.perf_counter()
    for _ in items:
        pass
    return n / (time.perf_counter() - start)


def whole(data: Cityscapes, images: tuple[str, ...], model: Model, threads: int) -> float:
    """Images per second of all stages, read by that many background threads (0: in line)."""
    start = time.perf_counter()
    with closing(read(data, images, threads)) as all_pixels:
        for image, pixels in zip(images, all_pixels, strict=True):
            process(image, pixels, model, Stages())
    return len(images) / (time.perf_counter() - start)


def generated(folder: Path, n_images: int, shape: tuple[int, int], threads: int) -> Cityscapes:
    """The scenes, drawn unless the folder has enough of them."""
    place = folder / f"{shape[0]}x{shape[1]}-{n_images}"
    if not (place / "complete").exists():
        print(f"drawing {n_images} scenes in {place}")
        write_streets(place, {"train": n_images, "val": 1}, shape, threads=threads)
        (place / "complete").touch()
    return Cityscapes(str(place), validation=())


def main() -> None:
    """Time everything and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--height", type=int, default=1024)
    parser.add_argument("--width", type=int, default=2048)
    parser.add_argument("--cores", type=int, default=8, help="reading threads: the cores of one GPU's share")
    parser.add_argument("--forward-ms", type=float, help="wait so long instead of a forward pass")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "decomp-streets")
    options = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    shape = (options.height, options.width)
    data = generated(options.folder, options.images, shape, options.cores)
    images = data.ids("train", 0)
    model = Model(options.forward_ms)
    size = statistics.mean(file.stat().st_size for file in Path(data.root).rglob("*_leftImg8bit.png"))
    print(f"{len(images)} images of {shape[0]} x {shape[1]}, {size / 1e6:.1f} MB each; {model.title}\n")
    medians = stage_table(data, images, model)
    reading = read_rates(data, images, options.cores)
    busy = 1000 / (sum(medians.values()) - medians["read and decode"])
    print(f"\n{options.cores} threads read {reading:.0f} images/s; the rest of the pipeline takes {busy:.1f} images/s")
    limit = "reading" if reading < busy else "the rest"
    print(f"expected of both together at most {min(reading, busy):.1f} images/s, limited by {limit}")
    in_line = whole(data, images, model, 0)
    threads = min(options.cores, available_cores())
    in_background = whole(data, images, model, threads)
    print(f"\n{'whole pipeline':34s}{'images/s':>9s}")
    print(f"{'read in line':34s}{in_line:9.1f}")
    print(f"{f'read ahead, {threads} threads':34s}{in_background:9.1f}{in_background / in_line:9.2f}x")


if __name__ == "__main__":
    main()
