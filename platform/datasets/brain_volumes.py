"""The brain of `brain` in three dimensions, with its lobes as classes."""

import hashlib
import json
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import Field
from typing_extensions import override

from decomp.platform.datasets.base import IGNORE, Split
from decomp.platform.datasets.brain import FOLDER, Brain
from decomp.platform.datasets.volumes import Volumes
from decomp.platform.marks import NotIdentity

TEST = "right"

LOBES = MappingProxyType(
    {
        "background": ("background",),
        "frontal": ("frontal",),
        "parietal": ("parietal",),
        "occipital": ("occipital",),
        "temporal": ("temporal",),
        "insula": ("insula",),
        "limbic": ("cingulate", "hippocampus", "parahippocampal"),
        "subcortical": ("amygdala", "caudate", "putamen", "pallidum", "thalamus"),
        "cerebellum": ("cerebellum",),
    }
)
"""The classes of `brain` in each class: its lobes, the insula, the subcortical grey nuclei and the cerebellum."""


@dataclass(frozen=True)
class BrainVolumes(Volumes):
    """The half slices of `brain`, stacked: blocks of the left half are the pool, the mirrored right half is the test.

    Axes are z upwards, then those of the half slices; a voxel has 1 mm. The id of a block is that of its lowest slice,
    such as ``left-012``; the test split is one volume, ``right``, so that every class is scored where all of it is. On
    the grid of some millimetres that a small network needs to see a whole slice, the smallest of the 15 classes of
    `brain` have 30 voxels, so the structures of a lobe are one class (`LOBES`).
    """

    root: Annotated[str, NotIdentity()] = FOLDER
    """The folder with ``ch2.nii.gz`` and ``aal.nii.gz``, by default where Debian's package mricron-data puts them."""

    depth: Annotated[int, Field(ge=1)] = 16
    """Slices of a block; the highest one has those that are left."""

    classes = tuple(LOBES)
    channels = ("T1",)

    def __post_init__(self) -> None:
        Brain(self.root)  # raises where the files are missing

    @override
    def ids(self, split: Split, fold: int) -> tuple[str, ...]:
        """Blocks from below upwards; there is no validation split."""
        if split == "test":
            return (TEST,) if self._slices.ids("test", fold) else ()
        return self._slices.ids(split, fold)[:: self.depth]

    @override
    def shape(self, image: str) -> tuple[int, ...]:
        """Voxels along z, from front to back, and from the side to the middle."""
        stacked = self._stacked(image)
        return (len(stacked), *self._slices.shape(stacked[0]))

    @override
    def voxel(self, image: str) -> tuple[float, float, float]:
        """Always 1 mm."""
        return (1.0, 1.0, 1.0)

    @override
    def image(self, image: str) -> npt.NDArray[np.float32]:
        """Intensities, shape (z, y, x, 1), float32."""
        return np.stack([self._slices.image(name) for name in self._stacked(image)]).astype(np.float32)

    @override
    def labels(self, image: str) -> npt.NDArray[np.uint8]:
        """True class of every voxel, shape (z, y, x), uint8; `IGNORE` for the vermis."""
        return _lobes(np.stack([self._slices.labels(name) for name in self._stacked(image)]))

    @override
    def body(self, image: str) -> npt.NDArray[np.bool_]:
        """Voxels of the head, shape (z, y, x), bool."""
        return np.stack([self._slices.body(name) for name in self._stacked(image)])

    @override
    def problems(self) -> list[str]:
        """What is wrong with the two files, which are read whole."""
        return self._slices.problems()

    @override
    def fingerprint(self) -> str:
        """Digest of what `brain` is, of the lobes and of `depth`."""
        state = json.dumps([self._slices.fingerprint(), list(LOBES.items()), self.depth])
        return hashlib.blake2b(state.encode(), digest_size=16).hexdigest()

    @property
    def _slices(self) -> Brain:
        return Brain(self.root)

    def _stacked(self, image: str) -> tuple[str, ...]:
        """Ids of the half slices of a volume."""
        if image == TEST:
            return self._slices.ids("test", 0)
        slices = self._slices.ids("train", 0)
        if image not in slices[:: self.depth]:
            raise KeyError(f"There is no volume {image!r}; ids look like left-012, and the test's is {TEST}.")
        lowest = slices.index(image)
        return slices[lowest : lowest + self.depth]


def _lobes(labels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The place among `LOBES` of each label of `brain`."""
    table = np.full(256, IGNORE, np.uint8)
    for lobe, parts in enumerate(LOBES.values()):
        table[[Brain.classes.index(part) for part in parts]] = lobe
    return table[labels]
