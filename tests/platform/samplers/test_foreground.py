from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import chi2_contingency, chisquare

from decomp.platform.datasets.base import IGNORE
from decomp.platform.regions import Region
from decomp.platform.samplers import foreground as module
from decomp.platform.samplers.base import CandidateRegions
from decomp.platform.samplers.foreground import (
    ClassRegions,
    Foreground,
    ForegroundRegions,
    PredictedForegroundRegions,
    place_around,
)
from decomp.platform.samplers.tiny import TinyImage

LABELS = np.zeros((12, 16), np.uint8)
LABELS[2:7, 3:9] = 1
LABELS[10, 14] = 2
LABELS[0, :3] = IGNORE


def view_of(labels, region_shape, background=0, annotated=()):
    view = TinyImage(labels.shape, region_shape, annotated=tuple(annotated)).view(np.random.default_rng(0))
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


def annotated_rois(numbers):
    return [Region("a", (int(number),), (1,)) for number in numbers]


@pytest.mark.parametrize("selector", [ForegroundRegions(1.0), PredictedForegroundRegions(1.0), ClassRegions()], ids=str)
def test_the_last_free_places_around_the_foreground_are_found(selector):
    labels = np.repeat([1, 0], 60).astype(np.uint8)
    left = 17
    annotated = annotated_rois(number for number in range(60) if number != left)
    for seed in range(100):
        view = replace(view_of(labels, (1,), annotated=annotated), n_region=2)
        first, second = selector.choose(view, 2, np.random.default_rng(seed))
        assert (first.drawn_class, first.region.start) == (1, (left,))
        assert second.drawn_class is None  # nothing is left around the foreground


def test_another_class_is_drawn_where_one_has_no_place_left():
    labels = np.repeat([1, 2, 3, 0], 5).astype(np.uint8)
    annotated = annotated_rois(range(5))
    drawn_classes = [
        choice.drawn_class
        for seed in range(600)
        for choice in ForegroundRegions(1.0).choose(
            view_of(labels, (1,), annotated=annotated), 1, np.random.default_rng(seed)
        )
    ]
    assert set(drawn_classes) == {2, 3}
    assert abs(drawn_classes.count(2) / 600 - 0.5) < 0.07


def test_pixels_around_which_a_place_is_free_are_drawn_as_if_the_others_were_rejected(monkeypatch):
    annotated = [Region("a", (3, 0), (1, 6)), Region("a", (5, 5), (3, 3))]
    free = view_of(LABELS, (3, 3), annotated=annotated).places.reach()
    inside, border = (LABELS == 1, np.zeros_like(free))
    border[2:7, 3:9] = inside[2:7, 3:9]
    border[3:6, 4:8] = False
    share = sum(0.5 * (pixels & free) / pixels.sum() for pixels in (inside, border))
    expected = (share / share.sum())[share > 0]
    assert 0 < len(expected) < inside.sum()
    hits = np.zeros(LABELS.shape)
    foreground, rng = Foreground(LABELS, 0), np.random.default_rng(0)
    for _ in range(4000):
        hits[foreground.pixel_within(free, 1, rng)] += 1
    assert hits[share == 0].sum() == 0
    assert chisquare(hits[share > 0], 4000 * expected).pvalue > 1e-4
    # So many tries or none: the places are drawn from the same distribution.
    counts = []
    for tries in (200, 0):
        monkeypatch.setattr(module, "TRIES", tries)
        starts = [
            place_around(view_of(LABELS, (3, 3), annotated=annotated).places, foreground, 1, rng) for _ in range(1500)
        ]
        counts.append(np.bincount([start[0] * 14 + start[1] for start in starts], minlength=140))
    both = np.array(counts)[:, np.sum(counts, axis=0) > 0]
    assert chi2_contingency(both).pvalue > 1e-4


def test_rois_have_no_border():
    labels = np.repeat([1, 2], 9).astype(np.uint8)
    starts = [start[0] for _, start in drawn(ForegroundRegions(1.0), 3600, (1,), labels)]
    assert chisquare(np.bincount(starts, minlength=18)).pvalue > 1e-4


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
