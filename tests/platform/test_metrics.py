import numpy as np
import pytest
from sklearn.metrics import confusion_matrix as sklearn_confusion
from sklearn.metrics import f1_score, jaccard_score

from decomp.platform.datasets import IGNORE
from decomp.platform.metrics import confusion_matrix, f1, iou, mean_iou, weighted_f1


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
