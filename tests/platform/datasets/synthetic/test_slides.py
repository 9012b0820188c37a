import hashlib
import pickle
import subprocess
import sys

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score

from decomp.platform.components import build_dataset
from decomp.platform.datasets.synthetic.slides import FEATURES, GROUPS, LESIONS, MAX_ROIS, Slides, _slide
from decomp.platform.errors import UserError
from decomp.platform.grid import Component

SEEDS = range(5)
SPLITS = ("train", "validation", "test")
DIGEST = """
import hashlib, sys
from decomp.platform.datasets.synthetic.slides import Slides
slides = Slides(seed=5)
print(hashlib.sha256(slides.image(sys.argv[1]).tobytes() + slides.labels(sys.argv[1]).tobytes()).hexdigest())
"""


def counts_of(slides: Slides) -> np.ndarray:
    """ROIs per slide of any split and class, shape (slides, classes)."""
    ids = [image for split in SPLITS for image in slides.ids(split, 0)]
    return np.stack([np.bincount(slides.labels(image), minlength=len(slides.classes)) for image in ids])


def pooled(slides: Slides, split: str) -> tuple[np.ndarray, np.ndarray]:
    ids = slides.ids(split, 0)
    return np.concatenate([*map(slides.image, ids)]), np.concatenate([*map(slides.labels, ids)])


@pytest.fixture(scope="module")
def counts() -> list[np.ndarray]:
    return [counts_of(Slides(seed=seed)) for seed in SEEDS]


def test_splits_have_the_sizes_of_the_real_ones_and_share_no_slide():
    slides = Slides()
    splits = [slides.ids(split, 0) for split in SPLITS]
    assert [len(ids) for ids in splits] == [193, 68, 59]
    assert all(ids == tuple(sorted(ids)) for ids in splits)
    assert len({image for ids in splits for image in ids}) == 320
    assert not any(
        np.array_equal(slides.image(f"train-{index:04d}"), slides.image(f"test-{index:04d}")) for index in range(59)
    )


def test_slide_has_the_documented_form():
    slides = Slides(seed=5)
    features, labels = slides.image("test-0003"), slides.labels("test-0003")
    (rois,) = slides.shape("test-0003")
    assert (features.shape, features.dtype) == ((rois, FEATURES), np.float32)
    assert (labels.shape, labels.dtype) == ((rois,), np.uint8)
    assert np.isfinite(features).all()
    assert (slides.task, slides.classes, slides.spacing) == ("roi", LESIONS, None)


def test_slide_is_the_same_in_another_process():
    slides = Slides(seed=5)
    here = hashlib.sha256(slides.image("train-0031").tobytes() + slides.labels("train-0031").tobytes()).hexdigest()
    there = subprocess.run(
        [sys.executable, "-c", DIGEST, "train-0031"], capture_output=True, text=True, check=True
    ).stdout.strip()
    assert here == there


def test_slide_depends_neither_on_the_number_of_slides_nor_on_the_order():
    many = Slides(seed=9, train_slides=400)
    before = {image: (many.image(image), many.labels(image)) for image in ("train-0001", "train-0002", "train-0003")}
    _slide.cache_clear()
    few = Slides(seed=9, train_slides=4)
    for image in ("train-0003", "train-0001", "train-0002"):
        assert np.array_equal(few.image(image), before[image][0])
        assert np.array_equal(few.labels(image), before[image][1])


def test_seeds_and_slides_differ():
    assert not np.array_equal(Slides(seed=0).image("train-0000"), Slides(seed=1).image("train-0000"))
    assert not np.array_equal(Slides().image("train-0000"), Slides().image("train-0001"))


def test_arrays_cannot_be_changed():
    for slides in (Slides(), Slides(n_classes=3)):
        for array in (slides.image("train-0000"), slides.labels("train-0000")):
            with pytest.raises(ValueError, match="read-only"):
                array[0] = 1


def test_pickled_data_set_is_small_and_equal():
    slides = Slides(seed=3, n_classes=3)
    slides.image("train-0000")
    data = pickle.dumps(slides)
    copy = pickle.loads(data)
    assert len(data) < 1000
    assert (copy, copy.classes) == (slides, GROUPS)


def test_numbers_of_rois_are_those_of_real_slides(counts):
    for slides in counts:
        rois = slides.sum(axis=1)
        assert rois.min() >= 1
        assert 60 <= rois.max() <= MAX_ROIS
        assert np.median(rois) == pytest.approx(8, abs=1.5)
        assert rois.mean() == pytest.approx(12.7, abs=2.5)


def test_slides_have_few_classes_and_a_main_one(counts):
    for slides in counts:
        classes = (slides > 0).sum(axis=1)
        assert classes.mean() == pytest.approx(1.95, abs=0.25)
        assert np.mean(classes == 1) == pytest.approx(0.44, abs=0.1)
        assert np.mean(slides.max(axis=1) / slides.sum(axis=1)) > 0.7


def test_class_shares_are_those_of_real_slides(counts):
    total = np.sum(counts, axis=(0, 1))
    assert total / total.sum() == pytest.approx([0.12, 0.17, 0.11, 0.13, 0.18, 0.17, 0.13], abs=0.04)


def test_neighbouring_lesions_meet_oftener_than_distant_ones(counts):
    present = (np.concatenate(counts) > 0).astype(float)
    shares = present.mean(axis=0)
    lift = (present.T @ present) / len(present) / np.outer(shares, shares)
    near, middle, far = (np.mean(np.diagonal(lift, steps)) for steps in (1, 2, 4))
    assert near > middle > far
    assert near > 1.1


def test_atypical_lesions_are_harder_than_the_ends_of_the_spectrum():
    per_class = []
    for seed in SEEDS:
        slides = Slides(seed=seed)
        (features, lesions), (test_features, test_lesions) = pooled(slides, "train"), pooled(slides, "test")
        model = LogisticRegression(C=0.01, max_iter=300).fit(features, lesions)
        per_class.append(f1_score(test_lesions, model.predict(test_features), average=None, labels=range(7)))
    f1 = dict(zip(LESIONS, np.mean(per_class, axis=0), strict=True))
    assert min(f1["N"], f1["IC"]) > max(f1["UDH"], f1["ADH"], f1["FEA"]) + 0.1
    assert max(f1["UDH"], f1["ADH"]) < min(f1["PB"], f1["DCIS"])
    assert 0.35 < np.mean(list(f1.values())) < 0.6


def test_rois_of_a_slide_resemble_one_another():
    slides = Slides()
    features, lesions = pooled(slides, "train")
    names = np.repeat(slides.ids("train", 0), [slides.shape(image)[0] for image in slides.ids("train", 0)])
    for lesion in range(7):
        chosen = lesions == lesion
        within = [
            features[chosen & (names == name)].var(axis=0, ddof=1).sum()
            for name in np.unique(names[chosen])
            if np.sum(chosen & (names == name)) > 2
        ]
        assert np.mean(within) < 0.7 * features[chosen].var(axis=0).sum()


def test_three_classes_are_the_seven_merged():
    lesions, groups = Slides(seed=2), Slides(seed=2, n_classes=3)
    assert groups.classes == GROUPS
    merged = np.array([0, 0, 0, 1, 1, 2, 2])
    for image in lesions.ids("train", 0)[:40]:
        assert np.array_equal(groups.labels(image), merged[lesions.labels(image)])
        assert groups.labels(image).dtype == np.uint8
        assert np.array_equal(groups.image(image), lesions.image(image))


def test_fingerprint_follows_the_options():
    options = [{}, {"seed": 1}, {"n_classes": 3}, {"train_slides": 7}, {"validation_slides": 7}, {"test_slides": 7}]
    assert len({Slides(**option).fingerprint() for option in options}) == len(options)
    assert Slides().fingerprint() == Slides(seed=0).fingerprint()


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"n_classes": 5}, "n_classes"),
        ({"train_slides": 0}, "train_slides"),
        ({"validation_slides": -1}, "validation_slides"),
        ({"test_slides": 10_001}, "test_slides"),
    ],
)
def test_wrong_options_are_named(options, name):
    with pytest.raises(UserError, match=rf"dataset\.{name}: "):
        build_dataset(Component("slides", options))


@pytest.mark.parametrize("image", ["train-0193", "train-7", "train--001", "other-0000", "nonsense", ""])
def test_unknown_slides_are_refused(image):
    with pytest.raises(KeyError, match="There is no slide"):
        Slides().labels(image)
