from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import pytest
import torch
from helpers.toy_rois import Slides, whole

from decomp.platform.datasets import IGNORE, Dataset, Split
from decomp.platform.datasets.base import Task
from decomp.platform.errors import UserError
from decomp.platform.learners import Training, rois
from decomp.platform.learners.mlp import Mlp
from decomp.platform.learners.training.annotated_rois import annotated_rois
from decomp.platform.ledger import Ledger
from decomp.platform.metrics import confusion_matrix, weighted_f1
from decomp.platform.predictions import Wanted
from decomp.platform.randomness import stream

FAST = Mlp(epochs=4, batch=4, widths=(8,), learning_rate=0.02)


@dataclass(frozen=True)
class Contrary(Slides):
    """Every ROI of the validation split has the next class."""

    def labels(self, image: str) -> npt.NDArray[np.uint8]:
        return (self.truth(image) + ("validation" in image)) % np.uint8(3)


def training(ledger: Ledger, **options: object) -> Training:
    return Training(ledger, stream(0, "training"), **options)  # type: ignore[arg-type]


def score(learner: Mlp, checkpoint, dataset: Dataset, split: Split) -> float:
    predictor, confusion = learner.load(checkpoint, dataset, "cpu"), np.zeros((3, 3), np.int64)
    for slide in dataset.ids(split, 0):
        predicted = predictor.predict(dataset.image(slide), Wanted()).labels
        confusion += confusion_matrix(dataset.labels(slide), predicted, 3)
    return weighted_f1(confusion)


def test_nothing_annotated_is_a_user_error(tmp_path):
    class Ignored(Slides):
        def labels(self, image: str) -> npt.NDArray[np.uint8]:
            return np.full(5, IGNORE, np.uint8)

    for dataset, ledger in (
        (Slides(), Ledger()),
        (Slides(), whole("validation")),
        (Slides(), whole("train", fold=1)),
        (Ignored(), whole("train")),
    ):
        with pytest.raises(UserError, match="nothing to train on"):
            FAST.fit(dataset, training(ledger), tmp_path / "a")


def test_labels_beyond_the_classes_are_a_user_error(tmp_path):
    class Wrong(Slides):
        def labels(self, image: str) -> npt.NDArray[np.uint8]:
            return super().labels(image) + np.uint8(1)

    with pytest.raises(UserError, match="beyond the 3 classes"):
        FAST.fit(Wrong(), training(whole("train")), tmp_path / "a")


def test_data_sets_of_pixels_are_a_user_error(tmp_path):
    class Pixels(Slides):
        task: ClassVar[Task] = "segmentation"

    with pytest.raises(UserError, match="data sets of ROIs"):
        FAST.fit(Pixels(), training(whole("train")), tmp_path / "a")


@pytest.mark.parametrize(
    ("scores", "best"), [([0.1, 0.5, 0.5, 0.2], 2), ([0.9, 0.5, 0.5, 0.2], 0), ([0.0, 0.0, 0.0, 0.0], 3)]
)
def test_best_epoch_is_kept_and_the_later_of_equals(monkeypatch, scores, best):
    states: list[torch.Tensor] = []
    network = FAST.new_network(Slides().image("train-0-0"), 3)
    work = training(whole("train", "validation"), progress=lambda _: states.append(network.weights.detach().clone()))
    answers = iter(scores)
    monkeypatch.setattr(rois, "weighted_f1", lambda confusion: next(answers))
    FAST.train(network, *(annotated_rois(Slides(), work, split) for split in ("train", "validation")), work)
    assert len(states) == 4
    assert torch.equal(network.weights, states[best])
    assert not any(torch.equal(network.weights, state) for k, state in enumerate(states) if k != best)


def test_without_annotated_validation_rois_the_last_epoch_is_kept(monkeypatch):
    states: list[torch.Tensor] = []
    network = FAST.new_network(Slides().image("train-0-0"), 3)
    work = training(whole("train"), progress=lambda _: states.append(network.weights.detach().clone()))
    FAST.train(network, *(annotated_rois(Slides(), work, split) for split in ("train", "validation")), work)
    assert torch.equal(network.weights, states[-1])


def test_validation_split_chooses_the_checkpoint(tmp_path):
    learner = replace(FAST, epochs=40)
    for name, ledger in (("blind", whole("train")), ("chosen", whole("train", "validation"))):
        learner.fit(Contrary(), training(ledger), tmp_path / name)
    assert score(learner, tmp_path / "blind", Contrary(), "train") > 0.9
    chosen, blind = (score(learner, tmp_path / name, Contrary(), "validation") for name in ("chosen", "blind"))
    assert chosen > blind + 0.1


def test_learning_rate_falls_to_zero_along_half_a_cosine(monkeypatch, tmp_path):
    seen: list[float] = []
    step = torch.optim.Adam.step

    def spy(self, *args):
        seen.append(self.param_groups[0]["lr"])
        return step(self, *args)

    monkeypatch.setattr(torch.optim.Adam, "step", spy)
    FAST.fit(Slides(), training(whole("train")), tmp_path / "a")
    per_epoch = 0.02 * (1 + np.cos(np.pi * np.arange(4) / 4)) / 2
    assert seen == pytest.approx(np.repeat(per_epoch, 4))  # 15 ROIs: batches of 4, 4, 4 and 3


def test_divergence_is_an_error(tmp_path):
    with pytest.raises(RuntimeError, match="diverged"):
        replace(FAST, learning_rate=1e30).fit(Slides(), training(whole("train")), tmp_path / "a")


def test_progress_rises_to_one(tmp_path):
    seen: list[float] = []
    FAST.fit(Slides(), training(whole("train"), progress=seen.append), tmp_path / "a")
    assert seen == [0.25, 0.5, 0.75, 1]
