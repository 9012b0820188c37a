import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
import torch
from helpers.toy_graphs import NO_EDGES, published, random_graph
from torch.nn import functional

from decomp.platform.datasets.formats.graphs import RoiGraph
from decomp.platform.learners.networks.hactnet import Batch, Network, from_published


def random_network(layers: int = 2, dropout: float = 0.0, residual: bool = True, head_width: int = 8) -> Network:
    """A network with random normalisations, and weights great enough that every part of it shows in the logits."""
    torch.manual_seed(4)
    degrees = torch.tensor([1, 3, 6, 2]), torch.tensor([0, 2, 5])
    network = Network(5, 3, 3, layers, 8, head_width, residual, dropout, degrees)
    for name, values in network.state_dict().items():
        if "norm" in name and values.is_floating_point():
            values.copy_(0.5 + torch.rand_like(values))
        elif values.is_floating_point() and "avg_deg" not in name:
            values *= 1.8
    return network.eval()


def some_graphs() -> list[RoiGraph]:
    rng = np.random.default_rng(0)
    lonely = RoiGraph(
        np.ones((1, 5), np.float32), NO_EDGES, np.ones((1, 3), np.float32), NO_EDGES, np.zeros(1, np.int64)
    )
    outside = replace(random_graph(rng, 6, 2), assignment=np.full(6, -1))
    unconnected = replace(random_graph(rng, 9, 4), cell_edges=NO_EDGES, tissue_edges=NO_EDGES)
    return [random_graph(rng, 12, 4), lonely, outside, random_graph(rng, 40, 7), unconnected]


class Slow:
    """HACT-Net node by node on one ROI, in float64."""

    def __init__(self, network: Network) -> None:
        self.layers = len(network.cells.layers)
        self.residual = network.options["residual"]
        self.weights = {name: values.double().numpy() for name, values in network.state_dict().items()}

    def __call__(self, graph: RoiGraph) -> npt.NDArray[np.float64]:
        cells = self.graph_network("cells", list(graph.cells.astype(float)), graph.cell_edges)
        joined = []
        for area, features in enumerate(graph.tissues.astype(float)):
            inside = np.zeros(8)
            for cell, where in zip(cells, graph.assignment, strict=True):
                if where == area:
                    inside += cell
            joined.append(np.concatenate([inside, features]))
        tissues = self.graph_network("tissues", joined, graph.tissue_edges)
        hidden = np.maximum(self.linear("hidden", sum(tissues) / len(tissues)), 0)
        return self.linear("output", hidden)

    def graph_network(self, prefix: str, x: list, edges: npt.NDArray[np.int64]) -> list:
        outputs = []
        for k in range(self.layers):
            y = self.layer(f"{prefix}.layers.{k}", x, edges)
            # Of 8 channels are all inputs but the first ones, of 5 features (cells) and of 8 + 3 (tissue areas).
            x = [a + b for a, b in zip(x, y, strict=True)] if self.residual and k > 0 else y
            outputs.append(x)
        return [self.readout(f"{prefix}.readout", [x[node] for x in outputs]) for node in range(len(x))]

    def layer(self, prefix: str, x: list, edges: npt.NDArray[np.int64]) -> list:
        w, results = self.weights, []
        delta = float(w[f"{prefix}.aggregate.aggr_module.avg_deg_log"][0])
        for node in range(len(x)):
            messages = []
            for source, target in edges.T:
                if target == node:
                    pair = np.concatenate([x[node], x[source]])
                    messages.append(np.maximum(self.linear(f"{prefix}.aggregate.pre_nns.0.0", pair), 0))
            a = np.zeros(4 * 8)
            if messages:
                mean = sum(messages) / len(messages)
                variance = sum((m - mean) ** 2 for m in messages) / len(messages)
                deviation = np.where(variance > 1e-5, np.sqrt(variance), 0)
                a = np.concatenate([mean, np.max(messages, 0), np.min(messages, 0), deviation])
            log_degree = math.log(max(len(messages), 1) + 1)  # any number would do without messages, as a = 0
            scaled = np.concatenate([x[node], a, a * log_degree / delta, a * delta / log_degree])
            h = np.maximum(self.linear(f"{prefix}.aggregate.post_nns.0.0", scaled), 0) / math.sqrt(len(x))
            norm = f"{prefix}.norm.module"
            h = (h - w[f"{norm}.running_mean"]) / np.sqrt(w[f"{norm}.running_var"] + 1e-5)
            y = self.linear(f"{prefix}.mix", h * w[f"{norm}.weight"] + w[f"{norm}.bias"])
            results.append(np.where(y > 0, y, 0.01 * y))
        return results

    def readout(self, prefix: str, outputs: list) -> npt.NDArray[np.float64]:
        forward = self.lstm(f"{prefix}.lstm", outputs, "")
        backward = self.lstm(f"{prefix}.lstm", outputs[::-1], "_reverse")[::-1]
        scores = [
            self.linear(f"{prefix}.att", np.concatenate(states))[0] for states in zip(forward, backward, strict=True)
        ]
        shares = np.exp(scores) / np.exp(scores).sum()
        return sum(share * output for share, output in zip(shares, outputs, strict=True))

    def lstm(self, prefix: str, xs: list, suffix: str) -> list:
        w = {
            name: self.weights[f"{prefix}.{name}_l0{suffix}"]
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        }
        h = c = np.zeros(w["weight_hh"].shape[1])
        states = []
        for x in xs:
            gates = w["weight_ih"] @ x + w["bias_ih"] + w["weight_hh"] @ h + w["bias_hh"]
            i, f, g, o = np.split(gates, 4)
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            h = sigmoid(o) * np.tanh(c)
            states.append(h)
        return states

    def linear(self, prefix: str, x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return self.weights[f"{prefix}.weight"] @ x + self.weights[f"{prefix}.bias"]


def sigmoid(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return 1 / (1 + np.exp(-x))


def logits_of(network: Network, graphs: Sequence[RoiGraph]) -> npt.NDArray[np.float32]:
    with torch.inference_mode():
        return network(Batch.of(graphs)).numpy()


@pytest.mark.parametrize(("layers", "residual", "head_width"), [(1, True, 8), (3, True, 8), (3, False, 16)])
def test_forward_pass_is_that_of_the_formulas(layers, residual, head_width):
    network, graphs = random_network(layers, 0.0, residual, head_width), some_graphs()
    expected = np.array([Slow(network)(graph) for graph in graphs])
    assert np.ptp(expected, 0).min() > 0.01  # the graphs are told apart
    assert logits_of(network, graphs) == pytest.approx(expected, abs=2e-6)


@pytest.mark.parametrize(("residual", "head_width"), [(True, 8), (False, 16)])
def test_published_weights_find_their_places(residual, head_width):
    network = random_network(3, 0.0, residual, head_width)
    named = from_published(published(network))
    assert named.keys() == network.state_dict().keys()
    for name, values in network.state_dict().items():
        expected = {"avg_deg_lin": 4.0, "avg_deg_log": math.log(5)}.get(name.rsplit(".", 1)[-1])
        assert torch.equal(named[name], values if expected is None else torch.tensor([expected])), name
    assert from_published(network.state_dict()).keys() == network.state_dict().keys()


def test_rois_of_a_batch_do_not_touch_each_other():
    network, graphs = random_network(), some_graphs()
    together = logits_of(network, graphs)
    alone = np.concatenate([logits_of(network, [graph]) for graph in graphs])
    order = [3, 0, 4, 2, 1]
    assert together == pytest.approx(alone, abs=1e-5)
    assert logits_of(network, [graphs[k] for k in order]) == pytest.approx(together[order], abs=1e-5)


def test_order_of_nodes_and_edges_makes_no_difference():
    rng, network = np.random.default_rng(1), random_network()
    graph = random_graph(rng, 25, 6)
    cells, tissues = rng.permutation(25), rng.permutation(6)  # new node k is old node cells[k]
    cell_rank, tissue_rank = np.argsort(cells), np.append(np.argsort(tissues), -1)
    shuffled = RoiGraph(
        graph.cells[cells],
        rng.permutation(cell_rank[graph.cell_edges], axis=1),
        graph.tissues[tissues],
        rng.permutation(tissue_rank[graph.tissue_edges], axis=1),
        tissue_rank[graph.assignment][cells],
    )
    assert logits_of(network, [shuffled]) == pytest.approx(logits_of(network, [graph]), abs=1e-5)


def test_gradient_flows_to_every_parameter():
    network = random_network(layers=3).train()
    functional.cross_entropy(network(Batch.of(some_graphs())), torch.tensor([0, 1, 2, 0, 1])).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        # The same addition to every layer's score leaves the shares of a softmax as they are.
        assert name.endswith("att.bias") or parameter.grad.abs().max() > 0, name
