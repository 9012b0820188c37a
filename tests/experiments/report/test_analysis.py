from dataclasses import replace
from types import MappingProxyType

import numpy as np
import pytest
from helpers.fake_runs import Tiny, fake_reference, fake_run

from decomp.experiments.report.analysis import (
    Confidence,
    annotated_shares,
    class_scores,
    confidences,
    correlation,
    mean_scores,
    phases_of,
    pool_pixels,
    pool_shares,
    samplers_phase_seconds,
    scored_classes,
    wall_seconds,
)
from decomp.experiments.report.histories import History, cohorts
from decomp.platform.storage.records import Annotated, CycleRecord, Timing

CLASSES = ("ground", "road (wet)", "tree")


def record(scores, pixels=(1, 2, 1), delta=None, cycle=2):
    annotated = Annotated(1, 0.25, 2, sum(pixels), 0.1, tuple(pixels), 1, 7)
    return CycleRecord(
        cycle, {"miou": 0.5}, {"iou": dict(zip(CLASSES, scores, strict=True))}, annotated, delta, None, ""
    )


def test_class_scores_are_means_over_the_repeats_where_they_are_defined():
    found = class_scores([record([0.2, None, None]), record([0.6, 0.5, None])], "iou")
    assert (found["ground"].mean, found["ground"].n) == (pytest.approx(0.4), 2)
    assert found["ground"].sd == pytest.approx(np.std([0.2, 0.6], ddof=1))
    assert (found["road (wet)"].mean, found["road (wet)"].sd) == (0.5, None)
    assert found["tree"] is None


def test_means_over_classes_skip_undefined_scores():
    found = mean_scores([record([0.2, None, 0.4]), record([0.6, 0.5, 1.0])], "iou", ["road (wet)", "tree"])
    assert (found.mean, found.n) == (pytest.approx((0.4 + 0.75) / 2), 2)
    assert mean_scores([record([0.2, None, 0.4])], "iou", ["road (wet)"]) is None
    assert mean_scores([record([0.2, None, 0.4])], "iou", []) is None


def test_the_pool_is_what_the_full_annotations_of_all_folds_hold_each_fold_once(tmp_path):
    references = [
        History.read(fake_reference(tmp_path, 0.7, seed=seed, fold=fold)) for seed in (0, 1) for fold in (0, 1)
    ]
    assert pool_pixels(references).tolist() == [2, 4, 2]
    assert pool_pixels([]) is None
    assert pool_shares(pool_pixels(references), 3) == [0.25, 0.5, 0.25]
    assert pool_shares(None, 3) == [None] * 3


def test_rare_are_the_classes_of_the_lowest_quarter_that_are_below_half_of_an_even_share():
    class Five(Tiny):
        classes = ("a", "b", "c", "d", "e")

    rare = [c.name for c in scored_classes(Five(), np.array([50, 5, 35, 9, 1])) if c.rare]
    assert rare == ["b", "e"]  # the quarter of five, rounded up, is two; d is below 10 % too, but third
    assert [c.name for c in scored_classes(Five(), np.array([50, 15, 15, 16, 4])) if c.rare] == ["e"]
    assert not any(c.rare for c in scored_classes(Five(), np.array([20, 20, 20, 20, 20])))
    unknown = scored_classes(Five(), None)
    assert [(c.name, c.share, c.rare) for c in unknown] == [(name, None, False) for name in Five.classes]


def test_nested_classes_have_the_share_of_all_their_members():
    class Nested(Tiny):
        classes = ("background", "kidney", "tumour", "cyst")
        nested = MappingProxyType({"kidney and masses": (1, 2, 3), "masses": (2, 3), "tumour": (2,)})

    found = scored_classes(Nested(), np.array([900, 60, 30, 10]))
    assert [(c.name, c.share, c.rare) for c in found] == [
        ("kidney and masses", 0.1, False),
        ("masses", 0.04, False),
        ("tumour", 0.03, True),
    ]


def test_confidence_is_set_against_the_score_of_the_model_that_it_is_of(tmp_path):
    store = fake_run(tmp_path, [0.1])
    records = (
        record([0.1, 0.2, None], cycle=1),
        record([0.3, 0.4, 0.5], delta=(0.6, 0.7, 0.8), cycle=2),
        record([0.9, 0.9, 0.9], delta=(0.61, 0.71, 0.81), cycle=3),
        record([0.9, 0.9, 0.9], delta=(0.62, 0.72, 0.82), cycle=4),
    )
    points = confidences(History(store, records, ()), CLASSES, "iou", last=3)
    assert [(p.cycle, p.class_, p.delta, p.score) for p in points] == [
        (2, "ground", 0.6, 0.1),
        (2, "road (wet)", 0.7, 0.2),
        (3, "ground", 0.61, 0.3),
        (3, "road (wet)", 0.71, 0.4),
        (3, "tree", 0.81, 0.5),
    ]


def test_cycles_without_confidence_are_passed_over(tmp_path):
    history = History(fake_run(tmp_path, [0.1]), (record([0.1, 0.2, 0.3], cycle=1), record([0.1, 0.2, 0.3])), ())
    assert confidences(history, CLASSES, "iou", last=2) == []


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


def test_annotated_shares_are_means_over_repeats():
    found = annotated_shares([record([0, 0, 0], (1, 1, 2)), record([0, 0, 0], (3, 0, 1)), record([0, 0, 0], (0, 0, 0))])
    assert [(spread.mean, spread.n) for spread in found] == [(0.5, 2), (0.125, 2), (0.375, 2)]
    assert annotated_shares([record([0, 0, 0], (0, 0, 0))]) == [None] * 3


def timed(store, *phases):
    history = History.read(store)
    return replace(history, timings=tuple(Timing(each, 0, "1", "") for each in phases))


def test_phases_are_means_over_a_runs_own_cycles(tmp_path):
    first = {"train": 100.0}
    runs = [
        timed(fake_run(tmp_path, [0.1] * 3), first, {"train": 2.0, "select": 1.0}, {"train": 4.0, "zeal": 1.0}),
        timed(fake_run(tmp_path, [0.1] * 3, seed=1), first, {"train": 5.0}, {"train": 5.0}),
    ]
    (cohort,) = cohorts(runs)
    assert phases_of(runs) == ("select", "train", "zeal")
    found = samplers_phase_seconds(cohort)["rand"]
    assert {phase: spread.mean for phase, spread in found.items()} == {"select": 0.25, "train": 4.0, "zeal": 0.25}


def test_before_cycle_2_no_phase_is_timed(tmp_path):
    (cohort,) = cohorts([History.read(fake_run(tmp_path, [0.1]))])
    assert samplers_phase_seconds(cohort) == {"rand": {}}


def test_the_shared_first_cycle_is_paid_once(tmp_path):
    stores = [fake_run(tmp_path, [0.1, 0.2, 0.3], sampler=name) for name in ("rand", "decomp")]
    found = wall_seconds([History.read(store) for store in (*stores, fake_reference(tmp_path, 0.7))])
    assert found == {"first cycles": (1, 3.0), "rand": (2, 6.0), "decomp": (2, 6.0), "full annotation": (1, 3.0)}
