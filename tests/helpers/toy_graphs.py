"""Random graphs of cells and tissue areas, and weights of their network as others publish them."""

import numpy as np
import numpy.typing as npt
import torch

from decomp.platform.datasets.formats.graphs import RoiGraph
from decomp.platform.learners.networks.hactnet import Network

NO_EDGES = np.zeros((2, 0), np.int64)


def random_edges(rng: np.random.Generator, n: int) -> npt.NDArray[np.int64]:
    """A random graph, both directions listed; some nodes may have no edge."""
    pairs = np.array([(a, b) for a in range(n) for b in range(a) if rng.random() < 3 / n], np.int64).reshape(-1, 2)
    return np.concatenate([pairs, pairs[:, ::-1]]).T


def random_graph(rng: np.random.Generator, n_cells: int, n_tissues: int, shift: float = 0.0) -> RoiGraph:
    return RoiGraph(
        rng.normal(shift, 1, (n_cells, 5)).astype(np.float32),
        random_edges(rng, n_cells),
        rng.normal(size=(n_tissues, 3)).astype(np.float32),
        random_edges(rng, n_tissues),
        rng.integers(-1, n_tissues, n_cells),
    )


def published(network: Network) -> dict[str, torch.Tensor]:
    """The network's weights as histocartography 0.2.1 names and orders them, with those that it does not use."""
    theirs = {}
    for name, values in network.state_dict().items():
        graph, _, rest = name.partition(".")
        if graph in ("hidden", "output"):
            theirs[f"pred_layer.mlp.{['hidden', 'output'].index(graph)}.fc.{rest}"] = values
            continue
        prefix = {"cells": "cell_graph_gnn", "tissues": "superpx_gnn"}[graph]
        if rest.startswith("readout."):
            theirs[f"{prefix}.{rest.removeprefix('readout.')}"] = values
            continue
        _, number, part = rest.split(".", 2)
        tower = f"{prefix}.layers.{number}.towers.0"
        if "avg_deg" in part:
            continue
        if part == "aggregate.pre_nns.0.0.weight":  # messages are of the source, then of the target
            target, source = values[:, : values.shape[1] // 2], values[:, values.shape[1] // 2 :]
            theirs[f"{tower}.pretrans.0.mlp.fc.weight"] = torch.cat([source, target], 1)
        elif part.startswith("mix."):
            theirs[f"{prefix}.layers.{number}.mixing_network.0.{part.removeprefix('mix.')}"] = values
        else:
            part = part.replace("aggregate.pre_nns.0.0", "pretrans.0.mlp.fc").replace("norm.module", "batchnorm_h")
            theirs[f"{tower}.{part.replace('aggregate.post_nns.0.0', 'posttrans.0.mlp.fc')}"] = values
        theirs[f"{tower}.fc.weight"] = theirs[f"{tower}.attn_fc.weight"] = torch.zeros(1)
    return theirs
