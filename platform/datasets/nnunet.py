"""Any data set in the raw format of nnU-Net v2, read as it lies.

Format: Isensee et al., nnU-Net's documentation ``dataset_format.md``::

    DatasetXXX_NAME/dataset.json
    DatasetXXX_NAME/imagesTr/CASE_0000.nii.gz     a file for each channel: _0000, _0001, ...
    DatasetXXX_NAME/labelsTr/CASE.nii.gz
    DatasetXXX_NAME/imagesTs, labelsTs            likewise; may be missing
    DatasetXXX_NAME/splits_final.json             may be missing
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field
from typing_extensions import override

from decomp.platform.datasets.base import Split
from decomp.platform.datasets.body import detect_body, detect_bright
from decomp.platform.datasets.formats.grid import DamageError, VolumeFormat
from decomp.platform.datasets.formats.header import expanded
from decomp.platform.datasets.formats.nifti import Nifti
from decomp.platform.datasets.formats.nnunet_json import Description, read_description
from decomp.platform.datasets.formats.nnunet_reader import MEDICAL, NnUNetReader, find_reader, reader_for
from decomp.platform.datasets.hounsfield import is_ct
from decomp.platform.datasets.nnunet_cases import DESCRIPTION, Case, cases_of, misplaced, splits_of
from decomp.platform.datasets.problems import Problem, sentences
from decomp.platform.datasets.threads import threaded
from decomp.platform.datasets.volumes import FileVolumes, nested_or_foreground
from decomp.platform.errors import UserError, nearest
from decomp.platform.marks import NotIdentity

NIFTI = ".nii.gz"
REORIENTING = "WithReorient"
PLANES = ("axial", "coronal", "sagittal")

COARSER, STACKED = 1.1, 3.0
"""How much coarser than along both other axes the resolution across slices is: in most volumes, for the slices of all
not to be axial; in one volume, for its own slices to be another plane. The latter is nnU-Net's bound of anisotropy."""


@dataclass(frozen=True)
class NnUNetRaw(FileVolumes):
    """A raw data set of nnU-Net v2: volumes or images, of any number of channels, with labels or nested regions.

    The pool is the cases of ``imagesTr``. Where ``imagesTs`` has labels in ``labelsTs``, it is the test split, and
    there is one fold; the ids of its cases are ``imagesTs/CASE``. Otherwise the test cases of a fold are those that
    nnU-Net holds out: by ``splits_final.json``, in the folder or in ``nnUNet_preprocessed`` beside ``nnUNet_raw``, else
    as it would divide the cases. There are no validation cases.

    Classes are the labels of ``dataset.json``. Where these are nested regions, a class is what a region has and the
    next one has not, and the score is that of the regions.
    """

    root: Annotated[str, NotIdentity()]
    """The folder that holds ``dataset.json``."""

    folds: Annotated[int, Field(ge=2)] = 5
    """Number of folds, where neither ``labelsTs`` nor ``splits_final.json`` says what is held out."""

    exclude: tuple[str, ...] = ()
    """Cases to leave out."""

    axis: Literal["axial", "coronal", "sagittal"] | None = None
    """Plane of the slices; by default the one of the finest resolution, axial where none is clearly finer."""

    body_by: Literal["hu", "otsu", "everywhere"] | None = None
    """What tells the body, in which the sampler RAND draws: Hounsfield units, brightness by Otsu's threshold, or
    nothing, so that it draws everywhere; by default Hounsfield units where a channel is CT, else brightness."""

    labelled: bool = True
    """Whether the cases of ``imagesTr`` have labels; false where people are to annotate them (`decomp annotate`):
    ``labelsTr`` is not read then, and the test split is ``imagesTs``, if that has labels, or none."""

    hounsfield: bool = True
    """Whether it is checked that CT is in Hounsfield units."""

    remedy = "copy it again, or add the case to dataset.exclude"
    realign = "give it the affine of the image if their voxels belong together, else add the case to dataset.exclude"

    def __post_init__(self) -> None:
        description = self._description
        values = {
            "channels": description.channels,
            "classes": description.classes,
            "nested": description.nested,
            "reorient": (description.reader or "").endswith(REORIENTING),
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)  # not fields, which would be options
        self._check_options(description)
        object.__setattr__(self, "folds", self._count_folds())

    @override
    def ids(self, split: Split, fold: int) -> tuple[str, ...]:
        if split == "validation":
            return ()
        cases = self._cases
        if self._has_test or not self.labelled:
            return tuple(sorted(name for name, case in cases.items() if case.is_test == (split == "test")))
        names = sorted(cases)
        if splits := splits_of(self._folder):
            wanted = splits[fold]["val" if split == "test" else "train"]
            return tuple(name for name in names if name in wanted)
        # As nnU-Net would divide them: scikit-learn's KFold.
        order = np.arange(len(names))
        np.random.RandomState(12345).shuffle(order)
        held_out = {*np.array_split(order, self.folds)[fold].tolist()}
        return tuple(name for place, name in enumerate(names) if (place in held_out) == (split == "test"))

    @property
    @override
    def scored(self) -> Mapping[str, tuple[int, ...]]:
        return nested_or_foreground(self)

    @property
    @override
    def format(self) -> VolumeFormat:
        return self._format(of_labels=False)

    @property
    @override
    def label_format(self) -> VolumeFormat:
        return self._format(of_labels=True)

    @override
    def image_files(self, image: str) -> tuple[Path, ...]:
        return self._case(image).images

    @override
    def label_file(self, image: str) -> Path | None:
        case = self._case(image)
        return case.labels if case.is_test or self.labelled else None

    @property
    @override
    def label_table(self) -> tuple[int, ...]:
        return self._description.table

    @override
    def across(self, image: str) -> int:
        if self.axis is not None:
            return PLANES.index(self.axis)
        own = _coarsest(self._resolution(image), STACKED)
        return self._usual if own is None else own

    @override
    def body(self, image: str) -> npt.NDArray[np.bool_]:
        if self.body_by is None:
            return super().body(image)
        if self.body_by == "everywhere":
            return np.ones(self.shape(image), np.bool_)
        volume = self.image(image)
        return detect_bright(volume) if self.body_by == "otsu" else detect_body(volume[..., 0], self.voxel(image))

    @override
    def problems(self) -> list[str]:
        """What is wrong with the folder and with the files, a sentence each or one for the same in many files."""
        damaged = [Problem(file, str(what), what.mend or self.remedy) for _, file, what in self.damages()]
        return sentences([*misplaced(self._folder, self.labelled), *damaged])

    @override
    def _reading(self) -> tuple[Any, ...]:
        return (self.channels, self.label_table, self.axis, self.body_by, self.reorient, str(self.format))

    @property
    def _folder(self) -> Path:
        return expanded(self.root)

    @property
    def _description(self) -> Description:
        return read_description(self._folder / DESCRIPTION)

    @property
    def _cases(self) -> Mapping[str, Case]:
        cases = cases_of(self._folder)
        return {name: case for name, case in cases.items() if name not in self.exclude}

    def _case(self, image: str) -> Case:
        if (case := cases_of(self._folder).get(image)) is None:
            raise KeyError(f"There is no case {image!r}.")
        return case

    @property
    def _has_test(self) -> bool:
        return any(case.is_test for case in self._cases.values())

    def _check_options(self, description: Description) -> None:
        folder, reader = self._folder, description.reader
        if reader is not None and find_reader(reader) is None:
            raise UserError(
                f"dataset.root: {folder / DESCRIPTION}: overwrite_image_reader_writer: nnU-Net has no class "
                f"{reader!r}; give one of nnunetv2.imageio, or remove the key."
            )
        known = cases_of(folder)
        if unknown := [name for name in self.exclude if name not in known]:
            raise UserError(
                f"dataset.exclude: there is no case {unknown[0]!r}{nearest(unknown[0], known)}; ids are those of "
                f"imagesTr without channel and ending."
            )
        if not any(not case.is_test for case in self._cases.values()):
            expected = f"CASE_0000{description.ending}"
            raise UserError(f"dataset.root: {folder / 'imagesTr'} holds no images such as {expected}; add some.")
        if self.body_by == "hu" and not is_ct(self.channels[0]):
            raise UserError(
                f"dataset.body_by: the first channel is {self.channels[0]}, not CT; give otsu or everywhere."
            )

    def _count_folds(self) -> int:
        if self._has_test or not self.labelled:
            return 1
        if splits := splits_of(self._folder):
            return len(splits)
        if self.folds > len(self._cases):
            raise UserError(
                f"dataset.folds: give a number from 2 to {len(self._cases)}, the number of cases, not {self.folds}."
            )
        return self.folds

    def _format(self, of_labels: bool) -> VolumeFormat:
        description = self._description
        name = (description.reader or "").removesuffix(REORIENTING)
        if description.ending == NIFTI and name in ("", *MEDICAL):
            return Nifti()
        if not name:
            example = next(iter(cases_of(self._folder).values())).images[0]
            try:
                name = reader_for(description.ending, example)
            except DamageError as error:
                raise UserError(f"dataset.root: {example} {error}; convert the files to NIfTI.") from error
        return NnUNetReader(name, of_labels)

    @functools.cached_property
    def _usual(self) -> int:
        """The axis across the slices in most volumes."""
        found = [resolution for resolution in threaded(self._resolution_if_any, sorted(self._cases)) if resolution]
        return (_coarsest(np.median(found, axis=0).tolist(), COARSER) or 0) if found else 0

    def _resolution(self, image: str) -> list[float]:
        """Size of a voxel along z, y and x, millimetres."""
        grid = self._grid(image)
        return [grid.spacing[axis] for axis in grid.axes]

    def _resolution_if_any(self, image: str) -> list[float] | None:
        try:
            return self._resolution(image)
        except UserError:
            return None


def _coarsest(resolution: list[float], factor: float) -> int | None:
    """The axis whose voxels are longer than along both others by more than a factor; None if there is none."""
    longest = int(np.argmax(resolution))
    others = [length for axis, length in enumerate(resolution) if axis != longest]
    return longest if resolution[longest] > factor * max(others) else None
