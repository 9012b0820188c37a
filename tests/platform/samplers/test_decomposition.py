import numpy as np
import pytest
from helpers.toys import random_counts
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from decomp.platform.components import build_selectors
from decomp.platform.errors import UserError
from decomp.platform.grid import Component, Sampler
from decomp.platform.predictions import PoolCounts
from decomp.platform.regions import Region
from decomp.platform.samplers import ImageView, class_confidence, class_weights
from decomp.platform.samplers.contract import scores_of
from decomp.platform.samplers.decomposition import DecompositionImages, DecompositionRegions
from decomp.platform.samplers.tiny import KINDS, TinyImage, tiny_image


@pytest.mark.parametrize(("cap", "most"), [(None, "0.1 of the image"), (0.3, "0.3 of the image"), (25, "25 pixels")])
def test_image_score_equals_equation_3(cap, most):
    counts, weights = random_counts(7), np.array([0.1, 0.2, 0.3, 0.4])
    scores = DecompositionImages(cap).scores(counts, weights)
    for i in range(7):
        limit = {"0.1": 0.1 * counts.pixels[i], "0.3": 0.3 * counts.pixels[i], "25": 25}[most.split()[0]]
        assert scores[i] == pytest.approx(sum(weights[c] * min(counts.predicted[i, c], limit) for c in range(4)))


def test_of_rois_each_class_counts_once():
    predicted = np.array([[5, 0, 1], [0, 0, 2]])
    np.testing.assert_allclose(roi_scores(predicted, [0.5, 0.3, 0.2]), [0.7, 0.2])


@pytest.mark.parametrize(
    ("weights", "background"),
    [([1 / 3] * 3, None), ([1 / 3 + 1e-16, 1 / 3, 1 / 3 - 1e-16], None), ([0.5, 0, 0.5], 1), ([0.5, 0.5, 0.0], 2)],
)
def test_slides_tie_where_all_sampled_classes_have_the_same_weight(weights, background):
    predicted = np.array([[5, 1, 1], [0, 0, 2]])
    assert roi_scores(predicted, weights, background).tolist() == [0, 0]
    assert len(set(roi_scores(predicted, weights, background, axes=2))) == 2  # of ROIs alone


@pytest.mark.parametrize("weights", [[0.5, 0, 0.5], [0.333, 0.333, 0.334]])
def test_slides_rich_in_classes_come_first_where_a_class_weighs_less(weights):
    first, second = roi_scores(np.array([[5, 1, 1], [0, 0, 2]]), weights)
    assert first > second > 0


def roi_scores(predicted, weights, background=None, axes=1):
    images = tuple(f"slide-{number}" for number in range(len(predicted)))
    pool = PoolCounts(images, predicted.sum(axis=1), predicted, predicted, predicted, np.zeros(len(images)), axes)
    return scores_of(DecompositionImages(), pool, np.array(weights), background)


def test_a_cap_of_nothing_is_refused():
    with pytest.raises(UserError, match=r"images\.cap: .*greater than 0"):
        build_selectors(Sampler("x", Component("decomposition", {"cap": 0}), Component("random")))


@pytest.mark.parametrize("shape", KINDS)
@settings(max_examples=40)
@given(st.integers(0, 2**32))
def test_each_region_holds_most_of_its_class(shape, seed):
    """Brute force over all places that are free; of ROIs, the one of highest probability."""
    rng = np.random.default_rng(seed)
    image = tiny_image(shape, rng)
    view = image.view(rng)
    taken = []
    for choice in DecompositionRegions().choose(view, 3, rng):
        rivals = image.free(taken)
        if len(image.shape) == 3 and image.region_shape[0] == 1:
            rivals = [region for region in rivals if region.start[0] == choice.region.start[0]]
        if shape == "roi":
            values = {r: (r.of(view.labels) == choice.drawn_class)[0] * float(r.of(view.confidence)[0]) for r in rivals}
        else:
            values = {r: np.count_nonzero(r.of(view.labels) == choice.drawn_class) for r in rivals}
        assert values[choice.region] == max(values.values()) == choice.score > 0
        taken.append(choice.region)


def view_of(labels, weights, annotated=(), size=(2, 2), background=None):
    predicted = np.bincount(labels.ravel(), minlength=len(weights))
    places = TinyImage(labels.shape, size, annotated=tuple(annotated)).places()
    return ImageView(places, labels, None, np.array(weights), predicted, background=background)


def draw_shares(labels, weights, annotated=(), n=4000, background=None):
    rng = np.random.default_rng(3)
    drawn = [
        DecompositionRegions().choose(view_of(labels, weights, annotated, background=background), 1, rng)[0].drawn_class
        for _ in range(n)
    ]
    return np.bincount(drawn, minlength=len(weights)) / n


STRIPES = np.repeat([[0, 0, 1, 1, 2, 2]], 4, axis=0).astype(np.uint8)


def test_classes_are_drawn_by_weight_among_those_present():
    np.testing.assert_allclose(draw_shares(STRIPES, [0.5, 0.2, 0.1, 0.2]), [0.625, 0.25, 0.125, 0], atol=0.03)


def test_a_class_whose_every_window_is_taken_is_dropped_and_the_weights_renormalised():
    shares = draw_shares(STRIPES, [0.5, 0.2, 0.1, 0.2], [Region("a", (0, 0), (4, 2))])
    np.testing.assert_allclose(shares, [0, 2 / 3, 1 / 3, 0], atol=0.03)


def test_classes_of_zero_weight_are_drawn_uniformly_when_only_they_remain():
    labels = np.repeat([[0, 0, 1, 1]], 4, axis=0).astype(np.uint8)
    np.testing.assert_allclose(draw_shares(labels, [0.0, 0.0, 1.0]), [0.5, 0.5, 0], atol=0.03)


def test_a_class_left_out_is_never_drawn():
    np.testing.assert_allclose(draw_shares(STRIPES, [0.0, 0.75, 0.25], background=0), [0, 0.75, 0.25], atol=0.03)
    alone = view_of(np.zeros((4, 6), np.uint8), [0.0, 0.5, 0.5], background=0)
    assert DecompositionRegions().choose(alone, 3, np.random.default_rng(0)) == []


def test_an_image_of_one_class():
    view = view_of(np.zeros((4, 6), np.uint8), [1.0])
    choices = DecompositionRegions().choose(view, 2, np.random.default_rng(0))
    assert [(choice.drawn_class, choice.score) for choice in choices] == [(0, 4.0), (0, 4.0)]


def test_slices_are_drawn_uniformly_among_those_with_the_class():
    """Even where one slice holds far more of the class than another."""
    labels = np.zeros((5, 6, 6), np.uint8)
    labels[1] = 1
    labels[3, 2, 2] = 1
    labels[4, 0, 0] = 1
    rng = np.random.default_rng(0)
    taken = (Region("a", (4, 0, 0), (1, 2, 2)),)  # covers the class in slice 4
    hits = np.zeros(5)
    for _ in range(2000):
        view = view_of(labels, [0.0, 1.0], taken, (1, 2, 2))
        hits[DecompositionRegions().choose(view, 1, rng)[0].region.start[0]] += 1
    assert hits[[0, 2, 4]].sum() == 0
    assert chisquare(hits[[1, 3]]).pvalue > 1e-4


def test_a_slide_worked_by_hand():
    """Four ROIs predicted as 0, 0, 1, 2 with P .9, .6, .8, .3, of which the first is annotated; tau .7."""
    labels, confidence = np.array([0, 0, 1, 2], np.uint8), np.array([0.9, 0.6, 0.8, 0.3], np.float32)
    annotated = (Region("a", (0,), (1,)),)
    unsure, confident = np.array([[1, 0, 1]]), np.array([[0, 1, 0]])
    predicted = np.array([[2, 1, 1]])
    delta = class_confidence((unsure + confident)[0], confident[0])
    assert delta.tolist() == [0, 1, 0]
    weights = class_weights(delta)
    assert weights.tolist() == [0.5, 0, 0.5]
    assert roi_scores(predicted, weights).tolist() == [1.0]  # class 0 counts once though predicted twice

    firsts = []
    for seed in range(400):
        places = TinyImage((4,), (1,), annotated=annotated).places()
        view = ImageView(places, labels, None, weights, predicted[0], confidence)
        choices = DecompositionRegions().choose(view, 5, np.random.default_rng(seed))
        chosen = [(choice.region.start[0], choice.drawn_class, round(choice.score, 3)) for choice in choices]
        # Classes 0 and 2 in either order; class 1, of weight 0, when nothing else is left.
        assert sorted(chosen[:2]) == [(1, 0, 0.6), (3, 2, 0.3)]
        assert chosen[2:] == [(2, 1, 0.8)]
        firsts.append(chosen[0][1])
    assert 150 < firsts.count(0) < 250
