import numpy as np
from sklearn.metrics import confusion_matrix as sklearn_confusion
from sklearn.metrics import jaccard_score

from decomp.platform.datasets import IGNORE
from decomp.platform.metrics import confusion_matrix, iou, mean_iou


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
