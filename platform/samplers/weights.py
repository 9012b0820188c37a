"""Class confidence and class weights: Eq. 1 and 2 of the paper, Sec. 3 of the method notes."""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]


def class_confidence(predicted: Counts, confident: Counts) -> Floats:
    """Share of confident predictions per class (Eq. 1).

    delta_c = #{j : Y(j) = c and P(j) > tau} / #{j : Y(j) = c}, 0 where c is never predicted.

    Args:
        predicted: unannotated pixels of all candidates predicted as each class, shape (C,).
        confident: those of them whose confidence exceeds tau, shape (C,).

    Returns:
        delta, shape (C,), in [0, 1].
    """
    return np.divide(confident, predicted, out=np.zeros(len(predicted)), where=predicted > 0)


STEPS_PER_HALVING, HALVINGS = 32, 24
"""Bins of confidence: equal steps of the logarithm of 1 - P, down to the last digit of float32."""

BINS = STEPS_PER_HALVING * HALVINGS + 1


def confidence_histogram(
    labels: npt.NDArray[np.uint8], confidence: npt.NDArray[np.float32], counted: npt.NDArray[np.bool_], n_classes: int
) -> Counts:
    """Pixels of each class by confidence, from bin 0 (P up to about 0.02) to the greatest, shape (C, BINS).

    Args:
        labels: predicted classes, shape (*axes).
        confidence: their probabilities P, shape (*axes).
        counted: pixels that count, shape (*axes).
        n_classes: number of classes C.
    """
    doubt = np.maximum(1.0 - confidence[counted], np.float32(2.0**-HALVINGS))
    bins = np.floor(-STEPS_PER_HALVING * np.log2(doubt)).astype(np.int64)
    cells = labels[counted].astype(np.int64) * BINS + np.clip(bins, 0, BINS - 1)
    return np.bincount(cells, minlength=n_classes * BINS).reshape(n_classes, BINS)


def above_quantile(histogram: Counts, quantile: float, background: int | None = None) -> Counts:
    """Pixels of each class in bins above that of a quantile of the confidences of the sampled classes, shape (C,).

    Args:
        histogram: of `confidence_histogram`, summed over all images.
        quantile: in (0, 1).
        background: a class that is not sampled, whose confidences, as a rule many and high, do not count.
    """
    total = np.delete(histogram, [] if background is None else background, axis=0).sum(axis=0)
    bin_of_quantile = int(np.searchsorted(np.cumsum(total), quantile * total.sum()))
    return np.asarray(histogram[:, bin_of_quantile + 1 :].sum(axis=1))


def class_weights(delta: Floats, emphasis: Floats | None = None, background: int | None = None) -> Floats:
    """Sampling weight per class (Eq. 2).

    w_c = f_c (1 - delta_c) / sum_k f_k (1 - delta_k), uniform over the sampled classes where the sum is 0.

    Args:
        delta: class confidence, shape (C,).
        emphasis: positive factors f, shape (C,); 1 by default.
        background: a class that is not sampled, whose weight is 0.

    Returns:
        w, shape (C,), summing to 1.
    """
    doubt = 1.0 - delta if emphasis is None else emphasis * (1.0 - delta)
    sampled = np.arange(len(delta)) != (-1 if background is None else background)
    doubt = np.where(sampled, doubt, 0.0)
    total = doubt.sum()
    return np.asarray(doubt / total if total > 0 else sampled / max(1, np.count_nonzero(sampled)))
