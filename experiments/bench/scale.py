"""How the platform scales when models cost nothing: predictions are recorded, what is left is the platform's work.

    python -m decomp.experiments.bench.scale [--images 20000] [--most 1000000] [--work 2.0] [--runs 200]

Prints, each in a cluster of this machine:

- seconds per image of the predict phase with 1, 2, ... workers when the model takes no time (goal: under 1 ms), and of
  the rest of a cycle;
- parallel efficiency of the workers when the model takes `--work` ms per image: the time of one worker over k times
  that of k workers (goal on two cores: at least 0.85);
- one cycle over a pool of `--most` images: seconds, and the peak memory of the coordinator (goal: under 2 GB) and
  of the workers;
- `--runs` tiny runs of two cycles at a time: seconds, and how many failed.
"""

import argparse
import os
import resource
import tempfile
import time
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import ray

from decomp.actors.group import WorkerGroup, start_workers
from decomp.actors.progress import open_progress
from decomp.actors.resources import Resources
from decomp.actors.scheduler import Sweep
from decomp.actors.worker import Job
from decomp.platform.datasets import Dataset, Split
from decomp.platform.grid import Budget, Component, Sampler
from decomp.platform.learners import Learner, Predictor, Training
from decomp.platform.loop.loop import Loop
from decomp.platform.predictions import LEVELS, Prediction, UncertaintyMap, Wanted
from decomp.platform.spec import RunSpec
from decomp.platform.storage.files import FilePath
from decomp.platform.storage.location import Location
from decomp.platform.storage.runs import RunStore

N_CLASSES = 19
SIDE = 64
RECORDED = 16


@dataclass(frozen=True)
class Simulated(Dataset):
    """A pool of equal images that are never read."""

    images: int = 1000

    classes = tuple(f"class {c}" for c in range(N_CLASSES))

    def ids(self, split: Split, fold: int) -> tuple[str, ...]:
        """As many training images as wanted, and two of each other split."""
        return self._train if split == "train" else (f"{split}-0", f"{split}-1")

    @cached_property
    def _train(self) -> tuple[str, ...]:
        return tuple(f"{k:07d}" for k in range(self.images))

    def shape(self, image: str) -> tuple[int, ...]:
        """The same for all."""
        return SIDE, SIDE

    def image(self, image: str) -> str:
        """Its name, which is all that the recorded predictions need."""
        return image

    def labels(self, image: str) -> npt.NDArray[np.uint8]:
        """One class."""
        return np.zeros(self.shape(image), np.uint8)

    def fingerprint(self) -> str:
        """Says how many there are."""
        return f"simulated-{self.images}"


@dataclass(frozen=True)
class Recorded(Learner):
    """Gives recorded predictions.

    Attributes:
        work: milliseconds of one core that a prediction takes.
    """

    work: float = 0.0

    def fit(self, dataset: Dataset, training: Training, checkpoint: Path) -> None:
        """Nothing is trained."""
        checkpoint.write_bytes(training.rng.bytes(8))

    def load(self, checkpoint: Path, dataset: Dataset, device: str) -> Predictor:
        """The same predictions for every checkpoint."""
        return Player(self.work)


class Player(Predictor):
    """Plays one of a few predictions, by the image's name."""

    def __init__(self, work: float) -> None:
        rng = np.random.default_rng(0)
        labels = rng.integers(N_CLASSES, size=(RECORDED, 8, 8)).astype(np.uint8)
        self._labels = labels.repeat(SIDE // 8, 1).repeat(SIDE // 8, 2)
        self._levels = rng.integers(LEVELS, size=self._labels.shape).astype(np.uint16)
        counts = [np.bincount(one.ravel(), minlength=N_CLASSES) for one in self._labels]
        self._counts = [np.stack([0 * count, count - count // 2, count // 2]) for count in counts]
        self._work = work / 1000

    def predict(self, image: Any, wanted: Wanted) -> Prediction:
        """Take the time that a model would, and answer."""
        if self._work:
            end = time.thread_time() + self._work
            while time.thread_time() < end:
                pass
        number = hash(image) % RECORDED
        return Prediction(
            self._labels[number], self._counts[number], UncertaintyMap(self._levels[number], 1.0 / LEVELS)
        )


def main() -> None:
    """Run all measurements."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--most", type=int, default=1_000_000)
    parser.add_argument("--work", type=float, default=2.0, help="milliseconds per image")
    parser.add_argument("--runs", type=int, default=200)
    options = parser.parse_args()
    cores = os.cpu_count() or 1
    # Logical cores of the cluster are more than there are, so that many tiny runs are alive at once.
    ray.init(address="local", num_cpus=4 * cores, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    try:
        with tempfile.TemporaryDirectory() as folder:
            root = FilePath(folder)
            steps = [k for k in (1, 2, 4, 8, 16) if k <= cores]
            print(f"{options.images} images, {cores} cores")
            print(f"{'workers':>8s}{'predict, us an image':>22s}{'rest of the cycle, s':>22s}{'efficiency':>12s}")
            alone = None
            for workers in steps:
                free = cycle(root / f"free-{workers}", options.images, workers, 0.0)
                busy = cycle(root / f"busy-{workers}", options.images // 10, workers, options.work)["predict"]
                alone = alone or busy
                share = 1e6 * free["predict"] / options.images
                rest = sum(free.values()) - free["predict"]
                print(f"{workers:8d}{share:22.1f}{rest:22.2f}{alone / workers / busy:12.2f}", flush=True)
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
            phases = cycle(root / "most", options.most, steps[-1], 0.0)
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
            shown = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in phases.items())
            print(f"{options.most} images, {steps[-1]} workers: {shown}")
            print(f"  memory of the coordinator {peak:.2f} GB, {before:.2f} before")
            start = time.perf_counter()
            failed = tiny_runs(root / "runs", options.runs, 4 * cores)
            print(f"{options.runs} runs of 2 cycles: {time.perf_counter() - start:.0f} s, {failed} failed")
    finally:
        ray.shutdown()


BASE = RunSpec(
    kind="run",
    dataset=Component("decomp.experiments.bench.scale:Simulated"),
    fingerprint="",
    learner=Component("decomp.experiments.bench.scale:Recorded"),
    seed=0,
    budget=Budget(100, 4, (16, 16)),
    sampler=Sampler("decomp", Component("decomposition"), Component("decomposition")),
    cycles=2,
)


def cycle(root: Location, images: int, n_workers: int, work: float) -> dict[str, float]:
    """Seconds per phase of a run's second cycle, this process being the coordinator; prints the workers' memory."""
    spec = replace(
        BASE,
        dataset=Component(BASE.dataset.name, {"images": images}),
        learner=Component(BASE.learner.name, {"work": work}),
    )
    dataset, progress = Simulated(images), open_progress()
    workers = start_workers(Resources(workers=n_workers, cpus=1))
    try:
        group = WorkerGroup(workers, Job("run", spec.dataset, spec.learner), dataset.ids("train", 0), progress)
        for one in (spec.first, spec):
            start = time.perf_counter()
            Loop(RunStore(root, one), dataset, group).run()
        total = time.perf_counter() - start
        phases = dict(RunStore(root, spec).committed()[1].timing.phases)
        phases["other"] = total - sum(phases.values())
        if images >= 10**5:
            peaks = ", ".join(f"{peak:.2f}" for peak in worker_memory())
            print(f"  greatest memory of the workers {peaks} GB")
        return phases
    finally:
        for worker in workers:
            ray.kill(worker)
        ray.kill(progress)


def worker_memory() -> list[float]:
    """Peak memory of each living worker in GB."""
    peaks = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if (folder / "cmdline").read_bytes().startswith(b"ray::Worker"):
                status = (folder / "status").read_text()
                peaks.append(int(status.split("VmHWM:")[1].split()[0]) / 2**20)
        except (OSError, IndexError):
            continue  # it has ended meanwhile
    return sorted(peaks, reverse=True)


def tiny_runs(root: Location, runs: int, at_once: int) -> int:
    """Compute many runs of a pool of 50 images; returns how many failed."""
    small = replace(BASE, dataset=Component(BASE.dataset.name, {"images": 50}), budget=Budget(5, 2, (16, 16)))
    specs = [replace(small, seed=seed) for seed in range(runs)]
    resources = Resources(workers=1, cpus=1, runs_at_once=at_once)
    outcomes = Sweep(root, [*(spec.first for spec in specs), *specs], resources).run(lambda report, ended: None)
    return sum(outcome.error is not None for outcome in outcomes)


if __name__ == "__main__":
    main()
