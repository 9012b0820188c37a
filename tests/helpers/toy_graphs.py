"""Random graphs of cells and tissue areas."""

import numpy as np
import numpy.typing as npt

from decomp.platform.datasets.formats.graphs import RoiGraph

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
