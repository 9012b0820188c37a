"""Conversion by stand-ins for DGL and h5py, always, and by the real ones where they are installed.

DGL 1.1.3 and h5py wrote `tests/data/bracs/published`, from which they made `tests/data/bracs/portable`.
"""

import shutil
import subprocess
import sys
from dataclasses import dataclass, fields
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from decomp.experiments.convert import convert_bracs, main
from decomp.platform.datasets.bracs import SUBTYPES, Bracs
from decomp.platform.datasets.formats.graphs import RoiGraph
from decomp.platform.errors import UserError

DATA = Path(__file__).parent.parent / "data" / "bracs"
PUBLISHED, PORTABLE = DATA / "published", DATA / "portable"
DISK_SPLITS = {"train": "train", "validation": "val", "test": "test"}

HEAVY = ("ray", "mlflow", "torch", "sklearn", "cv2", "pydantic", "omegaconf", "typer", "rich", "matplotlib", "pandas")


@dataclass
class Graph:
    """Looks like a DGL graph, as far as the conversion looks."""

    ndata: dict[str, np.ndarray]
    ends: np.ndarray
    nodes: int

    def num_nodes(self):
        return self.nodes

    def edges(self):
        return tuple(self.ends)


class DGLError(Exception):
    pass


class Published:
    """Published files: empty ones on disk, their contents in memory behind stand-ins for DGL and h5py."""

    def __init__(self, folder):
        self.folder = folder
        self.contents = {}
        for kind in ("cell_graphs", "tissue_graphs", "assignment_matrices"):
            for split in DISK_SPLITS.values():
                (folder / kind / split).mkdir(parents=True)

    def add(self, roi, split="train", *, cells=5, tissues=2, matrix=None, sizes=(4, 3), label=None):
        rng = np.random.default_rng(len(self.contents))
        subtype = roi.split("_")[2]
        label = SUBTYPES.index(subtype) if label is None and subtype in SUBTYPES else label
        labels = {} if label is None else {"label": np.array([label])}
        for kind, nodes, size in (("cell_graphs", cells, sizes[0]), ("tissue_graphs", tissues, sizes[1])):
            features = rng.standard_normal((nodes, size))
            ends = rng.integers(nodes, size=(2, 3)) if nodes else np.zeros((2, 0), int)
            self.put(
                kind, split, f"{roi}.bin", ([Graph({"feat": features, "centroid": features}, ends, nodes)], labels)
            )
        if matrix is None:
            matrix = np.eye(tissues)[rng.integers(tissues, size=cells)] if tissues else np.zeros((cells, 0))
        self.put("assignment_matrices", split, f"{roi}.h5", {"assignment_matrix": np.asarray(matrix)})

    def put(self, kind, split, name, contents):
        path = self.folder / kind / split / name
        path.touch()
        self.contents[str(path)] = contents

    def remove(self, *parts):
        self.folder.joinpath(*parts).unlink()

    def load_graphs(self, file):
        if file not in self.contents:
            raise DGLError("Invalid DGL files\nStack trace:\n  [bt] (0)")
        return self.contents[file]

    def open(self, file, mode):
        assert mode == "r"
        if str(file) not in self.contents:
            raise OSError("file signature not found")
        return Contents(self.contents[str(file)])


class Contents(dict):
    def __enter__(self):
        return self

    def __exit__(self, *args):
        return None


@pytest.fixture
def published(tmp_path, monkeypatch):
    files = Published(tmp_path / "source")
    monkeypatch.setitem(sys.modules, "dgl", SimpleNamespace(load_graphs=files.load_graphs, DGLError=DGLError))
    monkeypatch.setitem(sys.modules, "h5py", SimpleNamespace(File=files.open))
    return files


@pytest.fixture
def target(tmp_path):
    return tmp_path / "deep" / "target"


def problems_of(published, target) -> list[str]:
    with pytest.raises(UserError) as caught:
        convert_bracs(published.folder, target)
    assert not target.exists()
    assert not any(target.parent.glob("*")), "something is left behind"
    assert not any(target.parent.glob(".*")), "something is left behind"
    return str(caught.value).replace(f"{published.folder}/", "").splitlines()


def bytes_of(folder):
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*.safetensors")}


# The committed data, converted by the real DGL.


def test_reader_reads_what_was_really_converted():
    bracs = Bracs(str(PORTABLE))
    assert bracs.problems() == []
    assert [bracs.ids(split, 0) for split in DISK_SPLITS] == [("1003", "264"), ("301",), ("1228",)]
    assert [roi.roi for roi in bracs.rois("264")] == ["BRACS_264_N_2", "BRACS_264_N_10"]
    assert {slide: bracs.labels(slide).tolist() for slide in ("264", "1003", "301", "1228")} == {
        "264": [0, 0],
        "1003": [4],
        "301": [2],
        "1228": [5],
    }
    (graph,) = bracs.image("1228")
    assert (graph.cells.shape, graph.tissues.shape) == ((9, 4), (4, 3))
    # As made: two neighbours of each cell, one way; a chain of tissue areas, both ways; one stray cell.
    assert graph.cell_edges[0].tolist() == np.repeat(np.arange(9), 2).tolist()
    assert graph.tissue_edges.tolist() == [[0, 1, 2, 1, 2, 3], [1, 2, 3, 0, 1, 2]]
    assert (graph.assignment == -1).sum() == 1
    assert graph.assignment.max() < 4
    # The last two features of a cell are its place, to whose nearest its edges go.
    places = graph.cells[:, 2:]
    distances = np.linalg.norm(places[:, None] - places, axis=2) + 9 * np.eye(9)
    assert graph.cell_edges[1].tolist() == np.argsort(distances, axis=1)[:, :2].ravel().tolist()


def test_stand_ins_convert_to_the_same_as_the_real_ones(published, target):
    bracs = Bracs(str(PORTABLE))
    for split, on_disk in DISK_SPLITS.items():
        for slide in bracs.ids(split, 0):
            for roi, graph in zip(bracs.rois(slide), bracs.image(slide), strict=True):
                published.add(roi.roi, on_disk)
                for kind, nodes, ends in (
                    ("cell_graphs", graph.cells, graph.cell_edges),
                    ("tissue_graphs", graph.tissues, graph.tissue_edges),
                ):
                    labels = {"label": np.array([SUBTYPES.index(roi.subtype)])}
                    made = Graph({"feat": nodes}, ends.astype(np.int32), len(nodes))
                    published.put(kind, on_disk, f"{roi.roi}.bin", ([made], labels))
                matrix = graph.assignment[:, None] == np.arange(len(graph.tissues))
                contents = {"assignment_matrix": matrix.astype(float)}
                published.put("assignment_matrices", on_disk, f"{roi.roi}.h5", contents)
    converted = convert_bracs(published.folder, target)
    assert converted.fingerprint() == bracs.fingerprint()
    assert bytes_of(target) == bytes_of(PORTABLE)


def test_real_dgl_converts_published_files(target):
    pytest.importorskip("dgl", reason="DGL is not installed: pip install 'decomp[dgl]'")
    pytest.importorskip("h5py", reason="h5py is not installed: pip install 'decomp[dgl]'")
    converted = convert_bracs(PUBLISHED, target)
    assert converted.fingerprint() == Bracs(str(PORTABLE)).fingerprint()
    assert bytes_of(target) == bytes_of(PORTABLE)


def test_real_dgl_reports_broken_files(tmp_path, target):
    pytest.importorskip("dgl", reason="DGL is not installed: pip install 'decomp[dgl]'")
    pytest.importorskip("h5py", reason="h5py is not installed: pip install 'decomp[dgl]'")
    source = tmp_path / "source"
    shutil.copytree(PUBLISHED, source)
    broken = source / "cell_graphs" / "train" / "BRACS_264_N_2.bin"
    broken.write_bytes(broken.read_bytes()[:4300])
    (source / "tissue_graphs" / "val" / "BRACS_301_UDH_4.bin").write_bytes(b"abc")
    (source / "assignment_matrices" / "test" / "BRACS_1228_DCIS_13.h5").write_bytes(b"abc")
    with pytest.raises(UserError) as caught:
        convert_bracs(source, target)
    first, second, third = str(caught.value).splitlines()
    assert first.startswith(f"{broken}: DGL cannot read it (")
    assert second.startswith(f"{source}/tissue_graphs/val/BRACS_301_UDH_4.bin: DGL cannot read it (")
    assert third.startswith(f"{source}/assignment_matrices/test/BRACS_1228_DCIS_13.h5: h5py cannot read")


# What the conversion makes.


def test_converted_folder_has_the_published_arrays(published, target):
    matrix = [[0, 1], [1, 0], [0, 0], [0, 1]]
    published.add("BRACS_5_PB_1", cells=4, matrix=matrix)
    bracs = convert_bracs(published.folder, target)
    (graph,) = bracs.image("5")
    for kind, nodes, ends in (
        ("cell_graphs", graph.cells, graph.cell_edges),
        ("tissue_graphs", graph.tissues, graph.tissue_edges),
    ):
        (written,), _ = published.load_graphs(str(published.folder / kind / "train" / "BRACS_5_PB_1.bin"))
        assert np.array_equal(nodes, written.ndata["feat"].astype(np.float32))
        assert np.array_equal(ends, written.ends)
    assert graph.assignment.tolist() == [1, 0, -1, 1]
    dtypes = [getattr(graph, field.name).dtype for field in fields(RoiGraph)]
    assert dtypes == [np.float32, np.int64, np.float32, np.int64, np.int64]
    assert bracs.problems() == []
    assert sorted(file.name for file in target.iterdir()) == ["manifest.parquet", "rois"]


@pytest.mark.parametrize("dtype", [np.float64, np.int8, bool])
def test_both_orientations_of_the_matrix_are_read(published, target, dtype):
    matrix = np.eye(3)[[0, 2, 2, 1, 0]].astype(dtype)
    published.add("BRACS_5_PB_1", tissues=3, matrix=matrix)
    published.add("BRACS_5_PB_2", tissues=3, matrix=matrix.T)
    published.add("BRACS_5_PB_3", cells=3, tissues=3, matrix=np.eye(3)[[1, 1, 0]])
    first, second, square = convert_bracs(published.folder, target).image("5")
    assert first.assignment.tolist() == second.assignment.tolist() == [0, 2, 2, 1, 0]
    assert square.assignment.tolist() == [1, 1, 0]


def test_conversion_is_deterministic_and_tells_its_progress(published, target):
    for number in range(3):
        published.add(f"BRACS_{number}_N_1", ["train", "val", "test"][number])
    calls = []
    convert_bracs(published.folder, target, lambda done, total: calls.append((done, total)))
    again = target.with_name("again")
    convert_bracs(published.folder, again)
    assert calls == [(1, 3), (2, 3), (3, 3)]
    assert bytes_of(target) == bytes_of(again)
    assert (target / "manifest.parquet").read_bytes() == (again / "manifest.parquet").read_bytes()


def test_existing_target_is_refused(published, tmp_path):
    published.add("BRACS_5_PB_1")
    with pytest.raises(UserError, match="exists already"):
        convert_bracs(published.folder, tmp_path)


def test_interrupted_conversion_leaves_nothing(published, target):
    published.add("BRACS_5_PB_1")

    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert_bracs(published.folder, target, interrupt)
    assert list(target.parent.iterdir()) == []


# Problems of the source.


def test_missing_folders_are_named(published, target):
    shutil.rmtree(published.folder / "tissue_graphs")
    (problem,) = problems_of(published, target)
    assert "has no folder tissue_graphs/train, tissue_graphs/val, tissue_graphs/test;" in problem


def test_empty_folders_are_an_error(published, target):
    (problem,) = problems_of(published, target)
    assert problem.startswith("There are no graphs in ")


@pytest.mark.parametrize("kind", ["cell_graphs", "tissue_graphs", "assignment_matrices"])
def test_missing_file_of_a_roi_is_named(published, target, kind):
    name = "BRACS_5_PB_1.h5" if kind == "assignment_matrices" else "BRACS_5_PB_1.bin"
    published.add("BRACS_5_PB_1")
    published.remove(kind, "train", name)
    (problem,) = problems_of(published, target)
    assert problem.startswith(f"There is no {kind}/train/{name}, but ")


def test_unknown_class_is_an_error_with_the_nearest(published, target):
    published.add("BRACS_5_DCSI_1")
    (problem,) = problems_of(published, target)
    assert problem.startswith(
        "cell_graphs/train/BRACS_5_DCSI_1.bin: unknown class 'DCSI' (did you mean 'DCIS'?); known are N, PB,"
    )


@pytest.mark.parametrize("name", ["BRACS_x_DCIS_1", "BRACS_5_DCIS_", "1228_5_DCIS_1"])
def test_roi_without_slide_is_an_error(published, target, name):
    published.add(name)
    (problem,) = problems_of(published, target)
    assert problem.startswith(f"cell_graphs/train/{name}.bin: the name tells no slide")


def test_duplicate_roi_is_an_error(published, target):
    published.add("BRACS_5_DCIS_1", "train")
    published.add("BRACS_5_DCIS_1", "test")
    assert problems_of(published, target) == ["The ROI BRACS_5_DCIS_1 is in train and test; keep its files in one."]


def test_slide_of_a_duplicate_roi_can_be_in_two_splits_besides(published, target):
    for name, split in (("1", "train"), ("1", "test"), ("2", "val"), ("3", "test")):
        published.add(f"BRACS_5_DCIS_{name}", split)
    roi, slide = problems_of(published, target)
    assert roi.startswith("The ROI BRACS_5_DCIS_1 is in train and test;")
    assert slide.startswith("The slide 5 has ROIs in val and test;")


def test_slide_in_two_splits_is_an_error(published, target):
    published.add("BRACS_5_DCIS_1", "val")
    published.add("BRACS_5_DCIS_2", "test")
    assert problems_of(published, target) == ["The slide 5 has ROIs in val and test; keep them in one."]


@pytest.mark.parametrize(("counts", "kind"), [({"cells": 0}, "cell_graphs"), ({"tissues": 0}, "tissue_graphs")])
def test_graph_without_nodes_is_an_error(published, target, counts, kind):
    published.add("BRACS_5_DCIS_1", **counts)
    (problem,) = problems_of(published, target)
    assert problem == f"{kind}/train/BRACS_5_DCIS_1.bin: the graph has no nodes; remove the ROI's three files."


def test_differing_feature_sizes_are_an_error(published, target):
    published.add("BRACS_5_DCIS_1", sizes=(4, 3))
    published.add("BRACS_6_DCIS_1", sizes=(4, 2))
    (problem,) = problems_of(published, target)
    assert problem.startswith(
        "tissue_graphs/train/BRACS_6_DCIS_1.bin: a node has 2 features, in tissue_graphs/train/BRACS_5_DCIS_1.bin 3;"
    )


@pytest.mark.parametrize(
    ("matrix", "sentence"),
    [
        (np.ones((5, 3)), "the matrix has the shape (5, 3), but there are 5 cells and 2 tissue areas;"),
        (np.eye(2)[[0, 0, 1, 0, 0]] * 0.5, "the matrix holds other values than 0 and 1;"),
        ([[1, 0], [0, 1], [1, 1], [0, 0], [1, 0]], "cell 2 lies in 2 tissue areas;"),
        (np.ones((2, 5)), "cell 0 lies in 2 tissue areas;"),
    ],
)
def test_unfit_assignment_is_an_error(published, target, matrix, sentence):
    published.add("BRACS_5_DCIS_1", matrix=matrix)
    (problem,) = problems_of(published, target)
    assert problem.startswith(f"assignment_matrices/train/BRACS_5_DCIS_1.h5: {sentence}")


def test_assignment_under_another_name_is_an_error(published, target):
    published.add("BRACS_5_DCIS_1")
    published.put("assignment_matrices", "train", "BRACS_5_DCIS_1.h5", {"matrix": np.zeros((5, 2))})
    (problem,) = problems_of(published, target)
    assert "h5py cannot read its 'assignment_matrix'" in problem


def test_label_that_contradicts_the_name_is_an_error(published, target):
    published.add("BRACS_5_DCIS_1", label=2)
    problems = problems_of(published, target)
    assert len(problems) == 2
    assert "its label is 2, but DCIS in its name means 5" in problems[0]


@pytest.mark.parametrize(
    ("graphs", "sentence"),
    [
        ([], "it holds 0 graphs"),
        ([Graph({"x": np.zeros((3, 4))}, np.zeros((2, 0)), 3)], "the nodes have no data 'feat'"),
        ([Graph({"feat": np.zeros(3)}, np.zeros((2, 0)), 3)], "'feat' has the shape (3,)"),
    ],
)
def test_file_that_is_no_graph_of_a_roi_is_an_error(published, target, graphs, sentence):
    published.add("BRACS_5_DCIS_1")
    published.put("cell_graphs", "train", "BRACS_5_DCIS_1.bin", (graphs, {}))
    (problem,) = problems_of(published, target)
    assert problem.startswith(f"cell_graphs/train/BRACS_5_DCIS_1.bin: {sentence}")


def test_all_problems_are_told_at_once(published, target):
    published.add("BRACS_1_N_1")
    published.add("BRACS_1_N_2", cells=0, tissues=0)
    published.add("BRACS_1_XX_1")
    published.add("BRACS_2_N_1")
    published.remove("tissue_graphs", "train", "BRACS_2_N_1.bin")
    published.add("BRACS_3_N_1", "val", matrix=np.ones((5, 2)))
    published.add("BRACS_4_N_1", "test")
    published.contents.pop(str(published.folder / "cell_graphs" / "test" / "BRACS_4_N_1.bin"))
    problems = problems_of(published, target)
    assert [problem.split(":")[0].split(",")[0] for problem in problems] == [
        "cell_graphs/train/BRACS_1_XX_1.bin",
        "There is no tissue_graphs/train/BRACS_2_N_1.bin",
        "cell_graphs/train/BRACS_1_N_2.bin",
        "tissue_graphs/train/BRACS_1_N_2.bin",
        "assignment_matrices/val/BRACS_3_N_1.h5",
        "cell_graphs/test/BRACS_4_N_1.bin",
    ]
    assert problems[-1].endswith("DGL cannot read it (Invalid DGL files); download it again.")


def test_hidden_files_are_not_graphs(published, target):
    published.add("BRACS_5_DCIS_1")
    (published.folder / "cell_graphs" / "train" / "._BRACS_5_DCIS_1.bin").touch()
    assert convert_bracs(published.folder, target).ids("train", 0) == ("5",)


# Installation.


@pytest.mark.parametrize("module", ["dgl", "h5py"])
def test_missing_reader_is_told_with_the_command_that_installs_it(published, target, monkeypatch, module):
    monkeypatch.setitem(sys.modules, module, None)
    (problem,) = problems_of(published, target)
    assert "pip install 'decomp[dgl]'" in problem
    assert "a virtual environment of its own" in problem


def test_module_runs_as_a_program(published, target, capsys):
    published.add("BRACS_5_PB_1")
    assert main(["bracs", str(published.folder), str(target)]) == 0
    assert "1 of 1 ROIs" in capsys.readouterr().err
    assert main(["bracs", str(published.folder), str(target)]) == 2
    assert "exists already" in capsys.readouterr().err


def test_module_needs_little_so_that_it_runs_beside_dgl():
    code = f"import sys, decomp.experiments.convert; print([name for name in {HEAVY} if name in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
