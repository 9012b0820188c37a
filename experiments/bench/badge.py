"""What keeping gradient embeddings as two factors saves: BADGE's kernels against the same on the N x D x C matrix.

    python -m decomp.experiments.bench.badge [--candidates 3000] [--features 768] [--classes 19] [--chosen 1000]

Both seedings, each form in a process of its own on one thread: seeds of k-means++ on the factors and on the float32
matrix, from the same random numbers; Lloyd's k-means from given seeds, ours on the factors and scikit-learn's on the
matrix. Prints the time, the growth of the peak of resident memory (`ru_maxrss`) beyond the process with its inputs, and
how many choices are equal. Forming the matrix counts as part of the work, finding the seeds of k-means doesn't.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

from decomp.platform.samplers.clustering import OuterProducts, kmeans_plus_plus, lloyd, most_uncertain

Matrix = npt.NDArray[np.float32]


def main() -> None:
    """Run the four variants and print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--candidates", type=int, default=3000, metavar="N")
    parser.add_argument("--features", type=int, default=768, metavar="D")
    parser.add_argument("--classes", type=int, default=19, metavar="C")
    parser.add_argument("--chosen", type=int, default=1000)
    parser.add_argument("--groups", type=int, default=300, help="clusters that the features form")
    parser.add_argument("--measure", choices=VARIANTS, help="read seeds from stdin, run one variant in this process")
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options)))
        return

    results = {}
    seeds: list[int] = []
    for variant in VARIANTS:
        command = [sys.executable, "-m", "decomp.experiments.bench.badge", *sys.argv[1:], "--measure", variant]
        environment = os.environ | {
            name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
        }
        ended = subprocess.run(
            command, input=json.dumps(seeds), capture_output=True, check=True, text=True, env=environment
        )
        results[variant] = json.loads(ended.stdout)
        seeds = seeds or results[variant]["chosen"]

    print(f"{options.chosen} of {options.candidates} regions, {options.features} features x {options.classes} classes")
    print(f"{'':22s} {'time':>10s} {'memory':>12s}")
    for variant, result in results.items():
        print(f"{variant:22s} {result['seconds']:8.2f} s {result['megabytes']:9.0f} MB")
    for seeding in ("kmeans++", "kmeans"):
        factors, matrix = (results[f"{seeding}, {form}"] for form in ("factors", "matrix"))
        common = len(set(factors["chosen"]) & set(matrix["chosen"]))
        faster, smaller = (matrix[unit] / factors[unit] for unit in ("seconds", "megabytes"))
        print(f"{seeding}: {faster:.1f} x as fast, {smaller:.1f} x less memory, {common} choices equal")


def measure(options: argparse.Namespace) -> dict[str, object]:
    """Run one variant; seconds, growth of the peak of memory in 10^6 bytes, and its choices."""
    seeds = np.array(json.load(sys.stdin), np.int64)
    inputs = make_inputs(options.candidates, options.features, options.classes, options.groups)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    with threadpool_limits(1):
        chosen = VARIANTS[options.measure](inputs, options.chosen, seeds)
    seconds = time.perf_counter() - start
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * RSS_UNIT
    return {"seconds": seconds, "megabytes": grown / 1e6, "chosen": chosen.tolist()}


RSS_UNIT = 1 if sys.platform == "darwin" else 1024
"""Bytes of one unit of `ru_maxrss`."""


@dataclass
class Inputs:
    """Candidate regions: features (N, D), residuals (N, C), uncertainty (N,)."""

    features: Matrix
    residuals: Matrix
    uncertainty: npt.NDArray[np.float64]


def make_inputs(n: int, d: int, c: int, groups: int) -> Inputs:
    """Features in clusters, each of mostly one class, as regions of a few kinds of scene would give.

    Made in place, so that the peak of memory is hardly above what is kept.
    """
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((groups, d), np.float32)
    member = rng.integers(groups, size=n)
    features = rng.standard_normal((n, d), np.float32)
    features *= 0.5
    for row, k in zip(features, member, strict=True):
        row += centres[k]
    np.maximum(features, 0, out=features)
    logits = rng.normal(size=(n, c)) + 2.0 * rng.normal(size=(groups, c))[member]
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    residuals = np.eye(c)[probabilities.argmax(axis=1)] - probabilities
    uncertainty = -(probabilities * np.log(probabilities)).sum(axis=1)
    return Inputs(features, residuals.astype(np.float32), uncertainty)


class Materialised:
    """Embeddings as an N x D*C matrix, with the distances that a matrix product gives."""

    def __init__(self, matrix: Matrix) -> None:
        self.matrix = matrix
        self.squared_norms = np.einsum("ij,ij->i", matrix, matrix).astype(np.float64)

    def squared_distances(self, i: int) -> npt.NDArray[np.float64]:
        """See `Points`."""
        products = (self.matrix @ self.matrix[i]).astype(np.float64)
        distances: npt.NDArray[np.float64] = self.squared_norms + self.squared_norms[i] - 2.0 * products
        return distances.clip(0.0)


def seeds_of_factors(inputs: Inputs, n: int, seeds: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """BADGE's choice with `seeding: kmeans++`."""
    return kmeans_plus_plus(OuterProducts(inputs.features, inputs.residuals), n, np.random.default_rng(1))


def seeds_of_matrix(inputs: Inputs, n: int, seeds: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The same on the matrix."""
    return kmeans_plus_plus(Materialised(embed(inputs)), n, np.random.default_rng(1))


def clusters_of_factors(inputs: Inputs, n: int, seeds: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """BADGE's choice with `seeding: kmeans`, from given seeds."""
    labels = lloyd(OuterProducts(inputs.features, inputs.residuals), seeds)
    return most_uncertain(labels, inputs.uncertainty, n, np.random.default_rng(2))


def clusters_of_matrix(inputs: Inputs, n: int, seeds: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The same with scikit-learn on the matrix."""
    matrix = embed(inputs)
    # Works on the matrix itself rather than on a copy, so as not to count memory that can be spared.
    model = KMeans(n, init=matrix[seeds], n_init=1, tol=0, algorithm="lloyd", copy_x=False).fit(matrix)
    return most_uncertain(np.asarray(model.labels_, np.int64), inputs.uncertainty, n, np.random.default_rng(2))


def embed(inputs: Inputs) -> Matrix:
    """Outer products, shape (N, D * C)."""
    products: Matrix = inputs.features[:, :, None] * inputs.residuals[:, None, :]
    return products.reshape(len(products), -1)


VARIANTS: dict[str, Callable[[Inputs, int, npt.NDArray[np.int64]], npt.NDArray[np.int64]]] = {
    "kmeans++, factors": seeds_of_factors,
    "kmeans++, matrix": seeds_of_matrix,
    "kmeans, factors": clusters_of_factors,
    "kmeans, matrix": clusters_of_matrix,
}

if __name__ == "__main__":
    main()
