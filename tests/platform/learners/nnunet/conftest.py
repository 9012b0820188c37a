"""One tiny nnU-Net, trained once for all tests."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers.toy_volumes import Ellipsoids

from decomp.platform.learners import Training
from decomp.platform.learners.nnunet import NnUNet
from decomp.platform.learners.nnunet.prepared import PreparedVolumes
from decomp.platform.ledger import Ledger

TINY = NnUNet(
    spacing=(5.0, 3.0, 3.0),
    patch=(16, 24, 24),
    batch=2,
    features=(8, 16),
    convolutions=1,
    min_epochs=12,
    epochs_per_region=0,
    iterations_per_epoch=10,
    learning_rate=0.1,
    momentum=0.9,
    mirroring=False,
)


@pytest.fixture(scope="session")
def learner(tmp_path_factory: pytest.TempPathFactory) -> NnUNet:
    return replace(TINY, cache=str(tmp_path_factory.mktemp("nnunet")))


@pytest.fixture(scope="session")
def brief(learner: NnUNet) -> NnUNet:
    """Three iterations only."""
    return replace(learner, min_epochs=1, iterations_per_epoch=3)


@pytest.fixture(scope="session")
def volumes(learner: NnUNet) -> PreparedVolumes:
    return learner.prepare(Ellipsoids())


@pytest.fixture(scope="session")
def model(learner: NnUNet, volumes: PreparedVolumes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trained on the full annotation."""
    file = tmp_path_factory.mktemp("model") / "model"
    ledger = Ledger.whole({image: volumes.shape(image) for image in volumes.ids("train", 0)})
    learner.fit(volumes, Training(ledger, np.random.default_rng(0)), file)
    return file
