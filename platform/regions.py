"""Regions: what an expert annotates in one step."""

import math
from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class Region:
    """A window of an image.

    Attributes:
        image: the image's id.
        start: first pixel per axis, shape (ndim,).
        size: pixels per axis, shape (ndim,).
    """

    image: str
    start: tuple[int, ...]
    size: tuple[int, ...]

    @property
    def area(self) -> int:
        """Number of pixels."""
        return math.prod(self.size)

    @property
    def slices(self) -> tuple[slice, ...]:
        """Index of the region in an array of the image's spatial shape."""
        return tuple(slice(a, a + n) for a, n in zip(self.start, self.size, strict=True))

    def overlaps(self, other: "Region") -> bool:
        """Whether the two regions share a pixel of the same image."""
        return self.image == other.image and all(
            a < b + m and b < a + n for a, n, b, m in zip(self.start, self.size, other.start, other.size, strict=True)
        )
