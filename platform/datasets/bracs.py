"""BRACS: regions of interest (ROIs) of breast biopsies as cell and tissue graphs, in a portable format.

The format needs no graph library. A folder holds::

    manifest.parquet          one row per ROI: slide, split, roi, class, sha256 (all text)
    rois/ROI.safetensors      the arrays of one `RoiGraph`, under the names of its fields

The split is train, validation or test, the class one of `SUBTYPES`, and sha256 the digest of the ROI's file. ``decomp
convert bracs`` makes the folder from the published DGL graphs.

Data: Brancati et al., "BRACS: a dataset for breast carcinoma subtyping in H&E histology images", Database 2022.
Graphs: Pati et al., "Hierarchical graph representations in digital pathology", MedIA 2022.
"""

import errno
import functools
import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Annotated, Literal, get_args

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import safetensors
import safetensors.numpy
from typing_extensions import override

from decomp.platform.datasets.base import Dataset, Split
from decomp.platform.datasets.formats.graphs import RoiGraph
from decomp.platform.datasets.formats.header import REMEDY as COPY
from decomp.platform.datasets.formats.header import BrokenFile, expanded, opened
from decomp.platform.errors import UserError, nearest
from decomp.platform.marks import NotIdentity

SUBTYPES = ("N", "PB", "UDH", "ADH", "FEA", "DCIS", "IC")
"""Normal, pathological benign, usual ductal hyperplasia, atypical ductal hyperplasia, flat epithelial atypia, ductal
carcinoma in situ, invasive carcinoma."""

GROUPS = {
    "benign": ("N", "PB", "UDH"),
    "atypical": ("ADH", "FEA"),
    "malignant": ("DCIS", "IC"),
}

MANIFEST = "manifest.parquet"
COLUMNS = ("slide", "split", "roi", "class", "sha256")
STORED = {"cells": "F32", "cell_edges": "I64", "tissues": "F32", "tissue_edges": "I64", "assignment": "I64"}
"""The arrays in an ROI's file and their types, as safetensors names them."""

REMEDY = "copy the folder again or convert anew"


@dataclass(frozen=True)
class Roi:
    """A row of the manifest, in the order of `COLUMNS`.

    Attributes:
        slide: the slide that the ROI is cut from.
        split: the slide's split.
        roi: name of the ROI and of its file, without suffix.
        subtype: one of `SUBTYPES`.
        sha256: hexadecimal digest of the ROI's file.
    """

    slide: str
    split: Split
    roi: str
    subtype: str
    sha256: str


@dataclass(frozen=True)
class Bracs(Dataset):
    """Slides of breast biopsies; an image is a slide, its pixels are its ROIs in natural order of their names."""

    folder: Annotated[str, NotIdentity("data/bracs")]
    """The folder in the portable format."""

    n_classes: Literal[7, 3] = 7
    """Number of classes: 7 for `SUBTYPES`, 3 for `GROUPS`."""

    task = "roi"

    def __post_init__(self) -> None:
        # Not a field, which would be an option.
        object.__setattr__(self, "classes", SUBTYPES if self.n_classes == 7 else tuple(GROUPS))
        self._slides()

    @override
    def ids(self, split: Split, fold: int) -> tuple[str, ...]:
        """Slides of a split such as ``1228``; the split is fixed, so `fold` has no effect."""
        return tuple(sorted(slide for slide, rois in self._slides().items() if rois[0].split == split))

    @override
    def shape(self, image: str) -> tuple[int, ...]:
        """Number of ROIs of a slide, (n,); reads the manifest only."""
        return (len(self.rois(image)),)

    @override
    def image(self, image: str) -> tuple[RoiGraph, ...]:
        """The n ROIs of a slide.

        Raises:
            UserError: if a file is missing or not the one that the manifest lists.
        """
        return tuple(self._read(roi) for roi in self.rois(image))

    @override
    def labels(self, image: str) -> npt.NDArray[np.uint8]:
        """True class of the n ROIs of a slide, shape (n,), uint8; no ROI is ignored."""
        return np.array([self._label(roi.subtype) for roi in self.rois(image)], np.uint8)

    @override
    def fingerprint(self) -> str:
        """Digest of the manifest, hence of the digests of all ROIs, and of the number of classes."""
        rows = [list(asdict(roi).values()) for roi in self._all()]
        return hashlib.blake2b(json.dumps([self.n_classes, rows]).encode(), digest_size=16).hexdigest()

    def rois(self, slide: str) -> tuple[Roi, ...]:
        """The manifest's rows of a slide, in the order of `image` and `labels`."""
        try:
            return self._slides()[slide]
        except KeyError:
            raise KeyError(f"There is no slide {slide!r} in {self.folder}.") from None

    @override
    def problems(self) -> list[str]:
        """One sentence for every ROI whose file is missing or does not fit; reads the files' headers only."""
        problems, sizes = [], None
        for roi in self._all():
            file = roi_file(self._folder, roi.roi)
            try:
                shapes = _shapes(file)
            except BrokenFile as error:
                problems.append(f"dataset.folder: {file} {error.what}; {_mend(error)}.")
                continue
            misfit = _misfit(shapes)
            if misfit is None:
                sizes = sizes or (_sizes(shapes), file)
                if _sizes(shapes) != sizes[0]:
                    misfit = f"features per cell and per tissue area are {_sizes(shapes)}, in {sizes[1]} {sizes[0]}"
            if misfit is not None:
                problems.append(f"dataset.folder: {file}: {misfit}; {REMEDY}.")
        return problems

    @property
    def _folder(self) -> Path:
        return expanded(self.folder)

    def _slides(self) -> Mapping[str, tuple[Roi, ...]]:
        file = self._folder / MANIFEST
        try:
            return _slides(file, file.stat().st_mtime_ns)
        except FileNotFoundError as error:
            raise UserError(
                f"dataset.folder: there is no {file}; make the folder with 'decomp convert bracs SOURCE {self.folder}'."
            ) from error
        except OSError as error:
            mend = "mend the link" if error.errno == errno.ELOOP else "give yourself the right to read it"
            raise UserError(f"dataset.folder: {file} cannot be read ({error.strerror}); {mend}.") from error

    def _all(self) -> Iterator[Roi]:
        slides = self._slides()
        return (roi for slide in sorted(slides) for roi in slides[slide])

    def _label(self, subtype: str) -> int:
        if self.n_classes == 7:
            return SUBTYPES.index(subtype)
        return next(label for label, group in enumerate(GROUPS.values()) if subtype in group)

    def _read(self, roi: Roi) -> RoiGraph:
        file = roi_file(self._folder, roi.roi)
        try:
            with opened(file) as stream:
                data = stream.read()
        except BrokenFile as error:
            raise UserError(f"dataset.folder: {file} {error.what}; {_mend(error)}.") from error
        # Results are filed under the fingerprint, so what is read must be what was fingerprinted.
        if hashlib.sha256(data).hexdigest() != roi.sha256:
            raise UserError(f"dataset.folder: {file} is not the file that {MANIFEST} speaks of; {REMEDY}.")
        return RoiGraph(**safetensors.numpy.load(data))


def roi_file(folder: Path, roi: str) -> Path:
    """The file of an ROI."""
    return folder / "rois" / f"{roi}.safetensors"


def encoded(graph: RoiGraph) -> bytes:
    """Contents of an ROI's file; equal graphs give equal bytes."""
    return bytes(safetensors.numpy.save({name: np.ascontiguousarray(getattr(graph, name)) for name in STORED}))


def write_manifest(folder: Path, rois: Iterable[Roi]) -> None:
    """Write the manifest, sorted by slide and ROI."""
    ordered = sorted(rois, key=lambda roi: (roi.slide, natural(roi.roi)))
    columns = {
        column: [getattr(roi, field.name) for roi in ordered]
        for column, field in zip(COLUMNS, fields(Roi), strict=True)
    }
    pq.write_table(pa.table(columns, _schema()), folder / MANIFEST)


def natural(text: str) -> tuple[str | int, ...]:
    """Sort key under which ``IC_2`` comes before ``IC_10``."""
    # The pieces are text and number in turn, so keys compare; the text itself tells 07 from 7.
    return (*(int(piece) if odd % 2 else piece for odd, piece in enumerate(re.split(r"([0-9]+)", text))), text)


# The cache is the module's, not the instance's, so that a pickled data set stays small.
@functools.lru_cache(maxsize=4)
def _slides(file: Path, mtime_ns: int) -> Mapping[str, tuple[Roi, ...]]:
    rows = _rows(file)
    problems = list(_manifest_problems(rows))
    if problems:
        raise UserError("\n".join(f"dataset.folder: {file}: {problem}" for problem in problems))
    slides: dict[str, list[Roi]] = {}
    for row in sorted((Roi(*row) for row in rows), key=lambda roi: natural(roi.roi)):
        slides.setdefault(row.slide, []).append(row)
    return {slide: tuple(rois) for slide, rois in slides.items()}


def _rows(file: Path) -> list[tuple[str, Split, str, str, str]]:
    try:
        with opened(file) as stream:
            table = pq.ParquetFile(stream).read()
        missing = [column for column in COLUMNS if column not in table.column_names]
        if missing:
            raise UserError(f"dataset.folder: {file} has no column {', '.join(missing)}; {REMEDY}.")
        columns = table.select(COLUMNS).cast(_schema()).to_pydict()
    except BrokenFile as error:
        raise UserError(f"dataset.folder: {file} {error.what}; {_mend(error)}.") from error
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"dataset.folder: {file} is no manifest ({error}); {REMEDY}.") from error
    if not table.num_rows:
        raise UserError(f"dataset.folder: {file} has no rows; {REMEDY}.")
    return list(zip(*columns.values(), strict=True))


def _manifest_problems(rows: list[tuple[str, Split, str, str, str]]) -> Iterator[str]:
    splits: dict[str, set[str]] = {}
    for number, row in enumerate(rows, start=1):
        slide, split, roi, subtype, _ = row
        empty = [column for column, value in zip(COLUMNS, row, strict=True) if not value]
        if empty:
            yield f"row {number} ({roi or 'unnamed'}) has no {' and no '.join(empty)}; fill it in."
            continue
        if subtype not in SUBTYPES:
            known = ", ".join(SUBTYPES)
            yield f"ROI {roi} has the unknown class {subtype!r}{_nearest(subtype)}; known are {known}."
        if split not in get_args(Split):
            yield f"ROI {roi} is in the unknown split {split!r}; known are {', '.join(get_args(Split))}."
        splits.setdefault(slide, set()).add(split)
    for name, count in Counter(roi for _, _, roi, _, _ in rows).items():
        if name and count > 1:
            yield f"ROI {name} has {count} rows; keep one."
    for slide, places in splits.items():
        if len(places) > 1:
            yield f"slide {slide} is in the splits {' and '.join(sorted(places))}; keep it in one."


def _nearest(subtype: str) -> str:
    return nearest(subtype.upper(), dict.fromkeys(SUBTYPES))


def _mend(error: BrokenFile) -> str:
    return REMEDY if error.mend == COPY else error.mend


def _schema() -> pa.Schema:
    return pa.schema([(column, pa.string()) for column in COLUMNS])


def _shapes(file: Path) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Type and shape of every array of an ROI's file, from its header."""
    with opened(file):  # safetensors would wait for a pipe, and its errors say less
        pass
    try:
        with safetensors.safe_open(file, framework="numpy") as arrays:
            slices = {name: arrays.get_slice(name) for name in arrays.keys()}  # noqa: SIM118 - no mapping
            return {name: (part.get_dtype(), tuple(part.get_shape())) for name, part in slices.items()}
    except (OSError, safetensors.SafetensorError) as error:
        raise BrokenFile(f"cannot be read ({error})") from error


def _misfit(shapes: Mapping[str, tuple[str, tuple[int, ...]]]) -> str | None:
    """What contradicts `RoiGraph` in an ROI's file, if anything."""
    for name, dtype in STORED.items():
        if name not in shapes:
            return f"there is no {name}"
        if shapes[name][0] != dtype:
            return f"{name} has the type {shapes[name][0]}, not {dtype}"
    for nodes, edges in (("cells", "cell_edges"), ("tissues", "tissue_edges")):
        shape = shapes[nodes][1]
        if len(shape) != 2:
            return f"{nodes} has the shape {shape}, not (nodes, features)"
        if not shape[0]:
            return f"{nodes} has no nodes"
        if len(shapes[edges][1]) != 2 or shapes[edges][1][0] != 2:
            return f"{edges} has the shape {shapes[edges][1]}, not (2, edges)"
    if shapes["assignment"][1] != shapes["cells"][1][:1]:
        return f"assignment has the shape {shapes['assignment'][1]}, not {shapes['cells'][1][:1]} as there are cells"
    return None


def _sizes(shapes: Mapping[str, tuple[str, tuple[int, ...]]]) -> tuple[int, int]:
    return shapes["cells"][1][1], shapes["tissues"][1][1]
