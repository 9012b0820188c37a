"""What an annotator has drawn in a query's window, shape by shape; what does not fit is told in a sentence."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from decomp.platform.annotation.exchange import label_named
from decomp.platform.annotation.query import Classes, Query
from decomp.platform.errors import UserError

UNMARKED = -1

REST = "annotation.rest"
"""Where an experiment file names the class of the pixels that nobody marked."""


class Drawing:
    """The window of a query, marked shape by shape: where shapes overlap, the later one wins.

    Args:
        query: the query.
        classes: the classes among which the annotator chooses.
        file: where the shapes were read, for messages.
        rest: the class of the pixels that nobody marked; None where such pixels have no class.
    """

    def __init__(self, query: Query, classes: Classes, file: Path, rest: str | None = None) -> None:
        self._query, self._classes, self._file = query, classes, file
        self._rest = None if rest is None else label_named(rest, classes, REST)
        self._labels = np.full(query.size, UNMARKED, np.int16)

    @property
    def waits(self) -> bool:
        """Whether nothing was marked in the region, so that it is not answered, unless all of it may be the rest."""
        return self._rest is None and bool((self._labels[self._query.inside] == UNMARKED).all())

    def mark(self, inside: npt.NDArray[np.bool_], label: int) -> None:
        """Give the pixels of the window at which `inside`, shape of the window, holds a label."""
        self._labels[inside] = label

    def labels(self) -> npt.NDArray[np.uint8]:
        """Class of every pixel of the window, shape of the window.

        Raises:
            UserError: if pixels of the region were not marked, unless pixels may have no class.
        """
        label = self._classes.ignore if self._rest is None else self._rest
        unmarked = self._labels == UNMARKED
        missing = np.argwhere(unmarked & self._query.inside)
        if label is None and len(missing):
            first = tuple(int(k) + start for k, (start, _) in zip(missing[0], self._query.window, strict=True))
            raise UserError(
                f"{self._file}: {len(missing)} pixel(s) in the region of {self._query.id} have no class, the first of "
                f"them at row {first[0]}, column {first[1]} of {self._query.image}; mark them, too, or name the class "
                f"of unmarked pixels as {REST}."
            )
        # Pixels of the window outside the region have no meaning.
        self._labels[unmarked] = 0 if label is None else label
        return self._labels.astype(np.uint8)
