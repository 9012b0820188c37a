import pytest
import torch
from torch import nn

from decomp.platform.learners.training.schedules import Patience, cosine, is_decayed, one_cycle, warmed_polynomial


@pytest.mark.parametrize(
    ("iteration", "share"),
    [
        (0, 1e-6),
        (750, (1 - 750 / 160_000) * (0.5 + 0.5e-6)),
        (1499, (1 - 1499 / 160_000) * (1 - (1 - 1e-6) / 1500)),
        (1500, 1 - 1500 / 160_000),
        (80_000, 0.5),
        (159_999, 1 / 160_000),
    ],
)
def test_rates_are_those_of_the_published_schedule(iteration, share):
    assert warmed_polynomial(iteration, 160_000, 1500, 1e-6, 1.0) == pytest.approx(share)


def test_power_and_no_warmup():
    assert warmed_polynomial(0, 10, 0, 1e-6, 2.0) == 1
    assert warmed_polynomial(5, 10, 0, 1e-6, 2.0) == 0.25


def test_patience_counts_evaluations_without_improvement():
    patience = Patience(3)
    improved = []
    for score in (0.1, 0.1, 0.05, 0.2, 0.2, 0.1):
        improved.append(patience.improved(score))
        assert not patience.exhausted
    assert improved == [True, False, False, True, False, False]
    assert not patience.improved(0.19)
    assert patience.exhausted


def test_a_first_score_of_zero_is_an_improvement():
    assert Patience(1).improved(0.0)


def test_weights_decay_and_vectors_do_not():
    matrix, vector = nn.Parameter(torch.zeros(2, 2)), nn.Parameter(torch.zeros(2))
    assert is_decayed("mlp.fc1.weight", matrix)
    assert not is_decayed("mlp.fc1.bias", vector)
    assert not is_decayed("gamma1", vector)
    assert not is_decayed("norm.weight", matrix)


@pytest.mark.parametrize(
    ("done", "share"), [(0, 1 / 25), (0.125, 0.52), (0.25, 1), (0.625, 0.5), (1, 0), (0.4375, (1 + 0.5**0.5) / 2)]
)
def test_one_cycle_rises_and_falls_along_half_cosines(done, share):
    assert one_cycle(done, 0.25) == pytest.approx(share, abs=1e-12)


def test_a_cycle_without_warmup_only_falls():
    assert [one_cycle(done, 0.0) for done in (0.0, 0.3, 1.0)] == [cosine(done, 1) for done in (0, 0.3, 1)]


@pytest.mark.parametrize(("epoch", "share"), [(0, 1), (15, 0.75), (22.5, 0.5), (30, 0.25), (45, 0)])
def test_cosine_annealing_falls_to_zero(epoch, share):
    assert cosine(epoch, 45) == pytest.approx(share, abs=1e-12)
