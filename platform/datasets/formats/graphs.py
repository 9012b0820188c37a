"""ROIs as graphs: cells, tissue areas, and which cell lies in which area."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class RoiGraph:
    """One ROI as a cell graph on top of a tissue graph (Pati et al., "Hierarchical graph representations in digital
    pathology", MedIA 2022).

    Attributes:
        cells: features of n cells, shape (n, F), float32.
        cell_edges: source and target of each directed edge between cells, shape (2, E), int64.
        tissues: features of m tissue areas, shape (m, G), float32.
        tissue_edges: the same between tissue areas, shape (2, K), int64.
        assignment: tissue area in which each cell lies, shape (n,), int64; -1 for none.
    """

    cells: npt.NDArray[np.float32]
    cell_edges: npt.NDArray[np.int64]
    tissues: npt.NDArray[np.float32]
    tissue_edges: npt.NDArray[np.int64]
    assignment: npt.NDArray[np.int64]
