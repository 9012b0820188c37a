import warnings
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

from decomp.platform.samplers.clustering import (
    OuterProducts,
    farthest_first,
    kmeans,
    kmeans_plus_plus,
    lloyd,
    most_uncertain,
    outer_kmeans,
)

SEEDS = st.integers(0, 2**32)


def random_features(rng, n=None, d=None):
    return rng.normal(size=(n or rng.integers(2, 25), d or rng.integers(1, 5))).astype(np.float32)


def random_products(rng, n=None, d=None, c=None, clusters=0):
    n = n or int(rng.integers(5, 60))
    left, right = rng.normal(size=(n, d or rng.integers(1, 5))), rng.normal(size=(n, c or rng.integers(1, 4)))
    if clusters:
        member = rng.integers(clusters, size=n)
        left, right = left[member] + 0.3 * left, right[member] + 0.3 * right
    return OuterProducts(left.astype(np.float32), right.astype(np.float32))


def materialised(points):
    return np.einsum("nd,nc->ndc", points.left, points.right).reshape(len(points.left), -1)


@dataclass
class Materialised:
    """Brute-force `Points`."""

    rows: np.ndarray

    @property
    def squared_norms(self):
        return np.square(self.rows).sum(axis=1)

    def squared_distances(self, i):
        return np.square(self.rows - self.rows[i]).sum(axis=1)


def sklearn_lloyd(rows, seeds):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return KMeans(len(seeds), init=rows[seeds], n_init=1, tol=0, algorithm="lloyd").fit(rows).labels_


def renumbered(labels):
    """Labels in order of first appearance: equal for equal partitions."""
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse]


def explicit_lloyd(rows, seeds):
    """Each step written out. Which of several emptied clusters takes which point is left open by scikit-learn; here
    the lowest takes the farthest."""
    centres, labels = rows[seeds].astype(np.float64), None
    for _ in range(301):
        distances = np.square(rows[:, None] - centres).sum(axis=-1)
        nearest = distances.argmin(axis=1)
        each = np.arange(len(rows))
        if labels is not None:  # ties and rounding move nobody
            nearest = np.where(distances[each, nearest] < distances[each, labels] - 1e-9, nearest, labels)
        empty = [k for k in range(len(seeds)) if not (nearest == k).any()]
        farthest = np.argsort(-distances[each, nearest], kind="stable")[: len(empty)]
        for k, point in zip(empty, farthest, strict=True):
            if distances[point, nearest[point]] > 1e-9:
                nearest[point] = k
        if labels is not None and (nearest == labels).all():
            break
        labels = nearest
        for k in range(len(seeds)):
            centres[k] = rows[labels == k].mean(axis=0) if (labels == k).any() else np.inf
    return labels


def inertia(rows, labels):
    return sum(np.square(rows[labels == k] - rows[labels == k].mean(axis=0)).sum() for k in np.unique(labels))


# Outer products.


@given(SEEDS)
def test_norms_and_distances_of_outer_products_equal_the_materialised_ones(seed):
    points = random_products(np.random.default_rng(seed))
    brute = Materialised(materialised(points))
    np.testing.assert_allclose(points.squared_norms, brute.squared_norms, rtol=1e-12)
    for i in range(len(points.left)):
        np.testing.assert_allclose(points.squared_distances(i), brute.squared_distances(i), atol=1e-9)
    np.testing.assert_allclose(points.products(np.array([1, 0])), brute.rows[[1, 0]] @ brute.rows.T, atol=1e-9)


@given(SEEDS, st.integers(1, 9))
def test_duplicates_are_at_distance_zero_whatever_their_scale(seed, d):
    rng = np.random.default_rng(seed)
    scale = 10.0 ** rng.integers(-6, 7)
    left, right = scale * random_features(rng, 7, d), random_features(rng, 7, 3)
    points = OuterProducts(np.repeat(left, 3, axis=0), np.repeat(right, 3, axis=0))
    for i in range(21):
        np.testing.assert_array_equal(np.flatnonzero(points.squared_distances(i) == 0), i // 3 * 3 + np.arange(3))


def test_unpaired_factors_are_refused():
    with pytest.raises(ValueError, match="3 left factors for 2 right ones"):
        OuterProducts(np.ones((3, 2)), np.ones((2, 2)))


# Farthest-first traversal.


@given(SEEDS, st.data())
def test_farthest_first_equals_brute_force(seed, data):
    rng = np.random.default_rng(seed)
    features = random_features(rng)
    k = data.draw(st.integers(1, len(features)))
    chosen = farthest_first(features, k, rng)
    assert len(set(chosen.tolist())) == k
    distances = np.linalg.norm(features[:, None].astype(float) - features, axis=2)
    for step in range(1, k):
        nearest = distances[:, chosen[:step]].min(axis=1)
        assert nearest[chosen[step]] >= nearest.max() * (1 - 1e-12)


@given(SEEDS)
def test_reordering_the_points_reorders_the_traversal(seed):
    rng = np.random.default_rng(seed)
    features = random_features(rng, 12, 3)
    order = rng.permutation(12)
    chosen = farthest_first(features, 8, np.random.default_rng(0))
    for other in range(1000):
        permuted = farthest_first(features[order], 8, np.random.default_rng(other))
        if order[permuted[0]] == chosen[0]:
            break
    np.testing.assert_array_equal(order[permuted], chosen)


def test_ties_of_the_traversal_have_no_position_bias():
    square = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)  # The second is opposite to the first, then a tie.
    firsts, thirds, duplicates = np.zeros(4), np.zeros((4, 4)), np.zeros((3, 6))
    rng = np.random.default_rng(0)
    for _ in range(4000):
        first, _, third = farthest_first(square, 3, rng)
        firsts[first] += 1
        thirds[first, third] += 1
        for step, chosen in enumerate(farthest_first(np.ones((6, 2), np.float32), 3, rng)):
            duplicates[step, chosen] += 1
    assert chisquare(firsts).pvalue > 1e-4
    for first in range(4):
        assert chisquare(thirds[first][thirds[first] > 0]).pvalue > 1e-4
        assert np.count_nonzero(thirds[first]) == 2
    for counts in duplicates:
        assert chisquare(counts).pvalue > 1e-4


# Seeds of k-means++.


@given(SEEDS, st.data())
def test_seeds_equal_those_of_the_materialised_points(seed, data):
    rng = np.random.default_rng(seed)
    points = random_products(rng)
    brute = Materialised(materialised(points))
    k = data.draw(st.integers(1, len(points.left)))
    chosen = kmeans_plus_plus(points, k, np.random.default_rng(seed))
    np.testing.assert_array_equal(chosen, kmeans_plus_plus(brute, k, np.random.default_rng(seed)))
    assert len(set(chosen.tolist())) == k
    assert brute.squared_norms[chosen[0]] == brute.squared_norms.max()


def test_seeds_are_drawn_by_squared_distance():
    points = Materialised(np.array([[5.0, 0], [4, 0], [3, 0], [0, 0]]))
    rng = np.random.default_rng(0)
    counts, thirds = np.zeros(4), np.zeros(4)
    for _ in range(600):
        first, second, third = kmeans_plus_plus(points, 3, rng)
        assert first == 0
        counts[second] += 1
        thirds[third] += second == 3
    assert chisquare(counts[1:], 600 * np.array([1, 4, 25]) / 30).pvalue > 1e-4
    # The nearest of 5 and 0 to 4 is at 1, to 3 at 2.
    assert chisquare(thirds[1:3], counts[3] * np.array([1, 4]) / 5).pvalue > 1e-4


def test_ties_of_the_seeds_have_no_position_bias():
    rng = np.random.default_rng(0)
    duplicates = OuterProducts(np.full((6, 3), 0.1, np.float32), np.full((6, 2), 0.7, np.float32))
    counts = np.zeros((3, 6))
    for _ in range(600):
        for step, chosen in enumerate(kmeans_plus_plus(duplicates, 3, rng)):
            counts[step, chosen] += 1
    for step in counts:
        assert chisquare(step).pvalue > 1e-4


@given(SEEDS)
def test_distinct_points_are_seeds_before_duplicates(seed):
    rng = np.random.default_rng(seed)
    member = rng.permutation(np.repeat(np.arange(5), 4))
    points = OuterProducts(random_features(rng, 5, 7)[member], random_features(rng, 5, 3)[member])
    chosen = kmeans_plus_plus(points, 20, rng)
    assert sorted(member[chosen[:5]]) == [0, 1, 2, 3, 4]
    assert sorted(chosen) == list(range(20))


# K-means.


@given(SEEDS, st.data())
def test_lloyd_on_factors_gives_the_clusters_of_lloyd_on_products(seed, data):
    rng = np.random.default_rng(seed)
    points = random_products(rng)
    seeds = rng.permutation(len(points.left))[: data.draw(st.integers(1, len(points.left)))]
    labels, expected = lloyd(points, seeds), explicit_lloyd(materialised(points), seeds)
    # Of emptied clusters that take points equally far away, which takes which is decided by the last bit.
    np.testing.assert_array_equal(renamed(labels), renamed(expected))


def renamed(labels):
    """Clusters numbered in order of their first members."""
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse]


@pytest.mark.parametrize("k", [2, 20, 150, 600])
def test_labels_equal_scikit_learn_at_moderate_size(k):
    points = random_products(np.random.default_rng(k), 600, 24, 7, clusters=40)
    seeds = kmeans_plus_plus(points, k, np.random.default_rng(1))
    labels = outer_kmeans(points, k, np.random.default_rng(1))
    np.testing.assert_array_equal(labels, sklearn_lloyd(materialised(points), seeds))


def test_an_emptied_cluster_takes_the_farthest_point():
    # The first centre, drawn to (14, 23) by the last point, then has no member and takes (2, 8).
    rows = np.array([[3, 28], [1, 28], [2, 8], [22, 9], [24, 14], [25, 18]])
    seeds = np.arange(3)
    labels = lloyd(OuterProducts(rows, np.ones((6, 1))), seeds)
    assert labels.tolist() == [1, 1, 0, 2, 2, 2]
    np.testing.assert_array_equal(labels, sklearn_lloyd(rows.astype(float), seeds))


@given(SEEDS, st.integers(1, 40))
def test_duplicates_share_a_cluster_of_no_spread_where_clusters_suffice(seed, k):
    rng = np.random.default_rng(seed)
    member = rng.permutation(np.repeat(np.arange(8), 5))
    points = OuterProducts(random_features(rng, 8, 3)[member], random_features(rng, 8, 3)[member])
    labels = outer_kmeans(points, k, rng)
    assert len(labels) == 40
    assert labels.min() >= 0
    assert labels.max() < k
    if k >= 8:
        assert inertia(materialised(points), labels) < 1e-9


@settings(max_examples=20)
@given(SEEDS, st.data())
def test_kmeans_labels_every_point_even_duplicates(seed, data):
    rng = np.random.default_rng(seed)
    features = np.repeat(random_features(rng), 2, axis=0)
    k = data.draw(st.integers(1, len(features)))
    with warnings.catch_warnings(action="error"):
        labels = kmeans(features, k, np.random.default_rng(seed))
    assert labels.shape == (len(features),)
    assert labels.dtype == np.int64
    assert set(labels.tolist()) <= set(range(k))
    np.testing.assert_array_equal(labels, kmeans(features, k, np.random.default_rng(seed)))


def test_kmeans_finds_clusters_that_lie_apart():
    rng = np.random.default_rng(0)
    member = rng.integers(6, size=200)
    features = (50 * rng.normal(size=(6, 8))[member] + rng.normal(size=(200, 8))).astype(np.float32)
    np.testing.assert_array_equal(renumbered(kmeans(features, 6, rng)), renumbered(member))


def test_clusters_do_not_depend_on_the_number_of_threads():
    rng = np.random.default_rng(0)
    features = random_features(rng, 1500, 64)
    points = random_products(rng, 700, 48, 9)

    calls = (kmeans, features), (outer_kmeans, points), (kmeans_plus_plus, points), (farthest_first, features)
    results = []
    for threads in (1, 2, 4):
        with threadpool_limits(threads):
            results.append([function(data, 90, np.random.default_rng(1)) for function, data in calls])
    for result in results[1:]:
        for mine, first in zip(result, results[0], strict=True):
            np.testing.assert_array_equal(mine, first)


# The most uncertain of each cluster.


@given(SEEDS, st.data())
def test_the_most_uncertain_of_each_cluster_equals_brute_force(seed, data):
    rng = np.random.default_rng(seed)
    size = data.draw(st.integers(1, 30))
    n = data.draw(st.integers(1, size))
    labels, uncertainty = rng.integers(n, size=size), rng.permutation(size) / size
    chosen = most_uncertain(labels, uncertainty, n, rng)
    best = [int(np.flatnonzero(labels == k)[np.argmax(uncertainty[labels == k])]) for k in np.unique(labels)]
    rest = sorted(set(range(size)) - set(best), key=lambda i: -uncertainty[i])
    expected = sorted(best, key=lambda i: -uncertainty[i]) + rest[: n - len(best)]
    assert chosen.tolist() == expected


def test_ties_of_uncertainty_have_no_position_bias():
    rng = np.random.default_rng(0)
    counts = np.zeros(6)
    for _ in range(3000):
        counts[most_uncertain(np.array([0, 0, 0, 1, 1, 1]), np.ones(6), 2, rng)] += 1
    assert chisquare(counts).pvalue > 1e-4


@pytest.mark.parametrize("k", [0, 4])
def test_impossible_numbers_are_refused(k):
    rng = np.random.default_rng(0)
    features, points = np.ones((3, 2), np.float32), OuterProducts(np.ones((3, 2)), np.ones((3, 2)))
    for choose in (
        lambda: kmeans(features, k, rng),
        lambda: farthest_first(features, k, rng),
        lambda: kmeans_plus_plus(points, k, rng),
        lambda: outer_kmeans(points, k, rng),
        lambda: most_uncertain(np.zeros(3, int), np.ones(3), k, rng),
    ):
        with pytest.raises(ValueError, match=f"{k} of 3 points"):
            choose()
