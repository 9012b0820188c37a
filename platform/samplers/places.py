"""Places: the regions of one image that can still be annotated, whatever their shape, and the best of them.

A region selector asks for a map of values over all places (pixels of a class, mean uncertainty), takes the best place
and goes on; a place that is taken leaves all maps, and so do those that overlap it.
"""

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import numpy.typing as npt
from typing_extensions import override

from decomp.platform.predictions import UncertaintyMap
from decomp.platform.regions import Region

Place = tuple[int, ...]
Block = tuple[slice, ...]

TAKEN = -1
"""Value of a place that is taken; all others are 0 or more."""

UNKNOWN = -1
"""Number of ties in a row that has not been counted."""

ROWS_AT_ONCE = 48
"""Rows looked at in one step: few enough for the cache, enough to make the step's overhead small."""


class Places(ABC):
    """The places of one image.

    Attributes:
        image: id of the image.
        layers: places are divided into this many layers, one of which is drawn before the place (Sec. 5 of the method
            notes): the axial slices of a volume where regions lie in a slice, else 1.
    """

    def __init__(self, image: str, layers: int = 1) -> None:
        self.image = image
        self.layers = layers
        self.taken: list[Block] = []

    @abstractmethod
    def uniform(self, body: npt.NDArray[np.bool_] | None = None) -> "Peaks":
        """All places alike or, given a body, those within it alike; places in the air are left out.

        Args:
            body: shape (*axes), or None for everywhere.
        """

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
    def mean_values(self, uncertainty: UncertaintyMap) -> npt.NDArray[np.float64]:
        """Mean uncertainty of all places, free or not, in an array indexed by place."""

    def peaks(self, values: npt.NDArray[np.float64]) -> "Peaks":
        """A map of values of all places, 0 or more, in an array like that of `mean_values`; overwritten."""
        return MapPeaks(values, self.taken)

    @abstractmethod
    def holding(self, pixel: Place) -> "Peaks":
        """The places that hold a pixel, all alike.

        Args:
            pixel: position in the image, one number per axis.
        """

    @abstractmethod
    def reach(self) -> npt.NDArray[np.bool_]:
        """The pixels that a free place holds, shape (*axes)."""

    @abstractmethod
    def take(self, place: Place) -> Region:
        """Take a place, which leaves all maps together with those that overlap it."""


class Peaks(ABC):
    """A map of values over places, which is asked again and again for the best free one.

    A row is a line of places along the last axis. For each row an upper bound of its values is known; rows are looked
    at in order of their bounds, and only until no other can hold a better place or one that is as good. Since places
    that are taken only lower the values, what was found once bounds the row from then on.

    Args:
        bounds: upper bound of the values in each row, one for each place along the leading axes; overwritten.
        taken: blocks of places that are taken; may grow afterwards.
        origin: place of the first element, shape (ndim,).
        unit: what a value of 1 means.
    """

    def __init__(
        self, bounds: npt.NDArray[Any], taken: list[Block], origin: Place | None = None, unit: float = 1.0
    ) -> None:
        self._bounds = bounds
        self._exact = np.zeros(bounds.shape, np.bool_)
        self._ties = np.zeros(bounds.shape, np.int64)
        self._taken = taken
        self._origin = origin or (0,) * (bounds.ndim + 1)
        self._unit = unit
        self._seen = 0

    @abstractmethod
    def _rows(self, rows: tuple[npt.NDArray[np.int64], ...]) -> npt.NDArray[Any]:
        """Values of k rows, given by their index along each leading axis, `TAKEN` where taken; shape (k, n)."""

    @abstractmethod
    def _block(self, inside: Block) -> None:
        """Mark a block of this map, which may be empty, as taken."""

    def best(self, rng: np.random.Generator) -> Place | None:
        """A free place of greatest value, or None if none is free.

        Ties are broken uniformly at random: in scan order, a class that fills many windows would always give the
        top-left one (Sec. 5 of the method notes).
        """
        self._forget_taken()
        best = self._settle()
        if best == TAKEN:
            return None
        rows = np.nonzero(self._exact & (self._bounds == best))
        until = np.cumsum(self._count_ties(rows, best))
        drawn = rng.integers(until[-1])
        row = int(np.searchsorted(until, drawn, side="right"))
        number = drawn - (until[row - 1] if row else 0)
        values = self._rows(tuple(axis[row : row + 1] for axis in rows))[0]
        column = np.flatnonzero(values == best)[number]
        return tuple(int(i) + o for i, o in zip((*(axis[row] for axis in rows), column), self._origin, strict=True))

    def score(self, place: Place) -> float:
        """Value of a place, multiplied by `unit`."""
        *row, column = (i - o for i, o in zip(place, self._origin, strict=True))
        return float(self._rows(tuple(np.array([i]) for i in row))[0, column]) * self._unit

    def _settle(self) -> Any:
        """Look at rows until the greatest value and all rows that hold it are known."""
        while True:
            best = self._bounds[self._exact].max(initial=TAKEN)
            open_ = np.flatnonzero(~self._exact & (self._bounds >= max(best, 0)))
            if not len(open_):
                return best
            if len(open_) > ROWS_AT_ONCE:
                bounds = self._bounds.ravel()[open_]
                open_ = open_[np.argpartition(bounds, -ROWS_AT_ONCE)[-ROWS_AT_ONCE:]]
            rows = np.unravel_index(open_, self._bounds.shape)
            values = self._rows(rows)
            self._bounds[rows] = values.max(axis=1, initial=TAKEN)
            self._exact[rows] = True
            self._ties[rows] = UNKNOWN

    def _count_ties(self, rows: tuple[npt.NDArray[np.int64], ...], best: Any) -> npt.NDArray[np.int64]:
        """How many places of each row have the greatest value."""
        new = np.flatnonzero(self._ties[rows] == UNKNOWN)
        for first in range(0, len(new), ROWS_AT_ONCE):
            some = tuple(axis[new[first : first + ROWS_AT_ONCE]] for axis in rows)
            self._ties[some] = np.count_nonzero(self._rows(some) == best, axis=1)
        return self._ties[rows]

    def _forget_taken(self) -> None:
        for block in self._taken[self._seen :]:
            inside = tuple(
                slice(max(0, axis.start - o), max(0, axis.stop - o))
                for axis, o in zip(block, self._origin, strict=True)
            )
            self._block(inside)
            self._exact[inside[:-1]] = False
        self._seen = len(self._taken)


class MapPeaks(Peaks):
    """Peaks of a map whose values are all at hand.

    Args:
        values: shape (*leading, n) with at least two axes, a number of 0 or more for each place; a numpy array or a
            tensor on any device. Overwritten.
        taken: see `Peaks`.
        origin: see `Peaks`.
        unit: see `Peaks`.
    """

    def __init__(self, values: Any, taken: list[Block], origin: Place | None = None, unit: float = 1.0) -> None:
        super().__init__(
            _host(values.max(-1) if isinstance(values, np.ndarray) else values.amax(-1)), taken, origin, unit
        )
        self._values = values

    @override
    def _rows(self, rows: tuple[npt.NDArray[np.int64], ...]) -> npt.NDArray[Any]:
        return _host(self._values[rows])

    @override
    def _block(self, inside: Block) -> None:
        self._values[inside] = TAKEN


def _host(values: Any) -> npt.NDArray[Any]:
    return values if isinstance(values, np.ndarray) else np.asarray(values.cpu().numpy())
