import hashlib
import pickle
import subprocess
import sys

import numpy as np
import pytest

from decomp.platform.components import build_dataset
from decomp.platform.datasets import IGNORE
from decomp.platform.datasets.synthetic.digits import SHAPE, Digits, digit_indices
from decomp.platform.errors import UserError
from decomp.platform.grid import Component

DIGEST = """
import hashlib, sys
from decomp.platform.datasets.synthetic.digits import Digits
scenes = Digits(seed=5)
print(hashlib.sha256(scenes.image(sys.argv[1]).tobytes() + scenes.labels(sys.argv[1]).tobytes()).hexdigest())
"""


@pytest.fixture(scope="module")
def labels() -> np.ndarray:
    digits = Digits(seed=5)
    return np.stack([digits.labels(image) for image in digits.ids("train", 0)[:60]])


def test_ids_are_sorted_and_disjoint_between_splits():
    digits = Digits(train_scenes=12, validation_scenes=3, test_scenes=4)
    train, validation, test = (digits.ids(split, 0) for split in ("train", "validation", "test"))
    assert (len(train), len(validation), len(test)) == (12, 3, 4)
    assert train == tuple(sorted(train))
    assert train[7] == "train-0007"
    assert len({*train, *validation, *test}) == 19


def test_scene_has_the_documented_form():
    digits = Digits(seed=5)
    image, labels = digits.image("test-0003"), digits.labels("test-0003")
    assert (image.shape, image.dtype) == ((*SHAPE, 3), np.uint8)
    assert (labels.shape, labels.dtype) == (SHAPE, np.uint8)
    assert digits.shape("test-0003") == SHAPE


def test_scene_is_the_same_in_another_process():
    digits = Digits(seed=5)
    here = hashlib.sha256(digits.image("train-0031").tobytes() + digits.labels("train-0031").tobytes()).hexdigest()
    there = subprocess.run(
        [sys.executable, "-c", DIGEST, "train-0031"], capture_output=True, text=True, check=True
    ).stdout.strip()
    assert here == there


def test_scene_depends_neither_on_the_number_of_scenes_nor_on_the_order():
    few, many = Digits(seed=9, train_scenes=4), Digits(seed=9, train_scenes=400)
    for image in ("train-0003", "train-0001"):
        assert np.array_equal(few.image(image), many.image(image))


def test_seeds_and_scenes_differ():
    assert not np.array_equal(Digits(seed=0).image("train-0000"), Digits(seed=1).image("train-0000"))
    assert not np.array_equal(Digits().image("train-0000"), Digits().image("train-0001"))
    assert not np.array_equal(Digits().image("train-0000"), Digits().image("test-0000"))


def test_splits_use_disjoint_digits_and_all_of_them():
    used = np.concatenate([np.concatenate(digit_indices(2, split)) for split in ("train", "validation", "test")])
    assert np.array_equal(np.sort(used), np.arange(1797))
    assert sum(map(len, digit_indices(2, "test"))) == pytest.approx(0.35 * 1797, abs=10)


def test_every_class_is_present_and_the_shares_are_as_calibrated(labels):
    shares = np.bincount(labels.ravel(), minlength=13) / labels.size
    assert labels.max() < 13
    assert IGNORE not in labels
    assert (shares > 0).all()
    assert shares[:3] / shares[:3].sum() == pytest.approx([0.60, 0.25, 0.15], abs=0.06)
    assert shares[3] > 5 * shares[12]


def test_cached_arrays_cannot_be_changed():
    with pytest.raises(ValueError, match="read-only"):
        Digits().labels("train-0000")[0, 0] = 1


def test_pickle_stays_small_after_use():
    digits = Digits()
    digits.image("train-0000")
    assert len(pickle.dumps(digits)) < 500
    assert pickle.loads(pickle.dumps(digits)) == digits


def test_fingerprint_follows_the_options():
    assert Digits().fingerprint() == Digits().fingerprint()
    variants = [Digits(), Digits(seed=1), Digits(train_scenes=201), Digits(test_scenes=121)]
    assert len({digits.fingerprint() for digits in variants}) == 4


@pytest.mark.parametrize("image", ["train-0200", "test-7", "7", "train-00x1"])
def test_unknown_scene_is_an_error(image):
    with pytest.raises(KeyError, match="There is no scene"):
        Digits().image(image)


@pytest.mark.parametrize("option", ["train_scenes", "validation_scenes", "test_scenes"])
@pytest.mark.parametrize("count", [0, -1, 10_001])
def test_senseless_counts_are_user_errors(option, count):
    with pytest.raises(UserError, match=rf"dataset\.{option}: "):
        build_dataset(Component("digits", {option: count}))
