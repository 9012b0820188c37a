import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from decomp.platform.samplers import class_confidence, class_weights


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
