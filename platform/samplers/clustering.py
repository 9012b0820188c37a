"""Clustering kernels of the samplers that seek diversity: k-means, farthest-first traversal, k-means++ seeds.

Gradient embeddings are outer products of D features with C residuals; `OuterProducts` keeps the two factors, from which
all inner products follow, so that N x D x C numbers are never held. BLAS and OpenMP run on one thread throughout: sums
that are split among threads are rounded differently for every number of threads (and, in scikit-learn's k-means, for
every order in which the threads finish), and a rounding error may change which region is annotated.

References:
    Lloyd, "Least squares quantization in PCM", IEEE Transactions on Information Theory 1982.
    Gonzalez, "Clustering to minimize the maximum intercluster distance", Theoretical Computer Science 1985.
    Arthur and Vassilvitskii, "k-means++: The advantages of careful seeding", SODA 2007.
"""

import warnings
from typing import Protocol

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

BLOCK = 256
"""Rows of the N x N matrix of inner products that are held at once."""

MAX_ITERATIONS = 300

ROUNDING = 1e-12
"""A squared distance is a difference of squared norms; below this share of them it is a rounding error."""


class Points(Protocol):
    """N points of which only norms and distances are known."""

    @property
    def squared_norms(self) -> Floats:
        """Squared Euclidean norms, shape (N,)."""

    def squared_distances(self, i: int) -> Floats:
        """Squared Euclidean distances of all points to point `i`, shape (N,), exactly 0 for duplicates of it."""


class OuterProducts:
    """The N points x_i = a_i (x) b_i of D * C dimensions, given by their factors.

    <x_i, x_j> = <a_i, a_j> <b_i, b_j>, computed and summed in float64.

    Attributes:
        left: factors a, shape (N, D), float64.
        right: factors b, shape (N, C), float64.
        squared_norms: |x_i|^2 = |a_i|^2 |b_i|^2, shape (N,), float64.
    """

    def __init__(self, left: npt.NDArray[np.floating], right: npt.NDArray[np.floating]) -> None:
        if len(left) != len(right):
            raise ValueError(f"{len(left)} left factors for {len(right)} right ones: give one of each per point")
        self.left: Floats = left.astype(np.float64)
        self.right: Floats = right.astype(np.float64)
        # Not by BLAS, whose rounding may depend on a row's position: points of equal norm must tie.
        self.squared_norms: Floats = np.square(self.left).sum(axis=1) * np.square(self.right).sum(axis=1)

    def products(self, rows: Indices) -> Floats:
        """Inner products of the points `rows`, shape (n,), with all points, shape (n, N)."""
        products: Floats = self.left[rows] @ self.left.T
        products *= self.right[rows] @ self.right.T
        return products

    def squared_distances(self, i: int) -> Floats:
        """|x_i - x_j|^2 = |x_i|^2 + |x_j|^2 - 2 <x_i, x_j> for all j, shape (N,), in O(N (D + C)) time and memory."""
        norms = self.squared_norms + self.squared_norms[i]
        distances: Floats = norms - 2.0 * self.products(np.array([i]))[0]
        distances[distances < ROUNDING * norms] = 0.0
        return distances


def kmeans(features: npt.NDArray[np.float32], k: int, rng: np.random.Generator) -> Indices:
    """Labels of scikit-learn's k-means (one start from greedy k-means++ seeds, Lloyd's algorithm).

    Args:
        features: shape (N, D).
        k: number of clusters, at most N; clusters stay empty where there are fewer distinct points.
        rng: the stream of this decision.

    Returns:
        Labels in [0, k), shape (N,).
    """
    _check(k, len(features))
    seed = int(rng.integers(2**32))
    from sklearn.cluster import KMeans  # here, because the imports take a second
    from sklearn.exceptions import ConvergenceWarning

    model = KMeans(k, init="k-means++", n_init=1, algorithm="lloyd", random_state=seed)
    with threadpool_limits(1), warnings.catch_warnings(action="ignore", category=ConvergenceWarning):
        return np.asarray(model.fit(features).labels_, np.int64)


def farthest_first(features: npt.NDArray[np.float32], k: int, rng: np.random.Generator) -> Indices:
    """Farthest-first traversal (k-center greedy): the next point is argmax_i min_{j chosen} |x_i - x_j|.

    Ties are broken by one random order of the points. Before anything is chosen all distances are infinite, so that
    the first point is drawn uniformly.

    Args:
        features: shape (N, D).
        k: number of points, at most N.
        rng: the stream of this decision.

    Returns:
        Distinct indices in order of choice, shape (k,).
    """
    _check(k, len(features))
    order = rng.permutation(len(features))
    points = features[order].astype(np.float64)
    differences = np.empty_like(points)
    nearest = np.full(len(points), np.inf)
    chosen = np.empty(k, np.int64)
    for step in range(k):
        chosen[step] = place = np.argmax(nearest)
        # Differences rather than inner products: the latter cancel, so that duplicates would not be at distance 0.
        np.subtract(points, points[place], out=differences)
        np.minimum(nearest, np.square(differences, out=differences).sum(axis=1), out=nearest)
        nearest[place] = -1.0
    return order[chosen]


def kmeans_plus_plus(points: Points, k: int, rng: np.random.Generator) -> Indices:
    """Seeds of k-means++ by plain D^2 sampling: the next is i with probability ~ min_{j chosen} |x_i - x_j|^2.

    As in the original code of BADGE the first is the point of greatest norm; ties are broken at random. Once every
    point coincides with a chosen one, the rest is drawn uniformly among those not chosen.

    Args:
        points: N points.
        k: number of seeds, at most N.
        rng: the stream of this decision.

    Returns:
        Distinct indices in order of choice, shape (k,).
    """
    n = len(points.squared_norms)
    _check(k, n)
    order = rng.permutation(n)
    chosen = [int(order[np.argmax(points.squared_norms[order])])]
    nearest = np.full(n, np.inf)
    with threadpool_limits(1):
        while len(chosen) < k:
            np.minimum(nearest, points.squared_distances(chosen[-1]), out=nearest)
            total = nearest.sum()
            if total == 0.0:
                others = np.setdiff1d(np.arange(n), chosen)
                chosen.extend(rng.choice(others, k - len(chosen), replace=False).tolist())
            else:
                chosen.append(int(rng.choice(n, p=nearest / total)))
    return np.array(chosen, np.int64)


def outer_kmeans(points: OuterProducts, k: int, rng: np.random.Generator) -> Indices:
    """Labels of Lloyd's k-means from the seeds of `kmeans_plus_plus`; see `lloyd`.

    Args:
        points: N points.
        k: number of clusters, at most N.
        rng: the stream of this decision.

    Returns:
        Labels in [0, k), shape (N,).
    """
    return lloyd(points, kmeans_plus_plus(points, k, rng))


def lloyd(points: OuterProducts, seeds: Indices) -> Indices:
    """Lloyd's k-means of outer products; the clusters are scikit-learn's on the materialised points.

    The centre of cluster k is the mean of its members, so that all distances to it follow from the sums
    S_ki = sum_{j in k} <x_i, x_j>: |x_i - c_k|^2 = |x_i|^2 - 2 S_ki / n_k + sum_{j in k} S_kj / n_k^2. Only the
    inner products of points that change cluster are computed: all of them once, few later on. A point moves only to
    a centre that is closer by more than rounding errors; a cluster that becomes empty takes over the point farthest
    from its centre (as scikit-learn does), or stays empty if every point lies on its centre.

    Memory: O(N (D + C + k + BLOCK)). Ends when no point moves, or after `MAX_ITERATIONS`.

    Args:
        points: N points.
        seeds: the points that are the first centres, distinct, shape (k,).

    Returns:
        Labels in [0, k), shape (N,).
    """
    sums = np.zeros((len(seeds), len(points.squared_norms)))
    labels = np.full(len(points.squared_norms), -1, np.int64)
    target = labels.copy()
    target[seeds] = np.arange(len(seeds))
    with threadpool_limits(1):
        for _ in range(MAX_ITERATIONS + 1):
            moved = np.flatnonzero(target != labels)
            if not moved.size:
                break
            _move(sums, points, moved, labels[moved], target[moved])
            labels = target
            target = _nearest(sums, points.squared_norms, labels)
    return labels


def most_uncertain(labels: Indices, uncertainty: Floats, n: int, rng: np.random.Generator) -> Indices:
    """The most uncertain candidate of each cluster, ties broken at random.

    Where clusters are empty the most uncertain of the rest follow, so that the budget is always spent.

    Args:
        labels: cluster of each candidate, shape (N,), at most `n` different ones.
        uncertainty: shape (N,).
        n: how many to choose, at most N.
        rng: the stream of this decision.

    Returns:
        Distinct indices, those of each cluster first, then the most uncertain first, shape (n,).
    """
    _check(n, len(labels))
    order = np.lexsort((rng.permutation(len(labels)), -uncertainty))
    best = np.zeros(len(labels), np.bool_)
    best[np.unique(labels[order], return_index=True)[1]] = True
    return np.concatenate([order[best], order[~best]])[:n]


def _check(k: int, n: int) -> None:
    if not 0 < k <= n:
        raise ValueError(f"{k} of {n} points: ask for at least one and for no more than there are")


def _move(sums: Floats, points: OuterProducts, moved: Indices, sources: Indices, targets: Indices) -> None:
    """Update S in place for points that leave cluster `sources` (-1: none) for cluster `targets`."""
    for start in range(0, len(moved), BLOCK):
        block = slice(start, start + BLOCK)
        for row, source, target in zip(points.products(moved[block]), sources[block], targets[block], strict=True):
            if source >= 0:
                sums[source] -= row
            sums[target] += row


def _nearest(sums: Floats, squared_norms: Floats, labels: Indices) -> Indices:
    """Cluster of the nearest centre of each point, empty clusters filled; `labels` (-1: none) are the present ones."""
    k, n = sums.shape
    members = np.flatnonzero(labels >= 0)
    counts = np.bincount(labels[members], minlength=k)
    inverse = 1.0 / np.maximum(counts, 1)
    within = np.bincount(labels[members], sums[labels[members], members], k)
    centre_norms = np.where(counts > 0, within * inverse**2, np.inf)
    target = np.empty(n, np.int64)
    distances = np.empty(n)
    for start in range(0, n, BLOCK):
        block = slice(start, start + BLOCK)
        each = np.arange(len(labels[block]))
        # Less |x_i|^2, which does not matter to the choice of a centre.
        reduced = centre_norms[:, None] - sums[:, block] * (2.0 * inverse[:, None])
        nearest = reduced.argmin(axis=0)
        present = np.where(labels[block] >= 0, reduced[labels[block], each], np.inf)
        slack = ROUNDING * (squared_norms[block] + centre_norms[nearest])
        target[block] = np.where(reduced[nearest, each] < present - slack, nearest, labels[block])
        distances[block] = reduced[target[block], each] + squared_norms[block]
    empty = np.flatnonzero(np.bincount(target, minlength=k) == 0)
    farthest = np.argsort(-distances, kind="stable")[: len(empty)]
    farthest = farthest[distances[farthest] > ROUNDING * squared_norms[farthest]]
    target[farthest] = empty[: len(farthest)]
    return target
