import weakref

import numpy as np
import pytest
import torch
from helpers.toy_passes import ForwardMean
from helpers.toys import Blobs, NearestMean
from torch import nn

from decomp.platform.learners.inference.bottleneck import Bottleneck
from decomp.platform.learners.inference.passes import FoldedPredictor, ForwardPredictor, dropout_on
from decomp.platform.metrics import confusion_matrix
from decomp.platform.predictions import LEVELS, Measure, Wanted
from decomp.platform.regions import Region

WANTED = Wanted(tau=0.5, measure=Measure.MUTUAL_INFORMATION, confidence=True, regions=True)
IMAGE = Blobs().image("train-000")
NAMES = ("labels", "counts", "confidence")
MODEL = ForwardMean(np.array([0.0, 1.0, 2.0, 3.0]), 0.3)
OTHER = ForwardMean(np.array([0.2, 0.9, 2.4, 2.6]), 0.3)


def softmaxes(*logits):
    return [values.softmax(0).numpy() for values in logits]


def check_mean(prediction, each):
    mean = np.mean(each, axis=0)
    assert np.array_equal(prediction.labels, mean.argmax(0))
    assert prediction.confidence == pytest.approx(mean.max(0), rel=1e-5)
    entropies = [-(p * np.log(np.maximum(p, 1e-30))).sum(0) for p in (mean, *each)]
    information = entropies[0] - np.mean(entropies[1:], axis=0)
    levels = prediction.uncertainty.levels * prediction.uncertainty.unit
    assert levels == pytest.approx(information, abs=2 * np.log(4) / LEVELS)
    return mean


def test_an_ensemble_is_the_mean_of_its_models():
    prediction = FoldedPredictor([MODEL, OTHER], "ensemble", (None, None)).predict(IMAGE, WANTED)
    mean = check_mean(prediction, softmaxes(MODEL.forward(IMAGE)[0], OTHER.forward(IMAGE)[0]))
    region = Region("train-000", (3, 5), (8, 9))
    features, residuals = prediction.regions.gradients([region])
    window = mean[(slice(None), *region.slices)].reshape(4, -1)
    predicted = np.bincount(prediction.labels[region.slices].ravel(), minlength=4) / region.area
    assert residuals[0] == pytest.approx(predicted - window.mean(1), abs=1e-5)
    alone = MODEL.predict(IMAGE, WANTED).regions
    assert np.array_equal(features, alone.gradients([region])[0])
    assert np.array_equal(prediction.regions.features([region]), alone.features([region]))


def test_flips_are_mapped_back():
    prediction = FoldedPredictor([MODEL], "test-time-augmentation", (None,) * 4).predict(IMAGE, WANTED)
    flipped = [IMAGE, IMAGE[:, ::-1], IMAGE[::-1], IMAGE[::-1, ::-1]]
    outputs = [MODEL.forward(image)[0].numpy() for image in flipped]
    back = [outputs[0], outputs[1][:, :, ::-1], outputs[2][:, ::-1], outputs[3][:, ::-1, ::-1]]
    check_mean(prediction, softmaxes(*(torch.from_numpy(np.ascontiguousarray(values)) for values in back)))
    two = FoldedPredictor([MODEL], "test-time-augmentation", (None,) * 2).predict(IMAGE, WANTED)
    check_mean(two, softmaxes(*(torch.from_numpy(np.ascontiguousarray(values)) for values in back[:2])))


def test_dropout_passes_depend_on_their_seeds_alone():
    one, again, other = (
        FoldedPredictor([MODEL], "mc-dropout", seeds).predict(IMAGE, WANTED) for seeds in [(1, 2), (1, 2), (1, 3)]
    )
    for name in NAMES:
        assert np.array_equal(getattr(one, name), getattr(again, name))
    assert np.array_equal(one.uncertainty.levels, again.uncertainty.levels)
    assert (one.confidence != other.confidence).any()
    assert one.uncertainty.levels.max() > 100
    plain = MODEL.predict(IMAGE, WANTED)  # dropout is off again
    assert plain.confidence == pytest.approx(softmaxes(MODEL.forward(IMAGE)[0])[0].max(0), rel=1e-5)


def test_random_numbers_of_the_process_are_left_alone():
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    FoldedPredictor([MODEL], "mc-dropout", (1, 2)).predict(IMAGE, WANTED)
    assert torch.equal(torch.rand(4), expected)


def test_nothing_but_dropout_is_as_in_training():
    network = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2), nn.Dropout2d(0.5), nn.Sequential(nn.Dropout(0.1)))
    network.eval()
    with dropout_on(network):
        training = {type(module) for module in network.modules() if module.training}
    assert training == {nn.Dropout2d, nn.Dropout}
    assert not any(module.training for module in network.modules())


def test_the_mean_is_scored():
    dataset = Blobs()
    several = FoldedPredictor([MODEL, OTHER], "ensemble", (None, None))
    labels = several.predict(IMAGE, Wanted()).labels
    expected = confusion_matrix(dataset.labels("train-000"), labels, 4)
    assert np.array_equal(several.evaluate(dataset, "train-000", IMAGE), expected)


class Remembering(ForwardPredictor):
    """Knows how many of its outputs are in memory."""

    def __init__(self):
        super().__init__(nn.Identity(), torch.device("cpu"), 1)
        self.outputs, self.most = [], 0

    def forward(self, image, regions=False):
        logits = torch.zeros(3, *image.shape[:2])
        self.most = max(self.most, sum(output() is not None for output in self.outputs))
        self.outputs.append(weakref.ref(logits))
        return logits, Bottleneck(torch.zeros(1, 1, 1), (99.0, 99.0))


@pytest.mark.parametrize("method", ["ensemble", "mc-dropout", "test-time-augmentation"])
def test_no_pass_is_kept_while_the_next_is_made(method):
    model = Remembering()
    several = FoldedPredictor([model] * (4 if method == "ensemble" else 1), method, (None,) * 4)
    several.predict(IMAGE, WANTED)
    several.evaluate(Blobs(), "train-000", IMAGE)
    assert len(model.outputs) == 8
    assert model.most == 0


def test_a_model_of_one_pass_is_an_error_that_says_so():
    with pytest.raises(TypeError, match="NearestMean predicts in one pass; make it a ForwardPredictor"):
        FoldedPredictor([NearestMean(np.zeros(4))], "mc-dropout", (1, 2))
