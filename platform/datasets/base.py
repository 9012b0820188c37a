"""The contract of a data set."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from decomp.platform.regions import Region

Split = Literal["train", "validation", "test"]

Task = Literal["segmentation", "roi"]

IGNORE = 255
"""Label of pixels that belong to no class: they are left out of training and of every metric."""


class Dataset(ABC):
    """A data set whose labels the platform hides and reveals, or for whose training images people are asked.

    A data set is named in the experiment file (`dataset: {name: ..., option: ...}`); its options are the fields of
    the (data)class. It is built anew in every process that needs it, so building must be cheap and reading lazy, and it
    must give the same answers everywhere.

    In a segmentation task an image is an array of pixels; in the ROI task it is a set of ROIs (a slide), which counts
    as an image of one axis whose pixels are the ROIs.

    Attributes:
        task: what is annotated: windows of pixels, or ROIs.
        classes: class names; the label of class c is c.
        spacing: physical size of a pixel per axis, NaN where it differs between images; None where it has no meaning.
        folds: number of cross-validation folds; 1 where the split is fixed.
        readers: threads that read images ahead of their prediction; 0 where reading takes no time.
        labelled: False where the training images have no labels yet, because people give them (`decomp annotate`);
            `labels` then holds `IGNORE` there, and images without labels are no part of the test split.
        nested: for data whose test score is the Dice of nested classes, the labels of each by name, the outermost
            first, e.g. ``{"masses": (2, 3), "tumour": (2,)}``; empty where the classes exclude each other.

    Example:
        >>> class Cells(Dataset):
        ...     def image(self, image): return read_pixels(f"/data/cells/{image}.png")
        ...     # and in the same way classes, ids, shape, labels, fingerprint
    """

    task: ClassVar[Task] = "segmentation"
    classes: tuple[str, ...]
    spacing: tuple[float, ...] | None = None
    folds: int = 1
    readers: ClassVar[int] = 0
    labelled: bool = True
    nested: Mapping[str, tuple[int, ...]] = MappingProxyType({})

    @abstractmethod
    def ids(self, split: Split, fold: int) -> tuple[str, ...]:
        """Ids of the images of a split, sorted, without duplicates; no image is in two splits of a fold.

        Called in the coordinator of a run, a few times per cycle, and when a sweep is planned.

        Args:
            split: the pool is ``train``; ``test`` gives the score; ``validation``, which may be empty, is for choices.
            fold: cross-validation fold, from 0; without effect where the split is fixed.
        """

    @abstractmethod
    def shape(self, image: str) -> tuple[int, ...]:
        """Spatial shape (*axes) of an image, without reading its pixels where possible; (n,) for n ROIs.

        Called in the coordinator, in each cycle for every image of the pool, and in the workers for each image that is
        predicted or in which regions are chosen.
        """

    @abstractmethod
    def image(self, image: str) -> Any:
        """The contents of an image, as the learner reads them.

        Called in the workers, from `readers` threads at once: for every candidate image that is predicted and every
        test image, in each cycle; and by `Learner.fit` for the annotated ones.

        Returns:
            Pixels, shape (*axes, channels); for the ROI task features of the ROIs, shape (n, F), float32, or a tuple of
            n `decomp.platform.datasets.formats.graphs.RoiGraph`.
        """

    @abstractmethod
    def labels(self, image: str) -> npt.NDArray[np.uint8]:
        """True class of every pixel, shape (*axes), uint8; `IGNORE` where there is none.

        Called in the workers, in each cycle: for images of the pool, only to reveal their annotated regions, and for
        test images, to compute the score.
        """

    @property
    def scored(self) -> Mapping[str, tuple[int, ...]]:
        """The sets of labels, by name, whose mean Dice is the test score; empty where that is the mean IoU or F1.

        Asked when a model is evaluated, and by reports; the nested classes unless a data set says otherwise.
        """
        return self.nested

    def body(self, image: str) -> npt.NDArray[np.bool_] | None:
        """Where regions drawn at random lie, shape (*axes), bool: the body in a CT volume; None for everywhere.

        Called in the workers by the region selector `random`, for each image in which it chooses.
        """
        return None

    def original_files(self, image: str) -> tuple[Path, ...]:
        """The files of an image as an annotator opens them: one, or one for each channel; none if it is made.

        Called when an annotator is asked, for every image in which regions are selected.
        """
        return ()

    def original(self, region: Region) -> Region:
        """The same region in the image file as an annotator opens it, where images are resampled.

        Called when annotated regions are exported, for every one of them.
        """
        return region

    def to_original(self, image: str, labels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Labels of every pixel, shape (*axes), in the pixels of the image's file, where `original` has regions.

        Called when an annotator is shown what the model predicts.
        """
        return labels

    def of_original(self, image: str, labels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Labels of every pixel of the image's file in the pixels of the data set, shape (*axes).

        Called by `labels` where annotators have answered.
        """
        return labels

    def problems(self) -> list[str]:
        """All damage that would stop a run, one sentence each.

        Called once, by `decomp check` and when a sweep starts, before anything is computed.
        """
        return []

    @abstractmethod
    def fingerprint(self) -> str:
        """Hexadecimal digest of everything in the data that can change a result.

        Called once, when a sweep is planned: runs are continued only on the data on which they began.
        """


def is_finite(contents: Any) -> bool:
    """Whether what `Dataset.image` gives holds neither NaN nor infinity."""
    if isinstance(contents, np.ndarray):
        return contents.dtype.kind != "f" or bool(np.isfinite(contents).all())
    return all(is_finite(array) for roi in contents for array in vars(roi).values())


def not_finite(image: str) -> str:
    """The sentence about an image for which `is_finite` is false."""
    return f"dataset: image {image!r} holds NaN or infinite values; mend it or leave it out of the data set."


def annotated_splits(dataset: Dataset) -> tuple[Split, ...]:
    """Splits in which regions are annotated: for the ROI task the validation split too (Sec. 1 of the method notes)."""
    return ("train", "validation") if dataset.task == "roi" else ("train",)


def pool_ids(dataset: Dataset, fold: int) -> tuple[str, ...]:
    """Ids of all images that may be annotated, split by split."""
    return tuple(image for split in annotated_splits(dataset) for image in dataset.ids(split, fold))
