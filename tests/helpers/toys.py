"""A data set and a learner that cost milliseconds, for tests of everything around them.

As learners do, these load PyTorch, which takes seconds, no sooner than they predict.
"""

import os
import signal
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import safetensors.numpy

from decomp.platform.datasets import IGNORE, Dataset
from decomp.platform.errors import UserError
from decomp.platform.learners import Learner, Predictor
from decomp.platform.learners.unet import UNet
from decomp.platform.predictions import PoolCounts
from decomp.platform.randomness import stream
from decomp.platform.samplers.decomposition import DecompositionRegions


@dataclass(frozen=True)
class Blobs(Dataset):
    """Noisy images of rectangles; the grey value hints at the class, of which the last is rare."""

    seed: int = 0
    images: int = 9
    height: int = 24
    width: int = 32

    classes = ("ground", "house", "tree", "dog")

    def ids(self, split, fold):
        n = {"train": self.images, "validation": 2, "test": 4}[split]
        return tuple(f"{split}-{k:03d}" for k in range(n))

    def shape(self, image):
        return self.height, self.width

    def image(self, image):
        noise = stream(self.seed, "noise", image=image).normal(0, 0.35, self.shape(image))
        return (self.labels(image) + noise).astype(np.float32)[..., None]

    def labels(self, image):
        rng = stream(self.seed, "labels", image=image)
        labels = np.zeros(self.shape(image), np.uint8)
        for _ in range(6):
            kind = rng.choice(4, p=[0.2, 0.4, 0.3, 0.1])
            row, column = rng.integers(self.height - 4), rng.integers(self.width - 4)
            labels[row : row + rng.integers(3, 12), column : column + rng.integers(3, 12)] = kind
        labels[0, :2] = IGNORE
        return labels

    def fingerprint(self):
        return f"blobs-{self.seed}-{self.images}-{self.height}-{self.width}"


@dataclass(frozen=True)
class Boxes(Blobs):
    """Noisy volumes of boxes, otherwise as `Blobs`."""

    depth: int = 4
    height: int = 12
    width: int = 16

    def shape(self, image):
        return self.depth, self.height, self.width

    def labels(self, image):
        rng = stream(self.seed, "labels", image=image)
        labels = np.zeros(self.shape(image), np.uint8)
        for _ in range(6):
            corner, size = rng.integers((self.depth, self.height - 3, self.width - 3)), rng.integers(2, 8, 3)
            labels[tuple(slice(a, a + n) for a, n in zip(corner, size, strict=True))] = rng.choice(
                4, p=[0.2, 0.4, 0.3, 0.1]
            )
        labels[0, 0, :2] = IGNORE
        return labels

    def fingerprint(self):
        return f"boxes-{self.seed}-{self.images}-{self.shape('')}"


@dataclass(frozen=True)
class MortalBlobs(Blobs):
    """Kills the process of a run's coordinator, which asks for the ids of a split in every cycle.

    Attributes:
        grave: file that says that it has been done, with the process's title; it is done once.
        split: ``train`` is asked for at the start of a process and of each cycle, ``test`` before the evaluation.
        call: at which call it is done.
        again: whether it is done in every process.
    """

    grave: str = ""
    split: str = "train"
    call: int = 0
    again: bool = False
    calls: list = field(default_factory=list, compare=False)

    def ids(self, split, fold):
        if self.grave and split == self.split:
            self.calls.append(split)
            if len(self.calls) == self.call:
                die_once(self.grave if not self.again else f"{self.grave}-{os.getpid()}")
        return super().ids(split, fold)


def die_once(grave):
    """Kill this process, unless the file `grave` says that it has been done."""
    if not Path(grave).exists():
        Path(grave).write_bytes(Path("/proc/self/cmdline").read_bytes())
        os.kill(os.getpid(), signal.SIGKILL)


class Damaged(Blobs):
    """Two of its images cannot be read."""

    def shape(self, image):
        raise UserError(f"{image}.png is missing.")

    def problems(self):
        return [f"{image}.png is missing." for image in self.ids("train", 0)[:2]]


@dataclass(frozen=True)
class Centroids(Learner):
    """Nearest mean grey value, with a random jitter that makes the training stream matter."""

    jitter: float = 0.05
    fail_at_cycle: int = 0
    seconds: float = 0.0

    def fit(self, dataset, training, checkpoint):
        time.sleep(self.seconds)
        if self.fail_at_cycle and max(training.ledger.table["cycle"].to_pylist()) == self.fail_at_cycle:
            raise RuntimeError("the learner has had enough")
        sums, counts = np.zeros(len(dataset.classes)), np.zeros(len(dataset.classes))
        for image, regions in training.ledger.by_image.items():
            pixels, labels = dataset.image(image)[..., 0], dataset.labels(image)
            for region in regions:
                for c in range(len(sums)):
                    inside = labels[region.slices] == c
                    sums[c] += pixels[region.slices][inside].sum()
                    counts[c] += inside.sum()
        training.progress(0.5)
        means = np.where(counts > 0, sums / np.maximum(counts, 1), 99.0)
        means = means + training.rng.normal(0, self.jitter, len(means))
        if training.warm_start is not None:
            means = 0.5 * means + 0.5 * safetensors.numpy.load_file(training.warm_start)["means"]
        checkpoint.write_bytes(safetensors.numpy.save({"means": means}))

    def load(self, checkpoint: Path, dataset, device):
        return NearestMean(safetensors.numpy.load_file(checkpoint)["means"])


@dataclass(frozen=True)
class Gated(Centroids):
    """Trains once a file is there."""

    gate: str = ""

    def fit(self, dataset, training, checkpoint):
        while not Path(self.gate).exists():
            time.sleep(0.05)
        super().fit(dataset, training, checkpoint)


class Telling(Centroids):
    """Fails and tells in which process."""

    def fit(self, dataset, training, checkpoint):
        raise RuntimeError(os.getpid())


class Epochal(Centroids):
    """A learner that trains one epoch per three regions, at most ten."""

    def training_epochs(self, n_regions):
        return min(10, -(-n_regions // 3))


@dataclass(frozen=True)
class Mortal(Centroids):
    """Kills its own process once, in the middle of a training."""

    grave: str = ""
    at_cycle: int = 0

    def fit(self, dataset, training, checkpoint):
        if max(training.ledger.table["cycle"].to_pylist()) == self.at_cycle:
            die_once(self.grave)
        super().fit(dataset, training, checkpoint)


@dataclass(frozen=True)
class MortalShard(Centroids):
    """Kills its own process once, when a cycle's pool is predicted to a half."""

    grave: str = ""
    at_cycle: int = 0

    def load(self, checkpoint, dataset, device):
        mortal = checkpoint.parent.name == f"cycle-{self.at_cycle - 1:04d}"
        return MortalPredictor(super().load(checkpoint, dataset, device).means, self.grave if mortal else "")


@dataclass(frozen=True)
class Bulky(Centroids):
    """Writes checkpoints of a size, in bytes."""

    size: int = 0

    def fit(self, dataset, training, checkpoint):
        super().fit(dataset, training, checkpoint)
        with checkpoint.open("ab") as file:
            file.write(bytes(self.size))

    def load(self, checkpoint, dataset, device):
        content = checkpoint.read_bytes()
        return NearestMean(safetensors.numpy.load(content[: len(content) - self.size])["means"])


@dataclass(frozen=True)
class Fallible(UNet):
    """A U-Net that processes abandon half-way through a training: the given rank of each pair of cycle and rank.

    They kill themselves, once each, or raise an error if there is no folder of `graves`.
    """

    fails: tuple[tuple[int, int], ...] = ()
    graves: str = ""

    def fit(self, dataset, training, checkpoint):
        here = max(training.ledger.table["cycle"].to_pylist()), training.processes.rank
        grave = Path(self.graves) / f"cycle-{here[0]}-rank-{here[1]}"

        def progress(fraction):
            if fraction >= 0.5 and not grave.exists():
                if not self.graves:
                    raise RuntimeError("the learner has had enough")
                grave.touch()
                os.kill(os.getpid(), signal.SIGKILL)

        if here in self.fails:
            training = replace(training, progress=progress)
        super().fit(dataset, training, checkpoint)


@dataclass(frozen=True)
class Droppers(Centroids):
    """Predict in several passes too; `dropout` is the share of the pixels that are dropped where dropout is on."""

    dropout: float = 0.3

    def check_passes(self, passes):
        passes.check(dropout=self.dropout, flips=4)

    def load(self, checkpoint, dataset, device):
        from helpers.toy_passes import ForwardMean

        return ForwardMean(super().load(checkpoint, dataset, device).means, self.dropout)


@dataclass(frozen=True)
class NearestMean(Predictor):
    """Softmax over negative squared distances."""

    means: np.ndarray

    def predict(self, image, wanted):
        import torch

        from decomp.platform.learners.inference.bottleneck import Bottleneck
        from decomp.platform.learners.inference.decode import decode

        pixels = np.moveaxis(image, -1, 0)
        distances = (pixels - self.means.reshape(-1, *[1] * (pixels.ndim - 1))) ** 2
        logits = torch.from_numpy((-3.0 * distances).astype(np.float32))
        pool = torch.nn.functional.avg_pool2d if pixels.ndim == 3 else torch.nn.functional.avg_pool3d
        cells = pool(torch.from_numpy(pixels), 4)
        return decode(logits, wanted, Bottleneck(torch.cat([cells, cells**2]), (4,) * (pixels.ndim - 1)))


@dataclass(frozen=True)
class MortalPredictor(NearestMean):
    """Kills its own process once, at its third image."""

    grave: str
    seen: list = field(default_factory=list)

    def predict(self, image, wanted):
        self.seen.append(1)
        if self.grave and len(self.seen) == 3:
            die_once(self.grave)
        return super().predict(image, wanted)


@dataclass(frozen=True)
class MortalRegions(DecompositionRegions):
    """Kills its own process once, when it has chosen in one image of a cycle and is asked to in another."""

    grave: str = ""
    seen: list = field(default_factory=list, compare=False)

    def choose(self, view, n_region, rng):
        self.seen.append(1)
        if len(self.seen) == 2:
            die_once(self.grave)
        return super().choose(view, n_region, rng)


def random_counts(n_images, n_classes=4, seed=0):
    """Random counts of a pool."""
    rng = np.random.default_rng(seed)
    predicted = rng.integers(0, 300, size=(n_images, n_classes))
    confident = rng.integers(0, predicted + 1)
    images = tuple(f"i{k:02d}" for k in range(n_images))
    return PoolCounts(images, predicted.sum(axis=1), predicted, predicted, confident, rng.random(n_images))
