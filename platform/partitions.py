"""Partitions of an image into irregular regions, e.g. superpixels."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import Field
from typing_extensions import override

from decomp.platform.datasets.base import Dataset

PARTITIONS = {
    "slic": "decomp.platform.partitions:Slic",
    "image": "decomp.platform.partitions:WholeImage",
}


class Partition(ABC):
    """Divides every image into regions, each of which can be annotated.

    A partition is named in the experiment file (`region: {name: ..., option: ...}`); its options are the fields of the
    (data)class. It must depend on the image alone, so that every process finds the same regions.

    Example:
        >>> class Stripes(Partition):
        ...     def of(self, dataset, image):
        ...         return np.indices(dataset.shape(image), np.int32)[1] // 12
    """

    @abstractmethod
    def of(self, dataset: Dataset, image: str) -> npt.NDArray[np.int32]:
        """The number of each pixel's region, from 0, shape (*axes), int32.

        Called in the worker that owns the image, once per run: the regions are kept, compressed.

        Args:
            dataset: the data set, as the learner reads it; its labels must not be read.
            image: id of the image.
        """


@dataclass(frozen=True)
class WholeImage(Partition):
    """The whole image is one region: annotation image by image, to which that of regions is compared."""

    @override
    def of(self, dataset: Dataset, image: str) -> npt.NDArray[np.int32]:
        return np.zeros(dataset.shape(image), np.int32)


@dataclass(frozen=True)
class Slic(Partition):
    """SLIC superpixels: connected, of similar colour and size.

    Achanta et al., "SLIC Superpixels Compared to State-of-the-art Superpixel Methods", TPAMI 2012, as implemented in
    scikit-image.
    """

    segments: Annotated[int, Field(ge=1)]
    """About how many regions an image is divided into."""

    compactness: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 10.0
    """How much nearness in space weighs against nearness in colour."""

    sigma: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0
    """Width of the Gaussian that smooths the image first, in pixels."""

    @override
    def of(self, dataset: Dataset, image: str) -> npt.NDArray[np.int32]:
        from skimage.segmentation import slic  # takes half a second to import

        pixels = dataset.image(image)
        channels = pixels.shape[-1]
        # CIELAB is defined for RGB alone.
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
