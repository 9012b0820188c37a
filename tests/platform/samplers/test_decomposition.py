import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toys import random_counts

from decomp.platform.regions import Region
from decomp.platform.samplers import ImageView
from decomp.platform.samplers.decomposition import DecompositionImages, DecompositionRegions


def test_image_score_equals_equation_3():
    counts, weights = random_counts(7), np.array([0.1, 0.2, 0.3, 0.4])
    scores = DecompositionImages().scores(counts, weights)
    for i in range(7):
        cap = 0.1 * counts.pixels[i]
        assert scores[i] == pytest.approx(sum(weights[c] * min(counts.predicted[i, c], cap) for c in range(4)))


@settings(deadline=None)
@given(st.integers(0, 2**32))
def test_each_window_holds_most_of_its_class(seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(4, size=(9, 10)).astype(np.uint8)
    annotated = [Region("a", (2, 2), (3, 3))]
    weights = rng.dirichlet(np.ones(4))
    view = ImageView("a", (9, 10), (3, 4), annotated, labels, None, weights)
    taken = list(annotated)
    for choice in DecompositionRegions().choose(view, 3, rng):
        windows = [Region("a", (i, j), (3, 4)) for i in range(7) for j in range(7)]
        counts = {
            w: np.count_nonzero(labels[w.slices] == choice.drawn_class)
            for w in windows
            if not any(w.overlaps(other) for other in taken)
        }
        best = Region("a", choice.start, (3, 4))
        assert counts[best] == max(counts.values()) == choice.score > 0
        taken.append(best)


def draw_shares(labels, weights, annotated=(), n=4000, size=(2, 2)):
    rng = np.random.default_rng(3)
    view = ImageView("a", labels.shape, size, annotated, labels, None, np.array(weights))
    drawn = [DecompositionRegions().choose(view, 1, rng)[0].drawn_class for _ in range(n)]
    return np.bincount(drawn, minlength=len(weights)) / n


def test_classes_are_drawn_by_weight_among_those_present():
    labels = np.repeat([[0, 0, 1, 1, 2, 2]], 4, axis=0).astype(np.uint8)
    shares = draw_shares(labels, [0.5, 0.2, 0.1, 0.2])
    np.testing.assert_allclose(shares, [0.625, 0.25, 0.125, 0], atol=0.03)


def test_a_class_whose_every_window_is_taken_is_dropped_and_the_weights_renormalised():
    labels = np.repeat([[0, 0, 1, 1, 2, 2]], 4, axis=0).astype(np.uint8)
    shares = draw_shares(labels, [0.5, 0.2, 0.1, 0.2], [Region("a", (0, 0), (4, 2))])
    np.testing.assert_allclose(shares, [0, 2 / 3, 1 / 3, 0], atol=0.03)


def test_classes_of_zero_weight_are_drawn_uniformly_when_only_they_remain():
    labels = np.repeat([[0, 0, 1, 1]], 4, axis=0).astype(np.uint8)
    np.testing.assert_allclose(draw_shares(labels, [0.0, 0.0, 1.0]), [0.5, 0.5, 0], atol=0.03)
