"""One selection: which images and regions, from which streams."""

from contextlib import nullcontext

import numpy as np
import pytest
from helpers.toy_runs import BASE

from decomp.platform.components import build_dataset, build_learner
from decomp.platform.errors import UserError
from decomp.platform.grid import Budget, Component, Sampler
from decomp.platform.learners import Training
from decomp.platform.ledger import Ledger
from decomp.platform.loop.selection import SelectionStep
from decomp.platform.loop.shard import PoolShard
from decomp.platform.loop.tasks import Checkpoint
from decomp.platform.loop.workers import LocalWorkers
from decomp.platform.samplers import JointRegionSelector, Need
from decomp.platform.samplers.uncertainty import UncertaintyRegions


class Shuffled(JointRegionSelector):
    """Selects candidate regions at random."""

    needs = Need.UNCERTAINTY | Need.FEATURES
    choose = UncertaintyRegions.choose

    def select(self, candidates, n, rng):
        return rng.permutation(len(candidates.image))[:n]


class TooMany(Shuffled):
    def select(self, candidates, n, rng):
        return np.arange(n + 1)


class OfEveryKind(Shuffled):
    """Reads all that a joint selector may read of a region beside its features, class weights among it."""

    needs = Need.COUNTS | Need.LABELS | Need.UNCERTAINTY

    def select(self, candidates, n, rng):
        assert candidates.predicted_class.shape == candidates.uncertainty.shape
        return np.lexsort((candidates.uncertainty, candidates.predicted_class))[:n]


class AtOnce(OfEveryKind):
    """The same without class weights, so that regions are chosen while the prediction is in memory."""

    needs = Need.LABELS | Need.UNCERTAINTY


@pytest.fixture(scope="module")
def select(tmp_path_factory):
    """Selects among the training images of the toy data, as if they were a split's, in cycle 2."""
    dataset, learner = build_dataset(BASE.dataset), build_learner(BASE.learner)
    images = sorted(dataset.ids("train", 0))
    shapes = {image: dataset.shape(image) for image in images}
    model = tmp_path_factory.mktemp("model") / "model"
    learner.fit(dataset, Training(Ledger.whole(shapes), np.random.default_rng(0)), model)
    workers = LocalWorkers(PoolShard(dataset, learner, "cpu"))

    def select(split, regions="random", weights=None, candidates=tuple(images), **of_sampler):
        sampler = Sampler("", Component("random"), Component(regions), **of_sampler)
        budget = Budget(len(images), 2, (4, 4))
        step = SelectionStep(sampler, budget, dataset.classes, split, seed=1, fold=0, cycle=2, weights=weights)
        return step.run(workers, lambda phase: nullcontext(), candidates, shapes, Ledger(), Checkpoint(model, ""))

    return select


def test_each_split_draws_its_images_from_a_stream_of_its_own(select):
    train, validation = select("train"), select("validation")
    assert set(train.images) == set(validation.images)
    assert train.images != validation.images


def test_each_split_draws_among_candidate_regions_from_a_stream_of_its_own(select):
    name = f"{__name__}:Shuffled"
    train, validation = (select(split, name).ledger.by_image for split in ("train", "validation"))
    assert {image: set(regions) for image, regions in train.items()} != {
        image: set(regions) for image, regions in validation.items()
    }


def test_a_joint_selector_that_breaks_its_contract_is_named(select):
    with pytest.raises(UserError, match=r"TooMany.select must give 18 distinct numbers below 54, but gave"):
        select("train", f"{__name__}:TooMany")


def test_a_joint_selector_is_shown_the_predicted_class_whether_it_needs_weights_or_not(select):
    weighed, at_once = (select("train", f"{__name__}:{name}").ledger for name in ("OfEveryKind", "AtOnce"))
    assert weighed.by_image == at_once.by_image
    assert len(weighed) == 18


def test_class_weights_that_are_given_are_taken_as_they_are(select):
    given = np.array([0.0, 0.0, 1.0, 0.0])
    of_training = select("train", "decomposition")
    selection = select("validation", "decomposition", given)
    assert {row.drawn_class for row in of_training.ledger.annotations()} != {2}
    assert {row.drawn_class for row in selection.ledger.annotations()} == {2}
    assert selection.class_weights is given
    assert selection.class_confidence is None


def test_of_no_candidates_nothing_is_selected_and_no_class_is_confident(select):
    nothing = select("train", "decomposition", candidates=(), emphasis={"dog": 5.0}, background="ground")
    assert (nothing.images, len(nothing.ledger)) == ((), 0)
    assert nothing.class_confidence.tolist() == [0, 0, 0, 0]
    assert nothing.class_weights == pytest.approx([0, 1 / 7, 1 / 7, 5 / 7])
    assert select("train", candidates=()).class_weights is None
