"""Selectors that break their contract are told so by name, with the mend."""

import pickle

import numpy as np
import pytest

from decomp.platform.regions import Region
from decomp.platform.samplers import (
    Choice,
    ImageSelector,
    JointRegionSelector,
    Need,
    RegionSelector,
    UndeclaredNeed,
)
from decomp.platform.samplers.tiny import tiny_candidates, tiny_image, tiny_pool
from decomp.platform.samplers.trial import check_image_selector, check_region_selector, try_selectors
from decomp.platform.samplers.uncertainty import UncertaintyImages, UncertaintyRegions


def images(scores, needs=Need.NOTHING, local=True):
    """An image selector of a class of its own."""
    return type("Mine", (ImageSelector,), {"needs": needs, "local": local, "scores": scores})()


def regions(choose, needs=Need.NOTHING):
    """A region selector of a class of its own."""
    return type("Mine", (RegionSelector,), {"needs": needs, "choose": choose})()


def anywhere(view, n_region, rng):
    """As the region selector `random`."""
    peaks, chosen = view.places.uniform(), []
    while len(chosen) < n_region and (place := peaks.best(rng)) is not None:
        chosen.append(Choice(view.places.take(place)))
    return chosen


def by_weight(self, pool, weights):
    return np.minimum(pool.predicted, 9) @ weights


@pytest.mark.parametrize(
    ("selector", "told"),
    [
        (
            images(lambda self, pool, weights: pool.predicted.sum(axis=1)),
            "Mine reads PoolView.predicted without declaring it; declare needs = Need.COUNTS.",
        ),
        (
            images(lambda self, pool, weights: pool.uncertainty * pool.open.sum(axis=1), Need.COUNTS),
            "Mine reads PoolView.uncertainty without declaring it; declare needs = Need.COUNTS . Need.UNCERTAINTY.",
        ),
        (
            images(lambda self, pool, weights: pool.pixels * weights[0]),
            "Mine reads weights without declaring it; declare needs = Need.COUNTS.",
        ),
        (images(by_weight, Need.COUNTS), "set local = False if the score depends on the class weights"),
        (
            images(lambda self, pool, weights: pool.pixels / pool.pixels.max()),
            "must give the score that the image has in the pool, .*; set local = False",
        ),
        (images(lambda self, pool, weights: pool.pixels[1:]), r"gave the shape \(6,\) for 7 images; give one score"),
        (images(lambda self, pool, weights: pool.pixels * np.nan), "gave NaN for image 'image-0'; give a number"),
        (images(lambda self, pool, weights: np.random.random(len(pool.images))), "must score a pool the same every"),
        (images(lambda self, pool, weights: pool.images.size), "raised AttributeError: 'tuple' object has no"),
        (
            regions(lambda self, view, n, rng: view.labels[0]),
            "Mine reads ImageView.labels without declaring it; declare needs = Need.LABELS.",
        ),
        (
            regions(lambda self, view, n, rng: view.confidence),
            "Mine reads ImageView.confidence without declaring it; declare needs = Need.LABELS.",
        ),
        (
            regions(lambda self, view, n, rng: view.weights, Need.LABELS),
            "Mine reads ImageView.weights without declaring it; declare needs = Need.COUNTS . Need.LABELS.",
        ),
        (regions(lambda self, view, n, rng: view.labels.fill(0), Need.LABELS), "raised ValueError: .*read-only"),
        (regions(lambda self, view, n, rng: anywhere(view, n + 1, rng)), "chose 2 regions in image 'a', but 1 were"),
        (regions(lambda self, view, n, rng: anywhere(view, 1, rng) * n), "that overlaps another one"),
        (regions(lambda self, view, n, rng: [Choice(Region("b", (0,), (1,)))]), "a region of image 'b' when asked"),
        (regions(lambda self, view, n, rng: [Choice(Region("a", (99,), (1,)))]), "outside of image 'a' of shape"),
        (regions(lambda self, view, n, rng: [Choice(Region("a", (0,), (2,)))]), r"of size \(2,\) in image 'a', not"),
        (regions(lambda self, view, n, rng: [view.places.image]), "must give a list of Choice, but gave a str"),
        (
            regions(lambda self, view, n, rng: anywhere(view, n, np.random.default_rng())),
            "must choose the same from the same stream; draw from rng alone",
        ),
    ],
)
def test_what_breaks_a_contract_is_told(selector, told):
    check = check_image_selector if isinstance(selector, ImageSelector) else check_region_selector
    with pytest.raises(AssertionError, match=told):
        check(selector)


@pytest.mark.parametrize(
    ("needs", "told"),
    [
        (Need.MAPS | Need.COUNTS, r"declares Need\.MAPS and Need\.COUNTS; leave out one of them"),
        (Need.FEATURES | Need.COUNTS, r"declares Need\.FEATURES and Need\.COUNTS; leave out one of them"),
        (Need.GRADIENTS | Need.COUNTS, r"declares Need\.GRADIENTS and Need\.COUNTS; leave out one of them"),
        (Need.FEATURES | Need.GRADIENTS, r"declares Need\.FEATURES and Need\.GRADIENTS; leave out one of them"),
        (Need.ANNOTATED, r"declares Need\.ANNOTATED without Need\.FEATURES; declare both"),
        (Need.ANNOTATED | Need.GRADIENTS, r"declares Need\.ANNOTATED without Need\.FEATURES; declare both"),
    ],
    ids=str,
)
def test_needs_that_do_not_go_together_are_told(needs, told):
    selector = joint(lambda self, candidates, n, rng: np.arange(n), needs | Need.UNCERTAINTY)
    with pytest.raises(AssertionError, match=rf"^Mine {told}, since "):
        check_region_selector(selector)


def test_a_region_that_is_no_segment_is_told():
    def choose(self, view, n_region, rng):
        whole = view.places.take(view.places.uniform().best(rng))
        return [Choice(Region("a", whole.start, whole.size))]

    with pytest.raises(AssertionError, match=r"overlaps another one|which is none of the image"):
        check_region_selector(regions(choose), ["segments"])


def joint(select, needs=Need.UNCERTAINTY, choose=UncertaintyRegions.choose):
    names = {"needs": needs, "select": select, "choose": choose}
    return type("Mine", (UncertaintyRegions, JointRegionSelector), names)()


@pytest.mark.parametrize(
    ("selector", "told"),
    [
        (
            joint(lambda self, candidates, n, rng: candidates.features[:, 0].argsort()[:n]),
            r"reads CandidateRegions.features without .*; declare needs = Need.UNCERTAINTY \| Need.FEATURES\.",
        ),
        (
            joint(
                lambda self, candidates, n, rng: candidates.residuals[:, 0].argsort()[:n],
                Need.UNCERTAINTY | Need.FEATURES,
            ),
            r"CandidateRegions.residuals .* Need.UNCERTAINTY \| Need.FEATURES \| Need.GRADIENTS\.",
        ),
        (joint(lambda self, candidates, n, rng: np.arange(n - 1)), "must give 5 distinct numbers below 12"),
        (joint(lambda self, candidates, n, rng: np.zeros(n)), "must give 5 distinct numbers below 12"),
        (joint(lambda self, candidates, n, rng: np.arange(n) + 8), "must give 5 distinct numbers below 12"),
        (
            joint(lambda self, candidates, n, rng: np.random.permutation(12)[:n]),
            "must select the same from the same stream",
        ),
        (
            joint(None, choose=lambda self, view, n, rng: anywhere(view, n, rng)),
            "must score every candidate region",
        ),
    ],
)
def test_what_breaks_the_contract_of_a_joint_selector_is_told(selector, told):
    with pytest.raises(AssertionError, match=told):
        check_region_selector(selector, ["square"])


def test_selectors_that_keep_their_contracts_pass():
    check_image_selector(images(by_weight, Need.COUNTS, local=False))
    check_region_selector(regions(lambda self, view, n, rng: anywhere(view, n, rng)))
    check_region_selector(joint(lambda self, candidates, n, rng: candidates.uncertainty.argsort()[:n]))


def test_selectors_are_tried_for_the_shapes_of_the_experiment_alone():
    def flat(self, view, n_region, rng):
        assert view.labels.ndim == 2
        return anywhere(view, n_region, rng)

    selector = regions(flat, Need.LABELS)
    assert try_selectors(UncertaintyImages(), selector, ["square", "segments"], 3) == []
    (fault,) = try_selectors(UncertaintyImages(), selector, ["box"], 3)
    assert fault.startswith("regions: Mine.choose, tried on a tiny image with regions of the kind box,")


def test_an_undeclared_field_says_what_to_declare_wherever_it_is_read():
    rng = np.random.default_rng(0)
    view = tiny_image("square", rng).view(rng)
    bare = type(view)(view.places)
    with pytest.raises(UndeclaredNeed, match=r"ImageView.labels .*; declare needs = Need\.LABELS\.") as caught:
        _ = bare.labels
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)  # it travels between processes
    assert view.confidence is None  # a value of images that are no sets of ROIs
    assert bare.background is None


def test_tiny_pools_and_candidates_are_possible():
    pool = tiny_pool(np.random.default_rng(0), 2)
    assert (pool.confident <= pool.open).all()
    assert (pool.open <= pool.predicted).all()
    assert (pool.predicted.sum(axis=1) == pool.pixels).all()
    assert (np.diff(tiny_candidates(np.random.default_rng(0), 12).image) >= 0).all()
