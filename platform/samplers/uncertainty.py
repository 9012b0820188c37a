"""UNCERT: images and regions of highest mean uncertainty (Sec. 6 of the method notes)."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from typing_extensions import override

from decomp.platform.samplers.base import Choice, ImageSelector, ImageView, PoolView, RegionSelector
from decomp.platform.samplers.needs import Need


@dataclass(frozen=True)
class UncertaintyImages(ImageSelector):
    """Images by the mean uncertainty of their pixels."""

    needs = Need.UNCERTAINTY

    @override
    def scores(self, pool: PoolView, weights: npt.NDArray[np.float64] | None) -> npt.NDArray[np.float64]:
        """Mean uncertainty, shape (N,)."""
        return pool.uncertainty


@dataclass(frozen=True)
class UncertaintyRegions(RegionSelector):
    """Regions by mean uncertainty (windows at stride 1), greedily without overlap."""

    needs = Need.UNCERTAINTY

    @override
    def choose(self, view: ImageView, n_region: int, rng: np.random.Generator) -> list[Choice]:
        """Take the free place of highest mean uncertainty, region by region; it is the score of the choice."""
        peaks = view.places.means(view.uncertainty)
        chosen: list[Choice] = []
        while len(chosen) < n_region and (place := peaks.best(rng)) is not None:
            score = peaks.score(place)
            chosen.append(Choice(view.places.take(place), score=score))
        return chosen
