from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import pytest
import safetensors.torch
import torch
from helpers.toy_graphs import NO_EDGES, published, random_graph
from helpers.trainings import scrambled, trained

import decomp.experiments
from decomp.experiments.schema import load_experiment
from decomp.platform.components import build_learner
from decomp.platform.datasets import Dataset, Split
from decomp.platform.datasets.base import Task
from decomp.platform.datasets.formats.graphs import RoiGraph
from decomp.platform.errors import UserError
from decomp.platform.grid import Component
from decomp.platform.learners.hactnet import HactNet
from decomp.platform.learners.networks.hactnet import Network
from decomp.platform.ledger import Annotation, Ledger
from decomp.platform.predictions import Measure, Wanted
from decomp.platform.randomness import stream
from decomp.platform.regions import Region

FAST = HactNet(epochs=3, batch=4, layers=2, width=8, learning_rate=0.01)
OUTPUT = {"output.weight", "output.bias"}
EVERYTHING = Wanted(tau=0.7, measure=Measure.ENTROPY, confidence=True, regions=True)


@dataclass(frozen=True)
class Tissue(Dataset):
    """Slides of graphs of 1 to 30 cells; the class shifts the cells' features."""

    task: ClassVar[Task] = "roi"
    classes = ("a", "b", "c")

    def ids(self, split: Split, fold: int) -> tuple[str, ...]:
        return tuple(f"{split}-{index}" for index in range(4))

    def shape(self, image: str) -> tuple[int, ...]:
        return (6,)

    def image(self, image: str) -> tuple[RoiGraph, ...]:
        rng = stream(0, "graphs", image=image)
        sizes = [(1, 1), (30, 5), (7, 3), (15, 4), (3, 1), (12, 2)]
        truth = self.truth(image)
        return tuple(random_graph(rng, *size, shift=1.5 * c) for size, c in zip(sizes, truth, strict=True))

    def labels(self, image: str) -> npt.NDArray[np.uint8]:
        return self.truth(image)

    def truth(self, image: str) -> npt.NDArray[np.uint8]:
        return stream(0, "classes", image=image).integers(0, 3, 6).astype(np.uint8)

    def fingerprint(self) -> str:
        return "0"


WHOLE = Ledger.whole({f"{split}-{index}": (6,) for split in ("train", "validation") for index in range(4)})
LEDGER = Ledger.of(
    Annotation(Region(f"{split}-{index}", (start,), (1,)), 1, start)
    for split in ("train", "validation")
    for index in range(2)
    for start in (1, 3, 4)
)


def fitted(
    path: Path, learner: HactNet = FAST, dataset: Dataset | None = None, ledger: Ledger = LEDGER, **options
) -> bytes:
    return trained(learner, dataset or Tissue(), ledger, path, **options)


def accuracy(learner: HactNet, checkpoint: Path) -> float:
    data = Tissue()
    predictor = learner.load(checkpoint, data, "cpu")
    slides = data.ids("train", 0)
    return float(
        np.mean([predictor.predict(data.image(slide), Wanted()).labels == data.truth(slide) for slide in slides])
    )


GRAPHS = [random_graph(np.random.default_rng(0), 6, 3)]


def sizes_of(network: Network) -> tuple[int, int, int, float, int]:
    layers = [*network.cells.layers, *network.tissues.layers]
    assert len({layer.mix.out_features for layer in layers}) == len({layer.dropout.p for layer in layers}) == 1
    adding = sum(layer.residual for layer in layers)
    return len(layers) // 2, layers[0].mix.out_features, network.hidden.out_features, layers[0].dropout.p, adding


def test_default_is_the_configuration_of_the_authors_of_decomp():
    assert sizes_of(HactNet().new_network(GRAPHS, 7)) == (4, 128, 128, 0.2, 2 * 3)
    preset = Path(decomp.experiments.__file__).with_name("bracs.yaml")
    assert build_learner(load_experiment(preset).learner) == HactNet()


def test_hactnet_as_its_authors_published_it():
    learner = HactNet(layers=3, width=64, head_width=128, dropout=0.0, residual=False)
    assert sizes_of(learner.new_network(GRAPHS, 7)) == (3, 64, 128, 0.0, 0)


def test_a_checkpoint_that_names_neither_head_nor_residual_has_neither():
    network = HactNet().described_network({"cell_features": 514, "tissue_features": 514, "layers": 4, "width": 96}, 7)
    assert isinstance(network, Network)
    assert network.cells.layers[0].aggregate.pre_nns[0][0].in_features == 2 * 514
    assert network.tissues.layers[0].aggregate.pre_nns[0][0].in_features == 2 * (514 + 96)
    assert sizes_of(network) == (4, 96, 96, 0.2, 0)


def test_begins_with_published_weights(tmp_path):
    learner = replace(FAST, residual=False, head_width=16)
    torch.save(published(learner.new_network(GRAPHS, 3)), tmp_path / "weights.pt")
    begun = replace(learner, pretrained=tmp_path / "weights.pt")
    weights = [begun.new_network(GRAPHS, 3).state_dict() for _ in range(2)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    of_others = begun.new_network(GRAPHS, 5).state_dict()
    assert {name for name in of_others if not torch.equal(of_others[name], weights[0][name])} == OUTPUT
    with pytest.raises(UserError, match=r"does not fit the network; of another shape: cells\.layers\.0"):
        replace(begun, width=4).new_network(GRAPHS, 3)
    with pytest.raises(UserError, match="there is no file"):
        replace(begun, pretrained=tmp_path / "none.pt")


def test_learns_separable_rois(tmp_path):
    learner = replace(FAST, epochs=25)
    fitted(tmp_path / "a", learner, ledger=WHOLE)
    assert accuracy(learner, tmp_path / "a") > 0.75


def test_same_inputs_give_the_same_bytes(tmp_path):
    torch.manual_seed(1)
    first = fitted(tmp_path / "a")
    torch.manual_seed(2)
    assert fitted(tmp_path / "b") == first
    assert fitted(tmp_path / "c", seed=1) != first


def test_labels_of_other_rois_never_matter(tmp_path):
    assert fitted(tmp_path / "a") == fitted(tmp_path / "b", dataset=scrambled(Tissue(), LEDGER))


def test_checkpoint_holds_the_whole_network(tmp_path):
    rois = [graph for slide in Tissue().ids("train", 0) for graph in Tissue().image(slide)]
    fitted(tmp_path / "a", ledger=WHOLE)
    predictor = FAST.load(tmp_path / "a", Tissue(), "cpu")
    loaded = predictor.network.state_dict()
    with safetensors.safe_open(tmp_path / "a", framework="pt") as file:
        assert set(file.keys()) == set(loaded)
        assert all(torch.equal(file.get_tensor(name), values) for name, values in loaded.items())
    degrees = np.concatenate([np.bincount(graph.cell_edges[1], minlength=len(graph.cells)) for graph in rois])
    for layer in predictor.network.cells.layers:
        assert layer.aggregate.aggr_module.avg_deg_log.item() == pytest.approx(np.log(degrees + 1).mean(), rel=1e-5)
    again = FAST.load(tmp_path / "a", Tissue(), "cpu")
    image = Tissue().image("test-0")
    assert np.array_equal(*(p.predict(image, EVERYTHING).confidence for p in (predictor, again)))


@pytest.mark.parametrize("places", [[0], [0, 4], [1]])
def test_few_rois_of_few_nodes_train(tmp_path, places):
    class Bare(Tissue):
        def image(self, image: str) -> tuple[RoiGraph, ...]:
            return tuple(replace(graph, cell_edges=NO_EDGES, tissue_edges=NO_EDGES) for graph in super().image(image))

    ledger = Ledger.of(Annotation(Region("train-0", (k,), (1,)), 1, k) for k in places)
    fitted(tmp_path / "a", dataset=Bare(), ledger=ledger)
    prediction = FAST.load(tmp_path / "a", Tissue(), "cpu").predict(Tissue().image("test-0"), EVERYTHING)
    assert np.isfinite(prediction.confidence).all()


def test_warm_start_goes_on_from_the_weights(tmp_path):
    fitted(tmp_path / "cold", replace(FAST, epochs=25), ledger=WHOLE)
    brief = replace(FAST, epochs=1, learning_rate=1e-6, dropout=0.0)
    fitted(tmp_path / "warm", brief, ledger=WHOLE, warm_start=tmp_path / "cold")
    fitted(tmp_path / "scratch", brief, ledger=WHOLE)
    assert accuracy(brief, tmp_path / "warm") > accuracy(brief, tmp_path / "scratch") + 0.2
    with pytest.raises(UserError, match="width"):
        fitted(tmp_path / "a", replace(FAST, width=4), warm_start=tmp_path / "cold")


@pytest.mark.parametrize("nodes_per_batch", [1, 20, 40, 1000])
def test_prediction_does_not_depend_on_the_chunks(tmp_path, nodes_per_batch):
    fitted(tmp_path / "a")
    image = Tissue().image("test-0")
    expected, found = (
        replace(FAST, nodes_per_batch=n).load(tmp_path / "a", Tissue(), "cpu").predict(image, EVERYTHING)
        for n in (10_000, nodes_per_batch)
    )
    assert found.confidence == pytest.approx(expected.confidence, abs=1e-5)
    places = [Region("test-0", (k,), (1,)) for k in range(6)]
    assert found.regions.features(places) == pytest.approx(expected.regions.features(places), abs=1e-4)


def test_chunks_hold_no_more_nodes_than_wanted():
    graphs = Tissue().image("test-0")
    network = FAST.new_network(graphs, 3)
    inputs = replace(FAST, nodes_per_batch=40).inputs(network, graphs, torch.device("cpu"))
    assert inputs.chunks() == [2, 3, 1]  # 2 + 35, 10 + 19 + 4 and 14 nodes
    assert [batch.n_rois for batch in inputs.batches(torch.arange(6), inputs.chunks())] == [2, 3, 1]


def test_features_and_gradients_of_rois(tmp_path):
    fitted(tmp_path / "a")
    prediction = FAST.load(tmp_path / "a", Tissue(), "cpu").predict(Tissue().image("test-0"), EVERYTHING)
    assert prediction.labels.shape == prediction.confidence.shape == prediction.uncertainty.levels.shape == (6,)
    assert prediction.counts.sum() == 6
    places = [Region("test-0", (k,), (1,)) for k in (3, 0, 5)]
    features = prediction.regions.features(places)
    assert features.shape == (3, 8)
    assert np.linalg.norm(features, axis=1) == pytest.approx(1, abs=1e-5)
    pooled, slopes = prediction.regions.gradients(places)
    assert np.array_equal(pooled, features)
    assert slopes.shape == (3, 3)
    for row, place in zip(slopes, places, strict=True):
        k = place.start[0]
        assert row[prediction.labels[k]] == pytest.approx(1 - prediction.confidence[k], abs=1e-6)
        assert row.sum() == pytest.approx(0, abs=1e-6)


def test_divergence_is_an_error(tmp_path):
    with pytest.raises(RuntimeError, match="diverged"):
        fitted(tmp_path / "a", replace(FAST, learning_rate=1e30))


def test_nan_in_the_features_is_an_error(tmp_path):
    fitted(tmp_path / "a")
    graphs = Tissue().image("test-0")
    graphs[2].tissues[0, 0] = np.nan
    with pytest.raises(FloatingPointError, match="NaN"):
        FAST.load(tmp_path / "a", Tissue(), "cpu").predict(graphs, Wanted())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cells": np.ones((7, 4), np.float32)}, "5 features a cell and 3 a tissue area, not 4 and 3"),
        ({"tissues": np.ones((3, 4), np.float32)}, "not 5 and 4"),
        ({"tissues": np.ones((0, 3), np.float32)}, "without nodes"),
        ({"cells": np.ones((0, 5), np.float32)}, "without nodes"),
        ({"cell_edges": np.array([[0], [7]])}, "nodes that it does not have"),
        ({"tissue_edges": np.array([[-1], [0]])}, "nodes that it does not have"),
        ({"assignment": np.full(7, 3)}, "nodes that it does not have"),
        ({"assignment": np.zeros(6, np.int64)}, "nodes that it does not have"),
    ],
)
def test_broken_graphs_are_user_errors(tmp_path, change, message):
    fitted(tmp_path / "a")
    graphs = list(Tissue().image("test-0"))
    graphs[2] = replace(graphs[2], **change)
    with pytest.raises(UserError, match=message):
        FAST.load(tmp_path / "a", Tissue(), "cpu").predict(tuple(graphs), Wanted())


def test_vectors_are_a_user_error(tmp_path):
    class Vectors(Tissue):
        def image(self, image: str) -> npt.NDArray[np.float32]:  # type: ignore[override]
            return np.zeros((6, 5), np.float32)

    with pytest.raises(UserError, match="take mlp"):
        fitted(tmp_path / "a", dataset=Vectors())


def test_foreign_files_are_user_errors(tmp_path):
    class Named(Tissue):
        classes = ("a", "b", "d")

    description = '{"format": "decomp-hactnet-1", "classes": ["a", "b", "c"], "options": {"layers": 2}}'
    safetensors.torch.save_file({"a": torch.zeros(1)}, tmp_path / "broken", metadata={"decomp": description})
    (tmp_path / "garbage").write_bytes(b"garbage")
    safetensors.torch.save_file({"a": torch.zeros(1)}, tmp_path / "foreign")
    for name in ("garbage", "foreign", "missing", "broken"):
        with pytest.raises(UserError, match=name):
            FAST.load(tmp_path / name, Tissue(), "cpu")
    fitted(tmp_path / "a")
    with pytest.raises(UserError, match="a, b, d"):
        FAST.load(tmp_path / "a", Named(), "cpu")


@pytest.mark.parametrize(
    ("option", "value"),
    [("layers", 0), ("width", 0), ("nodes_per_batch", 0), ("dropout", -0.1), ("epochs", 0), ("batch", 0)],
)
def test_senseless_options_are_user_errors(option, value):
    with pytest.raises(UserError, match=f"learner.{option}"):
        build_learner(Component("hactnet", {option: value}))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_trains_and_predicts_on_a_gpu(tmp_path):
    learner = replace(FAST, epochs=25)
    first = fitted(tmp_path / "a", learner, ledger=WHOLE, device="cuda")
    assert fitted(tmp_path / "b", learner, ledger=WHOLE, device="cuda") == first
    on_cpu, on_gpu = (
        learner.load(tmp_path / "a", Tissue(), device).predict(Tissue().image("test-0"), EVERYTHING).confidence
        for device in ("cpu", "cuda")
    )
    assert on_gpu == pytest.approx(on_cpu, abs=1e-3)


def test_vectors_are_a_problem_that_is_told_before_any_training():
    class Vectors(Tissue):
        def image(self, image):
            return np.zeros((6, 4), np.float32)

    assert FAST.problems(Tissue()) == []
    assert FAST.problems(Vectors()) == [
        "learner: HACT-Net needs a graph for each ROI; take mlp for vectors of features. (train-0)"
    ]
