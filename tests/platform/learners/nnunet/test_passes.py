"""Volumes predicted in several passes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from decomp.platform.errors import UserError
from decomp.platform.learners import Training
from decomp.platform.learners.inference.passes import FoldedPredictor
from decomp.platform.learners.nnunet import NnUNet
from decomp.platform.learners.nnunet.prediction import NnUNetPredictor
from decomp.platform.learners.nnunet.prepared import PreparedVolumes
from decomp.platform.ledger import Ledger
from decomp.platform.metrics import confusion_matrix
from decomp.platform.passes import Passes, flips
from decomp.platform.predictions import LEVELS, Measure, Wanted
from decomp.platform.regions import Region

WANTED = Wanted(tau=0.7, measure=Measure.MUTUAL_INFORMATION, confidence=True, regions=True)
IMAGE = "case/02"


@pytest.fixture(scope="module")
def models(learner: NnUNet, volumes: PreparedVolumes, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two brief trainings with dropout."""
    folder = tmp_path_factory.mktemp("dropping")
    ledger = Ledger.whole({image: volumes.shape(image) for image in volumes.ids("train", 0)})
    dropping = replace(learner, dropout=0.3, min_epochs=2)
    for seed in range(2):
        dropping.fit(volumes, Training(ledger, np.random.default_rng(seed)), folder / str(seed))
    return [folder / str(seed) for seed in range(2)]


@pytest.fixture(scope="module")
def members(learner: NnUNet, volumes: PreparedVolumes, models: list[Path]) -> list[NnUNetPredictor]:
    loaded = [learner.load(model, volumes, "cpu") for model in models]
    assert all(isinstance(member, NnUNetPredictor) for member in loaded)
    return loaded  # type: ignore[return-value]


def exclusive(heads):
    """Probabilities of the classes from the logits of the nested heads."""
    k, m, t = 1 / (1 + np.exp(-heads.double().numpy()))
    m = np.minimum(m, k)
    t = np.minimum(t, m)
    return np.stack([1 - k, k - m, t, m - t])


def check(prediction, outputs):
    each = [exclusive(heads) for heads in outputs]
    mean = np.mean(each, axis=0)
    entropies = [-(p * np.log(np.maximum(p, 1e-300))).sum(0) for p in (mean, *each)]
    np.testing.assert_allclose(prediction.confidence, mean.max(0), atol=1e-5)
    information = prediction.uncertainty.levels * prediction.uncertainty.unit
    np.testing.assert_allclose(
        information, np.maximum(entropies[0] - np.mean(entropies[1:], axis=0), 0), atol=4 * np.log(4) / LEVELS
    )
    assert information.max() > 1e-3


def test_dropout_passes_have_dropout_on(members: list[NnUNetPredictor], volumes: PreparedVolumes) -> None:
    model, image = members[0], volumes.image(IMAGE)
    assert any(isinstance(module, nn.Dropout3d) for module in model.network.modules())
    prediction = FoldedPredictor([model], "mc-dropout", (1, 2, 3)).predict(image, WANTED)
    outputs = []
    for seed in (1, 2, 3):
        with model.computing(seed), model.dropping():
            outputs.append(model.forward(image)[0])
    check(prediction, outputs)
    with model.computing():
        plain, again = (model.forward(image)[0] for _ in range(2))
    assert torch.equal(plain, again)  # it is off again
    assert not any(torch.equal(plain, heads) for heads in outputs)


def test_flips_are_mapped_back(members: list[NnUNetPredictor], volumes: PreparedVolumes) -> None:
    model, image = members[0], volumes.image(IMAGE)
    prediction = FoldedPredictor([model], "test-time-augmentation", (None,) * 8).predict(image, WANTED)
    outputs = []
    with model.computing():
        for axes in flips(3):
            heads = model.forward(np.flip(image, axes))[0]
            outputs.append(torch.flip(heads, [axis + 1 for axis in axes]))
    check(prediction, outputs)
    region = Region(IMAGE, (3, 4, 5), (1, 8, 8))
    alone = model.predict(image, WANTED)
    assert np.array_equal(prediction.regions.features([region]), alone.regions.features([region]))


def test_the_mean_is_scored_in_the_voxels_of_the_volume(
    members: list[NnUNetPredictor], volumes: PreparedVolumes
) -> None:
    image = volumes.image(IMAGE)
    ensemble = FoldedPredictor(members, "ensemble", (None, None))
    with members[0].computing():
        outputs = [member.forward(image)[0] for member in members]
    check(ensemble.predict(image, WANTED), outputs)
    volume, grid = volumes.geometry(IMAGE), volumes.grid(IMAGE)
    resample = members[0]._windows.configuration_manager.resampling_fn_probabilities
    resampled = [torch.as_tensor(resample(heads, volume.shape, grid.voxel, volume.voxel)) for heads in outputs]
    mean = torch.stack(resampled).float().sigmoid().mean(0).numpy()
    labels = np.zeros(volume.shape, np.uint8)
    for probabilities, label in zip(mean, volumes.heads.exclusive, strict=True):
        labels[probabilities > 0.5] = label
    expected = confusion_matrix(volumes.source.labels(IMAGE), labels, len(volumes.classes))
    found = ensemble.evaluate(volumes, IMAGE, image)
    assert np.abs(found - expected).sum() <= 4  # a voxel of 0.5 may fall on either side
    assert not np.array_equal(found, members[0].evaluate(volumes, IMAGE, image))


def test_without_dropout_the_plans_are_nnunets(learner: NnUNet, volumes: PreparedVolumes) -> None:
    planned = [replace(learner, dropout=share)._plans(volumes) for share in (0.0, 0.2)]
    kwargs = [next(iter(plans["configurations"].values()))["architecture"]["arch_kwargs"] for plans in planned]
    assert kwargs[0]["dropout_op"] is kwargs[0]["dropout_op_kwargs"] is None
    assert kwargs[1]["dropout_op_kwargs"] == {"p": 0.2}


def test_passes_that_would_be_equal_are_refused(learner: NnUNet) -> None:
    augmented = Passes("test-time-augmentation", 8)
    learner.check_passes(augmented)
    with pytest.raises(UserError, match=r"learner.mirroring: averages every pass over the flips already"):
        replace(learner, mirroring=True).check_passes(augmented)
    with pytest.raises(UserError, match=r"passes.n: these images have 4 flips, not 8"):
        replace(learner, configuration="2d", patch=(24, 24)).check_passes(augmented)
    with pytest.raises(UserError, match=r"learner.dropout: is 0"):
        learner.check_passes(Passes("mc-dropout"))
    replace(learner, dropout=0.1).check_passes(Passes("mc-dropout"))
