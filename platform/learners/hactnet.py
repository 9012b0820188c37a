"""HACT-Net: a graph network over the cells of a ROI, then over its tissue areas.

HACT-Net: Pati et al., "Hierarchical graph representations in digital pathology", Medical Image Analysis 2022. Layers:
Corso, Cavalleri, Beaini, Liò and Veličković, "Principal Neighbourhood Aggregation for Graph Nets", NeurIPS 2020.
Read-out: Xu et al., "Representation Learning on Graphs with Jumping Knowledge Networks", ICML 2018. Scaling by graph
size: Dwivedi et al., "Benchmarking Graph Neural Networks", 2020.
"""

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional

from decomp.platform.datasets.formats.graphs import RoiGraph
from decomp.platform.errors import UserError
from decomp.platform.learners.rois import Inputs, RoiLearner, RoiNetwork

with warnings.catch_warnings():  # that PyTorch Geometric uses TorchScript is no business of the user's
    warnings.simplefilter("ignore", FutureWarning)
    from torch_geometric.nn import BatchNorm, JumpingKnowledge, PNAConv, global_mean_pool

AGGREGATORS = ("mean", "max", "min", "std")
SCALERS = ("identity", "amplification", "attenuation")


@dataclass(frozen=True)
class HactNet(RoiLearner):
    """HACT-Net for data sets whose image is a tuple of `RoiGraph`; sizes of the node features come from the data.

    The defaults are the published configuration for BRACS, where cells and tissue areas have 514 features each.

    Attributes:
        layers: PNA layers of the network over cells, and of that over tissue areas.
        width: channels of each layer and of the hidden layer of the head.
        nodes_per_batch: cells and tissue areas predicted at once; a greater ROI is predicted alone. A thousand take
            about 50 MB at the default sizes.
    """

    title: ClassVar[str] = "HACT-Net"
    format: ClassVar[str] = "decomp-hactnet-1"

    layers: int = 4
    width: int = 128
    nodes_per_batch: int = 20_000

    def _rules(self) -> dict[str, tuple[bool, str]]:
        options = ("layers", "width", "nodes_per_batch")
        return super()._rules() | {option: (getattr(self, option) >= 1, "at least 1") for option in options}

    def new_network(self, contents: Sequence[Any], n_classes: int) -> RoiNetwork:
        """A network whose scalers know how many neighbours the nodes of `contents` have."""
        _check(contents, *(sizes := _feature_sizes(contents[0])))
        degrees = (
            _degree_histogram((len(graph.cells), graph.cell_edges) for graph in contents),
            _degree_histogram((len(graph.tissues), graph.tissue_edges) for graph in contents),
        )
        return Network(*sizes, n_classes, self.layers, self.width, self.dropout, degrees)

    def described_network(self, options: Mapping[str, Any], n_classes: int) -> RoiNetwork:
        """A network of the sizes that `options` name; the degrees are among the tensors of the checkpoint."""
        cell_features, tissue_features = options["cell_features"], options["tissue_features"]
        return Network(cell_features, tissue_features, n_classes, options["layers"], options["width"], self.dropout)

    def inputs(self, network: RoiNetwork, contents: Sequence[Any], device: torch.device) -> Inputs:
        """The graphs, joined and copied to the device batch by batch."""
        assert isinstance(network, Network)
        _check(contents, network.options["cell_features"], network.options["tissue_features"])
        return _Graphs(contents, device, self.nodes_per_batch)


class Batch(NamedTuple):
    """Disjoint union of B ROI graphs with N cells and M tissue areas in all.

    Attributes:
        n_rois: number of ROIs B.
        cells: features, shape (N, F), float32.
        cell_edges: source and target of each edge, shape (2, E), int64.
        cell_scale: 1 / sqrt(number of cells of the ROI), shape (N, 1), float32.
        tissues: features, shape (M, G), float32.
        tissue_edges: the same between tissue areas, shape (2, K), int64.
        tissue_scale: 1 / sqrt(number of tissue areas of the ROI), shape (M, 1), float32.
        assignment: tissue area of each cell, M for none, shape (N,), int64.
        roi: ROI of each tissue area, shape (M,), int64.
    """

    n_rois: int
    cells: torch.Tensor
    cell_edges: torch.Tensor
    cell_scale: torch.Tensor
    tissues: torch.Tensor
    tissue_edges: torch.Tensor
    tissue_scale: torch.Tensor
    assignment: torch.Tensor
    roi: torch.Tensor

    @classmethod
    def of(cls, graphs: Sequence[RoiGraph]) -> "Batch":
        """Join graphs on the CPU."""
        n_cells, n_tissues = (np.array(n) for n in zip(*[(len(g.cells), len(g.tissues)) for g in graphs], strict=True))
        first_cell, first_tissue = (np.cumsum(n) - n for n in (n_cells, n_tissues))
        assignments = [
            np.where(g.assignment < 0, n_tissues.sum(), g.assignment + first)
            for g, first in zip(graphs, first_tissue, strict=True)
        ]
        arrays = (
            np.concatenate([g.cells for g in graphs]),
            np.concatenate([g.cell_edges + first for g, first in zip(graphs, first_cell, strict=True)], 1),
            _root_shares(n_cells),
            np.concatenate([g.tissues for g in graphs]),
            np.concatenate([g.tissue_edges + first for g, first in zip(graphs, first_tissue, strict=True)], 1),
            _root_shares(n_tissues),
            np.concatenate(assignments),
            np.repeat(np.arange(len(graphs)), n_tissues),
        )
        return cls(len(graphs), *map(torch.from_numpy, arrays))

    def to(self, device: torch.device) -> "Batch":
        """The same on a device."""
        return Batch(self.n_rois, *(tensor.to(device) for tensor in self[1:]))


class Network(RoiNetwork):
    """The network: a `Batch` of B ROIs to logits (B, C).

    The embeddings of the cells are summed in the tissue area in which they lie, and are joined to the area's own
    features; the embeddings of the areas are averaged over the ROI; a perceptron of one hidden layer classifies.

    Args:
        cell_features: features of a cell, F.
        tissue_features: features of a tissue area, G.
        n_classes: number of classes C.
        layers: PNA layers of each of the two graph networks.
        width: channels of each layer, D.
        dropout: share of the activations that are dropped in each PNA layer in training.
        degrees: how many cells and how many tissue areas have k neighbours, two integer tensors of shape (greatest k +
            1,); only their mean logarithm is kept.
    """

    def __init__(
        self,
        cell_features: int,
        tissue_features: int,
        n_classes: int,
        layers: int,
        width: int,
        dropout: float = 0.0,
        degrees: tuple[torch.Tensor, torch.Tensor] = (torch.tensor([0, 1]), torch.tensor([0, 1])),
    ) -> None:
        super().__init__()
        self.options = {
            "cell_features": cell_features,
            "tissue_features": tissue_features,
            "layers": layers,
            "width": width,
        }
        self.cells = GraphNetwork(cell_features, layers, width, dropout, degrees[0])
        self.tissues = GraphNetwork(width + tissue_features, layers, width, dropout, degrees[1])
        self.hidden = nn.Linear(width, width)
        self.output = nn.Linear(width, n_classes)

    def embed(self, inputs: Batch) -> torch.Tensor:
        """Activations of the hidden layer of the head, shape (B, D)."""
        cells = self.cells(inputs.cells, inputs.cell_edges, inputs.cell_scale)
        n_tissues = len(inputs.tissues)  # one row more takes the cells that lie in no tissue area
        inside = cells.new_zeros(n_tissues + 1, cells.shape[1]).index_add(0, inputs.assignment, cells)[:n_tissues]
        features = torch.cat([inside, inputs.tissues], 1)
        tissues = self.tissues(features, inputs.tissue_edges, inputs.tissue_scale)
        return functional.relu(self.hidden(global_mean_pool(tissues, inputs.roi, inputs.n_rois)))

    def classify(self, embedded: torch.Tensor) -> torch.Tensor:
        """Logits, shape (B, C)."""
        logits: torch.Tensor = self.output(embedded)
        return logits


class GraphNetwork(nn.Module):
    """PNA layers, and at each node the sum of their outputs weighted by an LSTM's attention over the layers."""

    def __init__(self, n_features: int, layers: int, width: int, dropout: float, degrees: torch.Tensor) -> None:
        super().__init__()
        sizes = [n_features] + [width] * (layers - 1)
        self.layers = nn.ModuleList(PnaLayer(size, width, dropout, degrees) for size in sizes)
        self.readout = JumpingKnowledge("lstm", width, layers)

    def forward(self, x: torch.Tensor, edges: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        """Node features (N, F), edges (2, E) and scales (N, 1) to embeddings (N, D)."""
        outputs: list[torch.Tensor] = []
        for layer in self.layers:
            x = layer(x, edges, scale)
            outputs.append(x)
        embeddings: torch.Tensor = self.readout(outputs)
        return embeddings


class PnaLayer(nn.Module):
    """One PNA layer as in the published HACT-Net: one tower, no residual connection.

    With the edges j -> i, d_i of them, and delta the mean of log(d + 1) over the nodes of the training,

        m_ij = relu(W [x_i, x_j] + b)
        a_i = [mean_j m_ij, max_j m_ij, min_j m_ij, std_j m_ij]
        h_i = relu(U [x_i, a_i, a_i log(d_i + 1) / delta, a_i delta / log(d_i + 1)] + c)
        y_i = leaky_relu(V dropout(batch_norm(h_i / sqrt(n))) + e)

    in a graph of n nodes. A node without neighbours has a_i = 0. torch-geometric's layer aggregates; it takes the
    standard deviation as 0 where the variance is at most 1e-5, where the published one adds 1e-5 to the variance, and
    delta is measured, where the published one assumes log(5).
    """

    def __init__(self, n_features: int, width: int, dropout: float, degrees: torch.Tensor) -> None:
        super().__init__()
        self.aggregate = PNAConv(n_features, width, list(AGGREGATORS), list(SCALERS), degrees)
        # The messages of torch-geometric are as wide as its input, 642 channels in the first layer over tissue areas,
        # and not rectified.
        aggregated = n_features + len(AGGREGATORS) * len(SCALERS) * width
        self.aggregate.pre_nns = nn.ModuleList([nn.Sequential(nn.Linear(2 * n_features, width), nn.ReLU())])
        self.aggregate.post_nns = nn.ModuleList([nn.Sequential(nn.Linear(aggregated, width), nn.ReLU())])
        self.aggregate.lin = nn.Identity()
        self.norm = BatchNorm(width, allow_single_element=True)  # one ROI of one node must train
        self.dropout = nn.Dropout(dropout)
        self.mix = nn.Linear(width, width)

    def forward(self, x: torch.Tensor, edges: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        """Node features (N, F) to (N, D)."""
        return functional.leaky_relu(self.mix(self.dropout(self.norm(self.aggregate(x, edges) * scale))))


class _Graphs:
    """Graphs in memory, joined when they are asked for."""

    def __init__(self, graphs: Sequence[RoiGraph], device: torch.device, nodes_per_batch: int) -> None:
        self._graphs, self._device, self._nodes_per_batch = graphs, device, nodes_per_batch

    def batches(self, order: torch.Tensor, sizes: list[int]) -> Iterable[Batch]:
        for numbers in torch.split(order, sizes):
            yield Batch.of([self._graphs[number] for number in numbers.tolist()]).to(self._device)

    def chunks(self) -> list[int]:
        sizes: list[int] = []
        room = 0
        for graph in self._graphs:
            nodes = len(graph.cells) + len(graph.tissues)
            if sizes and nodes <= room:
                sizes[-1] += 1
                room -= nodes
            else:
                sizes.append(1)
                room = self._nodes_per_batch - nodes
        return sizes


def _root_shares(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """1 / sqrt(n) for each of the n nodes of each graph, shape (sum of n, 1), float32."""
    return np.repeat(counts.astype(np.float32) ** -0.5, counts)[:, None]


def _degree_histogram(graphs: Iterable[tuple[int, npt.NDArray[np.int64]]]) -> torch.Tensor:
    """How many nodes have k incoming edges, shape (greatest k + 1,), int64, of (number of nodes, edges) of graphs."""
    degrees = np.concatenate([np.bincount(edges[1], minlength=n) for n, edges in graphs])
    if not degrees.any():
        degrees = np.ones(1, np.int64)  # without edges the scale makes no difference, but must not be 0
    return torch.from_numpy(np.bincount(degrees))


def _feature_sizes(graph: Any) -> tuple[int, int]:
    if not isinstance(graph, RoiGraph):
        raise UserError("HACT-Net needs a graph for each ROI; take mlp for vectors of features.")
    return graph.cells.shape[1], graph.tissues.shape[1]


def _check(contents: Sequence[Any], cell_features: int, tissue_features: int) -> None:
    for graph in contents:
        if (sizes := _feature_sizes(graph)) != (cell_features, tissue_features):
            raise UserError(
                f"This HACT-Net is for {cell_features} features a cell and {tissue_features} a tissue area, not "
                f"{sizes[0]} and {sizes[1]}; give graphs, or a checkpoint, of one data set."
            )
        if not (len(graph.cells) and len(graph.tissues)):
            raise UserError("A ROI has a graph without nodes; leave it out of the data set.")
        if not (
            _within(graph.cell_edges, 0, len(graph.cells))
            and _within(graph.tissue_edges, 0, len(graph.tissues))
            and _within(graph.assignment, -1, len(graph.tissues))
            and len(graph.assignment) == len(graph.cells)
        ):
            raise UserError("A ROI's edges or assignment name nodes that it does not have; correct the data set.")


def _within(numbers: npt.NDArray[np.int64], least: int, bound: int) -> bool:
    return numbers.size == 0 or bool(numbers.min() >= least and numbers.max() < bound)
