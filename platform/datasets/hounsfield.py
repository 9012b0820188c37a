"""Whether a volume's intensities are Hounsfield units (HU): air is -1000, fat about -100, tissue 0 to 100.

Rescale slopes and intercepts get lost or are applied twice when volumes are converted, and other scanners have units of
their own; the body is then not found, and learners that clip intensities see nothing.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

SAMPLES = 2**18  # at most about so many voxels are looked at

LEAST = -10.0
"""HU below which every CT volume has voxels: fat and air, or at least the noise of fluid."""

LOWEST = -1100.0
"""HU below which there is nothing but noise, artefacts of metal, and the constant outside the field of view."""

FAT = -60.0
"""HU below which there is fat or air."""

TISSUE = (-200.0, 500.0)
"""HU of soft tissue."""

FEW, NOISE, MANY, BRIGHT = 0.001, 0.01, 0.05, 0.2
"""Shares of the voxels: as good as none; what noise alone can give; more than artefacts; more than bone."""

RESCALE = "store it with the slope and intercept that give HU (often 1 and -1024), or leave it out"


def is_ct(channel: str) -> bool:
    """Whether a channel of this name is in HU, as nnU-Net decides it."""
    return channel.casefold() == "ct"


def misfit(volume: npt.NDArray[Any]) -> str | None:
    """What shows that a volume is not in HU, to be read after its name; None if it may be in HU.

    Args:
        volume: finite intensities, shape (z, y, x).
    """
    values = _sampled(volume)
    low = values[values < LOWEST]
    if len(low):
        found, counts = np.unique(low, return_counts=True)
        values = values[values != found[counts.argmax()]]  # the constant outside the field of view
    below = float((values < LOWEST).mean()) if len(values) else 0.0
    if below > MANY:
        return f"is not in Hounsfield units ({below:.0%} of its voxels are less than {LOWEST:g}, but air is -1000)"
    if len(low) and not _share(values, *TISSUE) > FEW:
        return f"is not in Hounsfield units (it has no tissue, of {TISSUE[0]:g} to {TISSUE[1]:g}, but less than air)"
    negative = _share(values, -np.inf, LEAST)
    shifted = _share(values, -np.inf, FAT) < NOISE and _share(values, TISSUE[1], np.inf) > BRIGHT
    if negative < FEW or shifted:
        return (
            f"is not in Hounsfield units (air is -1000 and fat -100, but only {negative:.1%} are less than {LEAST:g})"
        )
    return None


def clipped(volume: npt.NDArray[Any], window: tuple[float, float]) -> float:
    """Share of the voxels brighter than the volume's mean, which are the body, that lie outside a window."""
    values = _sampled(volume)
    bright = values[values > values.mean()]
    return 1 - _share(bright, *window) if len(bright) else 0.0


def _sampled(volume: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    step = max(1, round((volume.size / SAMPLES) ** (1 / volume.ndim)))
    return np.array(volume[(slice(None, None, step),) * volume.ndim], np.float64).ravel()


def _share(values: npt.NDArray[np.float64], lower: float, upper: float) -> float:
    return float(((values >= lower) & (values <= upper)).mean()) if len(values) else 0.0
