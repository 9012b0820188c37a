from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix as sklearn_confusion
from sklearn.metrics import f1_score, jaccard_score

from decomp.platform.datasets import IGNORE
from decomp.platform.errors import UserError
from decomp.platform.metrics import confusion_matrix, dice, f1, iou, mean_iou, metric_of, score, weighted_f1


def test_confusion_and_iou_equal_sklearns():
    rng = np.random.default_rng(1)
    true, predicted = (rng.integers(4, size=(20, 30)).astype(np.uint8) for _ in range(2))
    confusion = confusion_matrix(true, predicted, 4)
    np.testing.assert_array_equal(confusion, sklearn_confusion(true.ravel(), predicted.ravel()))
    np.testing.assert_allclose(iou(confusion), jaccard_score(true.ravel(), predicted.ravel(), average=None))


def test_ignored_pixels_do_not_count():
    true = np.array([[0, IGNORE], [1, 1]], np.uint8)
    assert confusion_matrix(true, np.array([[0, 1], [1, 0]], np.uint8), 2).tolist() == [[1, 0], [1, 1]]


def test_a_class_neither_present_nor_predicted_is_left_out_of_the_mean():
    per_class = iou(np.array([[3, 0, 0], [1, 4, 0], [0, 0, 0]]))
    np.testing.assert_array_equal(per_class, [0.75, 0.8, np.nan])
    assert mean_iou(per_class) == 0.775
    assert mean_iou(np.array([np.nan])) == 0.0


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.UndefinedMetricWarning")
@pytest.mark.parametrize("seed", range(20))
def test_weighted_f1_is_that_of_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    used = rng.choice(7, rng.integers(1, 8), replace=False)  # some classes are never true, some never predicted
    true, predicted = rng.choice(used, 30).astype(np.uint8), rng.choice(7, 30).astype(np.uint8)
    expected = f1_score(true, predicted, average="weighted", zero_division=0)
    confusion = confusion_matrix(true, predicted, 7)
    assert weighted_f1(confusion) == pytest.approx(expected, abs=1e-12)
    present = sorted({*true.tolist(), *predicted.tolist()})
    np.testing.assert_allclose(f1(confusion)[present], f1_score(true, predicted, average=None, labels=present))
    assert np.isnan(np.delete(f1(confusion), present)).all()


def test_weighted_f1_of_nothing_is_zero():
    assert weighted_f1(np.zeros((3, 3), np.int64)) == 0


def nested_data():
    return SimpleNamespace(task="segmentation", classes=("a", "b", "c", "d"), scored={"all": (1, 2, 3), "inner": (2,)})


@pytest.mark.parametrize("seed", range(10))
def test_dice_of_a_union_is_that_of_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    pairs = [rng.integers(4, size=(2, 5, 7)).astype(np.uint8) for _ in range(3)]
    confusion = np.array([confusion_matrix(true, predicted, 4) for true, predicted in pairs])
    expected = [f1_score(np.isin(true, (1, 3)).ravel(), np.isin(found, (1, 3)).ravel()) for true, found in pairs]
    np.testing.assert_allclose(dice(confusion, (1, 3)), expected, rtol=1e-12)


def test_dice_is_averaged_over_the_images_where_it_is_defined():
    confusion = np.zeros((3, 4, 4), np.int64)
    confusion[:, 0, 0] = 10
    confusion[0, 2, 2], confusion[1, 1, 3], confusion[2, 3, 3] = 4, 1, 2
    metrics, per_class = score(nested_data(), confusion)
    assert per_class == {"dice": {"all": 1.0, "inner": 1.0}}
    confusion[1, 2, 0] = 5
    metrics, per_class = score(nested_data(), confusion)
    assert per_class["dice"]["inner"] == 0.5  # absent from the third image, where it is not predicted either
    assert metrics == {"dice": pytest.approx((0.5 + (1 + 2 / 7 + 1) / 3) / 2)}


def test_a_nested_class_defined_nowhere_is_left_out():
    confusion = np.zeros((2, 4, 4), np.int64)
    confusion[:, 1, 1] = 3
    assert score(nested_data(), confusion) == ({"dice": 1.0}, {"dice": {"all": 1.0, "inner": None}})


def test_a_class_without_a_labelled_pixel_has_no_score_even_if_it_is_predicted():
    confusion = np.array([[[3, 1, 1], [0, 2, 0], [0, 0, 0]]])
    for task, kind in (("segmentation", "iou"), ("roi", "f1")):
        data = SimpleNamespace(task=task, classes=("x", "y", "z"), scored={})
        (value,), (by_class,) = (part.values() for part in score(data, confusion))
        assert by_class["z"] is None
        if kind == "iou":
            assert value == (3 / 5 + 2 / 3) / 2
        assert by_class["x"] > 0
    confusion = np.zeros((1, 4, 4), np.int64)
    confusion[0, 1, 1], confusion[0, 0, 2] = 3, 1
    metrics, by_class = score(nested_data(), confusion)
    assert by_class["dice"] == {"all": 6 / 7, "inner": None}
    assert metrics == {"dice": 6 / 7}


@pytest.mark.parametrize("data", [nested_data(), SimpleNamespace(task="roi", classes=tuple("abcd"), scored={})])
def test_a_test_split_without_a_labelled_pixel_has_no_score_at_all(data):
    with pytest.raises(UserError, match="no image of the test split has a labelled pixel"):
        score(data, np.zeros((2, 4, 4), np.int64))


def test_every_kind_of_data_has_its_metric():
    confusion = np.array([[[3, 1], [0, 2]], [[1, 0], [0, 1]]])
    data = SimpleNamespace(task="segmentation", classes=("x", "y"), scored={})
    assert metric_of(data) == "miou"
    assert score(data, confusion) == ({"miou": (4 / 5 + 3 / 4) / 2}, {"iou": {"x": 4 / 5, "y": 3 / 4}})
    data = SimpleNamespace(task="roi", classes=("x", "y"), scored={})
    assert score(data, confusion)[0] == {metric_of(data): weighted_f1(confusion.sum(0))}
    assert metric_of(nested_data()) == "dice"
