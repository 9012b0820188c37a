"""Metrics from a confusion matrix, which can be summed over images and shards without error."""

import math
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from decomp.platform.datasets.base import IGNORE, Dataset
from decomp.platform.errors import UserError

UNLABELLED = "no image of the test split has a labelled pixel of a class that is scored; add labelled images to it."


def confusion_matrix(
    true: npt.NDArray[np.uint8], predicted: npt.NDArray[np.uint8], n_classes: int
) -> npt.NDArray[np.int64]:
    """Count pixels by true class (rows) and predicted class (columns), shape (C, C); `IGNORE` pixels are left out."""
    known = true != IGNORE
    pairs = true[known].astype(np.int64) * n_classes + predicted[known]
    return np.bincount(pairs, minlength=n_classes**2).reshape(n_classes, n_classes)


def iou(confusion: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Intersection over union per class, shape (C,); NaN for a class neither present nor predicted."""
    hits = np.diag(confusion)
    union = confusion.sum(axis=0) + confusion.sum(axis=1) - hits
    return _ratio(hits, union)


def mean_iou(per_class: npt.NDArray[np.float64]) -> float:
    """Mean over the classes whose IoU is defined; 0 where there is none."""
    return _mean(per_class, 0.0)


def f1(confusion: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """F1 score per class, shape (C,); NaN for a class neither present nor predicted."""
    hits = np.diag(confusion)
    total = confusion.sum(axis=0) + confusion.sum(axis=1)
    return _ratio(2 * hits, total)


def weighted_f1(confusion: npt.NDArray[np.int64]) -> float:
    """Mean of the F1 scores, each class weighted by its number of true pixels; 0 where there are none."""
    support = confusion.sum(axis=1)
    return float((np.nan_to_num(f1(confusion)) * support).sum() / max(1, support.sum()))


def dice(confusion: npt.NDArray[np.int64], labels: Sequence[int]) -> npt.NDArray[np.float64]:
    """Dice of the union of some classes in each image; NaN where it is neither present nor predicted.

    Args:
        confusion: a confusion matrix per image, shape (N, C, C).
        labels: the classes of the union.

    Returns:
        ``2 TP / (2 TP + FP + FN)``, shape (N,).
    """
    member = np.isin(np.arange(confusion.shape[-1]), labels)
    hits = confusion[:, member][:, :, member].sum(axis=(1, 2))
    total = confusion[:, member].sum(axis=(1, 2)) + confusion[:, :, member].sum(axis=(1, 2))
    return _ratio(2 * hits, total)


def metric_of(dataset: Dataset) -> str:
    """Name of the test metric of learning curves."""
    if dataset.task == "roi":
        return "weighted_f1"
    return "dice" if dataset.scored else "miou"


def score(
    dataset: Dataset, confusion: npt.NDArray[np.int64]
) -> tuple[dict[str, float], dict[str, dict[str, float | None]]]:
    """Test metrics of a model.

    What nnU-Net learns, nested or not, is scored by its Dice, averaged over the images where it is defined and then
    over the classes, as nnU-Net does; everything else is scored over the pixels of all images together. A class
    without a labelled pixel in the whole test split has no score: it would be 0 or undefined, depending on whether any
    pixel is predicted as it.

    Args:
        dataset: the data set.
        confusion: a confusion matrix per test image, shape (N, C, C).

    Returns:
        Metrics by name, and those of each class by metric and class, None where undefined. No metric at all where
        people label the pool and there is no test image.

    Raises:
        UserError: if no class has a score.
    """
    if not (len(confusion) or dataset.labelled):
        return {}, {}
    metric, total = metric_of(dataset), confusion.sum(axis=0)
    support = total.sum(axis=1)
    if metric == "dice":
        kind, names = "dice", tuple(dataset.scored)
        per_class = np.array([_mean(dice(confusion, labels), math.nan) for labels in dataset.scored.values()])
        present = np.array([support[list(labels)].any() for labels in dataset.scored.values()])
    else:
        kind, names, present = ("f1" if metric == "weighted_f1" else "iou"), dataset.classes, support > 0
        per_class = f1(total) if metric == "weighted_f1" else iou(total)
    if not present.any():
        raise UserError(f"dataset: {UNLABELLED}")
    per_class[~present] = np.nan
    value = weighted_f1(total) if metric == "weighted_f1" else mean_iou(per_class)
    return {metric: value}, {kind: _by_name(names, per_class)}


def _ratio(part: npt.NDArray[np.int64], whole: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    values = np.full(len(whole), np.nan)
    np.divide(part, whole, out=values, where=whole > 0)
    return values


def _mean(values: npt.NDArray[np.float64], otherwise: float) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else otherwise


def _by_name(names: Iterable[str], values: npt.NDArray[np.float64]) -> dict[str, float | None]:
    return {name: None if np.isnan(value) else float(value) for name, value in zip(names, values, strict=True)}
