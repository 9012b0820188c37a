"""RAND: images and regions at random."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from typing_extensions import override

from decomp.platform.samplers.base import Choice, ImageSelector, ImageView, PoolView, RegionSelector


@dataclass(frozen=True)
class RandomImages(ImageSelector):
    """All images score the same, so the seeded random order decides."""

    @override
    def scores(self, pool: PoolView, weights: npt.NDArray[np.float64] | None) -> npt.NDArray[np.float64]:
        """Zeros, shape (N,)."""
        return np.zeros(len(pool.images))


@dataclass(frozen=True)
class RandomRegions(RegionSelector):
    """Regions drawn one after the other, uniformly among those still free; in a CT volume, only inside the body."""

    @override
    def choose(self, view: ImageView, n_region: int, rng: np.random.Generator) -> list[Choice]:
        return anywhere(view, n_region, rng)


def anywhere(view: ImageView, n: int, rng: np.random.Generator) -> list[Choice]:
    """Up to `n` of the free places, drawn one after the other, those within the body first."""
    peaks = view.places.uniform(view.body())
    chosen: list[Choice] = []
    while len(chosen) < n and (place := peaks.best(rng)) is not None:
        chosen.append(Choice(view.places.take(place)))
    return chosen
