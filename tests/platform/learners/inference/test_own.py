"""Measures of uncertainty of a user's own."""

import numpy as np
import pytest
import torch
from torch import nn

from decomp.platform.errors import UserError
from decomp.platform.learners.inference.decode import decode
from decomp.platform.learners.inference.passes import FoldedPredictor, ForwardPredictor
from decomp.platform.measures import OwnMeasure
from decomp.platform.predictions import Wanted
from decomp.platform.testing import check_measure


class Disagreement(OwnMeasure):
    """Share of the passes that predict another class than most of them."""

    votes = 0

    def add(self, probabilities):
        n_classes = len(probabilities)
        self.votes = self.votes + nn.functional.one_hot(probabilities.argmax(0), n_classes).T

    def values(self, mean):
        return 1 - self.votes.amax(0) / self.votes.sum(0)


class Recorded(ForwardPredictor):
    def __init__(self, logits):
        super().__init__(nn.Identity(), torch.device("cpu"), 1)
        self.logits_of_image = logits

    def forward(self, image, regions=False):
        return self.logits_of_image, None


def test_passes_are_shown_one_by_one():
    rng = np.random.default_rng(0)
    members = [torch.from_numpy(rng.normal(size=(4, 5, 6)).astype(np.float32)) for _ in range(5)]
    folded = FoldedPredictor([Recorded(each) for each in members], "ensemble", (None,) * 5)
    uncertainty = folded.predict(None, Wanted(tau=0.5, measure=Disagreement())).uncertainty
    votes = np.stack([each.argmax(0).numpy() for each in members])
    most = np.array([(votes == c).sum(0) for c in range(4)]).max(0)
    assert uncertainty.levels * uncertainty.unit == pytest.approx(1 - most / 5, abs=1e-4)
    assert uncertainty.levels.dtype == np.uint16


def test_a_single_prediction_is_one_pass():
    class Doubt(Disagreement):
        def values(self, mean):
            assert int(self.votes.sum(0).max()) == 1
            return 1 - mean.amax(0)

    logits = torch.randn(3, 4, 5)
    uncertainty = decode(logits, Wanted(measure=Doubt())).uncertainty
    expected = 1 - logits.softmax(0).amax(0).numpy()
    assert uncertainty.levels * uncertainty.unit == pytest.approx(expected, abs=1e-4)


def giving(values, greatest=1.0):
    parts = {"add": lambda *_: None, "values": lambda _, mean: values(mean), "greatest": greatest}
    return type("Mine", (OwnMeasure,), parts)()


@pytest.mark.parametrize(
    ("measure", "told"),
    [
        (giving(lambda mean: mean), "Mine.values gave the shape .* give one value for each"),
        (giving(lambda mean: mean[0] / 0 - mean[1] / 0), "gave NaN or infinite values; give numbers from 0 to 1"),
    ],
)
def test_wrong_values_are_told(measure, told):
    with pytest.raises(UserError, match=told):
        decode(torch.zeros(2, 3), Wanted(measure=measure))
    with pytest.raises(AssertionError, match="must give"):
        check_measure(measure)


def test_measures_are_tried():
    check_measure(Disagreement())
    with pytest.raises(AssertionError, match="set `greatest` to an upper bound"):
        check_measure(giving(lambda mean: 3 * mean[0]))
    check_measure(giving(lambda mean: 3 * mean[0], greatest=3.0))
    with pytest.raises(AssertionError, match="raised KeyError"):
        check_measure(giving(lambda mean: {}[0]))
