"""Matrices as Arrow columns: a fixed-size list per row."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa


def column_of(matrix: npt.NDArray[Any]) -> pa.Array:
    """A column of N lists of M elements from a matrix of shape (N, M), of its type."""
    return pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(matrix).ravel()), matrix.shape[1])


def matrix_of(table: pa.Table, name: str) -> npt.NDArray[Any]:
    """The matrix of shape (N, M) from which `column_of` made a table's column."""
    column = table[name].combine_chunks()
    return np.asarray(column.flatten().to_numpy().reshape(len(column), column.type.list_size))
