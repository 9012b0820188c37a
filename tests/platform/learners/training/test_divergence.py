import numpy as np
import pytest
from helpers.toys import Blobs

from decomp.platform.datasets.base import is_finite
from decomp.platform.datasets.formats.graphs import RoiGraph
from decomp.platform.errors import UserError
from decomp.platform.learners.inference.maps import not_finite
from decomp.platform.learners.training.divergence import diverged
from decomp.platform.loop.shard import _named


class Broken(Blobs):
    def image(self, image):
        pixels = super().image(image).astype(np.float32)
        pixels[0, 0] = np.nan if image == "train-001" else 1
        return pixels


def test_an_image_that_is_not_finite_is_the_cause():
    error = diverged("The training diverged", Broken(), ["train-000", "train-001"])
    assert isinstance(error, UserError)
    assert str(error).startswith("dataset: image 'train-001' holds NaN or infinite values; mend it")


def test_otherwise_the_learning_rate_is():
    error = diverged("The training diverged", Broken(), ["train-000"])
    assert isinstance(error, RuntimeError)
    assert str(error) == "The training diverged; lower learning_rate."


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_graphs_are_looked_through(value):
    none, edges = np.ones((3, 2), np.float32), np.zeros((2, 1), np.int64)
    graph = RoiGraph(none, edges, none, edges, np.zeros(3, np.int64))
    assert is_finite((graph, graph))
    assert not is_finite((graph, RoiGraph(none, edges, none * value, edges, np.zeros(3, np.int64))))


def test_a_prediction_that_fails_for_its_image_names_that():
    with pytest.raises(UserError, match="image 'a' holds NaN"), _named("a", np.array([np.nan]), None):
        raise not_finite()
