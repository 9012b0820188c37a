"""UNCERT: images and regions of highest mean uncertainty (Sec. 6 of the method notes)."""

import numpy as np
import numpy.typing as npt

from decomp.platform.predictions import PoolCounts
from decomp.platform.regions import Region
from decomp.platform.samplers.base import Choice, ImageSelector, ImageView, Need, RegionSelector
from decomp.platform.samplers.windows import best_window, block, fixed_point, free_windows, window_sums


class UncertaintyImages(ImageSelector):
    """Images by the mean uncertainty of their pixels."""

    needs = Need.UNCERTAINTY

    def scores(self, pool: PoolCounts, weights: npt.NDArray[np.float64] | None) -> npt.NDArray[np.float64]:
        """Mean uncertainty, shape (N,)."""
        return pool.uncertainty


class UncertaintyRegions(RegionSelector):
    """Windows (stride 1) by mean uncertainty, greedily without overlap."""

    needs = Need.UNCERTAINTY

    def choose(self, view: ImageView, n_region: int, rng: np.random.Generator) -> list[Choice]:
        """See `RegionSelector.choose`; the score of a choice is the window's mean uncertainty."""
        assert view.uncertainty is not None
        scaled, to_mean = fixed_point(view.uncertainty, view.size)
        sums = window_sums(scaled, view.size)
        free = free_windows(view.shape, view.size, view.annotated)
        chosen: list[Choice] = []
        while len(chosen) < n_region and (start := best_window(sums, free, rng)) is not None:
            chosen.append(Choice(start, score=float(sums[start]) * to_mean))
            block(free, Region(view.image, start, view.size), view.size)
        return chosen
