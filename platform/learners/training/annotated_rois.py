"""The annotated ROIs of a data set, and batches of them."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from decomp.platform.datasets.base import IGNORE, Dataset, Split
from decomp.platform.errors import UserError
from decomp.platform.learners.base import Training


class Rois(NamedTuple):
    """Annotated ROIs of a split.

    Attributes:
        contents: what the data set gives for each, length n.
        labels: their classes, shape (n,), int64.
    """

    contents: list[Any]
    labels: npt.NDArray[np.int64]


def annotated_rois(dataset: Dataset, training: Training, split: Split) -> Rois:
    """Read the annotated ROIs of a split, except those of no class, slide by slide in order of their ids.

    Those of the train split that were annotated several times occur as often.

    Raises:
        UserError: if the data set has no ROIs, or a label is beyond its classes.
    """
    if dataset.task != "roi":
        raise UserError("This learner is for data sets of ROIs; choose one for segmentation, e.g. unet.")
    contents: list[Any] = []
    labels: list[npt.NDArray[np.int64]] = [np.zeros(0, np.int64)]
    for slide in dataset.ids(split, training.fold):
        regions = training.ledger.regions(slide)
        if not regions:
            continue
        places = np.arange(dataset.shape(slide)[0])
        numbers = np.sort(np.concatenate([region.of(places) for region in regions]))
        if split == "validation":  # by which models are compared, not trained
            numbers = np.unique(numbers)
        true = dataset.labels(slide)[numbers].astype(np.int64)
        if ((true >= len(dataset.classes)) & (true != IGNORE)).any():
            raise UserError(
                f"{slide!r} has a label beyond the {len(dataset.classes)} classes; correct the data set, or give ROIs "
                f"of no class the label {IGNORE}."
            )
        known = true != IGNORE
        if known.any():
            rois = dataset.image(slide)
            contents += [rois[number] for number in numbers[known]]
            labels.append(true[known])
    return Rois(contents, np.concatenate(labels))


def batch_sizes(n: int, batch: int) -> list[int]:
    """Sizes of the batches of n ROIs; a last one of a single ROI, which has no variance, joins the one before it."""
    sizes = [min(batch, n - first) for first in range(0, n, batch)]
    if batch > 1 and len(sizes) > 1 and sizes[-1] == 1:
        sizes[-2:] = [batch + 1]
    return sizes
