"""UNCERT: images and regions of highest mean uncertainty (Sec. 6 of the method notes)."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from decomp.platform.predictions import PoolCounts
from decomp.platform.samplers.base import Choice, ImageSelector, ImageView, Need, RegionSelector


@dataclass(frozen=True)
class UncertaintyImages(ImageSelector):
    """Images by the mean uncertainty of their pixels."""

    needs = Need.UNCERTAINTY

    def scores(self, pool: PoolCounts, weights: npt.NDArray[np.float64] | None) -> npt.NDArray[np.float64]:
        """Mean uncertainty, shape (N,)."""
        return pool.uncertainty


@dataclass(frozen=True)
class UncertaintyRegions(RegionSelector):
    """Regions by mean uncertainty (windows at stride 1), greedily without overlap."""

    needs = Need.UNCERTAINTY

    def choose(self, view: ImageView, n_region: int, rng: np.random.Generator) -> list[Choice]:
        """See `RegionSelector.choose`; the score of a choice is the region's mean uncertainty."""
        assert view.uncertainty is not None
        peaks = view.places.means(view.uncertainty)
        chosen: list[Choice] = []
        while len(chosen) < n_region and (place := peaks.best(rng)) is not None:
            score = peaks.score(place)
            chosen.append(Choice(view.places.take(place), score=score))
        return chosen
