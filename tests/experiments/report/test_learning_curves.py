import numpy as np
import pytest
from helpers.fake_runs import fake_reference

from decomp.experiments.report.learning_curves import LearningCurve, amount_needed, area_under_curve, common_range
from decomp.experiments.report.run_history import read_histories


def test_area_under_a_curve_is_its_mean_height():
    shares, scores = np.array([0.0, 0.1, 0.3]), np.array([0.0, 1.0, 0.5])
    # Trapezoids: 0.1 * 0.5 + 0.2 * 0.75 = 0.2, over a range of 0.3.
    assert area_under_curve(shares, scores, 0.0, 0.3) == pytest.approx(0.2 / 0.3)


def test_area_is_cut_between_cycles():
    shares, scores = np.array([0.0, 0.1, 0.3]), np.array([0.0, 1.0, 0.5])
    # From 0.05 (score 0.5) over 0.1 (1.0) to 0.2 (0.75): 0.05 * 0.75 + 0.1 * 0.875 = 0.125, over 0.15.
    assert area_under_curve(shares, scores, 0.05, 0.2) == pytest.approx(0.125 / 0.15)


def test_area_of_a_constant_is_the_constant():
    assert area_under_curve(np.array([0.1, 0.1, 0.4]), np.full(3, 0.7), 0.1, 0.4) == pytest.approx(0.7)


def test_common_range_is_what_all_curves_cover():
    assert common_range([np.array([0.1, 0.5]), np.array([0.2, 0.3, 0.6])]) == (0.2, 0.5)
    assert common_range([np.array([0.1, 0.2]), np.array([0.3, 0.4])]) is None
    assert common_range([np.array([0.1])]) is None
    assert common_range([]) is None


@pytest.mark.parametrize(
    ("target", "share"),
    [
        (0.75, 0.15),  # half way between cycles 1 and 2
        (0.6, 0.12),
        (1.0, 0.2),  # reached exactly
        (0.5, 0.1),  # by the first cycle
        (0.4, 0.1),
        (1.1, None),
    ],
)
def test_amount_needed_is_interpolated_where_the_target_is_first_reached(target, share):
    shares, scores = np.array([0.1, 0.2, 0.3, 0.4]), np.array([0.5, 1.0, 0.6, 1.0])
    assert amount_needed(shares, scores, target) == (None if share is None else pytest.approx(share))


def test_a_reference_has_no_learning_curve(tmp_path):
    with pytest.raises(ValueError, match="no sampler or budget"):
        LearningCurve.of(*read_histories([fake_reference(tmp_path, 0.7)]), "miou")
