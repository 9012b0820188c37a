"""Metrics from a confusion matrix, which can be summed over images and shards without error."""

import numpy as np
import numpy.typing as npt

from decomp.platform.datasets.base import IGNORE, Task


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
    values = np.full(len(hits), np.nan)
    np.divide(hits, union, out=values, where=union > 0)
    return values


def mean_iou(per_class: npt.NDArray[np.float64]) -> float:
    """Mean over the classes whose IoU is defined; 0 where there is none."""
    known = per_class[~np.isnan(per_class)]
    return float(known.mean()) if len(known) else 0.0


def f1(confusion: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """F1 score per class, shape (C,); NaN for a class neither present nor predicted."""
    hits = np.diag(confusion)
    total = confusion.sum(axis=0) + confusion.sum(axis=1)
    values = np.full(len(hits), np.nan)
    np.divide(2 * hits, total, out=values, where=total > 0)
    return values


def weighted_f1(confusion: npt.NDArray[np.int64]) -> float:
    """Mean of the F1 scores, each class weighing as much as it is present; 0 where nothing is."""
    support = confusion.sum(axis=1)
    return float((np.nan_to_num(f1(confusion)) * support).sum() / max(1, support.sum()))


TEST_METRIC: dict[Task, str] = {"segmentation": "miou", "roi": "weighted_f1"}
"""Name of the metric of learning curves by task."""


def score(task: Task, confusion: npt.NDArray[np.int64]) -> tuple[dict[str, float], dict[str, npt.NDArray[np.float64]]]:
    """Test metrics of a task by name, and those of each class, shape (C,), NaN where undefined."""
    if task == "roi":
        return {TEST_METRIC[task]: weighted_f1(confusion)}, {"f1": f1(confusion)}
    per_class = iou(confusion)
    return {TEST_METRIC[task]: mean_iou(per_class)}, {"iou": per_class}
