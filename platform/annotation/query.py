"""What an annotator is asked, and what comes back, in pixels or voxels of the original files."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Query:
    """A region whose classes an annotator is asked for."""

    id: str
    """Cycle and position, such as ``cycle-0003-007``; unique in a run."""

    image: str
    """Id of the image in the data set."""

    files: tuple[Path, ...]
    """The original files of the image, as the user has them: one, or one for each channel; none where a data set
    makes its images itself."""

    shape: tuple[int, ...]
    """Pixels of the original file per axis, in the order in which the file stores them: rows and columns of the upright
    picture, the axes of nibabel's array for a volume; (n,) for a slide of n ROIs."""

    window: tuple[tuple[int, int], ...]
    """The region's window: start and stop per axis of `shape`, half-open."""

    mask: npt.NDArray[np.bool_] | None = field(default=None, compare=False)
    """Which pixels of the window belong to the region, shape of the window; None for all."""

    prediction: npt.NDArray[np.uint8] | None = field(default=None, compare=False)
    """The classes that the model predicts in the window, shape of the window; None where there is no model yet."""

    @property
    def size(self) -> tuple[int, ...]:
        """Pixels of the window per axis."""
        return tuple(stop - start for start, stop in self.window)

    @property
    def slices(self) -> tuple[slice, ...]:
        """Index of the window in an array of `shape`."""
        return tuple(slice(*bounds) for bounds in self.window)

    @property
    def inside(self) -> npt.NDArray[np.bool_]:
        """Which pixels of the window belong to the region, shape of the window."""
        return np.ones(self.size, np.bool_) if self.mask is None else self.mask


@dataclass(frozen=True)
class Answer:
    """What an annotator gave back for a query: labels, or None because the region was skipped."""

    query: str
    """Id of the query."""

    labels: npt.NDArray[np.uint8] | None = field(compare=False)
    """Class of every pixel of the window, shape of the window; `Classes.ignore` where a pixel has none. Pixels outside
    the region's mask have no meaning. None for a skipped region."""

    reason: str | None = None
    """Why the region was skipped."""

    annotator: str | None = None
    """Who answered."""

    answered_at: str | None = None
    """When: ISO 8601, in UTC."""

    seconds: float | None = None
    """Time that the annotator spent on it."""


@dataclass(frozen=True)
class Classes:
    """The classes among which annotators choose; the label of a class is its position."""

    names: tuple[str, ...]
    """Names of the classes."""

    ignore: int | None = None
    """Label of pixels that belong to no class; None where every pixel has one."""

    @property
    def labels(self) -> dict[int, str]:
        """All labels that an answer may hold, with what they mean."""
        return dict(enumerate(self.names)) | ({} if self.ignore is None else {self.ignore: "no class"})
