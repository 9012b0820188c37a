"""Regions: what an expert annotates in one step."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Region:
    """A window of an image, or an irregular region within one.

    A window in an axial slice of a volume is a window of one slice; the k-th ROI of a slide is the window of size 1 at
    k, a slide being an image of one axis whose pixels are ROIs.

    Attributes:
        image: the image's id.
        start: first pixel per axis, shape (ndim,).
        size: pixels per axis, shape (ndim,).
        mask: for irregular regions the pixels of the window that belong to it, as `np.packbits` packs them.
    """

    image: str
    start: tuple[int, ...]
    size: tuple[int, ...]
    mask: bytes | None = None

    @classmethod
    def of_mask(cls, image: str, start: tuple[int, ...], inside: npt.NDArray[np.bool_]) -> "Region":
        """The pixels where `inside` holds, a bool array whose first element lies at `start`."""
        return cls(image, start, inside.shape, np.packbits(inside).tobytes())

    @property
    def area(self) -> int:
        """Number of pixels."""
        return math.prod(self.size) if self.mask is None else int(np.count_nonzero(self.inside))

    @property
    def slices(self) -> tuple[slice, ...]:
        """Index of the window in an array of the image's spatial shape."""
        return tuple(slice(a, a + n) for a, n in zip(self.start, self.size, strict=True))

    def of(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The region's pixels of an array of the image's spatial shape; shape (area,)."""
        window = array[self.slices]
        return window.ravel() if self.mask is None else window[self.inside]

    def pixel(self, number: int) -> tuple[int, ...]:
        """Position in the image of element `number` of what `of` gives."""
        place = number if self.mask is None else np.flatnonzero(self.inside)[number]
        return tuple(int(k) + a for k, a in zip(np.unravel_index(place, self.size), self.start, strict=True))

    def mark(self, array: npt.NDArray[Any], values: Any) -> None:
        """Write into the region's pixels of `array`: a scalar, or an array as `of` gives it."""
        window = array[self.slices]
        if self.mask is not None:
            window[self.inside] = values
        else:
            window[...] = values if np.ndim(values) == 0 else values.reshape(window.shape)

    def overlaps(self, other: "Region") -> bool:
        """Whether the two regions share a pixel of the same image."""
        if self.image != other.image or not all(
            a < b + m and b < a + n for a, n, b, m in zip(self.start, self.size, other.start, other.size, strict=True)
        ):
            return False
        if self.mask is None and other.mask is None:
            return True
        return bool((self._common(other) & other._common(self)).any())

    def _common(self, other: "Region") -> npt.NDArray[np.bool_]:
        """This region's mask in the intersection of both windows."""
        first = [max(a, b) for a, b in zip(self.start, other.start, strict=True)]
        last = [min(a + n, b + m) for a, n, b, m in zip(self.start, self.size, other.start, other.size, strict=True)]
        return self.inside[tuple(slice(f - a, e - a) for f, e, a in zip(first, last, self.start, strict=True))]

    @property
    def inside(self) -> npt.NDArray[np.bool_]:
        """Which pixels of the window belong to the region, shape `size`."""
        if self.mask is None:
            return np.ones(self.size, np.bool_)
        bits = np.unpackbits(np.frombuffer(self.mask, np.uint8), count=math.prod(self.size))
        return bits.reshape(self.size).view(np.bool_)
