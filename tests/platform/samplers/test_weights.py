import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from decomp.platform.samplers import class_confidence, class_weights
from decomp.platform.samplers.weights import above_quantile, confidence_histogram


def test_worked_example():
    delta = class_confidence(np.array([100, 50, 0]), np.array([80, 10, 0]))
    np.testing.assert_allclose(delta, [0.8, 0.2, 0.0])
    np.testing.assert_allclose(class_weights(delta), [0.1, 0.4, 0.5])


def test_weights_are_uniform_when_every_class_is_certain():
    np.testing.assert_array_equal(class_weights(np.ones(4)), [0.25] * 4)


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=1, max_size=9))
def test_weights_are_probabilities_that_fall_with_confidence(rows):
    predicted = np.array([a + b for a, b in rows])
    delta = class_confidence(predicted, np.array([a for a, _ in rows]))
    w = class_weights(delta)
    assert ((delta >= 0) & (delta <= 1)).all()
    assert np.isclose(w.sum(), 1)
    order = np.argsort(delta)
    assert (np.diff(w[order]) <= 1e-12).all()


def test_emphasis_multiplies_the_doubt_and_a_class_left_out_weighs_nothing():
    delta = np.array([0.8, 0.2, 0.0])
    np.testing.assert_allclose(class_weights(delta, np.array([1.0, 1.0, 3.0])), [0.05, 0.2, 0.75])
    np.testing.assert_allclose(class_weights(delta, background=2), [0.2, 0.8, 0.0])
    np.testing.assert_array_equal(class_weights(np.ones(3), background=0), [0, 0.5, 0.5])


@given(st.lists(st.floats(0, 1), min_size=2, max_size=9), st.data())
def test_weights_equal_equation_2_written_out(delta, data):
    emphasis = data.draw(st.lists(st.floats(0.1, 10), min_size=len(delta), max_size=len(delta)))
    doubt = [factor * (1 - share) for factor, share in zip(emphasis, delta, strict=True)]
    if sum(doubt) > 0:
        expected = [one / sum(doubt) for one in doubt]
        np.testing.assert_allclose(class_weights(np.array(delta), np.array(emphasis)), expected, rtol=1e-9)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 6), st.sampled_from([0.1, 0.5, 0.9]))
def test_pixels_above_a_quantile_of_all_confidences_are_counted_by_class(seed, n_classes, quantile):
    rng = np.random.default_rng(seed)
    labels = rng.integers(n_classes, size=(20, 30)).astype(np.uint8)
    confidence = (1 - 10.0 ** rng.uniform(-6, -0.1, size=(20, 30))).astype(np.float32)
    counted = rng.random((20, 30)) < 0.8
    counted[0, 0] = True
    histogram = confidence_histogram(labels, confidence, counted, n_classes)
    assert histogram.sum() == counted.sum()
    above = above_quantile(histogram, quantile)
    tau = np.sort(confidence[counted])[int(np.ceil(quantile * counted.sum())) - 1]
    # A bin spans a 32nd of a halving of 1 - P.
    surely, perhaps = (1 - confidence) < (1 - tau) * 2 ** (-1 / 32) * 0.999, (1 - confidence) < (1 - tau)
    for class_ in range(n_classes):
        of_class = counted & (labels == class_)
        assert np.count_nonzero(of_class & surely) <= above[class_] <= np.count_nonzero(of_class & perhaps)


@given(st.integers(0, 2**32))
def test_the_background_has_no_part_in_the_quantile(seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(1, 4, size=2000).astype(np.uint8)
    confidence = (1 - 10.0 ** rng.uniform(-3, -0.1, size=2000)).astype(np.float32)
    foreground = confidence_histogram(labels, confidence, np.ones(2000, bool), 4)
    certain = confidence_histogram(np.zeros(9, np.uint8), np.full(9, 0.9999, np.float32), np.ones(9, bool), 4)
    alone = above_quantile(foreground, 0.5)
    assert above_quantile(foreground + 4222 * certain, 0.5, background=0)[1:].tolist() == alone[1:].tolist()
    assert alone.sum() > 900
    delta = class_confidence(foreground.sum(axis=1), alone)
    assert np.ptp(class_weights(delta, background=0)[1:]) > 0


def test_equal_confidences_are_all_or_none_above():
    histogram = confidence_histogram(np.zeros(9, np.uint8), np.full(9, 0.8, np.float32), np.ones(9, bool), 2)
    assert above_quantile(histogram, 0.5).tolist() == [0, 0]
