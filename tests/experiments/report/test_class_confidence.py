from types import SimpleNamespace

import numpy as np
import pytest
from helpers.fake_runs import Tiny, fake_run
from helpers.records import CLASSES, record
from helpers.report_contents import colour_pixels, rows

from decomp.experiments.report.class_confidence import (
    Confidence,
    confidence_drawing,
    confidence_table,
    confidences,
    correlation,
    correlation_drawing,
)
from decomp.experiments.report.cohorts import join_cohorts
from decomp.experiments.report.figures import style_of
from decomp.experiments.report.run_history import RunHistory, read_histories

SAMPLERS = ("rand", "decomp", "uncert")


@pytest.fixture
def cohort(tmp_path):
    stores = [fake_run(tmp_path, [0.2, 0.4, 0.6], sampler=name, seed=seed) for name in SAMPLERS for seed in (0, 1)]
    return join_cohorts(read_histories(stores))[0]


def history(tmp_path, *records):
    return RunHistory(fake_run(tmp_path, [0.1]), tuple(SimpleNamespace(record=each) for each in records))


def test_confidence_is_set_against_the_score_of_the_model_that_it_is_of(tmp_path):
    run = history(
        tmp_path,
        record([0.1, 0.2, None], cycle=1),
        record([0.3, 0.4, 0.5], delta=(0.6, 0.7, 0.8), cycle=2),
        record([0.9, 0.9, 0.9], delta=(0.61, 0.71, 0.81), cycle=3),
        record([0.9, 0.9, 0.9], delta=(0.62, 0.72, 0.82), cycle=4),
    )
    points = confidences(run, CLASSES, "iou", last=3)
    assert [(p.cycle, p.class_, p.delta, p.score) for p in points] == [
        (2, "ground", 0.6, 0.1),
        (2, "road (wet)", 0.7, 0.2),
        (3, "ground", 0.61, 0.3),
        (3, "road (wet)", 0.71, 0.4),
        (3, "tree", 0.81, 0.5),
    ]


def test_cycles_without_confidence_are_passed_over(tmp_path):
    run = history(tmp_path, record([0.1, 0.2, 0.3], cycle=1), record([0.1, 0.2, 0.3]))
    assert confidences(run, CLASSES, "iou", last=2) == []


def test_correlations_equal_those_of_their_definitions():
    rng = np.random.default_rng(0)
    delta, score = rng.random((2, 3, 7))
    points = [Confidence((seed, 0), 2, str(c), delta[seed, c], score[seed, c]) for seed in range(3) for c in range(7)]
    found = correlation(points)

    def ranks(values):
        return np.argsort(np.argsort(values))

    pearson = [np.corrcoef(delta[k], score[k])[0, 1] for k in range(3)]
    spearman = [np.corrcoef(ranks(delta[k]), ranks(score[k]))[0, 1] for k in range(3)]
    assert (found.pearson.mean, found.pearson.sd) == pytest.approx((np.mean(pearson), np.std(pearson, ddof=1)))
    assert (found.spearman.mean, found.spearman.sd) == pytest.approx((np.mean(spearman), np.std(spearman, ddof=1)))
    assert found.pooled_pearson == pytest.approx(np.corrcoef(delta.ravel(), score.ravel())[0, 1])
    assert found.pooled_spearman == pytest.approx(np.corrcoef(ranks(delta.ravel()), ranks(score.ravel()))[0, 1])
    assert found.points == 21


def test_without_three_classes_or_variation_there_is_no_correlation():
    two = [Confidence((0, 0), 2, "a", 0.1, 0.2), Confidence((0, 0), 2, "b", 0.3, 0.5)]
    assert correlation(two).pearson is None
    equal = [Confidence((0, 0), 2, name, 0.5, k / 10) for k, name in enumerate("abcd")]
    assert (correlation(equal).spearman, correlation(equal).pooled_pearson) == (None, None)


def test_correlation_has_a_row_per_sampler_and_cycle(cohort):
    table = rows(confidence_table([cohort], Tiny.classes, "iou"))
    # Of three classes one has no score, so two points per repeat are left: too few.
    assert [(row["sampler"], row["cycle"], row["points"]) for row in table] == [
        (sampler, cycle, 4) for sampler in SAMPLERS for cycle in (2, 3)
    ]
    assert all(row["pearson_mean"] is None for row in table)
    assert table[0]["pearson_pooled"] == pytest.approx(1.0)


def test_every_sampler_has_its_own_colour(cohort):
    drawing = confidence_drawing(cohort, Tiny.classes, "iou")
    for sampler in SAMPLERS:
        assert colour_pixels(drawing, style_of(sampler).colour) > 20


def test_where_nothing_can_be_drawn_there_is_no_figure(cohort, tmp_path):
    assert correlation_drawing(cohort, Tiny.classes, "iou") is None  # two classes with a score define no correlation
    (first,) = join_cohorts(read_histories([fake_run(tmp_path / "first", [0.1])]))
    assert confidence_drawing(first, Tiny.classes, "iou") is None
