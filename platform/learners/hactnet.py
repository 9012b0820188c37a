"""HACT-Net for graphs of cells and tissue areas; its network is `networks.hactnet`.

Pati et al., "Hierarchical graph representations in digital pathology", Medical Image Analysis 2022.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import Field
from typing_extensions import override

from decomp.platform.datasets.formats.graphs import RoiGraph
from decomp.platform.errors import UserError
from decomp.platform.learners.rois import RoiLearner
from decomp.platform.learners.training.pretrained import check_pretrained, load_pretrained, read_pretrained
from decomp.platform.marks import ByContent

if TYPE_CHECKING:
    import torch

    from decomp.platform.learners.networks.rois import Inputs, RoiNetwork


@dataclass(frozen=True)
class HactNet(RoiLearner):
    """HACT-Net for data sets whose image is a tuple of `RoiGraph`; the sizes of the node features come from the data.

    The defaults are those of DECOMP's authors for BRACS, where cells and tissue areas have 514 features each. HACT-Net
    as its own authors published it has 3 layers of 64 channels, a head of 128, no dropout and no residual connections.
    """

    title: ClassVar[str] = "HACT-Net"
    format: ClassVar[str] = "decomp-hactnet-1"

    layers: Annotated[int, Field(ge=1)] = 4
    """PNA layers of the network over cells, and of the one over tissue areas."""

    width: Annotated[int, Field(ge=1)] = 128
    """Channels of each layer."""

    head_width: Annotated[int, Field(ge=1)] | None = None
    """Channels of the hidden layer of the head; null for as many as the layers have."""

    residual: bool = True
    """Whether a layer adds its input to its output, which all but the first of each network can do."""

    pretrained: Annotated[Path | None, ByContent()] = None
    """File of published weights to begin with (histocartography's, or a state_dict of this network); the last layer
    may be one of other classes, and is then drawn at random."""

    nodes_per_batch: Annotated[int, Field(ge=1)] = 20_000
    """Cells and tissue areas predicted at once, a thousand of which take about 50 MB at the default sizes; a larger
    ROI is predicted alone."""

    def __post_init__(self) -> None:
        check_pretrained(self.pretrained)

    @override
    def check(self, contents: Sequence[Any]) -> None:
        _check(contents, *_feature_sizes(contents[0]))

    @override
    def new_network(self, contents: Sequence[Any], n_classes: int) -> RoiNetwork:
        """A network whose scalers know how many neighbours the nodes of `contents` have."""
        from decomp.platform.learners.networks.hactnet import Network, from_published

        self.check(contents)
        degrees = (
            _degree_histogram((len(graph.cells), graph.cell_edges) for graph in contents),
            _degree_histogram((len(graph.tissues), graph.tissue_edges) for graph in contents),
        )
        head_width = self.head_width or self.width
        sizes = _feature_sizes(contents[0])
        network = Network(*sizes, n_classes, self.layers, self.width, head_width, self.residual, self.dropout, degrees)
        if self.pretrained is not None:
            file = self.pretrained.expanduser()
            load_pretrained(network, from_published(read_pretrained(file)), file, ("output.",))
        return network

    @override
    def described_network(self, options: Mapping[str, Any], n_classes: int) -> RoiNetwork:
        """A network of the sizes that `options` name; the degrees are among the tensors of the checkpoint."""
        from decomp.platform.learners.networks.hactnet import Network

        return Network(
            options["cell_features"],
            options["tissue_features"],
            n_classes,
            options["layers"],
            options["width"],
            # Checkpoints without these options were written before the options existed.
            options.get("head_width", options["width"]),
            options.get("residual", False),
            self.dropout,
        )

    @override
    def inputs(self, network: RoiNetwork, contents: Sequence[Any], device: torch.device) -> Inputs:
        """The graphs, joined and copied to the device batch by batch."""
        from decomp.platform.learners.networks.hactnet import Graphs, Network

        assert isinstance(network, Network)
        _check(contents, network.options["cell_features"], network.options["tissue_features"])
        return Graphs(contents, device, self.nodes_per_batch)


def _degree_histogram(graphs: Iterable[tuple[int, npt.NDArray[np.int64]]]) -> torch.Tensor:
    """How many nodes have k incoming edges, shape (greatest k + 1,), int64; a graph is (number of nodes, edges)."""
    import torch

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
