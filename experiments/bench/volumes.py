"""One cycle of nnU-Net on CT volumes: where its time goes.

    python -m decomp.experiments.bench.volumes [--cases 6] [--size 177 217 217] [--iterations 50] [--folder FOLDER]

Phantoms in the layout of KiTS23 are generated in the folder, prepared there for the network that nnU-Net plans, and
kept. Timed are some iterations of training, from which an epoch of 250 is projected, prediction and counting of a
volume, the choice of 10 windows of 32 x 32 by DECOMP and by UNCERT, and the evaluation of a volume in its own geometry.
It runs on CUDA where there is a GPU, else on the CPU, where --patch, --batch and --features make it bearable.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from decomp.experiments.bench.decode import device_name
from decomp.platform.datasets.kits import Kits23
from decomp.platform.datasets.synthetic.phantom import write_phantom
from decomp.platform.learners import Predictor, Training
from decomp.platform.learners.nnunet import NnUNet
from decomp.platform.learners.nnunet.prepared import PreparedVolumes
from decomp.platform.ledger import Annotation, Ledger
from decomp.platform.predictions import Measure, Wanted
from decomp.platform.regions import Region
from decomp.platform.samplers import ImageView
from decomp.platform.samplers.decomposition import DecompositionRegions
from decomp.platform.samplers.uncertainty import UncertaintyRegions
from decomp.platform.samplers.windows import Windows

EPOCH = 250
WINDOW = (1, 32, 32)


def main() -> None:
    """Time everything and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=6)
    parser.add_argument("--size", type=int, nargs=3, default=(177, 217, 217))
    parser.add_argument("--iterations", type=int, default=50)
    parser.add_argument("--loaders", type=int, default=6)
    parser.add_argument("--patch", type=int, nargs=3)
    parser.add_argument("--batch", type=int)
    parser.add_argument("--features", type=int, nargs="+")
    parser.add_argument("--mirroring", action="store_true", help="average predictions over all mirrorings")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "volumes")
    options = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    size = tuple(options.size)
    place = options.folder / "x".join(map(str, (*size, options.cases)))
    write_phantom(place / "cases", options.cases, size=size)
    learner = NnUNet(
        patch=options.patch and tuple(options.patch),
        batch=options.batch,
        features=options.features and tuple(options.features),
        mirroring=options.mirroring,
        loaders=options.loaders,
        cache=str(place / "prepared"),
        min_epochs=1,
        max_epochs=1,
        iterations_per_epoch=options.iterations,
    )
    volumes = learner.prepare(Kits23(str(place / "cases"), folds=2, exclude=()))
    train, test = volumes.ids("train", 0), volumes.ids("test", 0)
    start = time.perf_counter()
    volumes.complete((*train, *test))
    preparing = (time.perf_counter() - start) / options.cases
    print(f"{device_name(device)}; volumes of {' x '.join(map(str, volumes.shape(train[0])))} voxels")
    row("preparing a volume (0 when kept from before)", preparing)

    checkpoint = place / "model"
    iteration = seconds_per_iteration(learner, volumes, device, checkpoint)
    row(f"an epoch of {EPOCH} iterations, projected from {options.iterations}", EPOCH * iteration)
    predictor = learner.load(checkpoint, volumes, device)
    predicting = predict(predictor, volumes, test)
    for name, seconds in predicting.items():
        row(name, seconds)
    evaluating = [timed(partial(predictor.evaluate, volumes, image, volumes.image(image))) for image in test]
    row("evaluating a volume", statistics.median(evaluating))
    if device == "cuda":
        print(f"greatest memory on the device {torch.cuda.max_memory_allocated() / 2**30:.1f} GB")


def seconds_per_iteration(learner: NnUNet, volumes: PreparedVolumes, device: str, checkpoint: Path) -> float:
    """Seconds per iteration, from two trainings of different length, so that start-up does not count."""
    rng = np.random.default_rng(0)
    annotations = []
    for image in volumes.ids("train", 0):
        shape = volumes.shape(image)
        for rank in range(10):
            start = tuple(int(rng.integers(n - k + 1)) for n, k in zip(shape, WINDOW, strict=True))
            annotations.append(Annotation(Region(image, start, WINDOW), 1, rank))
    ledger = Ledger.of(annotations)
    short = max(2, learner.iterations_per_epoch // 5)
    elapsed = []
    for iterations in (short, short, short + learner.iterations_per_epoch):  # the first one warms up
        some = replace(learner, iterations_per_epoch=iterations)
        training = Training(ledger, np.random.default_rng(0), device=device)
        elapsed.append(timed(partial(some.fit, volumes, training, checkpoint)))
    return (elapsed[2] - elapsed[1]) / learner.iterations_per_epoch


def predict(predictor: Predictor, volumes: PreparedVolumes, images: tuple[str, ...]) -> dict[str, float]:
    """Seconds of prediction with counts, and of each sampler's choice of regions."""
    wanted = Wanted(tau=0.7, measure=Measure.LEAST_CONFIDENCE)
    found: dict[str, list[float]] = {}
    weights = np.full(len(volumes.classes), 1 / len(volumes.classes))
    for image in (images[0], *images):  # the first one warms up
        pixels = volumes.image(image)
        start = time.perf_counter()
        prediction = predictor.predict(pixels, wanted)
        found.setdefault("predicting and counting a volume", []).append(time.perf_counter() - start)
        assert prediction.counts is not None
        for name, selector in (("DECOMP", DecompositionRegions()), ("UNCERT", UncertaintyRegions())):
            view = ImageView(
                Windows(image, volumes.shape(image), WINDOW, ()),
                prediction.labels,
                prediction.uncertainty,
                weights,
                prediction.counts.sum(axis=0),
            )
            seconds = timed(partial(selector.choose, view, 10, np.random.default_rng(0)))
            found.setdefault(f"choosing 10 windows, {name}", []).append(seconds)
    return {name: statistics.median(seconds[1:]) for name, seconds in found.items()}


def timed(work: Callable[[], object]) -> float:
    """Wall time in seconds."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def row(name: str, seconds: float) -> None:
    """Print one figure."""
    print(f"{name:60s}{seconds:10.3f} s", flush=True)


if __name__ == "__main__":
    main()
