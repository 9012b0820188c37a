import hashlib
import os
import pickle
from dataclasses import fields, replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import safetensors.numpy

from decomp.platform.components import build_dataset
from decomp.platform.datasets.bracs import COLUMNS, MANIFEST, SUBTYPES, Bracs, Roi, encoded, roi_file, write_manifest
from decomp.platform.datasets.formats.graphs import RoiGraph
from decomp.platform.errors import UserError
from decomp.platform.grid import Component

SPLIT_OF_SLIDE = {"7": "train", "12": "train", "100": "train", "31": "validation", "8": "test"}
ROIS = (
    *("BRACS_7_IC_10", "BRACS_7_IC_2", "BRACS_7_ADH_11", "BRACS_12_N_1", "BRACS_12_PB_1", "BRACS_100_UDH_1"),
    *("BRACS_31_FEA_1", "BRACS_8_DCIS_3", "BRACS_8_N_1"),
)


def graph_of(cells=5, tissues=2, features=(4, 3), seed=0) -> RoiGraph:
    rng = np.random.default_rng(seed)
    return RoiGraph(
        rng.standard_normal((cells, features[0]), np.float32),
        rng.integers(cells, size=(2, 7)),
        rng.standard_normal((tissues, features[1]), np.float32),
        rng.integers(tissues, size=(2, 2)),
        rng.integers(-1, tissues, size=cells),
    )


def rewrite(folder, change):
    """Change the rows of the manifest, a list of dictionaries, in place."""
    file = folder / MANIFEST
    before = file.stat().st_mtime_ns
    rows = pq.read_table(file).to_pylist()
    change(rows)
    pq.write_table(pa.Table.from_pylist(rows), file)
    os.utime(file, ns=(before, before + 10**9))  # the clock of files is coarse


def error_of(folder) -> str:
    with pytest.raises(UserError) as caught:
        Bracs(str(folder))
    return str(caught.value)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "rois").mkdir()
    rows = []
    for number, name in enumerate(ROIS):
        _, slide, subtype, _ = name.split("_")
        data = encoded(graph_of(cells=3 + number, seed=number))
        roi_file(tmp_path, name).write_bytes(data)
        rows.append(Roi(slide, SPLIT_OF_SLIDE[slide], name, subtype, sha256(data)))
    write_manifest(tmp_path, rows)
    return tmp_path


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_slides_are_the_images_of_their_split(folder):
    bracs = Bracs(str(folder))
    assert bracs.ids("train", 0) == ("100", "12", "7")
    assert bracs.ids("validation", 0) == ("31",)
    assert bracs.ids("test", 0) == ("8",)
    assert [bracs.shape(slide) for slide in ("7", "12", "31")] == [(3,), (2,), (1,)]
    assert (bracs.task, bracs.folds, bracs.spacing) == ("roi", 1, None)


def test_rois_of_a_slide_are_in_natural_order(folder):
    assert [roi.roi for roi in Bracs(str(folder)).rois("7")] == ["BRACS_7_ADH_11", "BRACS_7_IC_2", "BRACS_7_IC_10"]


def test_image_has_the_graphs_of_its_rois(folder):
    image = Bracs(str(folder)).image("7")
    for graph, name in zip(image, ("BRACS_7_ADH_11", "BRACS_7_IC_2", "BRACS_7_IC_10"), strict=True):
        number = ROIS.index(name)
        written = graph_of(cells=3 + number, seed=number)
        for field in fields(RoiGraph):
            read, expected = getattr(graph, field.name), getattr(written, field.name)
            assert read.dtype == expected.dtype
            assert np.array_equal(read, expected)


def test_labels_of_seven_classes(folder):
    bracs = Bracs(str(folder))
    assert bracs.classes == SUBTYPES
    assert bracs.labels("7").tolist() == [3, 6, 6]
    assert bracs.labels("8").tolist() == [5, 0]
    assert bracs.labels("7").dtype == np.uint8


def test_labels_of_three_classes_from_the_same_copy(folder):
    bracs = Bracs(str(folder), n_classes=3)
    assert bracs.classes == ("benign", "atypical", "malignant")
    labels = {slide: bracs.labels(slide).tolist() for slide in SPLIT_OF_SLIDE}
    assert labels == {"7": [1, 2, 2], "12": [0, 0], "100": [0], "31": [1], "8": [2, 0]}


def test_an_experiment_file_can_name_it(folder):
    name = "decomp.platform.datasets.bracs:Bracs"
    bracs = build_dataset(Component(name, {"folder": str(folder), "n_classes": 3}))
    assert bracs == Bracs(str(folder), n_classes=3)
    with pytest.raises(UserError, match=r"dataset\.classes: .* no such option"):
        build_dataset(Component(name, {"folder": str(folder), "classes": 3}))
    with pytest.raises(UserError, match=r"dataset\.n_classes"):
        build_dataset(Component(name, {"folder": str(folder), "n_classes": 5}))


def test_fingerprint_follows_content_and_classes_but_not_place_or_order_of_rows(folder, tmp_path):
    fingerprint = Bracs(str(folder)).fingerprint()
    assert Bracs(str(folder), n_classes=3).fingerprint() != fingerprint
    folder = folder.rename(tmp_path.with_name(f"{tmp_path.name}-moved"))
    rewrite(folder, lambda rows: rows.reverse())
    assert Bracs(str(folder)).fingerprint() == fingerprint
    rewrite(folder, lambda rows: rows[0].update(sha256="0" * 64))
    assert Bracs(str(folder)).fingerprint() != fingerprint


def test_pickle_stays_small_and_whole(folder):
    bracs = Bracs(str(folder), n_classes=3)
    bracs.image("7")
    assert len(pickle.dumps(bracs)) < 500
    copy = pickle.loads(pickle.dumps(bracs))
    assert copy == bracs
    assert copy.classes == bracs.classes


def test_equal_graphs_give_equal_bytes():
    assert len({encoded(graph_of()) for _ in range(5)}) == 1
    transposed = replace(graph_of(), cell_edges=np.asfortranarray(graph_of().cell_edges))
    assert encoded(transposed) == encoded(graph_of())


def test_unknown_slide_is_an_error(folder):
    for ask in ("image", "labels", "shape"):
        with pytest.raises(KeyError, match="There is no slide '9'"):
            getattr(Bracs(str(folder)), ask)("9")


def test_folder_without_manifest_is_named(tmp_path):
    assert "decomp convert bracs" in error_of(tmp_path / "nothing")
    (tmp_path / MANIFEST).write_bytes(b"PAR?")
    assert f"{tmp_path / MANIFEST} is no manifest" in error_of(tmp_path)


@pytest.mark.parametrize("column", COLUMNS)
def test_missing_column_is_named(folder, column):
    rewrite(folder, lambda rows: [row.pop(column) for row in rows])
    assert f"has no column {column};" in error_of(folder)


def test_manifest_without_rows_is_an_error(folder):
    write_manifest(folder, [])
    assert "has no rows" in error_of(folder)


def test_roi_without_slide_is_an_error(folder):
    rewrite(folder, lambda rows: rows[3].update(slide=None))
    assert "row 4 (BRACS_31_FEA_1) has no slide" in error_of(folder)


def test_unknown_class_is_an_error_with_the_nearest(folder):
    rewrite(folder, lambda rows: rows[0].update({"class": "udh"}))
    assert "ROI BRACS_100_UDH_1 has the unknown class 'udh' (did you mean 'UDH'?)" in error_of(folder)


def test_unknown_split_is_an_error(folder):
    rewrite(folder, lambda rows: rows[0].update(split="val"))
    assert "ROI BRACS_100_UDH_1 is in the unknown split 'val'; known are train, validation, test." in error_of(folder)


def test_duplicate_roi_is_an_error(folder):
    rewrite(folder, lambda rows: rows.append(rows[0]))
    assert "ROI BRACS_100_UDH_1 has 2 rows" in error_of(folder)


def test_slide_in_two_splits_is_an_error(folder):
    rewrite(folder, lambda rows: rows[1].update(split="test"))
    assert "slide 12 is in the splits test and train" in error_of(folder)


def test_all_problems_of_the_manifest_are_told_at_once(folder):
    def spoil(rows):
        rows[0].update({"class": "X"})
        rows[1].update(split="test")
        rows.append(rows[4])

    rewrite(folder, spoil)
    lines = error_of(folder).splitlines()
    assert len(lines) == 3
    assert all(line.startswith(f"dataset.folder: {folder / MANIFEST}: ") for line in lines)


def test_mended_manifest_is_read_again(folder):
    rewrite(folder, lambda rows: rows[0].update({"class": "X"}))
    error_of(folder)
    rewrite(folder, lambda rows: rows[0].update({"class": "UDH"}))
    assert Bracs(str(folder)).labels("100").tolist() == [2]


@pytest.mark.parametrize("name", [MANIFEST, "rois/BRACS_7_IC_2.safetensors"])
def test_what_copying_does_not_mend_has_a_mend_of_its_own(folder, name):
    file = folder / name
    file.unlink()
    os.mkfifo(file)
    sentence = f"dataset.folder: {file} is a device, pipe or socket, not a file; move it elsewhere."
    if name == MANIFEST:
        assert error_of(folder) == sentence
    else:
        assert Bracs(str(folder)).problems() == [sentence]
        with pytest.raises(UserError, match="is a device, pipe or socket"):
            Bracs(str(folder)).image("7")
    file.unlink()
    file.symlink_to(file)
    told = error_of(folder) if name == MANIFEST else Bracs(str(folder)).problems()[0]
    assert told == f"dataset.folder: {file} cannot be read (Too many levels of symbolic links); mend the link."


def test_missing_roi_is_named_when_read(folder):
    roi_file(folder, "BRACS_7_IC_2").unlink()
    with pytest.raises(UserError, match=r"BRACS_7_IC_2\.safetensors is missing; copy the folder again"):
        Bracs(str(folder)).image("7")


def test_roi_that_is_not_the_manifests_is_named_when_read(folder):
    roi_file(folder, "BRACS_7_IC_2").write_bytes(encoded(graph_of(seed=99)))
    with pytest.raises(UserError, match=r"BRACS_7_IC_2\.safetensors is not the file that manifest"):
        Bracs(str(folder)).image("7")


def test_whole_copy_has_no_problems(folder):
    assert Bracs(str(folder)).problems() == []


def test_problems_name_missing_and_broken_files(folder):
    roi_file(folder, "BRACS_12_N_1").unlink()
    roi_file(folder, "BRACS_8_N_1").write_bytes(b"abc")
    missing, broken = Bracs(str(folder)).problems()
    assert "BRACS_12_N_1.safetensors is missing" in missing
    assert "BRACS_8_N_1.safetensors cannot be read" in broken


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"tissues": None}, "there is no tissues"),
        ({"cells": np.zeros((5, 4))}, "cells has the type F64, not F32"),
        ({"cells": np.zeros((0, 4), np.float32)}, "cells has no nodes"),
        ({"tissues": np.zeros((2, 3, 1), np.float32)}, "tissues has the shape (2, 3, 1), not (nodes, features)"),
        ({"cell_edges": np.zeros((7, 2), np.int64)}, "cell_edges has the shape (7, 2), not (2, edges)"),
        ({"assignment": np.zeros(4, np.int64)}, "assignment has the shape (4,), not (5,) as there are cells"),
        ({"cells": np.zeros((5, 6), np.float32)}, "features per cell and per tissue area are (6, 3), in "),
    ],
)
def test_problems_name_arrays_that_do_not_fit(folder, change, sentence):
    arrays = {field.name: getattr(graph_of(), field.name) for field in fields(RoiGraph)} | change
    whole = {name: array for name, array in arrays.items() if array is not None}
    safetensors.numpy.save_file(whole, roi_file(folder, "BRACS_7_IC_10"))
    (problem,) = Bracs(str(folder)).problems()
    assert f"BRACS_7_IC_10.safetensors: {sentence}" in problem
