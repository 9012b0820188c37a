"""KiTS23: CT volumes of kidneys with tumours and cysts, read as published.

Data: Heller et al., "The KiTS21 challenge: automatic segmentation of kidneys, renal tumors, and renal cysts in
corticomedullary-phase CT", 2023, and https://kits-challenge.org/kits23. The published repository keeps the cases in its
folder ``dataset``::

    dataset/case_00000/imaging.nii.gz         Hounsfield units
    dataset/case_00000/segmentation.nii.gz    0 background, 1 kidney, 2 tumour, 3 cyst
"""

import functools
import re
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Annotated

from pydantic import Field
from typing_extensions import override

from decomp.platform.datasets.base import Split
from decomp.platform.datasets.formats.header import expanded
from decomp.platform.datasets.paired import entries, is_folder
from decomp.platform.datasets.volumes import NiftiVolumes
from decomp.platform.errors import UserError
from decomp.platform.marks import NotIdentity
from decomp.platform.randomness import stream

IMAGE, LABELS = "imaging.nii.gz", "segmentation.nii.gz"

EXCLUDED = (15, 23, 37, 68, 125, 133)
"""Cases that the paper leaves out (Sec. 7 of the method notes)."""


class KitsVolumes(NiftiVolumes):
    """Volumes in the layout of KiTS23; an id is the name of a case's folder, such as ``case_00012``.

    Cross-validation is by case. The cases are shuffled in a fixed way that depends on nothing but which cases there
    are, and divided into `folds` parts whose sizes differ by one at most; the test cases of fold k are the k-th part,
    the training cases the others, and there are no validation cases.
    """

    classes = ("background", "kidney", "tumour", "cyst")
    nested: Mapping[str, tuple[int, ...]] = MappingProxyType(
        {"kidney_and_masses": (1, 2, 3), "masses": (2, 3), "tumour": (2,)}
    )

    @abstractmethod
    def case_ids(self) -> tuple[str, ...]:
        """Ids of all cases, sorted."""

    @abstractmethod
    def case_folder(self, image: str) -> Path:
        """The folder with the two files of a case that exists."""

    @override
    def ids(self, split: Split, fold: int) -> tuple[str, ...]:
        """Cases such as ``case_00012``."""
        cases = self.case_ids()
        if split == "validation":
            return ()
        order = stream(0, "kits-folds").permutation(len(cases))
        part = {int(index) for place, index in enumerate(order) if place * self.folds // len(cases) == fold}
        return tuple(case for index, case in enumerate(cases) if (index in part) == (split == "test"))

    @override
    def image_file(self, image: str) -> Path:
        """Hounsfield units of a case."""
        return self._known(image) / IMAGE

    @override
    def label_file(self, image: str) -> Path:
        """Labels of a case."""
        return self._known(image) / LABELS

    def _known(self, image: str) -> Path:
        if image not in self.case_ids():
            raise KeyError(f"There is no case {image!r}; ids look like case_00012.")
        return self.case_folder(image)


@dataclass(frozen=True)
class Kits23(KitsVolumes):
    """KiTS23: the published cases, or any others in the same layout."""

    root: Annotated[str, NotIdentity("data/kits23/dataset")]
    """The folder that holds ``case_00000`` and so on; of the published repository that is its ``dataset``."""

    folds: Annotated[int, Field(ge=2)] = 5
    """Number of cross-validation folds, at most the number of cases."""

    exclude: tuple[int, ...] = EXCLUDED
    """Numbers of the cases to leave out."""

    remedy = "download the case again, or add its number to dataset.exclude"

    def __post_init__(self) -> None:
        count = len(self.case_ids())
        if self.folds > count:
            raise UserError(f"dataset.folds: give a number from 2 to {count}, the number of cases, not {self.folds}.")

    @override
    def case_ids(self) -> tuple[str, ...]:
        """Ids of the cases in the folder that are not excluded, sorted.

        Raises:
            UserError: if there are none.
        """
        cases = tuple(case for case in case_names(self._folder) if int(case.removeprefix("case_")) not in self.exclude)
        if not cases:
            inner = self._folder / "dataset"
            mend = f"give {inner}" if case_names(inner) else "give the folder that holds case_00000 and so on"
            raise UserError(f"dataset.root: {self._folder} holds no case_* folders that are not excluded; {mend}.")
        return cases

    @override
    def case_folder(self, image: str) -> Path:
        """The folder of a case."""
        return self._folder / image

    @property
    def _folder(self) -> Path:
        return expanded(self.root)


def case_name(number: int) -> str:
    """The id of a case by its number, e.g. ``case_00012``."""
    return f"case_{number:05d}"


def case_names(folder: Path) -> tuple[str, ...]:
    """Names of the cases' folders in a folder, sorted; none if there is no such folder.

    Raises:
        UserError: if it cannot be listed.
    """
    return _case_names(folder, folder.stat().st_mtime_ns) if is_folder(folder) else ()


@functools.lru_cache(maxsize=16)
def _case_names(folder: Path, mtime_ns: int) -> tuple[str, ...]:
    return tuple(entry.name for entry in entries(folder) if re.fullmatch(r"case_\d{5}", entry.name))
