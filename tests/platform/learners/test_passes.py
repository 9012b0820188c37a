"""Several passes with the networks of all learners, whose weights are random here."""

import functools

import numpy as np
import pytest
import torch
from helpers.toy_graphs import random_graph
from torch import nn

from decomp.platform.learners.hactnet import HactNet
from decomp.platform.learners.inference.passes import FoldedPredictor
from decomp.platform.learners.inference.rois import RoiPredictor
from decomp.platform.learners.inference.segmentation import SegmentationPredictor
from decomp.platform.learners.mlp import Mlp
from decomp.platform.learners.networks import hactnet, mlp, smp, unet, upernet
from decomp.platform.learners.networks.internimage import InternImage
from decomp.platform.predictions import LEVELS, Measure, Wanted
from decomp.platform.regions import Region

WANTED = Wanted(tau=0.3, measure=Measure.MUTUAL_INFORMATION, confidence=True, regions=True)
DROPOUTS = (nn.Dropout, nn.Dropout2d)
SEEDS = (11, 12, 13)
N = 4  # classes


def segmentation(network):
    return SegmentationPredictor(network.eval(), torch.device("cpu"), "network", 1)


def internimage():
    backbone = InternImage(3, 8, (1, 1, 1, 1), (1, 1, 1, 1), drop_path=0.9)
    return upernet.Network(backbone, 3, N, 8, 8, 0.3)


def rois(learner, network):
    return RoiPredictor(network.eval(), learner.inputs, torch.device("cpu"), 1)


MAKERS = {
    "unet": lambda: segmentation(unet.Network(3, N, (4, 8), 0.3)),
    "smp": lambda: segmentation(smp.Network("fpn", "resnet18", 3, N, 0.3)),
    "upernet": lambda: segmentation(internimage()),
    "mlp": lambda: rois(Mlp(), mlp.Network(6, N, (8, 8), 0.3)),
    "hactnet": lambda: rois(HactNet(), hactnet.Network(5, 3, N, 2, 8, 8, True, 0.3)),
}
ON_IMAGES = [name for name in MAKERS if name not in ("mlp", "hactnet")]


@functools.cache
def models(name, n=3):
    """Predictors with weights of their own, which differ enough to disagree."""
    made = []
    for seed in range(n):
        torch.manual_seed(seed)
        predictor = MAKERS[name]()
        with torch.no_grad():
            for parameter in predictor.network.parameters():
                parameter.mul_(1.5)
        made.append(predictor)
    return made


def image_of(name):
    rng = np.random.default_rng(0)
    if name == "mlp":
        return rng.normal(size=(9, 6)).astype(np.float32)
    if name == "hactnet":
        return tuple(random_graph(rng, 4 + k, 2 + k % 3) for k in range(6))
    return rng.integers(0, 256, (40, 56, 3)).astype(np.uint8)


def check(prediction, outputs):
    """Compare with the definitions, given each pass's logits."""
    each = [values.double().softmax(0).numpy() for values in outputs]
    mean = np.mean(each, axis=0)
    entropies = [-(p * np.log(np.maximum(p, 1e-300))).sum(0) for p in (mean, *each)]
    assert prediction.confidence == pytest.approx(mean.max(0), rel=1e-4)
    information = prediction.uncertainty.levels * prediction.uncertainty.unit
    assert information == pytest.approx(entropies[0] - np.mean(entropies[1:], axis=0), abs=3 * np.log(N) / LEVELS)
    assert information.max() > 2e-4  # they disagree


@pytest.mark.parametrize("name", MAKERS)
def test_dropout_passes_have_dropout_on_and_nothing_else(name):
    model, image = models(name)[0], image_of(name)
    before = {key: value.clone() for key, value in model.network.state_dict().items()}
    prediction = FoldedPredictor([model], "mc-dropout", SEEDS).predict(image, WANTED)
    outputs = []
    for seed in SEEDS:
        for module in model.network.modules():
            module.training = isinstance(module, DROPOUTS)
        torch.manual_seed(seed)
        with torch.inference_mode():
            outputs.append(model.forward(image)[0])
        model.network.eval()
    check(prediction, outputs)
    assert all(torch.equal(value, before[key]) for key, value in model.network.state_dict().items())


@pytest.mark.parametrize("name", MAKERS)
def test_models_of_an_ensemble_are_averaged(name):
    image = image_of(name)
    prediction = FoldedPredictor(models(name), "ensemble", (None,) * 3).predict(image, WANTED)
    with torch.inference_mode():
        check(prediction, [model.forward(image)[0] for model in models(name)])
    region = Region("a", (0,), (1,)) if name in ("mlp", "hactnet") else Region("a", (3, 4), (9, 8))
    alone = models(name)[0].predict(image, WANTED)
    assert np.array_equal(prediction.regions.features([region]), alone.regions.features([region]))


@pytest.mark.parametrize("name", ON_IMAGES)
def test_flips_are_averaged(name):
    model, image = models(name)[0], image_of(name)
    prediction = FoldedPredictor([model], "test-time-augmentation", (None,) * 4).predict(image, WANTED)
    outputs = []
    with torch.inference_mode():
        for axes in [(), (1,), (0,), (0, 1)]:
            flipped = np.ascontiguousarray(np.flip(image, axes))
            outputs.append(model.forward(flipped)[0].flip([axis + 1 for axis in axes]))
    check(prediction, outputs)
