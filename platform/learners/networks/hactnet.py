"""The network of HACT-Net: a graph network over the cells of a ROI, then over its tissue areas.

HACT-Net: Pati et al., "Hierarchical graph representations in digital pathology", Medical Image Analysis 2022. Layers:
Corso, Cavalleri, Beaini, Liò and Veličković, "Principal Neighbourhood Aggregation for Graph Nets", NeurIPS 2020.
Read-out: Xu et al., "Representation Learning on Graphs with Jumping Knowledge Networks", ICML 2018. Scaling by graph
size: Dwivedi et al., "Benchmarking Graph Neural Networks", 2020.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional
from typing_extensions import override

from decomp.platform.datasets.formats.graphs import RoiGraph
from decomp.platform.learners.networks.rois import Inputs, RoiNetwork
from decomp.platform.learners.networks.torchscript import without_deprecation_warnings

with without_deprecation_warnings():
    from torch_geometric.nn import BatchNorm, JumpingKnowledge, PNAConv, global_mean_pool

AGGREGATORS = ("mean", "max", "min", "std")
SCALERS = ("identity", "amplification", "attenuation")

PUBLISHED_DEGREE = 4
"""Neighbours that the published network assumes a node has."""

UNUSED = re.compile(r"\.towers\.0\.(fc|attn_fc)\.")
"""Tensors that the published network never reads."""

PUBLISHED_NAMES = (
    (r"^cell_graph_gnn\.", "cells."),
    (r"^superpx_gnn\.", "tissues."),
    (r"\.towers\.0\.pretrans\.0\.mlp\.fc\.", ".aggregate.pre_nns.0.0."),
    (r"\.towers\.0\.posttrans\.0\.mlp\.fc\.", ".aggregate.post_nns.0.0."),
    (r"\.towers\.0\.batchnorm_h\.", ".norm.module."),
    (r"\.mixing_network\.0\.", ".mix."),
    (r"^(cells|tissues)\.(lstm|att)\.", r"\1.readout.\2."),
    (r"^pred_layer\.mlp\.0\.fc\.", "hidden."),
    (r"^pred_layer\.mlp\.1\.fc\.", "output."),
)
"""Names in histocartography 0.2.1, and what they are called here."""


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


class Graphs(Inputs):
    """Graphs in memory, joined when they are asked for."""

    def __init__(self, graphs: Sequence[RoiGraph], device: torch.device, nodes_per_batch: int) -> None:
        self._graphs, self._device, self._nodes_per_batch = graphs, device, nodes_per_batch

    @override
    def batches(self, order: torch.Tensor, sizes: list[int]) -> Iterable[Batch]:
        for numbers in torch.split(order, sizes):
            yield Batch.of([self._graphs[number] for number in numbers.tolist()]).to(self._device)

    @override
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


class Network(RoiNetwork):
    """HACT-Net: a `Batch` of B ROIs to logits (B, C).

    The embeddings of the cells are summed in the tissue area in which they lie, and are joined to the area's own
    features; the embeddings of the areas are averaged over the ROI; a perceptron of one hidden layer classifies.

    Args:
        cell_features: features of a cell, F.
        tissue_features: features of a tissue area, G.
        n_classes: number of classes C.
        layers: PNA layers of each of the two graph networks.
        width: channels of each layer, D.
        head_width: channels of the head's hidden layer, H.
        residual: whether a PNA layer adds its input where that has D channels, as it has in all layers but the first.
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
        head_width: int,
        residual: bool,
        dropout: float = 0.0,
        degrees: tuple[torch.Tensor, torch.Tensor] = (torch.tensor([0, 1]), torch.tensor([0, 1])),
    ) -> None:
        super().__init__()
        self.options = {
            "cell_features": cell_features,
            "tissue_features": tissue_features,
            "layers": layers,
            "width": width,
            "head_width": head_width,
            "residual": residual,
        }
        self.cells = GraphNetwork(cell_features, layers, width, residual, dropout, degrees[0])
        self.tissues = GraphNetwork(width + tissue_features, layers, width, residual, dropout, degrees[1])
        self.hidden = nn.Linear(width, head_width)
        self.output = nn.Linear(head_width, n_classes)

    @override
    def embed(self, inputs: Batch) -> torch.Tensor:
        """Activations of the hidden layer of the head, shape (B, H)."""
        cells = self.cells(inputs.cells, inputs.cell_edges, inputs.cell_scale)
        n_tissues = len(inputs.tissues)  # one extra row takes the cells that lie in no tissue area
        inside = cells.new_zeros(n_tissues + 1, cells.shape[1]).index_add(0, inputs.assignment, cells)[:n_tissues]
        features = torch.cat([inside, inputs.tissues], 1)
        tissues = self.tissues(features, inputs.tissue_edges, inputs.tissue_scale)
        return functional.relu(self.hidden(global_mean_pool(tissues, inputs.roi, inputs.n_rois)))

    @override
    def classify(self, embedded: torch.Tensor) -> torch.Tensor:
        """Logits, shape (B, C)."""
        logits: torch.Tensor = self.output(embedded)
        return logits


class GraphNetwork(nn.Module):
    """PNA layers, and at each node the sum of their outputs weighted by an LSTM's attention over the layers."""

    def __init__(
        self, n_features: int, layers: int, width: int, residual: bool, dropout: float, degrees: torch.Tensor
    ) -> None:
        super().__init__()
        sizes = [n_features] + [width] * (layers - 1)
        self.layers = nn.ModuleList(PnaLayer(size, width, residual, dropout, degrees) for size in sizes)
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
    """One PNA layer as in the published HACT-Net, of one tower.

    With the edges j -> i, d_i of them, and delta the mean of log(d + 1) over the nodes of the training,

        m_ij = relu(W [x_i, x_j] + b)
        a_i = [mean_j m_ij, max_j m_ij, min_j m_ij, std_j m_ij]
        h_i = relu(U [x_i, a_i, a_i log(d_i + 1) / delta, a_i delta / log(d_i + 1)] + c)
        y_i = leaky_relu(V dropout(batch_norm(h_i / sqrt(n))) + e)

    in a graph of n nodes; a residual layer gives x_i + y_i if both are equally wide. A node without neighbours has
    a_i = 0. torch-geometric's layer aggregates; it takes the standard deviation as 0 where the variance is at most
    1e-5, where the published one adds 1e-5 to the variance, and delta is measured, where the published one assumes
    log(5).
    """

    def __init__(self, n_features: int, width: int, residual: bool, dropout: float, degrees: torch.Tensor) -> None:
        super().__init__()
        self.residual = residual and n_features == width
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
        y = functional.leaky_relu(self.mix(self.dropout(self.norm(self.aggregate(x, edges) * scale))))
        return x + y if self.residual else y


def from_published(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Weights of a published HACT-Net (histocartography 0.2.1) under the names of `Network`; others as they are.

    What the published network holds but does not use is left out; the mean logarithm of degrees that it takes for
    granted is added.
    """
    if not any(name.startswith("cell_graph_gnn.") for name in tensors):
        return dict(tensors)
    named: dict[str, torch.Tensor] = {}
    for name, values in tensors.items():
        if UNUSED.search(name):
            continue
        for pattern, replacement in PUBLISHED_NAMES:
            name = re.sub(pattern, replacement, name)
        if name.endswith("pre_nns.0.0.weight"):  # of [x_j, x_i]
            values = torch.cat(values.chunk(2, 1)[::-1], 1)
        if name.endswith("pre_nns.0.0.bias"):
            prefix = name.removesuffix("pre_nns.0.0.bias") + "aggr_module.avg_deg_"
            named[f"{prefix}lin"] = torch.tensor([float(PUBLISHED_DEGREE)])
            named[f"{prefix}log"] = torch.tensor([math.log(PUBLISHED_DEGREE + 1)])
        named[name] = values
    return named


def _root_shares(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """1 / sqrt(n) for each of the n nodes of each graph, shape (sum of n, 1), float32."""
    return np.repeat(counts.astype(np.float32) ** -0.5, counts)[:, None]
