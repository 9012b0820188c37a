"""Matrices as Arrow columns: a fixed-size list per row."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa


def column_of(matrix: npt.NDArray[Any]) -> pa.Array:
    """A column of N lists of M elements from a matrix of shape (N, M), of its type."""
    return pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(matrix).ravel()), matrix.shape[1])


def narrowed(counts: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
    """The same numbers in half the bytes where they all fit: those of most images do."""
    fits = counts.size == 0 or int(counts.max()) <= np.iinfo(np.int32).max
    return counts.astype(np.int32) if fits else counts


def matrix_of(column: pa.Array) -> npt.NDArray[Any]:
    """The matrix of shape (N, M) from which `column_of` made a column, without a copy."""
    return np.asarray(column.flatten().to_numpy().reshape(len(column), column.type.list_size))
