"""The oracle, who labels what is selected; what revealing regions tells about them, and what annotating them costs."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import cv2
import numpy as np
import numpy.typing as npt
from typing_extensions import override

from decomp.platform.datasets.base import IGNORE, Dataset
from decomp.platform.ledger import Ledger
from decomp.platform.loop.tasks import Checkpoint
from decomp.platform.regions import Region

TOLERANCE = 1.0
"""Greatest distance in pixels between an outline and the polygon that an expert draws instead."""


@dataclass(frozen=True)
class Selection:
    """What a cycle selects: images, new rows of the ledger; delta and w, each of shape (C,), where they were needed."""

    images: tuple[str, ...]
    ledger: Ledger
    class_confidence: npt.NDArray[np.float64] | None = None
    class_weights: npt.NDArray[np.float64] | None = None


class Oracle(ABC):
    """Who labels the regions that a run selects.

    The loop asks first whether a cycle has been selected already, then for the labels of its regions. From then on
    `Dataset.labels` of the run's data set holds them, for revealing, training and later cycles alike.

    Example:
        >>> class Colleague(Oracle):
        ...     def selected(self, cycle): return read_selection(cycle)
        ...     def label(self, cycle, selection, model): return wait_for_labels(selection)
    """

    @abstractmethod
    def selected(self, cycle: int) -> Selection | None:
        """What was selected for a cycle before the loop was interrupted; None where it is to select now."""

    @abstractmethod
    def label(self, cycle: int, selection: Selection, model: Checkpoint | None) -> bool:
        """See to it that the data set's labels hold those of the selected regions.

        Args:
            cycle: the cycle, from 1.
            selection: what is to be labelled.
            model: by which it was selected, which may help whoever labels it; None in the first cycle.

        Returns:
            Whether labels of regions of earlier cycles have changed.

        Raises:
            Unanswered: if labels are missing; the loop ends and goes on from here when it is run again.
        """


class Unanswered(Exception):
    """Labels of selected regions have not come yet."""


class Simulation(Oracle):
    """The data set has all labels, so revealing takes no time."""

    @override
    def selected(self, cycle: int) -> None:
        return None

    @override
    def label(self, cycle: int, selection: Selection, model: Checkpoint | None) -> bool:
        return False


@dataclass(frozen=True)
class Revealed:
    """What the oracle tells about some regions.

    Attributes:
        class_pixels: pixels of each true class, shape (C,), int64.
        clicks: see `clicks`, summed over the regions.
    """

    class_pixels: npt.NDArray[np.int64]
    clicks: int

    @classmethod
    def total(cls, answers: Sequence["Revealed"]) -> "Revealed":
        """The answers for all regions together; there must be at least one."""
        class_pixels = np.asarray(np.sum([answer.class_pixels for answer in answers], axis=0), np.int64)
        return cls(class_pixels, sum(answer.clicks for answer in answers))


def reveal(dataset: Dataset, regions: Sequence[Region]) -> Revealed:
    """Ask the oracle what the regions hold and what annotating them takes.

    The labels of an image are read once for all its regions, if these are consecutive.
    """
    class_pixels, n_clicks = np.zeros(IGNORE + 1, np.int64), 0
    for image, regions_of_image in groupby(regions, key=lambda region: region.image):
        labels = dataset.labels(image)
        for region in regions_of_image:
            class_pixels += np.bincount(region.of(labels), minlength=IGNORE + 1)
            n_clicks += clicks(labels, region)
    return Revealed(class_pixels[: len(dataset.classes)], n_clicks)


def clicks(labels: npt.NDArray[np.uint8], region: Region) -> int:
    """Clicks that annotate a region: one names each part, and all parts but the largest are outlined.

    A part is a connected (8 neighbours) set of pixels of one class in the region; its outline is the polygon to
    which the Douglas-Peucker algorithm reduces its outer contour, a click per vertex; what lies in a hole is outlined
    as a part of its own. The largest part is what remains when the others are drawn. Pixels without a label cost
    nothing; an ROI is one part; a box of several slices is annotated slice by slice.

    Args:
        labels: true classes of the whole image, shape (*axes).
        region: the region.
    """
    if labels.ndim == 1:
        return int(np.count_nonzero(region.of(labels) != IGNORE))
    window = np.where(region.inside, labels[region.slices], IGNORE)
    slices = window.reshape(-1, *window.shape[-2:])
    return sum(_clicks_of_slice(part) for part in slices)


def _clicks_of_slice(labels: npt.NDArray[np.uint8]) -> int:
    outlines = []
    for class_ in np.unique(labels):
        if class_ != IGNORE:
            # Two levels: the outer contours of all parts, those within a hole of another included, and the holes.
            contours, levels = cv2.findContours(
                (labels == class_).astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE
            )
            outlines += [contour for contour, level in zip(contours, levels[0], strict=True) if level[3] < 0]
    if not outlines:
        return 0
    largest = max(range(len(outlines)), key=lambda k: cv2.contourArea(outlines[k]))
    vertices = [len(cv2.approxPolyDP(outline, TOLERANCE, True)) for outline in outlines]
    return len(outlines) + sum(vertices) - vertices[largest]
