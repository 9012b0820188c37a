"""What a pool of images is."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from decomp.platform.regions import Region

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
        readers: threads that read images ahead of their prediction; 0 where reading takes no time.
        nested: for data whose test score is the Dice of nested classes, the labels of each by name, the outermost
            first, e.g. ``{"masses": (2, 3), "tumour": (2,)}``; empty where the classes themselves are scored.
    """

    task: ClassVar[Task] = "segmentation"
    classes: tuple[str, ...]
    spacing: tuple[float, ...] | None = None
    folds: int = 1
    readers: ClassVar[int] = 0
    nested: Mapping[str, tuple[int, ...]] = MappingProxyType({})

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
            n `decomp.platform.datasets.formats.graphs.RoiGraph`.
        """

    @abstractmethod
    def labels(self, image: str) -> npt.NDArray[np.uint8]:
        """The oracle: true class of every pixel, shape (*axes); `IGNORE` where there is none."""

    def body(self, image: str) -> npt.NDArray[np.bool_] | None:
        """Where regions drawn at random lie, shape (*axes): of a CT volume the body; None for everywhere."""
        return None

    def original(self, region: Region) -> Region:
        """The same region in the image file as an annotator opens it, where images are resampled."""
        return region

    def problems(self) -> list[str]:
        """Damage that would stop a run, all of it, a sentence each; asked once, before anything is computed."""
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
