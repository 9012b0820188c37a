from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decomp.platform.predictions import LEVELS, UncertaintyMap
from decomp.platform.samplers.base import CandidateRegions
from decomp.platform.samplers.clasp import ClaspRegions
from decomp.platform.samplers.tiny import TinyImage


class Steps:
    """Class maps that are high in one row each, an entropy map that is high in the last row."""

    n_classes = 4

    def _map(self, row):
        levels = np.zeros((6, 40), np.uint16)
        levels[row] = 60_000
        return UncertaintyMap(levels, 1 / LEVELS)

    def measure(self, measure):
        assert measure == "entropy"
        return self._map(5)

    def class_entropy(self, class_):
        return self._map(class_)


def proposals(n_region, background=0, share=0.66, seed=0):
    view = TinyImage((6, 40), (1, 1)).view(np.random.default_rng(0))
    view = replace(view, maps=Steps(), background=background, n_region=n_region, cycle=11)
    selector = ClaspRegions(share, selections=10)  # cycle 11 is the last: beta is 100, the noise hardly matters
    return selector.choose(view, selector.n_candidates(n_region, 4), np.random.default_rng(seed))


def test_an_image_proposes_regions_of_each_class_but_the_background_and_of_none():
    # C = 3: max(1, floor(12 * 0.66 / 4)) = 1 of each class, max(1, floor(12 * 0.34)) = 4 of none.
    chosen = proposals(12)
    assert sorted((c.drawn_class if c.drawn_class is not None else 5) for c in chosen) == [1, 2, 3, 5, 5, 5, 5]
    assert all(c.region.start[0] == (5 if c.drawn_class is None else c.drawn_class) for c in chosen)
    assert len(proposals(1)) == 4
    # floor(40 * 0.66 / 4) = 6, floor(40 * 0.34) = 13
    assert len(proposals(40)) == 3 * 6 + 13
    assert len({c.region for c in proposals(40)}) == 31


def test_classes_come_in_seeded_order():
    orders = {tuple(c.drawn_class for c in proposals(1, seed=seed)) for seed in range(60)}
    assert len(orders) == 6
    assert all(order[-1] is None for order in orders)


def test_the_noise_fades_from_1_to_100():
    selector = ClaspRegions(selections=5)
    assert [selector._beta(cycle) for cycle in (2, 3, 4, 5, 6, 7)] == pytest.approx([1, 10**0.5, 10, 10**1.5, 100, 100])
    assert ClaspRegions(selections=1)._beta(2) == 1


def brute_force(candidates, n, share, order_of_classes):
    """Sec. 13 of the method notes, without ties and without the limit of an image."""
    n_stratified, chosen = int(share * n), []
    by_score = sorted(range(len(candidates.image)), key=lambda k: -candidates.uncertainty[k])
    each, rest = divmod(n_stratified, len(order_of_classes))
    for place, class_ in enumerate(order_of_classes):
        of_class = [k for k in by_score if candidates.drawn_class[k] == class_]
        chosen += of_class[: each + (place < rest)]
    chosen += [k for k in by_score if candidates.drawn_class[k] == -1][: n - n_stratified]
    chosen += [k for k in by_score if k not in chosen][: n - len(chosen)]
    return set(chosen)


@settings(deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 30), st.sampled_from([0.0, 0.33, 0.66, 1.0]))
def test_the_best_of_each_class_and_of_none_are_selected(seed, n, share):
    rng = np.random.default_rng(seed)
    image, drawn = np.sort(rng.integers(5, size=60)), rng.integers(-1, 3, size=60)
    drawn[:4] = [-1, 0, 1, 2]
    candidates = CandidateRegions(image, rng.normal(size=60), drawn, n_region=60)
    chosen = ClaspRegions(share).select(candidates, n, np.random.default_rng(seed))
    stream = np.random.default_rng(seed)
    stream.permutation(60)
    assert set(chosen.tolist()) == brute_force(candidates, n, share, stream.permutation(3).tolist())
    assert len(set(chosen.tolist())) == n


def test_no_image_gives_more_than_its_share():
    rng = np.random.default_rng(0)
    candidates = CandidateRegions(np.repeat(np.arange(4), 10), rng.random(40), rng.integers(-1, 3, 40), n_region=3)
    chosen = ClaspRegions().select(candidates, 12, rng)
    assert np.bincount(candidates.image[chosen]).tolist() == [3, 3, 3, 3]
