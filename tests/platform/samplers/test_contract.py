"""The contract that every registered region selector must keep."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from decomp.platform.regions import Region
from decomp.platform.registry import resolve
from decomp.platform.samplers import REGION_SELECTORS, ImageView, Need, RegionSelector

N_CLASSES = 4

every_selector = pytest.mark.parametrize(
    "selector",
    [resolve("region selector", name, REGION_SELECTORS, RegionSelector)() for name in REGION_SELECTORS],
    ids=list(REGION_SELECTORS),
)


def view_of(selector, rng, shape, size, annotated=(), uniform=False):
    labels = np.zeros(shape, np.uint8) if uniform else rng.integers(N_CLASSES, size=shape).astype(np.uint8)
    uncertainty = np.ones(shape, np.float32) if uniform else rng.random(shape, dtype=np.float32)
    needs = selector.needs
    return ImageView(
        "a",
        shape,
        size,
        annotated,
        labels if Need.LABELS in needs else None,
        uncertainty if Need.UNCERTAINTY in needs else None,
        rng.dirichlet(np.ones(N_CLASSES)) if Need.COUNTS in needs else None,
    )


@every_selector
@settings(deadline=None)
@given(
    st.integers(0, 2**32),
    st.tuples(st.integers(6, 20), st.integers(6, 20)),
    st.tuples(st.integers(1, 6), st.integers(1, 6)),
    st.integers(1, 12),
)
def test_chosen_windows_are_inside_apart_and_within_budget(selector, seed, shape, size, n_region):
    rng = np.random.default_rng(seed)
    annotated = [Region("a", (0, 0), (3, 3)), Region("a", (4, 2), (2, 4))]
    chosen = selector.choose(view_of(selector, rng, shape, size, annotated), n_region, rng)
    regions = [Region("a", choice.start, size) for choice in chosen]
    assert len(regions) <= n_region
    for k, region in enumerate(regions):
        assert all(a >= 0 and a + n <= full for a, n, full in zip(region.start, size, shape, strict=True))
        assert not any(region.overlaps(other) for other in (*annotated, *regions[:k]))


@every_selector
@settings(deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 20))
def test_fewer_windows_only_when_no_more_fit(selector, seed, n_region):
    rng = np.random.default_rng(seed)
    chosen = selector.choose(view_of(selector, rng, (9, 9), (3, 4)), n_region, rng)
    regions = [Region("a", choice.start, (3, 4)) for choice in chosen]
    if len(regions) < n_region:
        every = [Region("a", (i, j), (3, 4)) for i in range(7) for j in range(6)]
        assert all(any(window.overlaps(region) for region in regions) for window in every)


@every_selector
def test_the_stream_decides_everything(selector):
    view = view_of(selector, np.random.default_rng(0), (20, 20), (4, 4))
    first, second = (selector.choose(view, 5, np.random.default_rng(7)) for _ in range(2))
    assert first == second


@every_selector
def test_a_uniform_image_prefers_no_corner(selector):
    rng = np.random.default_rng(5)
    view = view_of(selector, rng, (7, 8), (3, 3), uniform=True)
    hits = np.zeros((5, 6))
    for _ in range(3000):
        hits[selector.choose(view, 1, rng)[0].start] += 1
    assert chisquare(hits.ravel()).pvalue > 1e-4


@every_selector
def test_an_image_of_one_window(selector):
    rng = np.random.default_rng(0)
    (choice,) = selector.choose(view_of(selector, rng, (4, 5), (4, 5)), 3, rng)
    assert choice.start == (0, 0)


@every_selector
def test_a_fully_annotated_image_gives_nothing(selector):
    rng = np.random.default_rng(0)
    whole = [Region("a", (0, 0), (8, 8))]
    assert selector.choose(view_of(selector, rng, (8, 8), (2, 2), whole), 3, rng) == []
