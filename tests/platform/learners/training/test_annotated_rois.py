from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pytest
from helpers.toy_rois import Slides, whole

from decomp.platform.datasets import IGNORE, Dataset, Split
from decomp.platform.learners import Training
from decomp.platform.learners.training.annotated_rois import annotated_rois, batch_sizes
from decomp.platform.ledger import Annotation, Ledger
from decomp.platform.randomness import stream
from decomp.platform.regions import Region


@dataclass(frozen=True)
class PartlyUnknown(Slides):
    """Some ROIs have no class."""

    def labels(self, image: str) -> npt.NDArray[np.uint8]:
        labels = self.truth(image)
        labels[1:3] = IGNORE
        return labels


def training(ledger: Ledger, **options: object) -> Training:
    return Training(ledger, stream(0, "training"), **options)  # type: ignore[arg-type]


def numbers(dataset: Dataset, ledger: Ledger, split: Split = "train", fold: int = 0) -> list[int]:
    return [int(roi[0]) for roi in annotated_rois(dataset, training(ledger, fold=fold), split).contents]


@pytest.mark.parametrize(
    ("n", "batch", "sizes"),
    [(1, 4, [1]), (4, 4, [4]), (5, 4, [5]), (6, 4, [4, 2]), (9, 4, [4, 5]), (3, 1, [1, 1, 1]), (3, 2, [3])],
)
def test_no_batch_of_one_roi_is_left_over(n, batch, sizes):
    assert batch_sizes(n, batch) == sizes


def test_rois_are_trained_on_in_order_as_often_as_they_were_annotated():
    regions = [Region("train-0-1", (3,), (1,)), Region("train-0-0", (2,), (2,)), Region("train-0-0", (3,), (2,))]
    ledger = Ledger.of(Annotation(region, 1, rank) for rank, region in enumerate(regions))
    assert numbers(Slides(), ledger) == [2, 3, 3, 4, 8]
    assert numbers(Slides(), ledger, "validation") == []


def test_validation_rois_count_once_however_often_they_were_annotated():
    ledger = whole("validation")
    assert numbers(Slides(), ledger.extend(ledger), "validation") == numbers(Slides(), ledger, "validation")


def test_fold_and_split_choose_the_rois():
    ledger = whole("train", fold=1).extend(whole("validation"))
    assert numbers(Slides(), ledger) == []
    assert len(numbers(Slides(), ledger, fold=1)) == len(numbers(Slides(), ledger, "validation")) == 15


def test_rois_of_no_class_are_left_out():
    known = annotated_rois(PartlyUnknown(), training(whole("train")), "train")
    assert numbers(PartlyUnknown(), whole("train")) == [0, 3, 4, 5, 8, 9, 10, 13, 14]
    assert known.labels.tolist() == [0, 0, 1, 1, 1, 2, 2, 2, 0]


def test_slides_without_annotation_are_not_read():
    class Guarded(Slides):
        def image(self, image: str) -> npt.NDArray[np.float32]:
            assert image == "train-0-2"
            return super().image(image)

        def labels(self, image: str) -> npt.NDArray[np.uint8]:
            assert image == "train-0-2"
            return super().labels(image)

    assert numbers(Guarded(), Ledger.whole({"train-0-2": (5,)})) == list(range(10, 15))
