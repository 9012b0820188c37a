"""Statistics of intensities that need no label, in place of nnU-Net's, which come from the foreground."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

ZSCORE = "ZScoreNormalization"
"""nnU-Net's scheme of channels that are not CT."""

MOSTLY_NONZERO = 0.75
"""Median share, in the volumes, of the box around what is not 0, from which on nnU-Net takes all of the box."""

SAMPLES, SAMPLES_PER_VOLUME = 10**7, 2 * 10**5
"""Voxels that the intensity statistics come from: of all volumes together, and of one at most."""


def sample(
    voxels: npt.NDArray[np.float32], window: tuple[float, float], n_volumes: int, rng: np.random.Generator
) -> npt.NDArray[np.float32]:
    """Voxels of one of `n_volumes` volumes drawn within a window, both ends included; none if it has none there."""
    lower, upper = window
    inside = voxels[(voxels >= lower) & (voxels <= upper)]
    # With replacement, as nnU-Net draws, so that every volume counts the same.
    size = min(SAMPLES_PER_VOLUME, SAMPLES // n_volumes) if len(inside) else 0
    return inside[rng.integers(len(inside) or 1, size=size)]


def properties(voxels: npt.NDArray[np.float32]) -> dict[str, float]:
    """What nnU-Net's plans hold of a channel's intensities."""
    lower, median, upper = np.percentile(voxels, (0.5, 50, 99.5))
    statistics = {
        "mean": voxels.mean(dtype=np.float64),
        "std": voxels.std(dtype=np.float64),
        "median": median,
        "min": voxels.min(),
        "max": voxels.max(),
        "percentile_00_5": lower,
        "percentile_99_5": upper,
    }
    return {name: float(value) for name, value in statistics.items()}


def with_statistics(
    plans: Mapping[str, Any], statistics: Sequence[Mapping[str, float]], share: float
) -> dict[str, Any]:
    """Plans of one configuration, completed.

    Args:
        plans: nnU-Net's plans.
        statistics: `properties` of each channel, empty where it is standardised volume by volume.
        share: median share of the box around what is not 0.
    """
    ((name, configuration),) = plans["configurations"].items()
    is_masked = [scheme == ZSCORE and share < MOSTLY_NONZERO for scheme in configuration["normalization_schemes"]]
    return {
        **plans,
        "configurations": {name: {**configuration, "use_mask_for_norm": is_masked}},
        "foreground_intensity_properties_per_channel": {str(k): each for k, each in enumerate(statistics)},
    }
