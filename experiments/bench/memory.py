"""What a shard keeps in memory: 200 predictions of 1024 x 2048 pixels and 19 classes, for several samplers.

    python -m decomp.experiments.bench.memory [--images 200] [--n-image 25]

Each sampler predicts the images in a process of its own. Its resident memory, at its peak and afterwards, is compared
with that of a sampler that keeps nothing. Goals: label maps at most 0.5 byte per pixel, uncertainty maps
(2 bytes per pixel) only of images that can still be selected.
"""

import argparse
import json
import resource
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from typing_extensions import override

from decomp.experiments.bench.selection import UNIT, Scene, scene
from decomp.platform.components import build_selectors
from decomp.platform.datasets import Dataset
from decomp.platform.grid import Component, Sampler
from decomp.platform.learners import Learner, Predictor, Training
from decomp.platform.loop.shard import PoolShard
from decomp.platform.loop.tasks import Checkpoint, PredictTask, RegionRequest
from decomp.platform.predictions import Prediction, UncertaintyMap, Wanted
from decomp.platform.storage.files import FilePath

SHAPE = (1024, 2048)
N_CLASSES = 19
DISTINCT = 8
"""Different scenes; images show them in turn."""

PAIRS = {
    "nothing kept": ("decomposition", "random"),
    "decomp": ("decomposition", "decomposition"),
    "uncert_decomp": ("uncertainty", "decomposition"),
    "uncert": ("uncertainty", "uncertainty"),
    "decomp_uncert": ("decomposition", "uncertainty"),
}


@dataclass(frozen=True)
class Numbers(Dataset):
    """Images that are nothing but their number."""

    n: int
    classes: tuple[str, ...] = field(default=tuple(f"class {c}" for c in range(N_CLASSES)), init=False)

    @override
    def ids(self, split: str, fold: int) -> tuple[str, ...]:
        return tuple(f"{k:05d}" for k in range(self.n))

    @override
    def shape(self, image: str) -> tuple[int, ...]:
        return SHAPE

    @override
    def image(self, image: str) -> npt.NDArray[np.generic]:
        return np.full((1, 1, 1), int(image))

    @override
    def labels(self, image: str) -> npt.NDArray[np.uint8]:
        raise NotImplementedError

    @override
    def fingerprint(self) -> str:
        return ""


class Recorded(Learner, Predictor):
    """A learner whose predictions exist already."""

    def __init__(self) -> None:
        self.scenes: list[Scene] = [scene(SHAPE, N_CLASSES, seed) for seed in range(DISTINCT)]

    @override
    def fit(self, dataset: Dataset, training: Training, checkpoint: Path) -> None:
        raise NotImplementedError

    @override
    def load(self, checkpoint: Path, dataset: Dataset, device: str) -> Predictor:
        return self

    @override
    def predict(self, image: Any, wanted: Wanted) -> Prediction:
        number = int(image[0, 0, 0])
        shown = self.scenes[number % DISTINCT]
        counts = np.bincount(shown.labels.ravel(), minlength=N_CLASSES)
        # A little different for each image, so that they have an order.
        uncertainty = UncertaintyMap(shown.levels.copy(), UNIT * (1 + number / 1e6))
        return Prediction(shown.labels.copy(), np.array([0 * counts, counts, 0 * counts]), uncertainty)


def keep(pair: tuple[str, str], n: int, n_image: int) -> None:
    """Predict for one sampler and print what was kept."""
    images, regions = build_selectors(Sampler("", Component(pair[0]), Component(pair[1])))
    shard = PoolShard(Numbers(n), Recorded(), "cpu")
    task = PredictTask(
        model=Checkpoint(FilePath("recorded"), ""),
        images=shard.dataset.ids("train", 0),
        annotated={},
        tau=0.7,
        measure=None,
        needs=images.needs | regions.needs,
        ranking=images if images.local else None,
        selected=None,
        n_image=n_image,
        request=RegionRequest(regions, (128, 128), 10, None, 0, 0, 2),
    )
    shard.predict(task)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    now = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20
    print(json.dumps({"peak": peak, "now": now, **shard.held()}))


def main() -> None:
    """Measure every sampler and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--n-image", type=int, default=25)
    parser.add_argument("--only", choices=PAIRS, help="measure one in this process and print it as JSON")
    options = parser.parse_args()
    if options.only:
        keep(PAIRS[options.only], options.images, options.n_image)
        return
    command = [sys.executable, "-m", "decomp.experiments.bench.memory", *sys.argv[1:], "--only"]
    measured = {
        name: json.loads(subprocess.run([*command, name], check=True, capture_output=True, text=True).stdout)
        for name in PAIRS
    }
    base, pixels = measured["nothing kept"], SHAPE[0] * SHAPE[1]
    print(f"{options.images} predictions of 1024 x 2048 x {N_CLASSES}, {options.n_image} images to be selected\n")
    print(f"{'sampler':16s} {'peak':>10s} {'afterwards':>12s} {'more':>20s}   images, bytes per pixel of each")
    for name, of in measured.items():
        each = f"{of['images']:9d} {of['bytes'] / of['images'] / pixels:18.3f}" if of["images"] else f"{0:9d}"
        more = of["now"] - base["now"]
        print(f"{name:16s} {of['peak']:7.0f} MB {of['now']:9.0f} MB {more:17.0f} MB   {each}")


if __name__ == "__main__":
    main()
