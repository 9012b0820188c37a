"""Tiny images of every region shape, pools and candidate regions with random predictions, to try selectors on."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
from typing_extensions import override

from decomp.platform.predictions import LEVELS, MapReader, Measure, PoolCounts, UncertaintyMap
from decomp.platform.regions import Region
from decomp.platform.samplers.base import CandidateRegions, ImageView
from decomp.platform.samplers.contract import Site
from decomp.platform.samplers.places import Places
from decomp.platform.samplers.segments import Segments
from decomp.platform.samplers.windows import Windows

Kind = Literal["roi", "square", "rectangle", "slice", "box", "segments"]
"""Shapes of regions: single ROIs, windows in two axes, in a slice or in three axes, and irregular ones."""

KINDS: tuple[Kind, ...] = get_args(Kind)

N_CLASSES = 4
FEATURES = 5


@dataclass(frozen=True)
class TinyImage:
    """An image of a few pixels, called ``a``.

    Attributes:
        shape: spatial shape.
        region_shape: shape of a window; None for segments.
        partition: number of the segment of every pixel, shape (*axes), int32; None for windows.
        annotated: regions that are annotated.
        again: those of them that may be annotated again.
    """

    shape: tuple[int, ...]
    region_shape: tuple[int, ...] | None = None
    partition: npt.NDArray[np.int32] | None = None
    annotated: tuple[Region, ...] = ()
    again: tuple[Region, ...] = ()

    @property
    def site(self) -> Site:
        """Where regions may be chosen."""
        return Site(self.shape, self.region_shape, self.annotated, self.again)

    def places(self) -> Places:
        """The places that are free."""
        if self.partition is not None:
            return Segments("a", self.partition, self.annotated, self.again)
        assert self.region_shape is not None
        return Windows("a", self.shape, self.region_shape, self.annotated, self.again)

    def regions(self) -> list[Region]:
        """Every region that the shape allows, annotated or not."""
        if self.partition is None:
            assert self.region_shape is not None
            starts = itertools.product(*(range(n - k + 1) for n, k in zip(self.shape, self.region_shape, strict=True)))
            return [Region("a", start, self.region_shape) for start in starts]
        regions = []
        for number in np.unique(self.partition):
            inside = self.partition == number
            box = [(int(axis.min()), int(axis.max()) + 1) for axis in np.nonzero(inside)]
            window = inside[tuple(slice(*limits) for limits in box)]
            regions.append(Region.of_mask("a", tuple(a for a, _ in box), window))
        return regions

    def free(self, taken: Sequence[Region] = ()) -> list[Region]:
        """The regions that may be annotated when those `taken` have been chosen."""
        left = [*free(self.regions(), self.annotated), *self.again]
        return free(left, taken)

    def view(self, rng: np.random.Generator, n_classes: int = N_CLASSES) -> ImageView:
        """Random predictions of everything that a selector may need, in arrays that cannot be written to."""
        labels = rng.integers(n_classes, size=self.shape).astype(np.uint8)
        levels = rng.integers(LEVELS + 1, size=self.shape).astype(np.uint16)
        confidence = rng.random(self.shape, dtype=np.float32)
        weights = rng.dirichlet(np.ones(n_classes))
        predicted = np.bincount(labels.ravel(), minlength=n_classes)
        for array in (labels, levels, confidence, weights, predicted):
            array.flags.writeable = False  # like maps that were compressed or come from shared memory
        return ImageView(
            self.places(),
            labels,
            UncertaintyMap(levels, 1 / LEVELS),
            weights,
            predicted,
            confidence if len(self.shape) == 1 else None,
            TinyMaps(levels, labels, n_classes),
            lambda: labels,
        )


@dataclass(frozen=True)
class TinyMaps(MapReader):
    """The same levels by every measure; of a class, those of the pixels that are predicted as the class."""

    levels: npt.NDArray[np.uint16]
    labels: npt.NDArray[np.uint8]
    n_classes: int

    @override
    def measure(self, measure: Measure) -> UncertaintyMap:
        return UncertaintyMap(self.levels, 1 / LEVELS)

    @override
    def class_entropy(self, class_: int) -> UncertaintyMap:
        levels = np.where(self.labels == class_, self.levels, 0)
        greatest = max(1, int(levels.max(initial=0)))
        return UncertaintyMap(np.rint(levels * (LEVELS / greatest)).astype(np.uint16), greatest / LEVELS**2)


def tiny_image(kind: Kind, rng: np.random.Generator) -> TinyImage:
    """A random image for a shape of regions, with up to two annotated regions, some of them to be annotated again."""
    image = _segmented(rng) if kind == "segments" else _windowed(kind, rng)
    taken: list[Region] = []
    for _ in range(rng.integers(0, 3)):
        left = free(image.regions(), taken)
        if len(left) > 1:
            taken.append(left[rng.integers(len(left))])
    again = tuple(region for region in taken if rng.random() < 0.3)
    return replace(image, annotated=tuple(taken), again=again)


def free(regions: Sequence[Region], taken: Sequence[Region]) -> list[Region]:
    """Those that overlap none of `taken`."""
    return [region for region in regions if not any(region.overlaps(other) for other in taken)]


def kind_of(region_shape: tuple[int, ...] | None) -> Kind:
    """The kind of windows of a shape, or of irregular regions, which have none."""
    if region_shape is None:
        return "segments"
    if len(region_shape) == 1:
        return "roi"
    if len(region_shape) == 2:
        return "square" if region_shape[0] == region_shape[1] else "rectangle"
    return "slice" if region_shape[0] == 1 else "box"


def axes_of(kind: Kind) -> int:
    """Number of spatial axes of images with such regions."""
    return {"roi": 1, "slice": 3, "box": 3}.get(kind, 2)


def tiny_pool(rng: np.random.Generator, axes: int, n_images: int = 7, n_classes: int = N_CLASSES) -> PoolCounts:
    """Random counts of a few images; the last class is never predicted, and the last image is annotated as a whole."""
    predicted = rng.integers(0, 300, (n_images, n_classes))
    predicted[:, -1] *= n_classes == 1
    open_ = rng.integers(0, predicted + 1)
    open_[-1] = 0
    confident = rng.integers(0, open_ + 1)
    uncertainty = rng.random(n_images)
    for array in (predicted, open_, confident, uncertainty):
        array.flags.writeable = False
    images = tuple(f"image-{k}" for k in range(n_images))
    features = rng.normal(size=(n_images, FEATURES)).astype(np.float32)
    return PoolCounts(images, predicted.sum(axis=1), predicted, open_, confident, uncertainty, axes, features)


def tiny_candidates(rng: np.random.Generator, n: int, n_classes: int = N_CLASSES) -> CandidateRegions:
    """Random candidate regions of four images."""
    features = rng.normal(size=(n, FEATURES)).astype(np.float32)
    residuals = rng.normal(size=(n, n_classes)).astype(np.float32)
    uncertainty = rng.random(n)
    for array in (features, residuals, uncertainty):
        array.flags.writeable = False
    image = np.sort(rng.integers(4, size=n))
    drawn, predicted = (rng.integers(-1, n_classes, size=n), rng.integers(n_classes, size=n))
    annotated = rng.normal(size=(3, FEATURES)).astype(np.float32)
    return CandidateRegions(image, uncertainty, drawn, features, residuals, predicted, annotated)


def _segmented(rng: np.random.Generator) -> TinyImage:
    height, width = (int(n) for n in rng.integers(5, 12, 2))
    seeds = rng.integers(0, (height, width), size=(rng.integers(2, 9), 2))
    pixels = np.moveaxis(np.mgrid[:height, :width], 0, -1)
    nearest = ((pixels[:, :, None] - seeds) ** 2).sum(axis=-1).argmin(axis=-1).astype(np.int32)
    return TinyImage((height, width), partition=nearest)


def _windowed(kind: Kind, rng: np.random.Generator) -> TinyImage:
    greatest = {"square": (12, 14), "rectangle": (13, 9), "slice": (4, 8, 7), "box": (5, 7, 6), "roi": (11,)}[kind]
    shape = tuple(int(rng.integers(max(1, n // 2), n + 1)) for n in greatest)
    side = int(rng.integers(1, 1 + min(4, *shape)))
    limit = {"rectangle": 5, "slice": 4, "box": 3}.get(kind, 1)
    extents = tuple(int(rng.integers(1, min(limit, n) + 1)) for n in shape)
    match kind:
        case "square":
            return TinyImage(shape, (side, side))
        case "slice":
            return TinyImage(shape, (1, *extents[1:]))
        case _:
            return TinyImage(shape, extents)
