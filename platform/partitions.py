"""Partitions of an image into irregular regions, e.g. superpixels."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from decomp.platform.datasets.base import Dataset
from decomp.platform.errors import UserError

PARTITIONS = {
    "slic": "decomp.platform.partitions:Slic",
}


class Partition(ABC):
    """Divides every image into regions, each of which can be annotated.

    A partition is named in the experiment file (`region: {name: ..., option: ...}`), its options are the fields of the
    (data)class. It may depend on the image alone, so that every process finds the same regions.
    """

    @abstractmethod
    def of(self, dataset: Dataset, image: str) -> npt.NDArray[np.int32]:
        """Number of the region of every pixel, from 0, shape (*axes), int32."""


@dataclass(frozen=True)
class Slic(Partition):
    """SLIC superpixels: connected, of similar colour and size.

    Achanta et al., "SLIC Superpixels Compared to State-of-the-art Superpixel Methods", TPAMI 2012, as implemented in
    scikit-image.

    Attributes:
        segments: about how many regions an image is divided into.
        compactness: how much nearness in space weighs against nearness in colour.
        sigma: width in pixels of the Gaussian that smooths the image first.
    """

    segments: int
    compactness: float = 10.0
    sigma: float = 1.0

    def __post_init__(self) -> None:
        if self.segments < 1:
            raise UserError(f"segments: must be at least 1, not {self.segments}.")
        if not (0 < self.compactness < math.inf and 0 <= self.sigma < math.inf):
            raise UserError("compactness must be positive and sigma 0 or more.")

    def of(self, dataset: Dataset, image: str) -> npt.NDArray[np.int32]:
        """See `Partition.of`."""
        from skimage.segmentation import slic  # takes half a second to import

        pixels = dataset.image(image)
        channels = pixels.shape[-1]
        # CIELAB has a meaning for RGB alone.
        numbers = slic(
            pixels if channels > 1 else pixels[..., 0],
            n_segments=self.segments,
            compactness=self.compactness,
            sigma=self.sigma,
            start_label=0,
            channel_axis=-1 if channels > 1 else None,
            convert2lab=channels == 3 and pixels.dtype == np.uint8,
        )
        return np.asarray(numbers, np.int32)
