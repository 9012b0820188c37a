"""The contract of annotation formats: what annotators' tools open, and what they leave behind."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from decomp.platform.annotation.query import Answer, Classes, Query
from decomp.platform.errors import UserError, sized


class AnnotationFormat(ABC):
    """Files through which a tool is asked for regions and answers.

    A format is named in the experiment file (`annotation: {format: ..., option: ...}`); its options are the fields of
    the (data)class. Coordinates are those of the original files (see `Query`).

    Example:
        >>> class Letters(AnnotationFormat):
        ...     def write(self, queries, classes, folder): return write_letters(queries, folder)
        ...     def read(self, queries, classes, folder): return read_letters(queries, folder)
    """

    @abstractmethod
    def write(self, queries: Sequence[Query], classes: Classes, folder: Path) -> Path:
        """Write what the tool opens.

        Called once the regions of a cycle are selected, and again, with the same queries, after an interruption or when
        files are missing: each file is written as a whole or not at all, and what an annotator has already put into the
        folder is left alone.

        Args:
            queries: the regions of a cycle, in the order in which they were selected.
            classes: the classes among which annotators choose.
            folder: the cycle's own folder on this machine; it exists.

        Returns:
            What the annotator opens: a file or folder in `folder`.
        """

    def advice(self, opened: Path) -> str:
        """What the annotator does with what `write` returned, in a sentence; shown to the user."""
        return f"Open {opened}, annotate, and save the answers where they lie."

    @abstractmethod
    def read(self, queries: Sequence[Query], classes: Classes, folder: Path) -> Iterator[Answer]:
        """Read what has come back so far, at most one answer for each query; those without an answer are left out.

        Called each time that the user returns; it changes no file.

        Args:
            queries: as in `write`.
            classes: as in `write`.
            folder: as in `write`.

        Raises:
            UserError: one sentence that names the file and the mend, where an answer lies outside its window, holds an
                unknown class, has a wrong size or belongs to no query, or where a file cannot be read.
        """


def checked_labels(
    labels: npt.NDArray[np.integer[Any]], query: Query, classes: Classes, file: Path
) -> npt.NDArray[np.uint8]:
    """The labels of a query's window, shape of the window, after checking that they are such.

    Args:
        labels: what was read from the file, integers.
        query: the query that the file answers.
        classes: the classes among which the annotator chose.
        file: where the labels were read, for messages.

    Raises:
        UserError: for another shape than the window's, and for values in the region that are no class.
    """
    if labels.shape != query.size:
        raise UserError(
            f"{file}: it is {sized(labels.shape)} pixels in size, but the window of {query.id} is "
            f"{sized(query.size)}; give back the whole window in its own resolution."
        )
    known = classes.labels
    unknown = [int(value) for value in np.unique(labels[query.inside]) if int(value) not in known]
    if unknown:
        raise UserError(
            f"{file}: the value {unknown[0]} in the region of {query.id} is no class; the values are "
            f"{', '.join(f'{label} ({name})' for label, name in known.items())}."
        )
    return labels.astype(np.uint8)
