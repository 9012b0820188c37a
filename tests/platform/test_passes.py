from dataclasses import replace

import pytest

from decomp.platform.errors import UserError
from decomp.platform.passes import Passes, flips


def test_the_last_axis_is_flipped_first():
    assert flips(2) == [(), (1,), (0,), (0, 1)]
    assert flips(3) == [(), (2,), (1,), (1, 2), (0,), (0, 2), (0, 1), (0, 1, 2)]


@pytest.mark.parametrize(
    ("passes", "dropout", "n_flips", "message"),
    [
        (Passes("mc-dropout"), 0.0, 4, "learner.dropout: is 0"),
        (Passes("test-time-augmentation"), 0.2, 4, "passes.n: these images have 4 flips, not 5"),
        (Passes("test-time-augmentation", 2), 0.2, 0, "passes.method: sets of ROIs cannot be flipped"),
    ],
)
def test_passes_that_do_not_fit_are_refused(passes, dropout, n_flips, message):
    with pytest.raises(UserError, match=message):
        passes.check(dropout=dropout, flips=n_flips)


def test_passes_that_fit_are_not():
    Passes("mc-dropout", 9).check(dropout=0.1, flips=0)
    Passes("test-time-augmentation", 4).check(dropout=0, flips=4)
    Passes("ensemble").check(dropout=0, flips=0)


def test_only_an_ensemble_trains_several_models():
    assert [Passes(method, 3).members for method in ("ensemble", "mc-dropout", "test-time-augmentation")] == [3, 1, 1]


def test_a_training_from_which_nothing_is_selected_has_passes_only_where_they_change_its_scores():
    """So experiments that differ in passes share first cycles and full annotations where these are the same."""
    for method in ("ensemble", "mc-dropout", "test-time-augmentation"):
        first, mean = Passes(method), Passes(method, evaluate="mean")
        assert (first.in_reference, mean.in_reference) == (None, mean)
        assert mean.in_first_cycle == mean
        assert first.in_first_cycle == (first if method == "ensemble" else None)
    assert replace(Passes("ensemble"), n=7).members == 7
