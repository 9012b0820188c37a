import pickle

import numpy as np
import pytest
from helpers.layouts import picture, write_voc
from PIL import Image

from decomp.platform import testing
from decomp.platform.components import build_dataset
from decomp.platform.datasets import IGNORE
from decomp.platform.datasets.voc import CLASSES, Voc
from decomp.platform.errors import UserError
from decomp.platform.grid import Component


@pytest.fixture
def root(tmp_path):
    write_voc(tmp_path / "VOC2012")
    return tmp_path / "VOC2012"


def mask_file(root, number):
    return root / "SegmentationClass" / f"2007_{number:06d}.png"


def test_lists_tell_the_splits(root):
    voc = Voc(str(root))
    assert voc.ids("train", 0) == tuple(f"2007_{k:06d}" for k in range(4))
    assert voc.ids("test", 0) == ("2007_000004", "2007_000005")
    assert voc.ids("validation", 0) == ()
    lists = root / "ImageSets" / "Segmentation"
    (lists / "mine.txt").write_text("2007_000000\n\n2007_000004\n")
    (lists / "rest.txt").write_text("2007_000001")
    (lists / "choices.txt").write_text("2007_000003")
    mine = Voc(str(root), train="mine", test="rest", validation="choices")
    assert mine.ids("train", 0) == ("2007_000000", "2007_000004")
    assert mine.ids("validation", 0) == ("2007_000003",)
    assert mine.problems() == []


def test_entries_of_the_palette_are_classes_and_255_is_none(tmp_path):
    written = write_voc(tmp_path)
    voc = Voc(str(tmp_path))
    assert len(CLASSES) == 21
    for name, labels in written.items():
        assert np.array_equal(voc.labels(name), labels)
        assert (labels[0] == IGNORE).all()
        assert voc.shape(name) == labels.shape
    without = np.where(written["2007_000001"] == IGNORE, 0, written["2007_000001"])
    assert np.abs(voc.image("2007_000001")[2:, :, 0].astype(int) - picture(without)[2:]).mean() < 15


def test_the_contract_is_kept(root):
    voc = Voc(str(root))
    testing.check_dataset(voc)
    options = {"root": str(root), "classes": ["background", "square", "disc"]}
    assert build_dataset(Component("voc", options)).classes == ("background", "square", "disc")
    assert build_dataset(Component("voc", options)).fingerprint() != voc.fingerprint()
    assert len(pickle.dumps(voc)) < 900


def test_lists_that_are_missing_are_told_with_what_was_expected(root):
    with pytest.raises(UserError, match=r"there is no .*trainaug\.txt; expected: .*JPEGImages/NAME\.jpg, .*val\.txt"):
        Voc(str(root), train="trainaug")
    with pytest.raises(UserError, match=r"dataset\.classes: disc is named twice"):
        Voc(str(root), classes=("background", "disc", "disc"))


@pytest.mark.parametrize("line", ["2007_000000.jpg", "2007_000000 -1"])
def test_lists_of_more_than_names_are_told_as_that(root, line):
    (root / "ImageSets" / "Segmentation" / "train.txt").write_text(f"{line}\n2007_000001\n")
    (problem,) = Voc(str(root)).problems()
    assert f"train.txt lists '{line}', which is no name of an image; write names alone, without suffix or" in problem


def test_all_damage_is_told_at_once(root):
    (root / "JPEGImages" / "2007_000000.jpg").unlink()
    mask_file(root, 1).unlink()
    Image.fromarray(np.full((48, 64), 21, np.uint8)).save(mask_file(root, 2))
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(mask_file(root, 3))
    (root / "ImageSets" / "Segmentation" / "val.txt").write_text("2007_000001\n2007_000004\n2007_000005\n")
    Image.fromarray(np.zeros((48, 64), np.uint8)).save(mask_file(root, 77))  # not listed
    told = "\n".join(Voc(str(root)).problems())
    for sentence in (
        "2007_000000.jpg is missing",
        "2007_000001.jpg has no mask; add ",
        "2007_000002.png holds 21, which is of no class; name all classes under dataset.classes, where there are 21",
        "2007_000003.png has 9 x 9 pixels and its image 48 x 64",
        "val.txt lists 2007_000001, which stands in train.txt already",
    ):
        assert sentence in told
    assert len(told.splitlines()) == 5
