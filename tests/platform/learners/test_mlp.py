from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import pytest
import safetensors.torch
import torch
from helpers.trainings import scrambled, trained
from torch.nn import functional

from decomp.platform.components import build_learner
from decomp.platform.datasets import Dataset, Split
from decomp.platform.datasets.base import Task
from decomp.platform.datasets.formats.graphs import RoiGraph
from decomp.platform.errors import UserError
from decomp.platform.grid import Component
from decomp.platform.learners.mlp import Mlp
from decomp.platform.learners.networks.mlp import Network
from decomp.platform.ledger import Annotation, Ledger
from decomp.platform.predictions import Measure, Wanted
from decomp.platform.randomness import stream
from decomp.platform.regions import Region

FAST = Mlp(epochs=8, batch=4, widths=(8, 6), learning_rate=0.01)
EVERYTHING = Wanted(tau=0.7, measure=Measure.ENTROPY, confidence=True, regions=True)


@dataclass(frozen=True)
class Vectors(Dataset):
    """ROIs with features of any scale around a mean of their class; the last feature is constant."""

    task: ClassVar[Task] = "roi"
    classes = ("a", "b", "c")
    features: int = 6

    def ids(self, split: Split, fold: int) -> tuple[str, ...]:
        return tuple(f"{split}-{index}" for index in range(6))

    def shape(self, image: str) -> tuple[int, ...]:
        return (7,)

    def image(self, image: str) -> npt.NDArray[np.float32]:
        values = stream(0, "noise", image=image).normal(size=(7, self.features))
        values += 2 * np.eye(3, self.features)[self.truth(image)]
        values[:, -1] = 0.3
        return (1000 + 50 * values).astype(np.float32)

    def labels(self, image: str) -> npt.NDArray[np.uint8]:
        return self.truth(image)

    def truth(self, image: str) -> npt.NDArray[np.uint8]:
        return stream(0, "classes", image=image).integers(0, 3, 7).astype(np.uint8)

    def fingerprint(self) -> str:
        return "0"


WHOLE = Ledger.whole({f"{split}-{index}": (7,) for split in ("train", "validation") for index in range(6)})
LEDGER = Ledger.of(
    Annotation(Region(f"{split}-{index}", (start,), (1,)), 1, start)
    for split in ("train", "validation")
    for index in range(4)
    for start in (1, 4, 5)
)


def fitted(
    path: Path, learner: Mlp = FAST, dataset: Dataset | None = None, ledger: Ledger = LEDGER, **options
) -> bytes:
    return trained(learner, dataset or Vectors(), ledger, path, **options)


def accuracy(learner: Mlp, checkpoint: Path, split: Split = "train") -> float:
    data = Vectors()
    predictor = learner.load(checkpoint, data, "cpu")
    return float(
        np.mean([predictor.predict(data.image(s), Wanted()).labels == data.truth(s) for s in data.ids(split, 0)])
    )


@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_gradients_are_those_of_autograd(dropout):
    network = Network(5, 3, (7, 4), dropout).double().train()
    inputs, labels = torch.randn(9, 5, dtype=torch.float64), torch.randint(0, 3, (9,))
    torch.manual_seed(1)
    expected = functional.cross_entropy(network(inputs), labels)
    (gradient,) = torch.autograd.grad(expected, [network.weights])
    descend = network.descent()
    for _ in range(2):  # nothing is left over from the first
        torch.manual_seed(1)  # drops the same activations
        torch.testing.assert_close(descend(inputs, labels), expected.detach())
        torch.testing.assert_close(network.weights.grad, gradient)


def test_dropout_keeps_the_mean():
    network = Network(5, 3, (2000,), 0.4)
    inputs = torch.ones(1, 5)
    dropped, whole = network.train().embed(inputs), network.eval().embed(inputs)
    assert (dropped[whole > 0] == 0).float().mean().item() == pytest.approx(0.4, abs=0.1)
    assert dropped.mean().item() == pytest.approx(whole.mean().item(), rel=0.2)


def test_forward_pass_is_that_of_linear_layers():
    network = Network(5, 3, (7, 4), dropout=0.5).eval()
    inputs = x = torch.randn(9, 5)
    parts = torch.split(network.weights.detach(), [35, 7, 28, 4, 12, 3])
    for k, (n, m) in enumerate([(5, 7), (7, 4), (4, 3)]):
        x = (x.relu() if k else x) @ parts[2 * k].view(m, n).T + parts[2 * k + 1]
    torch.testing.assert_close(network(inputs), x)


def test_learns_separable_rois(tmp_path):
    learner = replace(FAST, epochs=60)
    fitted(tmp_path / "model", learner, ledger=WHOLE)
    fitted(tmp_path / "untrained", replace(FAST, epochs=1, learning_rate=1e-9), ledger=WHOLE)
    assert accuracy(learner, tmp_path / "model", "test") > 0.7
    assert accuracy(learner, tmp_path / "untrained", "test") < 0.6


def test_features_of_any_scale_are_standardised(tmp_path):
    fitted(tmp_path / "a")
    with safetensors.safe_open(tmp_path / "a", framework="np") as file:
        mean, std = file.get_tensor("mean"), file.get_tensor("std")
    data = Vectors()
    rows = np.concatenate([data.image(f"train-{index}")[[1, 4, 5]] for index in range(4)])
    assert mean == pytest.approx(rows.mean(0), rel=1e-5)
    assert std[:-1] == pytest.approx(rows.std(0)[:-1], rel=1e-3)
    assert std[-1] == 1


def test_same_inputs_give_the_same_bytes(tmp_path):
    torch.manual_seed(1)
    first = fitted(tmp_path / "a")
    torch.manual_seed(2)
    assert fitted(tmp_path / "b") == first
    assert fitted(tmp_path / "c", seed=1) != first


def test_labels_of_other_rois_never_matter(tmp_path):
    assert fitted(tmp_path / "a") == fitted(tmp_path / "b", dataset=scrambled(Vectors(), LEDGER))


@pytest.mark.parametrize("n", [1, 2, 5])
def test_few_rois_train(tmp_path, n):
    ledger = Ledger.of(Annotation(Region("train-0", (k,), (1,)), 1, k) for k in range(n))
    fitted(tmp_path / "a", ledger=ledger)
    prediction = FAST.load(tmp_path / "a", Vectors(), "cpu").predict(Vectors().image("test-0"), EVERYTHING)
    assert np.isfinite(prediction.confidence).all()


def test_warm_start_goes_on_from_the_weights(tmp_path):
    fitted(tmp_path / "cold", replace(FAST, epochs=60), ledger=WHOLE)
    brief = replace(FAST, epochs=1, learning_rate=1e-6)
    fitted(tmp_path / "warm", brief, warm_start=tmp_path / "cold")
    fitted(tmp_path / "scratch", brief)
    assert accuracy(brief, tmp_path / "warm") > accuracy(brief, tmp_path / "scratch") + 0.2
    with pytest.raises(UserError, match="widths"):
        fitted(tmp_path / "a", replace(FAST, widths=(9,)), warm_start=tmp_path / "cold")


def test_prediction_has_the_documented_types_and_ranges(tmp_path):
    fitted(tmp_path / "a")
    prediction = FAST.load(tmp_path / "a", Vectors(), "cpu").predict(Vectors().image("test-0"), EVERYTHING)
    assert prediction.labels.shape == prediction.confidence.shape == prediction.uncertainty.levels.shape == (7,)
    assert prediction.counts.sum() == 7
    assert ((prediction.confidence >= 1 / 3) & (prediction.confidence <= 1)).all()


def test_features_and_gradients_of_rois(tmp_path):
    fitted(tmp_path / "a", replace(FAST, epochs=30), ledger=WHOLE)
    image = Vectors().image("test-0")
    prediction = FAST.load(tmp_path / "a", Vectors(), "cpu").predict(image, EVERYTHING)
    places = [Region("test-0", (k,), (1,)) for k in (3, 0, 6)]
    features = prediction.regions.features(places)
    assert features.shape == (3, 6)
    assert np.linalg.norm(features, axis=1) == pytest.approx(1, abs=1e-5)
    pooled, slopes = prediction.regions.gradients(places)
    assert np.array_equal(pooled, features)
    assert slopes.shape == (3, 3)
    for row, place in zip(slopes, places, strict=True):
        k = place.start[0]
        assert row[prediction.labels[k]] == pytest.approx(1 - prediction.confidence[k], abs=1e-6)
        assert row.sum() == pytest.approx(0, abs=1e-6)


def test_order_of_the_rois_makes_no_difference(tmp_path):
    fitted(tmp_path / "a")
    predictor, image = FAST.load(tmp_path / "a", Vectors(), "cpu"), Vectors().image("test-0")
    order = np.random.default_rng(0).permutation(7)
    straight, shuffled = (predictor.predict(x, EVERYTHING).confidence for x in (image, image[order]))
    assert shuffled == pytest.approx(straight[order], abs=1e-6)


def test_nan_in_the_features_is_an_error(tmp_path):
    fitted(tmp_path / "a")
    image = Vectors().image("test-0").copy()
    image[3, 2] = np.nan
    with pytest.raises(FloatingPointError, match="NaN"):
        FAST.load(tmp_path / "a", Vectors(), "cpu").predict(image, Wanted())


def test_other_features_are_user_errors(tmp_path):
    class Graphs(Vectors):
        def image(self, image: str):
            none = np.zeros((2, 0), np.int64)
            graph = RoiGraph(
                np.ones((1, 2), np.float32), none, np.ones((1, 2), np.float32), none, np.zeros(1, np.int64)
            )
            return (graph,) * 7

    fitted(tmp_path / "a")
    with pytest.raises(UserError, match="6 features a ROI, not 4"):
        FAST.load(tmp_path / "a", Vectors(), "cpu").predict(Vectors(features=4).image("test-0"), Wanted())
    with pytest.raises(UserError, match="hactnet"):
        fitted(tmp_path / "b", dataset=Graphs())


def test_foreign_files_are_user_errors(tmp_path):
    class Named(Vectors):
        classes = ("a", "b", "d")

    (tmp_path / "garbage").write_bytes(b"garbage")
    safetensors.torch.save_file({"a": torch.zeros(1)}, tmp_path / "foreign")
    for name in ("garbage", "foreign", "missing"):
        with pytest.raises(UserError, match=name):
            FAST.load(tmp_path / name, Vectors(), "cpu")
    fitted(tmp_path / "a")
    with pytest.raises(UserError, match="a, b, d"):
        FAST.load(tmp_path / "a", Named(), "cpu")


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("epochs", 0),
        ("batch", 0),
        ("widths", ()),
        ("widths", (4, 0)),
        ("learning_rate", float("nan")),
        ("weight_decay", -1.0),
        ("dropout", 1.0),
        ("threads", 0),
    ],
)
def test_senseless_options_are_user_errors(option, value):
    with pytest.raises(UserError, match=f"learner.{option}"):
        build_learner(Component("mlp", {option: value}))


def test_graphs_are_a_problem_that_is_told_before_any_training():
    class Graphs(Vectors):
        def image(self, image):
            return (RoiGraph(*5 * [np.zeros((2, 2))]),) * 7

    assert Mlp().problems(Vectors()) == []
    (problem,) = Mlp().problems(Graphs())
    assert problem.startswith("learner: The MLP needs a vector of features for each ROI")
    assert problem.endswith("take hactnet for graphs. (train-0)")
