"""Small CT volumes of ellipsoids, whose sizes and spacings differ, for tests of 3-D learners."""

import hashlib
import json
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from decomp.platform.datasets.volumes import Volumes
from decomp.platform.randomness import stream

EXTENT = np.array([80.0, 90.0, 90.0])
"""Field of view in millimetres."""

OFFSET = np.array([0.0, 14.0, 0.0])
"""From the kidney's centre to the tumour's in millimetres; the cyst lies opposite."""


@dataclass(frozen=True)
class Ellipsoids(Volumes):
    """A kidney with a tumour and a cyst in a body; the last case has neither.

    Attributes:
        seed: of all random numbers.
        cases: number of volumes; every third is a test volume.
        finest, coarsest: smallest and greatest size of a voxel per axis, millimetres.
    """

    seed: int = 0
    cases: int = 6
    finest: tuple[float, float, float] = (4.0, 2.4, 2.4)
    coarsest: tuple[float, float, float] = (6.0, 3.2, 3.2)
    folds: int = 1

    classes = ("background", "kidney", "tumour", "cyst")
    nested = MappingProxyType({"kidney_and_masses": (1, 2, 3), "masses": (2, 3), "tumour": (2,)})

    def ids(self, split, fold):
        if split == "validation":
            return ()
        return tuple(f"case/{k:02d}" for k in range(self.cases) if (k % 3 == 2) == (split == "test"))

    def voxel(self, image):
        lower, upper = np.array(self.finest), np.array(self.coarsest)
        y, x = stream(self.seed, "spacing", image=image).uniform(size=2)
        dz, dy, dx = lower + (upper - lower) * np.array([y, x, x])
        return float(dz), float(dy), float(dx)

    def shape(self, image):
        return tuple(int(n) for n in np.floor(EXTENT / self.voxel(image)))

    def image(self, image):
        noise = stream(self.seed, "noise", image=image).normal(0, 12, self.shape(image))
        intensities = np.array([30.0, 190.0, 100.0, 0.0])[self.labels(image)]
        hu = np.where(self.body(image), intensities + noise, -1000)
        hu[:2] = 0  # a margin that nnU-Net would crop
        return hu.astype(np.float32)[..., None]

    def labels(self, image):
        rng = stream(self.seed, "organs", image=image)
        labels = np.zeros(self.shape(image), np.uint8)
        centre = EXTENT * 0.5 + rng.uniform(-8, 8, 3)
        labels[self._ellipsoid(image, centre, rng.uniform(20, 26, 3))] = 1
        if not image.endswith(f"{self.cases - 1:02d}"):
            labels[self._ellipsoid(image, centre + OFFSET, rng.uniform(10, 13, 3))] = 2
            labels[self._ellipsoid(image, centre - OFFSET, rng.uniform(9, 11, 3))] = 3
        return labels

    def body(self, image):
        return self._ellipsoid(image, EXTENT / 2, EXTENT * [0.7, 0.45, 0.45])

    def fingerprint(self):
        state = [self.seed, self.cases, self.finest, self.coarsest]
        return hashlib.blake2b(json.dumps(state).encode()).hexdigest()

    def _ellipsoid(self, image, centre, radii):
        axes = [(np.arange(n) + 0.5) * step for n, step in zip(self.shape(image), self.voxel(image), strict=True)]
        terms = [((a - c) / r) ** 2 for a, c, r in zip(np.meshgrid(*axes, indexing="ij"), centre, radii, strict=True)]
        return sum(terms) <= 1
