from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import chisquare

from decomp.platform.datasets.base import IGNORE
from decomp.platform.samplers.base import CandidateRegions
from decomp.platform.samplers.foreground import (
    ClassRegions,
    Foreground,
    ForegroundRegions,
    PredictedForegroundRegions,
)
from decomp.platform.samplers.tiny import TinyImage

LABELS = np.zeros((12, 16), np.uint8)
LABELS[2:7, 3:9] = 1
LABELS[10, 14] = 2
LABELS[0, :3] = IGNORE


def view_of(labels, region_shape, background=0):
    view = TinyImage(labels.shape, region_shape).view(np.random.default_rng(0))
    return replace(view, truth=lambda: labels, labels=labels, background=background, n_region=1)


def drawn(selector, n=3000, region_shape=(3, 3), labels=LABELS, background=0):
    starts = []
    for seed in range(n):
        (choice,) = selector.choose(view_of(labels, region_shape, background), 1, np.random.default_rng(seed))
        starts.append((choice.drawn_class, choice.region.start))
    return starts


def expected_share(class_, region_shape=(3, 3), labels=LABELS):
    """Probability of each window start, given the class: pixel or border pixel, then a window that holds it."""
    inside = np.argwhere(labels == class_)
    padded = np.pad(labels.astype(int), 1, mode="edge")
    around = [padded[1:-1, :-2], padded[1:-1, 2:], padded[:-2, 1:-1], padded[2:, 1:-1]]
    border = np.argwhere((labels == class_) & np.any([other != labels for other in around], axis=0))
    shape = tuple(n - k + 1 for n, k in zip(labels.shape, region_shape, strict=True))
    share = np.zeros(shape)
    for pixels in (inside, border):
        for pixel in pixels:
            window = tuple(
                slice(max(0, p - k + 1), min(p, n - 1) + 1) for p, k, n in zip(pixel, region_shape, shape, strict=True)
            )
            share[window] += 0.5 / len(pixels) / share[window].size
    return share


@pytest.mark.parametrize("selector", [ForegroundRegions(1.0), PredictedForegroundRegions(1.0)], ids=str)
def test_windows_are_drawn_around_a_pixel_or_border_pixel_of_a_class_drawn_uniformly(selector):
    starts = drawn(selector)
    for class_ in (1, 2):
        of_class = [start for c, start in starts if c == class_]
        assert abs(len(of_class) / len(starts) - 0.5) < 0.04
        share = expected_share(class_)
        hits = np.zeros(share.shape)
        for start in of_class:
            hits[start] += 1
        assert hits[share == 0].sum() == 0
        expected = share[share > 0] * len(of_class)
        assert chisquare(hits[share > 0], expected / expected.sum() * len(of_class)).pvalue > 1e-4


def test_a_share_is_drawn_around_the_foreground():
    around = [class_ is not None for class_, _ in drawn(ForegroundRegions(), 2000)]
    assert abs(np.mean(around) - 1 / 3) < 0.04
    assert all(class_ is None for class_, _ in drawn(ForegroundRegions(), 50, labels=np.zeros((9, 9), np.uint8)))


def test_without_a_background_every_class_is_foreground():
    assert Foreground(LABELS, None).classes.tolist() == [0, 1, 2]
    assert Foreground(LABELS, 0).classes.tolist() == [1, 2]


def test_windows_that_are_taken_are_not_drawn():
    labels = np.zeros((4, 12), np.uint8)
    labels[:, 6] = 1
    chosen = ForegroundRegions(1.0).choose(view_of(labels, (4, 4)), 2, np.random.default_rng(0))
    assert [choice.drawn_class for choice in chosen] == [1, None]  # no free window holds the class any more
    assert not chosen[0].region.overlaps(chosen[1].region)


def test_slices_and_rois_are_drawn_around_too():
    volume = np.zeros((3, 8, 8), np.uint8)
    volume[1, 4:6, 4:6] = 1
    for class_, start in drawn(ForegroundRegions(1.0), 100, (1, 4, 4), volume):
        assert (class_, start[0]) == (1, 1)
    rois = np.array([0, 0, 2, 0, 1], np.uint8)
    assert {start for _, start in drawn(ForegroundRegions(1.0), 100, (1,), rois)} == {(2,), (4,)}


def test_classes_are_drawn_uniformly_over_the_pool():
    # Class 2 is in one image of four alone, yet half of the regions are drawn for it.
    image = np.repeat(np.arange(4), 30)
    drawn_class = np.where((image == 0) & (np.arange(120) % 2 == 0), 2, 1)
    candidates = CandidateRegions(image, np.full(120, np.nan), drawn_class, n_region=30)
    firsts = [ClassRegions().select(candidates, 1, np.random.default_rng(seed))[0] for seed in range(800)]
    assert abs(np.mean(drawn_class[firsts] == 2) - 0.5) < 0.07
    chosen = ClassRegions().select(candidates, 60, np.random.default_rng(0))
    assert len(set(chosen.tolist())) == 60
    one_class = CandidateRegions(image, np.full(120, np.nan), np.ones(120, np.int64), n_region=30)
    in_turn = ClassRegions().select(one_class, 8, np.random.default_rng(0))
    assert np.bincount(image[in_turn]).tolist() == [2, 2, 2, 2]


def test_an_image_proposes_its_classes_in_turn():
    view = replace(view_of(LABELS, (1, 1)), n_region=2)
    chosen = ClassRegions().choose(view, 6, np.random.default_rng(0))
    assert [c.drawn_class for c in chosen].count(2) == 1
    assert [c.drawn_class for c in chosen].count(1) == 5
