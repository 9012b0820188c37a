import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from toys import random_counts

from decomp.platform.regions import Region
from decomp.platform.samplers import ImageView, select_images
from decomp.platform.samplers.uncertainty import UncertaintyImages, UncertaintyRegions


@settings(deadline=None)
@given(st.integers(0, 2**32))
def test_windows_equal_brute_force_greedy(seed):
    rng = np.random.default_rng(seed)
    uncertainty = rng.random((9, 10), dtype=np.float32)
    annotated = [Region("a", (2, 2), (3, 3))]
    chosen = UncertaintyRegions().choose(ImageView("a", (9, 10), (3, 4), annotated, None, uncertainty), 3, rng)
    taken = list(annotated)
    for choice in chosen:
        windows = [Region("a", (i, j), (3, 4)) for i in range(7) for j in range(7)]
        means = {w: uncertainty[w.slices].mean() for w in windows if not any(w.overlaps(other) for other in taken)}
        best = Region("a", choice.start, (3, 4))
        assert means[best] >= max(means.values()) - 1e-6
        assert abs(choice.score - means[best]) < 1e-6
        taken.append(best)


def test_the_most_uncertain_images_are_taken_best_first():
    counts = random_counts(9)
    chosen = select_images(counts.images, UncertaintyImages().scores(counts, None), 3, np.random.default_rng(0))
    assert chosen == [counts.images[k] for k in np.argsort(-counts.uncertainty)[:3]]
