"""Places: the regions of one image that can still be annotated, whatever their shape, and the best of them.

A region selector asks for a map of values over all places (pixels of a class, mean uncertainty), takes the best place
and goes on; a place that is taken leaves all maps, and so do those that overlap it.
"""

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import numpy.typing as npt

from decomp.platform.predictions import UncertaintyMap
from decomp.platform.regions import Region

Place = tuple[int, ...]
Block = tuple[slice, ...]

TAKEN = -1
"""Value of a place that is taken; all others are 0 or more."""


class Places(ABC):
    """The places of one image.

    Attributes:
        image: id of the image.
        axes: number of spatial axes of the image; 1 where its pixels are ROIs.
        layers: places are divided into this many layers, one of which is drawn before the place (Sec. 5 of the method
            notes): the axial slices of a volume where regions lie in a slice, else 1.
    """

    def __init__(self, image: str, axes: int, layers: int = 1) -> None:
        self.image = image
        self.axes = axes
        self.layers = layers
        self.taken: list[Block] = []

    @abstractmethod
    def uniform(self) -> "Peaks":
        """All places alike."""

    @abstractmethod
    def of_class(self, labels: npt.NDArray[np.uint8], class_: int, layer: int) -> "Peaks":
        """Pixels labelled `class_` in each place of a layer; those without any may be missing.

        Args:
            labels: shape (*axes), uint8.
            class_: the class.
            layer: the layer, from 0.
        """

    @abstractmethod
    def means(self, uncertainty: UncertaintyMap) -> "Peaks":
        """Mean uncertainty of each place."""

    @abstractmethod
    def take(self, place: Place) -> Region:
        """Take a place, which leaves all maps together with those that overlap it."""


class Peaks:
    """A map of values over places, from which the best free one is asked again and again.

    Only rows that a taken place touches are searched anew, so after the first look a choice costs a fraction of a pass
    over the map.

    Args:
        values: shape (*leading, n) with at least two axes, a number of 0 or more for each place; a numpy array or a
            tensor on any device. Overwritten.
        taken: blocks of places that are taken; may grow afterwards.
        origin: place of the first element, shape (ndim,).
        unit: what a value of 1 means.
    """

    def __init__(self, values: Any, taken: list[Block], origin: Place | None = None, unit: float = 1.0) -> None:
        self._values = values
        self._taken = taken
        self._origin = origin or (0,) * values.ndim
        self._unit = unit
        self._tops = _row_tops(values)
        self._seen = 0

    def best(self, rng: np.random.Generator) -> Place | None:
        """A free place of greatest value, or None if none is free.

        Ties are broken uniformly at random: by scan order, a class that fills many windows would always give the
        top-left one (Sec. 5 of the method notes).
        """
        self._forget_taken()
        top = self._tops.max(initial=TAKEN)
        if top == TAKEN:
            return None
        rows = np.nonzero(self._tops == top)
        ties = _host(self._values[rows]) == top
        until = np.cumsum(np.count_nonzero(ties, axis=1))
        drawn = rng.integers(until[-1])
        row = int(np.searchsorted(until, drawn, side="right"))
        column = np.flatnonzero(ties[row])[drawn - until[row]]
        return tuple(int(i) + o for i, o in zip((*(r[row] for r in rows), column), self._origin, strict=True))

    def score(self, place: Place) -> float:
        """Value of a place, in units of its meaning."""
        return float(self._values[tuple(i - o for i, o in zip(place, self._origin, strict=True))]) * self._unit

    def _forget_taken(self) -> None:
        for block in self._taken[self._seen :]:
            inside = tuple(
                slice(max(0, axis.start - o), max(0, axis.stop - o))
                for axis, o in zip(block, self._origin, strict=True)
            )
            self._values[inside] = TAKEN
            self._tops[inside[:-1]] = _row_tops(self._values[inside[:-1]])
        self._seen = len(self._taken)


def _row_tops(values: Any) -> npt.NDArray[Any]:
    if not isinstance(values, np.ndarray):
        return np.asarray(values.amax(-1).cpu().numpy())
    return np.asarray(values.max(axis=-1, initial=TAKEN))


def _host(values: Any) -> npt.NDArray[Any]:
    return values if isinstance(values, np.ndarray) else np.asarray(values.cpu().numpy())
