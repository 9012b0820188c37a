import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import curve_fit

from decomp.experiments.verdict.efficiency import Curve, efficiencies, fit
from decomp.experiments.verdict.pooled import pool


def curve(b, noise=0.0, seed=0, gap=0.6, full=0.9, scale=1000.0):
    added = scale * np.arange(1.0, 9.0)
    rng = np.random.default_rng(seed)
    return Curve(added, full - gap * np.exp(-b * added) + noise * rng.normal(size=8), gap, full)


@pytest.mark.parametrize("b", [1e-5, 3e-4, 2e-3])
def test_the_rate_of_a_known_curve_is_found(b):
    assert fit([curve(b), curve(b, gap=0.3)]) == pytest.approx(b, rel=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_the_fit_is_that_of_scipys_curve_fit(seed):
    curves = [curve(4e-4, 0.03, seed), curve(4e-4, 0.03, seed + 10, gap=0.4)]
    x, y, gaps = (
        np.concatenate(parts) for parts in zip(*((c.added, c.scores, np.full(8, c.gap)) for c in curves), strict=True)
    )
    (expected,), _ = curve_fit(lambda _, b: 0.9 - gaps * np.exp(-b * x), x, y, p0=[3e-4])
    assert fit(curves) == pytest.approx(expected, rel=1e-4)


def test_a_score_that_does_not_rise_has_no_rate():
    flat = curve(1e-4)
    assert fit([replace(flat, scores=np.full(8, flat.full - flat.gap - 0.1))]) is None
    assert fit([replace(flat, added=np.zeros(8))]) is None


def test_background_is_no_foreground_and_the_interval_is_over_blocks(source):
    curves = {"rand": [[0.2, 0.5 + 0.02 * s, 0.65 - 0.01 * s] for s in range(4)], "decomp": [[0.2, 0.7, 0.8]]}
    everything, without = (
        {
            each.sampler: each
            for each in efficiencies(pool([source("d", curves, data=str(b), background=b)]).experiments[0])
        }
        for b in (None, "ground")
    )
    # A cycle annotates one pixel of ground, two of road and one of tree.
    assert without["rand"].b == pytest.approx(everything["rand"].b * 4 / 3, rel=1e-4)
    assert without["rand"].halving == pytest.approx(math.log(2) / without["rand"].b)
    low, high = everything["rand"].interval
    assert 0 < low < everything["rand"].b < high
    assert everything["decomp"].interval is None
    assert everything["decomp"].b > everything["rand"].b


def test_without_full_annotation_there_is_no_efficiency(source):
    assert efficiencies(pool([source("d", {"rand": [[0.2, 0.5]]}, full=None)]).experiments[0]) == ()
