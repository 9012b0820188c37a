"""DECOMP: decomposition sampling (Sec. 3.2 of the paper, Sec. 4 and 5 of the method notes).

An image is decomposed into its predicted classes; classes of which the model is unsure are sampled more often, and a
sampled class is represented by the window that holds most of it.
"""

import numpy as np
import numpy.typing as npt

from decomp.platform.predictions import PoolCounts
from decomp.platform.regions import Region
from decomp.platform.samplers.base import Choice, ImageSelector, ImageView, Need, RegionSelector
from decomp.platform.samplers.windows import FreeMap, WindowMap, best_window, block, free_windows, window_sums

CAP = 0.1
"""A class counts for at most this share of an image's pixels in the image's score."""


class DecompositionImages(ImageSelector):
    """Images rich in classes of high weight (Eq. 3), S_i = sum_c w_c min(#{j : Y_i(j) = c}, cap)."""

    needs = Need.COUNTS
    local = False

    def scores(self, pool: PoolCounts, weights: npt.NDArray[np.float64] | None) -> npt.NDArray[np.float64]:
        """S_i, in pixels, shape (N,)."""
        assert weights is not None
        capped = np.minimum(pool.predicted, CAP * pool.pixels[:, None])
        total = np.zeros(len(pool.images))
        # Class by class rather than as a matrix product, whose rounding may depend on the number of rows and threads.
        for weight, column in zip(weights, capped.T, strict=True):
            total += weight * column
        return total


class DecompositionRegions(RegionSelector):
    """For each region: draw a class by its weight, then take the free window with most of that class."""

    needs = Need.COUNTS | Need.LABELS

    def choose(self, view: ImageView, n_region: int, rng: np.random.Generator) -> list[Choice]:
        """See `RegionSelector.choose`; the score of a choice is the window's number of pixels of the drawn class.

        A class whose free windows all have count 0 is found out only when it is drawn, is then dropped for this
        image and another one is drawn: the same distribution as drawing among the classes that have such a window,
        at the cost of one box filter per drawn class whatever the number of classes.
        """
        assert view.labels is not None
        assert view.weights is not None
        free = free_windows(view.shape, view.size, view.annotated)
        present = np.bincount(view.labels.ravel(), minlength=len(view.weights)) > 0
        sums: dict[int, WindowMap] = {}
        chosen: list[Choice] = []
        while len(chosen) < n_region and present.any():
            drawn = _draw(view.weights, present, rng)
            if drawn not in sums:
                sums[drawn] = window_sums((view.labels == drawn).view(np.uint8), view.size)
            start = best_window(sums[drawn], free, rng)
            if start is None:
                break
            if sums[drawn][start] == 0:
                present[drawn] = False
                continue
            chosen.append(Choice(start, drawn, float(sums[drawn][start])))
            block(free, Region(view.image, start, view.size), view.size)
        return chosen


def _draw(weights: npt.NDArray[np.float64], present: FreeMap, rng: np.random.Generator) -> int:
    """Draw one of the classes still present by weight, uniformly if all of them have weight 0."""
    masked = np.where(present, weights, 0.0)
    total = masked.sum()
    probabilities = masked / total if total > 0 else present / present.sum()
    return int(rng.choice(len(weights), p=probabilities))
