import contextlib
import io
import pickle
import shutil

import numpy as np
import pytest
from PIL import Image

from decomp.platform.components import build_dataset
from decomp.platform.datasets import IGNORE
from decomp.platform.datasets.cityscapes import LABEL_IDS, VOID_IDS, Cityscapes
from decomp.platform.datasets.synthetic.streets import write_streets
from decomp.platform.errors import UserError
from decomp.platform.grid import Component
from decomp.platform.metrics import confusion_matrix, iou, mean_iou

FRAMES = {"train": 8, "val": 4}


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    root = tmp_path_factory.mktemp("cityscapes")
    write_streets(root, FRAMES, shape=(48, 96), seed=4)
    return root


@pytest.fixture
def root(tree, tmp_path):
    return shutil.copytree(tree, tmp_path / "cityscapes")


def mask_file(root, frame, folder="train"):
    return root / "gtFine" / folder / frame.partition("_")[0] / f"{frame}_gtFine_labelIds.png"


def image_file(root, frame, folder="train"):
    return root / "leftImg8bit" / folder / frame.partition("_")[0] / f"{frame}_leftImg8bit.png"


def error_of(root, **options) -> str:
    with pytest.raises(UserError) as caught:
        Cityscapes(str(root), **options)
    return str(caught.value)


def test_classes_and_ids_are_the_official_ones():
    from cityscapesscripts.helpers.labels import labels

    official = {label.trainId: label for label in labels if 0 <= label.trainId < IGNORE}
    assert list(LABEL_IDS.items()) == [(official[k].name, official[k].id) for k in range(19)]
    void = {label.name: label.id for label in labels if label.id >= 0 and label.trainId == IGNORE}
    assert dict(VOID_IDS) == void
    assert Cityscapes.classes == tuple(LABEL_IDS)
    for label in labels:  # void here is what the official score ignores
        assert (label.name in LABEL_IDS) != label.ignoreInEval


def test_splits_never_share_a_city(tree):
    data = Cityscapes(str(tree))
    cities = [{image.partition("_")[0] for image in data.ids(split, 0)} for split in ("train", "validation", "test")]
    assert cities == [
        {"aachen", "bremen", "hamburg", "zurich"},
        {"darmstadt", "ulm"},
        {"frankfurt", "lindau", "munster"},
    ]
    assert sum(len(data.ids(split, 0)) for split in ("train", "validation", "test")) == 12
    assert data.ids("train", 0)[:2] == ("aachen_000000_000019", "aachen_000001_000019")


def test_without_validation_cities_the_pool_is_the_published_train(tree):
    data = Cityscapes(str(tree), validation=())
    assert len(data.ids("train", 0)) == FRAMES["train"]
    assert data.ids("validation", 0) == ()
    assert data.ids("test", 0) == Cityscapes(str(tree)).ids("test", 0)


def test_images_and_labels_have_the_documented_form(tree):
    data = Cityscapes(str(tree))
    for split in ("train", "validation", "test"):
        for image in data.ids(split, 0):
            folder = "val" if split == "test" else "train"
            pixels, labels = data.image(image), data.labels(image)
            assert np.array_equal(pixels, np.asarray(Image.open(image_file(tree, image, folder))))
            assert (labels.shape, labels.dtype) == (data.shape(image), np.uint8)
            assert pixels.dtype == np.uint8
            assert set(np.unique(labels).tolist()) <= {*range(19), IGNORE}
            ids = np.asarray(Image.open(mask_file(tree, image, folder)))
            assert np.array_equal(labels == IGNORE, np.isin(ids, list(VOID_IDS.values())))


def test_size_of_the_real_images_is_read_from_the_header(root):
    file = image_file(root, "aachen_000000_000019")
    Image.new("RGB", (2048, 1024)).save(file)
    file.write_bytes(file.read_bytes()[:60])  # nothing but the header
    assert Cityscapes(str(root)).shape("aachen_000000_000019") == (1024, 2048)


def test_score_equals_the_official_one(root, tmp_path):
    from cityscapesscripts.evaluation import evalPixelLevelSemanticLabeling as official

    data, rng = Cityscapes(str(root)), np.random.default_rng(0)
    ids = np.array(list(LABEL_IDS.values()), np.uint8)
    total, predicted, truths = np.zeros((19, 19), np.int64), [], []
    for image in data.ids("test", 0):
        file = mask_file(root, image, "val")
        mask = np.asarray(Image.open(file))
        # Trains and motorcycles are neither true nor predicted; void pixels get predictions like any others.
        Image.fromarray(np.where(np.isin(mask, (31, 32)), VOID_IDS["dynamic"], mask).astype(np.uint8)).save(file)
        true = data.labels(image)
        guess = rng.integers(0, 16, true.shape, np.uint8)
        guess = np.where((rng.random(true.shape) < 0.6) & (true != IGNORE), true, guess).astype(np.uint8)
        total += confusion_matrix(true, guess, 19)
        file = tmp_path / f"{image}_prediction.png"
        Image.fromarray(ids[guess]).save(file)
        predicted.append(str(file))
        truths.append(str(mask_file(root, image, "val")))
    arguments = official.args
    for option, value in (("evalInstLevelScore", False), ("JSONOutput", False), ("quiet", True)):
        setattr(arguments, option, value)
    with contextlib.redirect_stdout(io.StringIO()):
        result = official.evaluateImgLists(predicted, truths, arguments)
    ours = iou(total)
    theirs = np.array([result["classScores"][name] for name in LABEL_IDS])
    assert np.flatnonzero(np.isnan(ours)).tolist() == [16, 17]
    np.testing.assert_array_equal(np.isnan(ours), np.isnan(theirs))
    np.testing.assert_allclose(ours, theirs, rtol=1e-14)
    assert mean_iou(ours) == pytest.approx(result["averageScoreClasses"], rel=1e-14)
    assert 0.2 < mean_iou(ours) < 0.8


def test_an_experiment_file_can_name_it(tree):
    component = Component("cityscapes", {"root": str(tree), "validation": ["ulm"]})
    assert build_dataset(component) == Cityscapes(str(tree), ("ulm",))


def test_whole_tree_has_no_problems_and_other_files_do_not_matter(root):
    (root / "leftImg8bit" / "train" / "aachen" / "._aachen_000000_000019_leftImg8bit.png").write_bytes(b"x")
    (root / "gtFine" / "train" / "aachen" / "aachen_000000_000019_gtFine_color.png").write_bytes(b"x")
    (root / "gtFine" / "train" / "aachen" / "aachen_000000_000019_gtFine_polygons.json").write_text("{}")
    (root / "license.txt").write_text("")
    data = Cityscapes(str(root))
    assert data.problems() == []
    assert len(data.ids("train", 0)) + len(data.ids("validation", 0)) == FRAMES["train"]


def test_all_damage_is_told_at_once(root):
    mask_file(root, "aachen_000000_000019").unlink()
    image_file(root, "bremen_000000_000019").unlink()
    cut = image_file(root, "zurich_000000_000019")
    cut.write_bytes(cut.read_bytes()[:-100])
    ids = np.full((48, 96), 7, np.uint8)
    ids[3, 4:6] = 34, 200
    Image.fromarray(ids).save(mask_file(root, "ulm_000000_000019"))
    Image.fromarray(ids[:40]).save(mask_file(root, "munster_000000_000019", "val"))
    mask_file(root, "lindau_000000_000019", "val").write_bytes(b"")
    problems = Cityscapes(str(root)).problems()
    assert len(problems) == 7  # the last size comes with an unknown id
    for sentence in (
        "aachen_000000_000019_leftImg8bit.png has no mask; add ",
        "bremen_000000_000019_gtFine_labelIds.png has no image",
        "zurich_000000_000019_leftImg8bit.png is cut off",
        "ulm_000000_000019_gtFine_labelIds.png holds 34, 200, which is of no class; copy the file again",
        "munster_000000_000019_gtFine_labelIds.png has 40 x 96 pixels and its image 48 x 96",
        "munster_000000_000019_gtFine_labelIds.png holds 34, 200",
        "lindau_000000_000019_gtFine_labelIds.png is empty",
    ):
        assert sum(sentence in problem for problem in problems) == 1, (sentence, problems)


def test_a_frame_in_two_splits_is_a_problem(root):
    for file in (image_file, mask_file):
        target = file(root, "aachen_000000_000019", "val")
        target.parent.mkdir(exist_ok=True)
        shutil.copy(file(root, "aachen_000000_000019"), target)
    (problem,) = Cityscapes(str(root)).problems()
    assert "several images aachen_000000_000019; keep one of each name" in problem


def test_wrong_root_is_named_with_what_was_expected(tmp_path):
    message = error_of(tmp_path)
    assert f"there is no {tmp_path}/leftImg8bit/train" in message
    assert "CITY/CITY_SSSSSS_FFFFFF_gtFine_labelIds.png" in message
    for folder in ("train", "val"):
        (tmp_path / "leftImg8bit" / folder).mkdir(parents=True)
    assert "leftImg8bit/train has no cities" in error_of(tmp_path)


def test_cities_without_images_are_a_problem(tmp_path):
    for folder in ("train/aachen", "train/ulm", "val/lindau"):
        (tmp_path / "leftImg8bit" / folder).mkdir(parents=True)
    (problem,) = Cityscapes(str(tmp_path), validation=("ulm",)).problems()
    assert "there are no images" in problem


def test_unknown_validation_city_is_an_error_with_the_nearest(tree):
    message = error_of(tree, validation=("ulms",))
    assert "dataset.validation: there is no city 'ulms'" in message
    assert "did you mean 'ulm'?" in message


def test_some_city_must_remain_to_train(tree):
    cities = ("aachen", "bremen", "darmstadt", "hamburg", "ulm", "zurich")
    assert "none is left to train" in error_of(tree, validation=cities)


def test_unknown_label_id_is_named_when_read(root):
    Image.fromarray(np.full((48, 96), 34, np.uint8)).save(mask_file(root, "aachen_000000_000019"))
    with pytest.raises(UserError, match=r"aachen_000000_000019_gtFine_labelIds\.png holds 34, which is of no class"):
        Cityscapes(str(root)).labels("aachen_000000_000019")


def test_fingerprint_follows_content_and_validation_but_not_the_place(tree, root):
    fingerprint = Cityscapes(str(tree)).fingerprint()
    assert Cityscapes(str(root)).fingerprint() == fingerprint
    assert Cityscapes(str(tree), validation=("ulm",)).fingerprint() != fingerprint
    ids = np.asarray(Image.open(mask_file(root, "aachen_000000_000019"))).copy()
    ids[20, 20] = LABEL_IDS["train"]
    Image.fromarray(ids).save(mask_file(root, "aachen_000000_000019"))
    assert Cityscapes(str(root)).fingerprint() != fingerprint


def test_pickle_stays_small_and_whole(tree):
    data = Cityscapes(str(tree))
    data.image("aachen_000000_000019")
    assert len(pickle.dumps(data)) < 500
    assert pickle.loads(pickle.dumps(data)) == data
