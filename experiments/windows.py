"""Windows whose size is given in millimetres: ``region: [1, 60 mm, 60 mm]``."""

import math
import re
from collections.abc import Sequence
from typing import Any

from decomp.platform.datasets.base import Dataset
from decomp.platform.errors import UserError
from decomp.platform.grid import Component, RegionShape

WINDOW = "window in millimetres"
"""Stands for the name of a partition until the data are known."""

LENGTH = re.compile(r"(\d+(?:\.\d+)?|\.\d+) ?mm")


def has_lengths(region: Any) -> bool:
    """Whether a region in an experiment file is a window with an extent that is text."""
    return isinstance(region, list | tuple) and any(isinstance(extent, str) for extent in region)


def window_of(extents: Sequence[Any]) -> Component:
    """The window of these extents, whole numbers of pixels or texts such as ``60 mm``; ValueError for others."""
    for extent in extents:
        if not (LENGTH.fullmatch(extent) if isinstance(extent, str) else type(extent) is int and extent >= 1):
            raise ValueError("give pixels, like 32, or millimetres, like 60 mm, per axis")
    return Component(WINDOW, {"size": list(extents)})


def in_pixels(region: RegionShape, dataset: Dataset) -> RegionShape:
    """A region whose extents in millimetres are rounded to pixels of the data set, at least one.

    Raises:
        UserError: if the pixels of the data set have no size along such an axis; to be read after the key.
    """
    if not isinstance(region, Component) or region.name != WINDOW:
        return region
    spacing = dataset.spacing
    if spacing is None:
        raise UserError("the size of a pixel is not known for these images; give pixels instead of millimetres.")
    extents = region.options["size"]
    if len(extents) != len(spacing):
        raise UserError(f"a window has one extent per axis, {len(spacing)} here, not {len(extents)}.")
    return tuple(_pixels(extent, length) for extent, length in zip(extents, spacing, strict=True))


def _pixels(extent: int | str, length: float) -> int:
    if isinstance(extent, int):
        return extent
    if not math.isfinite(length):
        raise UserError("the distance between slices differs between volumes; give 1, for a window in a slice.")
    return max(1, round(float(extent.removesuffix("mm")) / length))
