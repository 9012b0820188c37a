"""Make portable data from published files: `decomp convert bracs`.

Reading the published BRACS graphs takes DGL, an old compiled package. This module imports nothing that DGL could clash
with, so it also runs where only DGL, its PyTorch, h5py, numpy, pyarrow, safetensors and this package without its
dependencies are installed::

    python -m decomp.experiments.convert bracs SOURCE TARGET

The published layout is that of https://github.com/histocartography/hact-net: ``cell_graphs/SPLIT/ROI.bin``,
``tissue_graphs/SPLIT/ROI.bin`` and ``assignment_matrices/SPLIT/ROI.h5`` with the splits train, val and test, and ROIs
named like ``BRACS_1228_DCIS_13``: slide, class, number.
"""

import argparse
import hashlib
import os
import re
import shutil
import sys
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from decomp.platform.datasets.base import Split
from decomp.platform.datasets.bracs import SUBTYPES, Bracs, Roi, encoded, natural, roi_file, write_manifest
from decomp.platform.datasets.formats.graphs import RoiGraph
from decomp.platform.errors import UserError, nearest

CELLS, TISSUES, ASSIGNMENT = "cell_graphs", "tissue_graphs", "assignment_matrices"
SUFFIXES = {CELLS: ".bin", TISSUES: ".bin", ASSIGNMENT: ".h5"}
SPLITS: dict[str, Split] = {"train": "train", "val": "validation", "test": "test"}
NAME = re.compile(r"BRACS_(?P<slide>[0-9]+)_(?P<subtype>[A-Za-z]+)_[0-9]+")

Progress = Callable[[int, int], None]
"""Called after each ROI with the number of ROIs done and the number of all."""


def main(arguments: list[str] | None = None) -> int:
    """Convert without the rest of the command line, whose dependencies DGL's environment may lack."""
    parser = argparse.ArgumentParser(prog="python -m decomp.experiments.convert", description=main.__doc__)
    parser.add_argument("format", choices=["bracs"])
    parser.add_argument("source", type=Path, help="folder of the published graphs")
    parser.add_argument("target", type=Path, help="folder to make")
    given = parser.parse_args(arguments)
    try:
        convert_bracs(given.source, given.target, lambda done, total: _say(f"\r{done} of {total} ROIs"))
    except UserError as error:
        _say("".join(f"\nerror: {line}" for line in str(error).splitlines()) + "\n")
        return 2
    _say(f"\n{given.target} is ready.\n")
    return 0


def convert_bracs(source: Path, target: Path, progress: Progress = lambda done, total: None) -> Bracs:
    """Make a folder in the portable format of `Bracs` from the published DGL graphs.

    Edges stay as published: those between cells point from a cell to its nearest neighbours, one way. The target
    appears by one rename, so it is there whole or not at all, and its bytes depend on the source alone.

    Args:
        source: folder of the published graphs.
        target: folder to make; it must not exist yet.
        progress: called after every ROI.

    Returns:
        The data set in `target`.

    Raises:
        UserError: if the target exists, DGL or h5py cannot be imported, or the source has problems; all its problems
            are in the message, a line each.
    """
    if target.exists():
        raise UserError(f"{target} exists already; remove it or name another folder.")
    dgl, h5py = _readers()
    listing = _list(source)
    reader = _Reader(dgl, h5py, problems=listing.problems)
    part = target.with_name(f".{target.name}-{uuid.uuid4().hex[:8]}")
    (part / "rois").mkdir(parents=True)
    try:
        rois = []
        for done, files in enumerate(listing.complete, start=1):
            graph = reader.graph(files)
            # After a problem nothing is written any more, but the rest is still checked.
            if graph is not None and not reader.problems:
                data = encoded(graph)
                roi_file(part, files.roi).write_bytes(data)
                digest = hashlib.sha256(data).hexdigest()
                rois.append(Roi(files.slide, SPLITS[files.split], files.roi, files.subtype, digest))
            progress(done, len(listing.complete))
        if reader.problems:
            raise UserError("\n".join(reader.problems))
        write_manifest(part, rois)
        part.rename(target)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return Bracs(str(target))


@dataclass(frozen=True)
class _Files:
    """The published files of one ROI; slide and class are "" where the name does not tell them."""

    source: Path
    split: str
    roi: str

    def path(self, folder: str) -> Path:
        return self.source / folder / self.split / f"{self.roi}{SUFFIXES[folder]}"

    @property
    def slide(self) -> str:
        return self._named("slide")

    @property
    def subtype(self) -> str:
        return self._named("subtype")

    def _named(self, part: str) -> str:
        match = NAME.fullmatch(self.roi)
        return match[part] if match else ""


@dataclass
class _Listing:
    """What the names of the files tell: ROIs that can be read, and problems."""

    complete: list[_Files] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def _list(source: Path) -> _Listing:
    missing = [f"{folder}/{split}" for folder in SUFFIXES for split in SPLITS if not (source / folder / split).is_dir()]
    if missing:
        raise UserError(
            f"{source} has no folder {', '.join(missing)}; give the folder that holds the published graphs."
        )
    listing = _Listing()
    splits_of: dict[str, list[str]] = {}
    for split in SPLITS:
        present = {folder: _stems(source / folder / split, suffix) for folder, suffix in SUFFIXES.items()}
        for roi in sorted(set().union(*present.values()), key=natural):
            splits_of.setdefault(roi, []).append(split)
            files = _Files(source, split, roi)
            there = [folder for folder in SUFFIXES if roi in present[folder]]
            if len(there) == len(SUFFIXES):
                listing.complete.append(files)
            listing.problems += _name_problems(files, files.path(there[0]))
            listing.problems += [
                f"There is no {files.path(folder)}, but {files.path(there[0])}; add it or remove the ROI's other files."
                for folder in SUFFIXES
                if folder not in there
            ]
    listing.problems += _split_problems(splits_of)
    if not splits_of:
        listing.problems.append(f"There are no graphs in {source}; download or unpack them first.")
    return listing


def _split_problems(splits_of: dict[str, list[str]]) -> Iterator[str]:
    slides: dict[str, set[str]] = {}
    for roi, splits in splits_of.items():
        if len(splits) > 1:
            yield f"The ROI {roi} is in {' and '.join(splits)}; keep its files in one."
        elif slide := _Files(Path(), splits[0], roi).slide:
            slides.setdefault(slide, set()).update(splits)
    for slide, found in slides.items():
        if len(found) > 1:
            yield f"The slide {slide} has ROIs in {' and '.join(s for s in SPLITS if s in found)}; keep them in one."


def _stems(folder: Path, suffix: str) -> set[str]:
    # Hidden files are left behind by copying tools.
    return {file.stem for file in folder.glob(f"*{suffix}") if not file.name.startswith(".")}


def _name_problems(files: _Files, example: Path) -> Iterator[str]:
    if not files.slide:
        yield f"{example}: the name tells no slide; name the ROI's files like BRACS_1228_DCIS_13 (slide, class, ROI)."
    elif files.subtype not in SUBTYPES:
        close = nearest(files.subtype.upper(), dict.fromkeys(SUBTYPES))
        yield (
            f"{example}: unknown class {files.subtype!r}{close}; known are {', '.join(SUBTYPES)}: "
            f"rename or remove the ROI's files."
        )


def _readers() -> tuple[Any, Any]:
    # Without a choice of backend DGL prints advice and writes a file to the home folder.
    os.environ.setdefault("DGLBACKEND", "pytorch")
    try:
        import dgl
        import h5py
    except Exception as error:  # a compiled package that meets versions it does not know may raise anything
        raise UserError(
            f"The published graphs are read by DGL and h5py, which cannot be imported here "
            f"({type(error).__name__}: {error}); run: pip install 'decomp[dgl]' (Python 3.11); if that clashes with "
            f"other packages, make a virtual environment of its own, run there: pip install --no-deps decomp && "
            f"pip install dgl==1.1.3 torch numpy h5py pyarrow safetensors, and convert with: "
            f"python -m decomp.experiments.convert bracs SOURCE TARGET"
        ) from error
    return dgl, h5py


@dataclass
class _Reader:
    """Reads ROIs and gathers problems.

    Attributes:
        dgl: the module that reads graphs.
        h5py: the module that reads assignments.
        problems: sentences, a problem each.
        sizes: for cell and tissue graphs the number of features of the first ROI, and its file.
    """

    dgl: Any
    h5py: Any
    problems: list[str]
    sizes: dict[str, tuple[int, Path]] = field(default_factory=dict)

    def graph(self, files: _Files) -> RoiGraph | None:
        """One ROI, or None after a problem with it."""
        graphs = []
        for folder in (CELLS, TISSUES):
            try:
                graphs.append(self._nodes_and_edges(files, folder))
            except UserError as error:
                self.problems.append(str(error))
        if len(graphs) < 2:
            return None
        (cells, cell_edges), (tissues, tissue_edges) = graphs
        try:
            assignment = self._assignment(files.path(ASSIGNMENT), len(cells), len(tissues))
        except UserError as error:
            self.problems.append(str(error))
            return None
        return RoiGraph(cells, cell_edges, tissues, tissue_edges, assignment)

    def _nodes_and_edges(self, files: _Files, folder: str) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        file = files.path(folder)
        try:
            graphs, labels = self.dgl.load_graphs(str(file))
        except (OSError, self.dgl.DGLError) as error:
            raise UserError(f"{file}: DGL cannot read it ({_first_line(error)}); download it again.") from error
        if len(graphs) != 1:
            raise UserError(f"{file}: it holds {len(graphs)} graphs; keep the ROI's own.")
        graph = graphs[0]
        if not graph.num_nodes():
            raise UserError(f"{file}: the graph has no nodes; remove the ROI's three files.")
        if "feat" not in graph.ndata:
            raise UserError(f"{file}: the nodes have no data 'feat'; make the graph with features.")
        features = np.asarray(graph.ndata["feat"], np.float32)
        if features.ndim != 2:
            raise UserError(f"{file}: 'feat' has the shape {features.shape}; make it (nodes, features).")
        size, first = self.sizes.setdefault(folder, (features.shape[1], file))
        if features.shape[1] != size:
            raise UserError(
                f"{file}: a node has {features.shape[1]} features, in {first} {size}; make all graphs in the same way."
            )
        label = int(np.asarray(labels["label"]).item()) if "label" in labels else None
        if label is not None and files.subtype in SUBTYPES and label != SUBTYPES.index(files.subtype):
            raise UserError(
                f"{file}: its label is {label}, but {files.subtype} in its name means {SUBTYPES.index(files.subtype)}; "
                f"find out which is right and mend the other."
            )
        return features, np.stack([np.asarray(ends, np.int64) for ends in graph.edges()])

    def _assignment(self, file: Path, cells: int, tissues: int) -> npt.NDArray[np.int64]:
        try:
            with self.h5py.File(file, "r") as contents:
                matrix = np.asarray(contents["assignment_matrix"])
        except (OSError, KeyError) as error:
            raise UserError(
                f"{file}: h5py cannot read its 'assignment_matrix' ({_first_line(error)}); download it again."
            ) from error
        if matrix.shape not in ((cells, tissues), (tissues, cells)):
            raise UserError(
                f"{file}: the matrix has the shape {matrix.shape}, but there are {cells} cells and {tissues} tissue "
                f"areas; take the ROI's three files from one source."
            )
        # Published matrices are (cells, tissues), so that is assumed where both numbers are equal.
        if matrix.shape != (cells, tissues):
            matrix = matrix.T
        if not np.isin(matrix, (0, 1)).all():
            raise UserError(f"{file}: the matrix holds other values than 0 and 1; make it binary.")
        areas = np.count_nonzero(matrix, axis=1)
        if areas.max() > 1:
            raise UserError(
                f"{file}: cell {areas.argmax()} lies in {areas.max()} tissue areas; assign every cell to one at most."
            )
        return np.where(areas == 1, matrix.argmax(axis=1), -1).astype(np.int64)


def _first_line(error: Exception) -> str:
    # DGL's messages go on with a stack trace.
    return str(error).partition("\n")[0]


def _say(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
