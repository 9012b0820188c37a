"""No selection of images: regions are selected among those of the whole pool (Sec. 12 of the method notes)."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from typing_extensions import override

from decomp.platform.samplers.base import ImageSelector, PoolView


@dataclass(frozen=True)
class AllImages(ImageSelector):
    """Every image proposes regions, among which the best of the whole pool are taken; for budgets with a `total`."""

    @override
    def scores(self, pool: PoolView, weights: npt.NDArray[np.float64] | None) -> npt.NDArray[np.float64]:
        """Zeros, shape (N,)."""
        return np.zeros(len(pool.images))
