"""nnU-Net on a CUDA device, which is pretended: nothing is left on the CPU, and predictions are the CPU's."""

from pathlib import Path

import numpy as np
import pytest
from helpers.pretended_cuda import OnCuda, pretended_cuda

from decomp.platform.learners import Training
from decomp.platform.learners.inference.passes import FoldedPredictor
from decomp.platform.learners.nnunet import NnUNet
from decomp.platform.learners.nnunet.prepared import PreparedVolumes
from decomp.platform.ledger import Ledger
from decomp.platform.predictions import Measure, Wanted
from decomp.platform.regions import Region

WANTED = Wanted(tau=0.4, measure=Measure.MUTUAL_INFORMATION, confidence=True, regions=True, maps=True)


def test_trains_with_everything_on_the_device(brief: NnUNet, volumes: PreparedVolumes, tmp_path: Path) -> None:
    ledger = Ledger.whole({image: volumes.shape(image) for image in volumes.ids("train", 0)})
    with pretended_cuda():
        brief.fit(volumes, Training(ledger, np.random.default_rng(0), device="cuda"), tmp_path / "model")
    assert (tmp_path / "model").stat().st_size > 0


@pytest.mark.parametrize("n_models", [1, 2])
def test_predicts_what_the_cpu_predicts(learner: NnUNet, volumes: PreparedVolumes, model: Path, n_models: int) -> None:
    image = "case/02"
    pixels, regions = volumes.image(image), [Region(image, (4, 8, 8), (1, 8, 8))]

    def predicted(device: str):
        members = [learner.load(model, volumes, device) for _ in range(n_models)]
        predictor = members[0] if n_models == 1 else FoldedPredictor(members, "ensemble", (None,) * n_models)
        prediction = predictor.predict(pixels, WANTED)
        assert prediction.uncertainty is not None
        assert prediction.maps is not None
        assert prediction.regions is not None
        maps = [prediction.uncertainty, *(prediction.maps.class_entropy(c) for c in range(4))]
        return prediction, maps, prediction.regions.gradients(regions), predictor.evaluate(volumes, image, pixels)

    expected, maps, described, confusion = predicted("cpu")
    with pretended_cuda():
        there, maps_there, described_there, confusion_there = predicted("cuda")
        assert all(isinstance(one.levels, OnCuda) for one in maps_there)
        means = [one.mean for one in maps_there]
    # On CUDA it computes in half precision.
    assert (there.labels != expected.labels).mean() < 0.02
    assert means == pytest.approx([one.mean for one in maps], abs=0.01)
    assert np.abs(confusion_there - confusion).sum() < 0.02 * confusion.sum()
    for values, values_there in zip(described, described_there, strict=True):
        assert values_there == pytest.approx(values, abs=0.05)
