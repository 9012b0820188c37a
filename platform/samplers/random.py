"""RAND: images and regions at random."""

import numpy as np
import numpy.typing as npt

from decomp.platform.predictions import PoolCounts
from decomp.platform.regions import Region
from decomp.platform.samplers.base import Choice, ImageSelector, ImageView, RegionSelector
from decomp.platform.samplers.windows import block, free_windows, random_window


class RandomImages(ImageSelector):
    """All images score the same, so the seeded random order decides."""

    def scores(self, pool: PoolCounts, weights: npt.NDArray[np.float64] | None) -> npt.NDArray[np.float64]:
        """Zeros, shape (N,)."""
        return np.zeros(len(pool.images))


class RandomRegions(RegionSelector):
    """Windows drawn one after the other, uniformly among those still free."""

    def choose(self, view: ImageView, n_region: int, rng: np.random.Generator) -> list[Choice]:
        """See `RegionSelector.choose`."""
        free = free_windows(view.shape, view.size, view.annotated)
        chosen: list[Choice] = []
        while len(chosen) < n_region and (start := random_window(free, rng)) is not None:
            chosen.append(Choice(start))
            block(free, Region(view.image, start, view.size), view.size)
        return chosen
