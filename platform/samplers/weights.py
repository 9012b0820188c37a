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
        confident: those whose confidence exceeds tau, shape (C,).

    Returns:
        delta, shape (C,), in [0, 1].
    """
    return np.divide(confident, predicted, out=np.zeros(len(predicted)), where=predicted > 0)


def class_weights(delta: Floats) -> Floats:
    """Sampling weight per class (Eq. 2).

    w_c = (1 - delta_c) / sum_k (1 - delta_k), uniform where the sum is 0.

    Args:
        delta: class confidence, shape (C,).

    Returns:
        w, shape (C,), summing to 1.
    """
    doubt = 1.0 - delta
    total = doubt.sum()
    return doubt / total if total > 0 else np.full(len(delta), 1.0 / len(delta))
