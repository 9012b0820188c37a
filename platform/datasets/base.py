"""What a pool of images is."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

Split = Literal["train", "validation", "test"]

Task = Literal["segmentation", "roi"]

IGNORE = 255
"""Label of pixels that belong to no class: they neither train nor count in a metric."""


class Dataset(ABC):
    """A fully labelled data set whose labels the platform hides and reveals.

    A data set is named in the experiment file (`dataset: {name: ..., option: ...}`), its options are the fields of
    the (data)class. It is built again in every process that needs it, so building must be cheap and reading lazy.

    Of a segmentation task an image is an array of pixels; of the ROI task it is a set of ROIs (a slide), which counts
    as an image of one axis whose pixels are the ROIs.

    Attributes:
        task: what is annotated: windows of pixels, or ROIs.
        classes: class names; the label of class c is c.
        spacing: physical size of a pixel per axis, or None where it has no meaning.
        folds: number of cross-validation folds; 1 where the split is fixed.
    """

    task: ClassVar[Task] = "segmentation"
    classes: tuple[str, ...]
    spacing: tuple[float, ...] | None = None
    folds: int = 1

    @abstractmethod
    def ids(self, split: Split, fold: int) -> tuple[str, ...]:
        """Ids of the images of a split, sorted, without duplicates."""

    @abstractmethod
    def shape(self, image: str) -> tuple[int, ...]:
        """Spatial shape (*axes) of an image, without reading its pixels where possible; (n,) for n ROIs."""

    @abstractmethod
    def image(self, image: str) -> Any:
        """What the learner reads of an image.

        Returns:
            Pixels, shape (*axes, channels); for the ROI task features of the ROIs, shape (n, F), float32, or a tuple of
            n `decomp.platform.datasets.graphs.RoiGraph`.
        """

    @abstractmethod
    def labels(self, image: str) -> npt.NDArray[np.uint8]:
        """The oracle: true class of every pixel, shape (*axes); `IGNORE` where there is none."""

    def problems(self) -> list[str]:
        """Damage that would stop a run, a sentence each, found without reading more than headers."""
        return []

    @abstractmethod
    def fingerprint(self) -> str:
        """Hexadecimal digest of everything in the data that can change a result."""


def annotated_splits(dataset: Dataset) -> tuple[Split, ...]:
    """Splits in which regions are annotated: of the ROI task the validation split too (Sec. 1 of the method notes)."""
    return ("train", "validation") if dataset.task == "roi" else ("train",)


def pool_ids(dataset: Dataset, fold: int) -> tuple[str, ...]:
    """Ids of all images that may be annotated, split by split."""
    return tuple(image for split in annotated_splits(dataset) for image in dataset.ids(split, fold))
