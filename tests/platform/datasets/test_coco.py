import json
import pickle
import re
import shutil

import numpy as np
import pytest
from helpers.layouts import save_picture, square, write_coco
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.mask import encode

from decomp.platform import testing
from decomp.platform.components import build_dataset
from decomp.platform.datasets import IGNORE
from decomp.platform.datasets.coco import Coco
from decomp.platform.errors import UserError
from decomp.platform.grid import Component

PANOPTIC = {split: f"annotations/panoptic_{folder}2017.json" for split, folder in (("train", "train"), ("test", "val"))}
OF_TEST = "annotations/instances_val2017.json"


@pytest.fixture
def root(tmp_path):
    write_coco(tmp_path / "coco")
    return tmp_path / "coco"


@pytest.fixture
def panoptic(tmp_path):
    write_coco(tmp_path / "coco", panoptic=True)
    return tmp_path / "coco"


def change(root, file, **changes):
    """Replace parts of a JSON file: ``images``, ``annotations`` or ``categories``."""
    contents = json.loads((root / file).read_text()) | changes
    (root / file).write_text(json.dumps(contents))


def labels_of(root, *annotations):
    """Labels of test image 4 with these annotations alone."""
    change(root, OF_TEST, annotations=[{"id": k, **annotation} for k, annotation in enumerate(annotations)])
    return Coco(str(root)).labels("test-000000000004")


def error_of(root, **options):
    with pytest.raises(UserError) as caught:
        Coco(str(root), **options)
    return str(caught.value)


def test_splits_classes_and_labels_are_those_of_the_files(tmp_path):
    written = write_coco(tmp_path)
    coco = Coco(str(tmp_path))
    assert coco.classes == ("background", "square", "disc")
    assert coco.ids("train", 0) == tuple(f"train-{k:012d}" for k in range(4))
    assert coco.ids("test", 0) == ("test-000000000004", "test-000000000005")
    for image in (*coco.ids("train", 0), *coco.ids("test", 0)):
        assert np.array_equal(coco.labels(image), written[f"{image[-12:]}.jpg"])
    assert coco.problems() == []


def test_outlines_are_filled_as_by_cocos_own_tools(root):
    outline = [[3.2, 4.1, 40.7, 9.0, 33.3, 41.9, 8.0, 30.5], [50, 40, 63, 40, 63, 47]]
    spots = np.asfortranarray(np.random.default_rng(0).random((48, 64)) < 0.3, np.uint8)
    encoded = encode(spots)
    runs = {"size": [48, 64], "counts": encoded["counts"].decode()}
    for segmentation in (outline, runs):
        labels = labels_of(root, {"image_id": 4, "category_id": 20, "segmentation": segmentation, "iscrowd": 0})
        official = COCO(str(root / OF_TEST))
        (annotation,) = official.loadAnns(official.getAnnIds(4))
        assert labels.any()
        assert np.array_equal(labels, 2 * official.annToMask(annotation))


def test_of_objects_that_overlap_the_smaller_lies_on_top(root):
    large, small = square(0, 0, 30, 10, 4), square(20, 20, 12, 20, 4)
    for pair in ((large, small), (small, large)):
        labels = labels_of(root, *pair)
        assert (labels[20:32, 20:32] == 2).all()
        assert (labels[:20, :30] == 1).all()
        assert (labels == 0).sum() == 48 * 64 - 900 - 144 + 100
    first, second = square(0, 0, 10, 10, 4), square(5, 5, 10, 20, 4)
    assert (labels_of(root, first, second)[5:10, 5:10] == 2).all()
    assert (labels_of(root, second, first)[5:10, 5:10] == 1).all()


def test_crowds_are_no_class_and_lie_beneath_objects(root):
    crowd, large = square(0, 0, 10, 10, 4, iscrowd=1), square(5, 5, 20, 20, 4)
    labels = labels_of(root, large, crowd)
    assert (labels[:5, :10] == IGNORE).all()
    assert (labels[5:25, 5:25] == 2).all()


def test_a_category_that_is_called_background_is_the_background(root):
    categories = [{"id": 10, "name": "square"}, {"id": 20, "name": "background"}]
    for file in ("annotations/instances_train2017.json", OF_TEST):
        change(root, file, categories=categories)
    assert Coco(str(root)).classes == ("background", "square")
    assert set(np.unique(labels_of(root, square(0, 0, 30, 10, 4), square(0, 0, 9, 20, 4)))) == {0, 1}


def test_panoptic_segments_are_classes_and_the_rest_is_none(tmp_path):
    written = write_coco(tmp_path, panoptic=True)
    coco = Coco(str(tmp_path), annotations=PANOPTIC)
    assert coco.classes == ("square", "disc")
    assert coco.problems() == []
    for name, labels in written.items():
        image = f"{'train' if name < '000000000004' else 'test'}-{name[:-4]}"
        assert np.array_equal(coco.labels(image), np.where(labels == 0, IGNORE, labels - 1))


@pytest.mark.parametrize("kind", ["instances", "panoptic"])
def test_the_contract_is_kept(kind, tmp_path, tmp_path_factory):
    root = tmp_path / "coco"
    write_coco(root, panoptic=kind == "panoptic")
    annotations = {split: file.replace("panoptic", kind) for split, file in PANOPTIC.items()}
    coco = Coco(str(root), annotations)
    testing.check_dataset(coco)
    coco.labels("train-000000000001")
    assert len(pickle.dumps(coco)) < 900
    assert build_dataset(Component("coco", {"root": str(root), "annotations": annotations})) == coco
    moved = Coco(str(shutil.copytree(root, tmp_path_factory.mktemp("moved") / "x")), annotations)
    assert moved.fingerprint() == coco.fingerprint()
    entries = json.loads((root / annotations["test"]).read_text())["annotations"]
    (entries[-1].get("segments_info") or entries)[-1]["category_id"] = 10
    change(root, annotations["test"], annotations=entries)
    assert Coco(str(root), annotations).fingerprint() != moved.fingerprint()


def test_files_may_lie_in_folders_of_ones_own(root, tmp_path):
    (tmp_path / "export").mkdir()
    for here, there, kind in (("train", "train2017", "train"), ("valid", "val2017", "val")):
        shutil.copytree(root / there, tmp_path / "export" / here)
        file = root / "annotations" / f"instances_{kind}2017.json"
        shutil.copy(file, tmp_path / "export" / here / "_annotations.coco.json")
    annotations = {
        split: f"{folder}/_annotations.coco.json" for split, folder in (("train", "train"), ("test", "valid"))
    }
    coco = Coco(str(tmp_path / "export"), annotations, {"train": "train", "test": "valid"})
    assert coco.problems() == []
    assert coco.fingerprint() == Coco(str(root)).fingerprint()


def test_all_damage_is_told_at_once(root):
    (root / "train2017" / "000000000000.jpg").unlink()
    save_picture(root / "train2017" / "000000000001.jpg", np.zeros((64, 48), np.uint8))
    triangle = [[1, 1, 9, 1, 9, 9]]
    turned = {"size": [64, 48], "counts": [64 * 48]}
    broken = [
        [[1, 1, 9, 9]],
        [[1, 1, 900, 1, 9, 9]],
        None,
        {"size": [48, 64], "counts": [5, 6]},
        {"counts": "05"},
        turned,
    ]
    entries = [{"id": 70 + k, "image_id": 2, "category_id": 10, "segmentation": triangle} for k in range(2)]
    change(root, "annotations/instances_train2017.json", annotations=[*entries, {**entries[0], "category_id": 9}])
    entries = [{**entries[0], "image_id": 4, "id": k, "segmentation": outline} for k, outline in enumerate(broken)]
    seen = set()
    for entry in entries:
        change(root, OF_TEST, annotations=[entry])
        told = Coco(str(root)).problems()
        assert len(told) == 4
        seen |= {re.sub(r".*/0{9}(?=...\.jpg)", "", sentence) for sentence in told}
    mend = "; mend or delete it in the JSON file."
    assert seen == {
        "000.jpg is missing; copy the file again.",
        "001.jpg has 64 x 48 pixels, but 48 x 64 by its annotations; annotate the image as it is, upright, or take the "
        "one that was annotated.",
        "002.jpg holds 9, which is of no class; list it under categories in the JSON file, or delete its objects.",
        f"004.jpg has an object with an outline of less than three points (annotation 0){mend}",
        f"004.jpg has an object whose outline lies far outside (annotation 1){mend}",
        f"004.jpg has an object without an outline (a box is none) (annotation 2){mend}",
        f"004.jpg has an object whose runs are not those of its image (annotation 3){mend}",
        f"004.jpg has an object whose runs are not those of its image (annotation 4){mend}",
        f"004.jpg has an object whose runs are not those of its image (annotation 5){mend}",
    }


def test_damage_of_panoptic_files_is_told(panoptic):
    folder = panoptic / "annotations" / "panoptic_train2017"
    (folder / "000000000000.png").unlink()
    Image.fromarray(np.full((48, 64, 3), 9, np.uint8)).save(folder / "000000000001.png")
    (folder / "000000000002.png").write_bytes((folder / "000000000002.png").read_bytes()[:-9])
    told = "\n".join(Coco(str(panoptic), annotations=PANOPTIC).problems())
    assert f"000000000000.jpg has no mask; add {folder}/000000000000.png" in told
    assert "000000000001.png holds segment 592137, which its JSON file does not list" in told
    assert "000000000002.png is cut off" in told
    assert len(told.splitlines()) == 3


def test_an_image_whose_segments_are_given_twice_is_told(panoptic):
    entries = json.loads((panoptic / PANOPTIC["train"]).read_text())["annotations"]
    change(panoptic, PANOPTIC["train"], annotations=[*entries, entries[0]])
    assert "annotates an image twice; export it again" in error_of(panoptic, annotations=PANOPTIC)


def test_a_json_file_that_is_none_of_cocos_is_told_with_its_mistakes(root):
    assert "instances_train2018.json is missing" in error_of(
        root, annotations={**PANOPTIC, "train": "instances_train2018.json"}
    )
    change(root, OF_TEST, annotations=[{"image_id": 4}, square(0, 0, 9, 10, 4, iscrowd="x")])
    (root / "annotations" / "instances_train2017.json").write_text("[")
    told, also_told = error_of(root).splitlines()
    assert "instances_train2017.json is not in COCO's format (Invalid JSON" in told
    assert "instances_val2017.json is not in COCO's format (annotations.0.category_id: Field required" in also_told


def listed(number, name):
    return {"id": number, "file_name": name, "height": 9, "width": 9}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"annotations": [square(0, 0, 9, 10, 77)]}, "annotates image 77, which it does not list; export it again"),
        (
            {"categories": [{"id": 10, "name": "cube"}]},
            "has categories that train has not, cube; give all",
        ),
        ({"categories": [{"id": 10, "name": name} for name in ("square", "disc")]}, "gives several categories one id"),
        ({"categories": []}, "is not in COCO's format (categories: List should have at least 1 item"),
        (
            {"images": [{"id": 4, "file_name": f"{k}.jpg", "height": 9, "width": 9} for k in "ab"]},
            "several images one id",
        ),
        (
            {"images": [{"id": k, "file_name": "a.jpg", "height": 9, "width": 9} for k in (4, 5)]},
            "two images of one name",
        ),
    ],
)
def test_files_that_contradict_themselves_are_told(root, changes, sentence):
    change(root, OF_TEST, **changes)
    assert sentence in error_of(root)


def test_options_that_do_not_fit_are_told(root, panoptic):
    train = {"train": "annotations/instances_train2017.json"}
    assert error_of(root, annotations=train).startswith("dataset.annotations: there is none of test; give one of each")
    more = {**train, "test": OF_TEST, "validation": OF_TEST}
    assert error_of(root, annotations=more).startswith("dataset.images: there is none of validation")
    mixed = {**train, "test": PANOPTIC["test"]}
    assert "test and train are not of one kind, instances or panoptic" in error_of(root, annotations=mixed)
