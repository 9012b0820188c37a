import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from decomp.platform.predictions import PoolCounts, Prediction, count_classes
from decomp.platform.regions import Region


@given(st.integers(0, 2**32), st.integers(1, 5), st.floats(0, 0.99))
def test_counts_equal_a_loop_over_pixels(seed, n_classes, tau):
    rng = np.random.default_rng(seed)
    labels = rng.integers(n_classes, size=(5, 7)).astype(np.uint8)
    confidence = rng.random((5, 7), dtype=np.float32)
    annotated = [Region("a", (0, 0), (2, 3)), Region("a", (3, 4), (2, 3))]
    predicted, opened, confident = count_classes(Prediction(labels, confidence), annotated, tau, n_classes)
    hidden = {(i, j) for r in annotated for i in range(*r.slices[0].indices(5)) for j in range(*r.slices[1].indices(7))}
    for c in range(n_classes):
        mine = [(i, j) for i in range(5) for j in range(7) if labels[i, j] == c]
        assert predicted[c] == len(mine)
        assert opened[c] == sum(place not in hidden for place in mine)
        assert confident[c] == sum(place not in hidden and confidence[place] > np.float32(tau) for place in mine)


def test_many_classes_do_not_overflow_the_folded_label():
    labels = np.full((2, 2), 254, np.uint8)
    predicted, _, confident = count_classes(Prediction(labels, np.ones((2, 2), np.float32)), [], 0.7, 255)
    assert predicted[254] == confident[254] == 4


def test_answers_of_shards_join_in_any_order():
    rng = np.random.default_rng(0)
    images = tuple(f"i{k}" for k in range(5))
    counts = [rng.integers(9, size=(5, 3)) for _ in range(3)]
    whole = PoolCounts(images, rng.integers(9, size=5), *counts, np.array([0.1, np.nan, 0.3, 0.4, 0.5]))

    def part(rows):
        arrays = [whole.pixels, whole.predicted, whole.open, whole.confident, whole.uncertainty]
        return PoolCounts(tuple(images[k] for k in rows), *(array[rows] for array in arrays)).to_arrow()

    joined = PoolCounts.from_arrow([part([3, 1]), part([0, 2, 4]), part([])])
    assert joined.images == images
    for name in ("pixels", "predicted", "open", "confident", "uncertainty"):
        np.testing.assert_array_equal(getattr(joined, name), getattr(whole, name))
