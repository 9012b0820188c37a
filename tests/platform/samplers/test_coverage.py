import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decomp.platform.samplers.base import CandidateRegions
from decomp.platform.samplers.clustering import kmeans
from decomp.platform.samplers.coverage import (
    ProbCoverRegions,
    TypiClustRegions,
    pure_squared_radius,
    squared_distances,
    typicality,
)


def candidates_of(features, annotated=(), classes=None):
    n = len(features)
    return CandidateRegions(
        np.zeros(n, np.int64),
        np.zeros(n),
        np.full(n, -1),
        np.asarray(features, np.float32),
        predicted_class=np.zeros(n, np.int64) if classes is None else np.asarray(classes),
        annotated=np.asarray(annotated, np.float32).reshape(len(annotated), np.shape(features)[1]),
    )


def test_the_most_typical_of_each_uncovered_cluster_is_chosen_the_largest_first():
    rng = np.random.default_rng(0)
    sizes, centres = [9, 30, 5, 14], 20 * np.eye(4)
    member = np.repeat(np.arange(4), sizes)
    features = centres[member] + 0.3 * rng.normal(size=(sum(sizes), 4))
    candidates = candidates_of(features, annotated=centres[[3]])
    chosen = TypiClustRegions().select(candidates, 3, np.random.default_rng(0))
    assert member[chosen].tolist() == [1, 0, 2]
    for k in chosen:
        own = np.flatnonzero(member == member[k])
        distances = np.sort(np.linalg.norm(features[own][:, None] - features[own], axis=2), axis=1)
        nearest = distances[:, 1 : 1 + min(20, len(own) - 1)].mean(axis=1)
        assert own[np.argmin(nearest)] == k


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 40))
def test_typicality_is_the_inverse_mean_distance_to_the_nearest(seed, n):
    points = np.random.default_rng(seed).normal(size=(n, 3))
    expected = []
    for point in points:
        nearest = sorted(float(np.linalg.norm(point - other)) for other in points)[1:21]
        expected.append(1 / np.mean(nearest) if nearest else np.inf)
    assert typicality(points) == pytest.approx(expected)


def test_clusters_are_as_many_as_annotated_and_wanted_regions():
    rng = np.random.default_rng(1)
    features, annotated = rng.normal(size=(50, 3)), rng.normal(size=(7, 3))
    chosen = TypiClustRegions().select(candidates_of(features, annotated), 6, np.random.default_rng(2))
    points = np.concatenate([features, annotated]).astype(np.float32)
    labels = kmeans(points, 13, np.random.default_rng(2))
    assert len(set(labels[chosen])) == 6
    assert not set(labels[chosen]) & set(labels[50:])


def brute_radius(features, classes, purity):
    distances = ((features[:, None] - features) ** 2).sum(axis=2)
    pure = [
        radius
        for radius in np.unique(distances)
        if np.mean([len(set(classes[row < radius])) <= 1 for row in distances]) >= purity
    ]
    return max(pure)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.integers(3, 40), st.sampled_from([0.5, 0.9, 0.95, 1.0]))
def test_the_radius_is_the_greatest_at_which_most_balls_are_pure(seed, n, purity):
    rng = np.random.default_rng(seed)
    features, classes = rng.normal(size=(n, 2)), rng.integers(3, size=n)
    classes[:2] = [0, 1]
    radius = pure_squared_radius(features, classes, purity)
    assert radius == pytest.approx(brute_radius(features, classes, purity))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 8))
def test_each_next_one_covers_most_that_is_not_covered(seed, n):
    rng = np.random.default_rng(seed)
    features, classes = rng.normal(size=(30, 2)).astype(np.float32), rng.integers(3, size=30)
    annotated = rng.normal(size=(rng.integers(3), 2)).astype(np.float32)
    chosen = ProbCoverRegions().select(candidates_of(features, annotated, classes), n, rng)
    points = features.astype(np.float64)
    radius = pure_squared_radius(points, classes, 0.95)

    def ball(centre):
        return set(np.flatnonzero(squared_distances(points, centre[None])[:, 0] < radius))

    covered = set().union(*(ball(point) for point in annotated.astype(np.float64)))
    for step, number in enumerate(chosen):
        gains = {k: len(ball(features[k].astype(np.float64)) - covered) for k in range(30) if k not in chosen[:step]}
        assert gains[number] == max(gains.values())
        covered |= ball(features[number].astype(np.float64))


def test_one_class_alone_is_covered_at_once():
    chosen = ProbCoverRegions().select(candidates_of(np.eye(5)), 5, np.random.default_rng(0))
    assert sorted(chosen) == [0, 1, 2, 3, 4]
