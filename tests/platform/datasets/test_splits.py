from types import SimpleNamespace

import numpy as np
import pytest

from decomp.platform.datasets import IGNORE
from decomp.platform.datasets.splits import unusable


class Tiny(SimpleNamespace):
    """A data set of these labels: by split, then by image."""

    folds = 1
    labelled = True
    scored = {}  # noqa: RUF012

    def ids(self, split, fold):
        return tuple(self.splits[split])

    def labels(self, image):
        return np.array(next(images[image] for images in self.splits.values() if image in images), np.uint8)


def tiny(**splits):
    whole = {"train": {"a": [IGNORE, 0]}, "validation": {}, "test": {"b": [IGNORE], "c": [1]}}
    return Tiny(splits={**whole, **splits})


def test_splits_with_a_labelled_pixel_are_usable():
    assert unusable(tiny(), [0]) == []


@pytest.mark.parametrize(
    ("splits", "sentence"),
    [
        ({"test": {}}, "dataset: the test split has no images, so there is nothing to score; add some."),
        ({"train": {}}, "dataset: the train split has no images, so there is nothing to annotate; add some."),
        ({"test": {"b": [IGNORE]}}, "dataset: the test split has no labelled pixel, so there is nothing to score; "),
        ({"train": {"a": [IGNORE]}}, "dataset: the train split has no labelled pixel, so there is nothing to annotate"),
        ({"validation": {"v": [IGNORE]}}, "dataset: the validation split has no labelled pixel, so there is nothing "),
    ],
)
def test_others_are_told(splits, sentence):
    (told,) = unusable(tiny(**splits), [0])
    assert told.startswith(sentence)


def test_of_nested_classes_one_must_be_there():
    data = tiny()
    data.scored = {"masses": (2, 3), "tumour": (2,)}
    (told,) = unusable(data, [0])
    assert told.startswith("dataset: the test split has no labelled pixel of masses, tumour, so there is nothing ")
    data.splits["test"]["d"] = [3]
    assert unusable(data, [0]) == []


def test_the_fold_is_told_where_there_are_several():
    data = tiny(test={})
    data.folds = 3
    assert [told[:39] for told in unusable(data, [0, 2])] == [
        f"dataset: the test split of fold {fold} has n"[:39] for fold in (0, 2)
    ]


def test_people_may_label_the_pool_and_do_without_test_images():
    data = tiny(train={"a": [IGNORE]}, test={})
    data.labelled = False
    assert unusable(data, [0]) == []
    data.splits["train"] = {}
    assert unusable(data, [0])[0].startswith("dataset: the train split has no images")
    data.splits |= {"train": {"a": [IGNORE]}, "test": {"b": [IGNORE]}}
    assert unusable(data, [0])[0].startswith("dataset: the test split has no labelled pixel")


def test_images_whose_names_are_no_text_are_told():
    data = tiny(train={"a\udcff": [0], "b\udcfe": [0]})
    assert unusable(data, [0]) == [
        "dataset: the name of image 'a\\udcff' is no text in UTF-8, and so are those of 1 more; rename the files."
    ]
