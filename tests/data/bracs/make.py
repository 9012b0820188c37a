"""Write `published/` with DGL and h5py as hact-net does, and `portable/` from it: python tests/data/bracs/make.py

Needs DGL 1.1.3. The graphs are random, tiny, and nobody's: none comes from BRACS.
"""

import shutil
from pathlib import Path

import dgl
import h5py
import numpy as np
import torch

from decomp.experiments.convert import convert_bracs
from decomp.platform.datasets.bracs import SUBTYPES

HERE = Path(__file__).parent
PUBLISHED, PORTABLE = HERE / "published", HERE / "portable"
ROIS = {
    # name: (split, cells, tissue areas, whether a cell lies nowhere, whether the matrix is (tissues, cells))
    "BRACS_264_N_10": ("train", 7, 3, True, False),
    "BRACS_264_N_2": ("train", 6, 2, False, False),
    "BRACS_1003_FEA_1": ("train", 5, 5, False, False),
    "BRACS_301_UDH_4": ("val", 8, 1, False, False),
    "BRACS_1228_DCIS_13": ("test", 9, 4, True, True),
}
UNUSED = range(32, 4096)
CELL_FEATURES, TISSUE_FEATURES = 4, 3


def main() -> None:
    """Write both folders anew."""
    for folder in (PUBLISHED, PORTABLE):
        shutil.rmtree(folder, ignore_errors=True)
    rng = np.random.default_rng(0)
    for roi, (split, cells, tissues, stray, transposed) in ROIS.items():
        label = {"label": torch.tensor([SUBTYPES.index(roi.split("_")[2])])}
        for kind, graph in (
            ("cell_graphs", nearest_neighbours(rng, cells)),
            ("tissue_graphs", neighbours(rng, tissues)),
        ):
            path = file(kind, split, f"{roi}.bin")
            dgl.data.utils.save_graphs(str(path), [graph], label)
            data = path.read_bytes()
            # DGL fills up its header with whatever lies in memory; zeros, so that the files are the same every time.
            path.write_bytes(data[: UNUSED.start] + bytes(len(UNUSED)) + data[UNUSED.stop :])
        matrix = np.zeros((cells, tissues))
        matrix[np.arange(cells), rng.integers(tissues, size=cells)] = 1
        if stray:
            matrix[rng.integers(cells)] = 0
        with h5py.File(file("assignment_matrices", split, f"{roi}.h5"), "w") as contents:
            contents.create_dataset("assignment_matrix", data=matrix.T if transposed else matrix)
    convert_bracs(PUBLISHED, PORTABLE)


def file(kind: str, split: str, name: str) -> Path:
    """Path of a published file, in a folder that exists."""
    path = PUBLISHED / kind / split / name
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def nearest_neighbours(rng: np.random.Generator, cells: int) -> dgl.DGLGraph:
    """A cell graph: edges from each cell to its two nearest, one way; features end in the normalised place."""
    places = rng.random((cells, 2)).astype(np.float32)
    distances = np.linalg.norm(places[:, None] - places, axis=2) + 9 * np.eye(cells)
    targets = np.argsort(distances, axis=1)[:, :2]
    graph = dgl.graph((np.repeat(np.arange(cells), 2), targets.ravel()), num_nodes=cells)
    features = rng.standard_normal((cells, CELL_FEATURES - 2)).astype(np.float32)
    graph.ndata["centroid"] = torch.from_numpy(places * 100)
    graph.ndata["feat"] = torch.from_numpy(np.hstack([features, places]))
    return graph


def neighbours(rng: np.random.Generator, tissues: int) -> dgl.DGLGraph:
    """A tissue graph: a chain, both ways."""
    ends = np.arange(tissues - 1)
    graph = dgl.graph((np.append(ends, ends + 1), np.append(ends + 1, ends)), num_nodes=tissues)
    graph.ndata["feat"] = torch.from_numpy(rng.standard_normal((tissues, TISSUE_FEATURES)).astype(np.float32))
    return graph


if __name__ == "__main__":
    main()
