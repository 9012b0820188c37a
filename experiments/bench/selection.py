"""What selection costs: regions of one image and of one volume, the coordinator's choice among a million images.

    python -m decomp.experiments.bench.selection [--images 15] [--figure selection.png]

One thread. Regions are timed against a straightforward numpy implementation (window sums by two cumulative sums, once
per drawn class; argmax over all windows for each region) on the same maps in the same run, and the choices are
compared. Goals: at least 10 x faster for DECOMP and UNCERT, DECOMP at most 20 ms at 1024 x 2048 pixels, the
coordinator under 1 s, cost linear in pixels and independent of the number of classes.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from decomp.platform.predictions import LEVELS, PoolCounts, UncertaintyMap
from decomp.platform.samplers import ImageView, RegionSelector, class_confidence, class_weights, select_images
from decomp.platform.samplers.contract import scores_of
from decomp.platform.samplers.decomposition import DecompositionImages, DecompositionRegions
from decomp.platform.samplers.places import Places
from decomp.platform.samplers.random import RandomRegions
from decomp.platform.samplers.segments import Segments
from decomp.platform.samplers.uncertainty import UncertaintyRegions
from decomp.platform.samplers.windows import Windows

N_REGION = 10
UNIT = float(np.log(19)) / LEVELS


@dataclass(frozen=True)
class Scene:
    """A generated prediction: labels and uncertainty levels of every pixel, and class weights."""

    labels: npt.NDArray[np.uint8]
    levels: npt.NDArray[np.uint16]
    weights: npt.NDArray[np.float64]

    @cached_property
    def view(self) -> ImageView:
        """What a region selector sees, but for the places."""
        predicted = np.bincount(self.labels.ravel(), minlength=len(self.weights))
        nowhere = Windows("a", self.labels.shape, self.labels.shape, ())
        return ImageView(nowhere, self.labels, UncertaintyMap(self.levels, UNIT), self.weights, predicted)


def scene(shape: tuple[int, ...], n_classes: int, seed: int) -> Scene:
    """Blobs of very unequal classes, uncertain along their borders."""
    rng = np.random.default_rng(seed)
    *slices, height, width = shape
    planes = [_plane(rng, height, width, n_classes) for _ in range(int(np.prod(slices)) if slices else 1)]
    labels, levels = (np.stack(maps).reshape(shape) for maps in zip(*planes, strict=True))
    return Scene(labels, levels, rng.dirichlet(np.ones(n_classes)))


def _plane(
    rng: np.random.Generator, height: int, width: int, n_classes: int
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint16]]:
    """Each pixel takes the class whose smooth random field is greatest there; rare classes start from a handicap."""
    best, second = np.full((height, width), -np.inf, np.float32), np.full((height, width), -np.inf, np.float32)
    labels = np.zeros((height, width), np.uint8)
    for class_ in range(n_classes):
        cells = (max(3, height // 48), max(3, width // 48))
        field = cv2.resize(rng.standard_normal(cells, np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
        field -= np.float32(1.2 * np.log1p(class_) / np.log(20))
        labels[field > best] = class_
        second = np.maximum(second, np.minimum(best, field))
        best = np.maximum(best, field)
    doubt = np.exp(-4 * (best - second)) * rng.uniform(0.8, 1.0, (height, width))
    return labels, np.rint(LEVELS * doubt).astype(np.uint16)


def numpy_regions(
    scene: Scene, size: tuple[int, ...], rng: np.random.Generator, decomposition: bool
) -> list[tuple[int, ...]]:
    """The straightforward implementation: starts of the chosen windows."""
    in_slices = len(size) == 3
    free = np.ones([n - k + 1 for n, k in zip(scene.labels.shape, size, strict=True)], bool)
    present = np.bincount(scene.labels.ravel(), minlength=len(scene.weights)) > 0
    sums: dict[int, Any] = {}
    chosen: list[tuple[int, ...]] = []
    while len(chosen) < N_REGION:
        drawn = -1
        if decomposition:
            masked = np.where(present, scene.weights, 0)
            drawn = int(rng.choice(len(masked), p=masked / masked.sum()))
        if drawn not in sums:
            values = (scene.labels == drawn).astype(np.int64) if decomposition else scene.levels.astype(np.int64)
            sums[drawn] = _two_cumsums(values, size[-2:])
        window = sums[drawn]
        if decomposition and in_slices:
            layers = np.flatnonzero((np.where(free, window, -1) > 0).any(axis=(1, 2)))
            layer = int(layers[rng.integers(len(layers))])
            values = np.full(window.shape, -1)
            values[layer] = np.where(free[layer], window[layer], -1)
        else:
            values = np.where(free, window, -1)
        ties = np.flatnonzero(values == values.max())
        start = tuple(int(i) for i in np.unravel_index(ties[rng.integers(len(ties))], values.shape))
        chosen.append(start)
        free[tuple(slice(max(0, a - k + 1), a + k) for a, k in zip(start, size, strict=True))] = False
    return chosen


def _two_cumsums(values: npt.NDArray[np.int64], size: tuple[int, ...]) -> npt.NDArray[np.int64]:
    h, w = size
    total = np.pad(values.cumsum(axis=-2).cumsum(axis=-1), [(0, 0)] * (values.ndim - 2) + [(1, 0), (1, 0)])
    return np.asarray(total[..., h:, w:] - total[..., :-h, w:] - total[..., h:, :-w] + total[..., :-h, :-w])


def milliseconds(work: Callable[..., Any], *arguments: Any) -> tuple[float, Any]:
    """Wall time of a call, and what it gave."""
    start = time.perf_counter()
    given = work(*arguments)
    return 1000 * (time.perf_counter() - start), given


def time_regions(selector: RegionSelector, image: Scene, places: Callable[[], Places], n: int) -> tuple[float, Any]:
    """Median wall time in ms of choosing regions, after one choice that warms up, and the choices by seed."""
    views = [replace(image.view, places=places()) for _ in range(n + 1)]
    selector.choose(views.pop(), N_REGION, np.random.default_rng(0))
    timed = [
        milliseconds(selector.choose, view, N_REGION, np.random.default_rng(seed)) for seed, view in enumerate(views)
    ]
    return statistics.median(elapsed for elapsed, _ in timed), [choices for _, choices in timed]


def compare(title: str, shape: tuple[int, ...], size: tuple[int, ...], n_images: int) -> bool:
    """Time both samplers on generated images against numpy; prints two lines; True if all choices were equal."""
    scenes = [scene(shape, 19, seed) for seed in range(n_images)]
    equal = True
    for name, selector in (("DECOMP", DecompositionRegions()), ("UNCERT", UncertaintyRegions())):
        ours, theirs, same = [], [], 0
        for image in scenes:
            elapsed, [chosen] = time_regions(selector, image, lambda: Windows("a", shape, size, ()), 1)
            ours.append(elapsed)
            elapsed, starts = milliseconds(numpy_regions, image, size, np.random.default_rng(0), name == "DECOMP")
            theirs.append(elapsed)
            same += [choice.region.start for choice in chosen] == starts
        # Slices are drawn among candidates in another order, so that there only the distribution is the same.
        comparable = not (len(shape) == 3 and name == "DECOMP")
        equal &= same == n_images or not comparable
        mine, other = statistics.median(ours), statistics.median(theirs)
        note = f"{same} of {n_images} choices equal" if comparable else "slices drawn in another order"
        print(f"{title:36s} {name:7s} {mine:8.2f} ms {other:9.1f} ms {other / mine:6.1f} x   {note}")
    return equal


def shapes(n: int) -> None:
    """What other region shapes cost compared with squares of the same number of pixels."""
    image, volume = scene((1024, 2048), 19, 0), scene((32, 256, 256), 19, 0)
    rows, columns = np.mgrid[:1024, :2048]
    tiles = (rows // 64 * 32 + columns // 64).astype(np.int32)
    cases: list[tuple[str, Scene, Callable[[], Places]]] = [
        ("square 128 x 128", image, lambda: Windows("a", (1024, 2048), (128, 128), ())),
        ("rectangle 64 x 256", image, lambda: Windows("a", (1024, 2048), (64, 256), ())),
        ("partition of 512 segments", image, lambda: Segments("a", tiles, ())),
        ("volume: 32 x 32 in a slice", volume, lambda: Windows("a", (32, 256, 256), (1, 32, 32), ())),
        ("volume: box 16 x 32 x 32", volume, lambda: Windows("a", (32, 256, 256), (16, 32, 32), ())),
    ]
    selectors = (RandomRegions(), UncertaintyRegions(), DecompositionRegions())
    print(f"\n{'shape of 10 regions, 2.1 Mpixel':36s} {'RAND':>10s} {'UNCERT':>10s} {'DECOMP':>10s}")
    for title, source, places in cases:
        times = [time_regions(selector, source, places, n)[0] for selector in selectors]
        print(f"{title:36s} " + " ".join(f"{elapsed:7.2f} ms" for elapsed in times))


def coordinator(n_images: int = 1_000_000, n_classes: int = 19) -> None:
    """Weigh the classes, score and choose among a million images."""
    rng = np.random.default_rng(0)
    predicted = rng.integers(0, 100_000, (n_images, n_classes))
    confident = predicted // 2
    names = tuple(f"image-{k:07d}" for k in range(n_images))
    pool = PoolCounts(names, predicted.sum(axis=1), predicted, predicted, confident, np.zeros(n_images))

    def choose(k: int) -> list[str]:
        weights = class_weights(class_confidence(pool.open.sum(axis=0), pool.confident.sum(axis=0)))
        scores = scores_of(DecompositionImages(), pool, weights)
        return select_images(pool.images, scores, 1000, np.random.default_rng(k))

    batches = [pool.to_arrow()]
    joined = statistics.median(milliseconds(PoolCounts.from_arrow, batches)[0] for _ in range(3))
    chosen = statistics.median(milliseconds(choose, k)[0] for k in range(5))
    print(
        f"\ncoordinator, {n_images:,} images x {n_classes} classes: weights, scores and choice of 1,000 images ", end=""
    )
    print(f"{chosen:.0f} ms (goal: under 1,000); joining the shards' answers {joined:.0f} ms")


def curves(n: int) -> dict[str, list[tuple[float, float]]]:
    """DECOMP's time for one image against pixels and against classes."""

    def measure(height: int, n_classes: int) -> float:
        shape = (height, 2 * height)
        windows = lambda: Windows("a", shape, (128, 128), ())  # noqa: E731
        return time_regions(DecompositionRegions(), scene(shape, n_classes, 0), windows, n)[0]

    found: dict[str, list[tuple[float, float]]] = {
        "megapixels": [(2e-6 * height**2, measure(height, 19)) for height in (256, 512, 1024, 2048)],
        "classes": [(n_classes, measure(1024, n_classes)) for n_classes in (2, 5, 10, 19, 50, 100, 200)],
    }
    for axis, points in found.items():
        print(f"\nDECOMP regions by {axis}: " + ", ".join(f"{x:.3g}: {y:.1f} ms" for x, y in points))
    return found


def draw(found: dict[str, list[tuple[float, float]]], file: Path) -> None:
    """The curves as a figure."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.4), layout="constrained")
    for panel, (axis, points) in zip(figure.subplots(1, 2), found.items(), strict=True):
        panel.plot(*zip(*points, strict=True), "o-", color="#D55E00")
        panel.set_xlabel(axis)
        panel.set_ylabel("ms per image")
        panel.set_ylim(0)
        panel.grid(alpha=0.3)
    figure.suptitle("DECOMP: choosing 10 regions of 128 x 128 in one image, one thread", fontsize=11)
    figure.savefig(file, dpi=110)


def main() -> None:
    """Run everything and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=15, help="images per median")
    parser.add_argument("--figure", type=Path, help="where to draw the curves (PNG)")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    print(f"{'10 regions of one image':34s} {'':7s} {'ours':>11s} {'numpy':>12s}")
    equal = compare("1024 x 2048 x 19, 128 x 128", (1024, 2048), (128, 128), options.images)
    equal &= compare("177 x 217 x 217 x 19, slices, 32 x 32", (177, 217, 217), (1, 32, 32), max(3, options.images // 5))
    shapes(options.images)
    found = curves(options.images)
    if options.figure:
        draw(found, options.figure)
    coordinator()
    sys.exit(0 if equal else 1)


if __name__ == "__main__":
    main()
