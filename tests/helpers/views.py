"""Images of every region shape as region selectors see them, and the brute force over all their places."""

import itertools
from dataclasses import dataclass

import numpy as np

from decomp.platform.predictions import LEVELS, UncertaintyMap
from decomp.platform.regions import Region
from decomp.platform.samplers import ImageView
from decomp.platform.samplers.places import Places
from decomp.platform.samplers.segments import Segments
from decomp.platform.samplers.windows import Windows

N_CLASSES = 4
SHAPES = ("square", "rectangle", "slice", "box", "roi", "segments")


@dataclass(frozen=True)
class Case:
    """An image of one region shape.

    Attributes:
        shape: spatial shape of the image.
        size: size of a window; None for segments.
        partition: of segments.
        annotated: annotated regions.
    """

    shape: tuple
    size: tuple | None = None
    partition: np.ndarray | None = None
    annotated: tuple = ()

    def places(self) -> Places:
        if self.partition is not None:
            return Segments("a", self.partition, self.annotated)
        return Windows("a", self.shape, self.size, self.annotated)

    def regions(self) -> list[Region]:
        """Every region that the shape allows, annotated or not."""
        if self.partition is None:
            starts = itertools.product(*(range(n - k + 1) for n, k in zip(self.shape, self.size, strict=True)))
            return [Region("a", start, self.size) for start in starts]
        regions = []
        for number in np.unique(self.partition):
            inside = self.partition == number
            box = [(int(axis.min()), int(axis.max()) + 1) for axis in np.nonzero(inside)]
            window = inside[tuple(slice(*limits) for limits in box)]
            regions.append(Region.of_mask("a", tuple(a for a, _ in box), window))
        return regions

    def view(self, rng, uniform=False, weights=None, background=None) -> ImageView:
        """Random or uniform predictions of everything that a selector may need."""
        labels = (
            np.zeros(self.shape, np.uint8) if uniform else rng.integers(N_CLASSES, size=self.shape).astype(np.uint8)
        )
        levels = np.full(self.shape, 9, np.uint16)
        if not uniform:
            levels = rng.integers(LEVELS + 1, size=self.shape).astype(np.uint16)
        confidence = np.ones(self.shape, np.float32) if uniform else rng.random(self.shape, dtype=np.float32)
        return ImageView(
            self.places(),
            labels,
            UncertaintyMap(levels, 1 / LEVELS),
            rng.dirichlet(np.ones(N_CLASSES)) if weights is None else np.asarray(weights, float),
            np.bincount(labels.ravel(), minlength=N_CLASSES),
            confidence if len(self.shape) == 1 else None,
            background,
        )


def free(regions, taken):
    """Those that overlap none of `taken`."""
    return [region for region in regions if not any(region.overlaps(other) for other in taken)]


def random_case(shape, rng, annotated=True) -> Case:
    """A small image of a region shape, with a few annotated regions."""
    if shape == "segments":
        height, width = rng.integers(5, 12, 2)
        seeds = rng.integers(0, (height, width), size=(rng.integers(2, 9), 2))
        pixels = np.stack(np.mgrid[:height, :width], axis=-1)
        nearest = ((pixels[:, :, None] - seeds) ** 2).sum(axis=-1).argmin(axis=-1).astype(np.int32)
        case = Case((int(height), int(width)), partition=nearest)
    else:
        full = {"square": (12, 14), "rectangle": (13, 9), "slice": (4, 8, 7), "box": (5, 7, 6), "roi": (11,)}[shape]
        extents = tuple(int(rng.integers(max(1, n // 2), n + 1)) for n in full)
        side = int(rng.integers(1, 1 + min(4, *extents)))
        size = {
            "square": (side, side),
            "rectangle": tuple(int(rng.integers(1, min(5, n) + 1)) for n in extents),
            "slice": (1, *(int(rng.integers(1, min(4, n) + 1)) for n in extents[1:])),
            "box": tuple(int(rng.integers(1, min(3, n) + 1)) for n in extents),
            "roi": (1,),
        }[shape]
        case = Case(extents, size)
    if not annotated:
        return case
    taken: list[Region] = []
    for _ in range(rng.integers(0, 3)):
        left = free(case.regions(), taken)
        if len(left) > 1:
            taken.append(left[rng.integers(len(left))])
    return Case(case.shape, case.size, case.partition, tuple(taken))
