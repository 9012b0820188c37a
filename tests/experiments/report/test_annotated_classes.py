from types import SimpleNamespace

import pytest
from helpers.fake_runs import Tiny, fake_reference
from helpers.records import record
from helpers.report_contents import colour_pixels, rows

from decomp.experiments.report.annotated_classes import (
    annotated_class_drawing,
    annotated_class_table,
    annotated_shares,
    pool_pixels,
    pool_shares,
)
from decomp.experiments.report.cohorts import Cohort, finished_references, join_cohorts
from decomp.experiments.report.figures import style_of
from decomp.experiments.report.run_history import RunHistory, read_histories

SAMPLERS = ("rand", "decomp", "uncert")


def test_the_pool_is_what_the_full_annotations_of_all_folds_hold_each_fold_once(tmp_path):
    references = read_histories(
        [fake_reference(tmp_path, 0.7, seed=seed, fold=fold) for seed in (0, 1) for fold in (0, 1)]
    )
    assert pool_pixels(references).tolist() == [2, 4, 2]
    assert pool_pixels([]) is None
    assert pool_shares(pool_pixels(references), 3) == [0.25, 0.5, 0.25]
    assert pool_shares(None, 3) == [None] * 3


def test_annotated_shares_are_means_over_repeats():
    found = annotated_shares([record([0, 0, 0], (1, 1, 2)), record([0, 0, 0], (3, 0, 1)), record([0, 0, 0], (0, 0, 0))])
    assert [(spread.mean, spread.n) for spread in found] == [(0.5, 2), (0.125, 2), (0.375, 2)]
    assert annotated_shares([record([0, 0, 0], (0, 0, 0))]) == [None] * 3


def test_enrichment_is_the_annotated_share_over_that_of_the_pool(histories):
    pixels = pool_pixels(finished_references(histories)) * [1, 1, 2]
    found = rows(annotated_class_table(join_cohorts(histories), Tiny.classes, pixels))
    assert [row["enrichment"] for row in found[:3]] == pytest.approx([0.25 / 0.2, 0.5 / 0.4, 0.25 / 0.4])
    without = rows(annotated_class_table(join_cohorts(histories), Tiny.classes, None))
    assert [(row["annotated_mean"], row["pool_share"], row["enrichment"]) for row in without[:2]] == [
        (0.25, None, None),
        (0.5, None, None),
    ]


def test_every_sampler_has_its_own_colour(cohort):
    drawing = annotated_class_drawing(cohort, Tiny.classes, [0.9, 0.09, 0.01])
    for sampler in SAMPLERS:
        assert colour_pixels(drawing, style_of(sampler).colour) > 20


def test_a_class_that_nobody_annotates_is_a_nought_and_no_error(cohort):
    without_trees = (SimpleNamespace(record=record([0.5, 0.5, 0.5], (1, 2, 0))),) * cohort.cycle
    histories = {key: RunHistory(run.store, without_trees) for key, run in cohort.histories.items()}
    bare = Cohort(cohort.budget, cohort.cycle, cohort.repeats, cohort.samplers, cohort.behind, histories)
    assert annotated_class_drawing(bare, Tiny.classes, [0.9, 0.09, 0.01]).svg.count(">0<") == len(SAMPLERS)
    assert annotated_class_drawing(bare, Tiny.classes, [None] * 3).png
