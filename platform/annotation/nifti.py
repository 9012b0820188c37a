"""NIfTI label volumes for 3D Slicer, ITK-SNAP and MITK: the queries of an image drawn into one file, and back."""

import gzip
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import numpy.typing as npt
from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation, ornt_transform
from scipy import ndimage
from typing_extensions import override

from decomp.platform.annotation.answer_table import NOTHING, AnswerTable, Line
from decomp.platform.annotation.exchange import (
    ANSWERS,
    answer_files,
    by_image,
    colours,
    file_name,
    modified,
    noting,
    prepare,
    raise_noted,
    write_once,
)
from decomp.platform.annotation.formats import AnnotationFormat, checked_labels
from decomp.platform.annotation.query import Answer, Classes, Query
from decomp.platform.datasets.formats.grid import DamageError, Grid, axes_of, same_place
from decomp.platform.datasets.formats.nifti import read_header, read_voxels
from decomp.platform.datasets.formats.nnunet_reader import NnUNetReader, reader_for
from decomp.platform.errors import UserError, sized

OUTSIDE, OPEN = 255, 254
"""Labels of voxels that are not asked for, and of those that are asked for and have no prediction."""

NAMES = {OUTSIDE: "outside", OPEN: "to annotate"}

SUFFIX = ".nii.gz"

SNAP_LABELS, SLICER_COLOURS = "labels-itk-snap.txt", "labels-slicer.ctbl"

GZIP_LEVEL = 1

GREATEST = 2**31  # beyond all labels, and within what integers hold

ROUNDING = 1e-3
"""How far a label stored as a float may be from a whole number."""


@dataclass(frozen=True)
class NiftiLabels(AnnotationFormat):
    """A NIfTI label volume for each image, for 3D Slicer, ITK-SNAP and MITK, with the grid of the image.

    Within the regions lies the prediction or, before there is one, label 254, "to annotate"; everything else has label
    255, "outside". ``labels-itk-snap.txt`` and ``labels-slicer.ctbl`` name and colour the labels. An edited volume is
    saved under its name into the folder ``answers``. It answers all its queries but those that are wholly "to
    annotate", which wait; those that are wholly "outside" are skipped. The table ``answers.csv`` takes reasons why
    regions are skipped, annotators and times. What was painted beyond a region is cut off, and a volume whose axes the
    tool has turned is turned back by its affine.
    """

    @override
    def write(self, queries: Sequence[Query], classes: Classes, folder: Path) -> Path:
        if len(classes.names) > OPEN:
            raise UserError(f"annotation.format: nifti has labels for at most {OPEN} classes; choose folders.")
        prepare(folder, folder / ANSWERS)
        for image, asked in by_image(queries).items():
            file = folder / f"{file_name(image)}{SUFFIX}"
            if not file.exists():  # a large volume is not drawn for nothing
                write_once(file, gzip.compress(_volume(asked).to_bytes(), GZIP_LEVEL, mtime=0))
        AnswerTable(folder, queries).write()
        write_once(folder / SNAP_LABELS, _snap_labels(classes).encode())
        write_once(folder / SLICER_COLOURS, _slicer_colours(classes).encode())
        return folder

    @override
    def advice(self, opened: Path) -> str:
        return (
            f"Open the label volumes in {opened} upon their images, annotate the regions, and save each under its name "
            f"in {opened / ANSWERS}."
        )

    @override
    def read(self, queries: Sequence[Query], classes: Classes, folder: Path) -> Iterator[Answer]:
        volumes = {f"{file_name(image)}{SUFFIX}": asked for image, asked in by_image(queries).items()}
        mistakes: list[str] = []
        lines, whole = AnswerTable(folder, queries).read_answers(classes, mistakes)
        yield from whole.values()
        for file in answer_files(folder, mistakes, SUFFIX):
            with noting(mistakes):
                if file.name not in volumes:
                    names = ", ".join(list(volumes)[:5])
                    raise UserError(f"{file}: no image of this cycle has this name; the names are {names}.")
                labels = _labels(file, volumes[file.name][0])
                _check_outside(file, labels, volumes[file.name])
                for query in volumes[file.name]:
                    with noting(mistakes):
                        if query.id not in whole:
                            line = lines.get(query.id, NOTHING)
                            yield from _answer(file, labels[query.slices], query, classes, line)
        raise_noted(mistakes)


def _volume(queries: Sequence[Query]) -> Any:
    """The labels of one image, with its header where it is NIfTI itself."""
    grid, header = _original(queries[0])
    labels = np.full(grid.shape, OUTSIDE, np.uint8)
    for query in queries:
        window = labels[query.slices]
        window[query.inside] = OPEN if query.prediction is None else query.prediction[query.inside]
    volume = nibabel.Nifti1Image(labels, grid.affine if header is None else None, header)
    volume.header.set_data_dtype(np.uint8)
    volume.header["cal_min"] = volume.header["cal_max"] = 0  # what was bright or dark in the image
    if header is None:
        volume.header.set_xyzt_units("mm")
    return volume


def _original(query: Query) -> tuple[Grid, Any]:
    """The grid of a query's image, and its header, if it is a compressed NIfTI file.

    Raises:
        UserError: if the image is no volume in a file, or its file cannot be read.
    """
    if len(query.shape) != 3 or not query.files:
        raise UserError(f"annotation.format: nifti is for volumes in files; {query.image} is none; choose another one.")
    file = query.files[0]
    try:
        if file.name.lower().endswith(SUFFIX):
            own = read_header(file)
            header = nibabel.Nifti1Header(own.raw, check=False)
            grid = Grid(own.shape, own.affine, own.spacing, own.axes)
        else:
            header, grid = None, NnUNetReader(reader_for(file.suffix, file)).grid(file)
    except DamageError as error:
        raise UserError(f"{file}: it {error}; {error.mend or 'restore it'}.") from error
    if grid.shape != query.shape:
        raise UserError(
            f"{file}: it has {sized(grid.shape)} voxels, and {query.image} had {sized(query.shape)} when its regions "
            "were selected; restore it."
        )
    return grid, header


def _answer(
    file: Path, window: npt.NDArray[np.integer[Any]], query: Query, classes: Classes, line: Line
) -> Iterator[Answer]:
    """The answer that a window of a volume holds, if there is one yet."""
    region = window[query.inside]
    n_open = int((region == OPEN).sum())
    if (region == OUTSIDE).all():
        yield Answer(query.id, None, None, line.annotator, modified(file), line.seconds)
    elif not n_open:
        labels = checked_labels(window, query, classes, file)
        yield Answer(query.id, labels, None, line.annotator, modified(file), line.seconds)
    elif n_open < region.size:
        raise UserError(
            f"{file}: {n_open} voxel(s) in the region of {query.id} are still to be annotated (label {OPEN}); give "
            f"them classes, or label {OPEN} to the whole region, to do it later."
        )


def _labels(file: Path, query: Query) -> npt.NDArray[np.integer[Any]]:
    """The labels in a file, whole numbers, with the axes of the image.

    Raises:
        UserError: if it cannot be read, does not lie upon the image, or holds other than whole numbers.
    """
    try:
        grid, voxels = read_header(file), read_voxels(file)
    except DamageError as error:
        raise UserError(f"{file}: it {error}; {error.mend or 'save it again'}.") from error
    image = _original(query)[0]
    turn = ornt_transform(io_orientation(grid.affine), io_orientation(image.affine))
    affine = grid.affine @ inv_ornt_aff(turn, grid.shape)
    turned = apply_orientation(voxels, turn)
    if turned.shape != image.shape:
        raise UserError(
            f"{file}: it has {sized(turned.shape)} voxels, and {query.image} has {sized(image.shape)}; save the "
            "labels in the grid of the image, which 3D Slicer calls its reference volume."
        )
    if not same_place(image, Grid(image.shape, affine, image.spacing, axes_of(affine))):
        raise UserError(
            f"{file}: its affine places the labels elsewhere than {query.image}, as if shifted, flipped or stretched; "
            "save the labels in the grid of the image, without moving them."
        )
    if turned.dtype.kind == "f":
        whole = np.rint(turned)
        broken = turned[np.abs(turned - whole) > ROUNDING]
        if broken.size:
            raise UserError(
                f"{file}: it holds {broken.flat[0]:g}, and labels are whole numbers; save them without interpolation."
            )
        turned = np.clip(whole, -GREATEST, GREATEST).astype(np.int64)
    return np.asarray(turned)


def _check_outside(file: Path, labels: npt.NDArray[np.integer[Any]], queries: Sequence[Query]) -> None:
    """That what was painted outside the regions hangs together with a region, and that label 255 still means outside.

    Raises:
        UserError: if not.
    """
    asked = np.zeros(labels.shape, np.bool_)
    for query in queries:
        asked[query.slices] |= query.inside
    painted = (labels != OUTSIDE) & ~asked
    if not painted.any():
        return
    empty = [query.id for query in queries if (labels[query.slices][query.inside] == OUTSIDE).all()]
    if empty:
        raise UserError(
            f"{file}: nothing is painted in the region of {empty[0]}, but voxels outside all regions are, as in the "
            f"file of another cycle; save that of this one, or give label {OUTSIDE} to what lies outside."
        )
    if (painted | asked).all():
        raise UserError(
            f"{file}: no voxel has label {OUTSIDE} any more, which all voxels outside the regions had, so the tool has "
            "numbered the labels anew; save them with their numbers as they were."
        )
    # Regions of single slices are not painted through slices, or a slice mistaken for its neighbour would pass.
    steps = ndimage.generate_binary_structure(labels.ndim, 1)
    for axis in range(labels.ndim):
        if all(query.size[axis] == 1 for query in queries):
            np.moveaxis(steps, axis, 0)[[0, 2]] = False
    groups, _ = ndimage.label(painted | asked, steps)
    astray = painted & ~np.isin(groups, np.unique(groups[asked]))
    if astray.any():
        first = ", ".join(str(int(k)) for k in np.argwhere(astray)[0])
        raise UserError(
            f"{file}: {int(astray.sum())} voxel(s) outside all regions were painted, the first of them voxel {first}; "
            f"give them label {OUTSIDE} again."
        )


def _snap_labels(classes: Classes) -> str:
    """ITK-SNAP's label descriptions: number, red, green, blue, opacity, whether shown, whether as a surface, name."""
    lines = [
        f'{label:5d} {red:5d} {green:4d} {blue:4d} {opacity:8.2f} {int(opacity > 0)} {int(opacity == 1)} "{name}"'
        for label, (red, green, blue), opacity, name in _table(classes)
    ]
    return "\n".join(["# ITK-SnAP Label Description File", *lines, ""])


def _slicer_colours(classes: Classes) -> str:
    """3D Slicer's colour table: number, name without blanks, red, green, blue, opacity from 0 to 255."""
    lines = [
        f"{label} {'_'.join(name.split())} {red} {green} {blue} {round(255 * opacity)}"
        for label, (red, green, blue), opacity, name in _table(classes)
    ]
    return "\n".join(["# Color", *lines, ""])


def _table(classes: Classes) -> list[tuple[int, tuple[int, int, int], float, str]]:
    """Number, colour, opacity and name of every label; what is outside is dimmed, so that the windows stand out."""
    tints = colours(classes)
    named = [(label, tints[label], 1.0, name) for label, name in enumerate(classes.names)]
    return [
        (0, tints[0], 0.0, classes.names[0]),  # tools show nothing there
        *named[1:],
        (OPEN, (255, 255, 0), 1.0, NAMES[OPEN]),
        (OUTSIDE, (0, 0, 0), 0.4, NAMES[OUTSIDE]),
    ]
