from dataclasses import replace

import pytest
from helpers.fake_runs import Tiny, fake_reference, fake_run

from decomp.experiments.report.ablations import Ablation, Varied
from decomp.experiments.report.analysis import pool_pixels, scored_classes
from decomp.experiments.report.analysis_tables import (
    ablation_table,
    annotated_class_table,
    class_score_table,
    confidence_table,
    phase_table,
    rare_class_table,
    wall_table,
)
from decomp.experiments.report.comparison import compare
from decomp.experiments.report.histories import History, cohorts, references


@pytest.fixture
def stores(tmp_path):
    return [
        *(fake_run(tmp_path, [0.2, 0.4, 0.6 + 0.1 * seed], seed=seed) for seed in range(2)),
        *(fake_run(tmp_path, [0.2, 0.5, 0.7], seed=seed, sampler="decomp") for seed in range(2)),
        fake_reference(tmp_path, 0.72),
    ]


@pytest.fixture
def histories(stores):
    return [History.read(store) for store in stores]


def rows(table):
    return [dict(zip(table.heads, row, strict=True)) for row in table.rows]


def test_every_class_has_a_row_per_sampler_with_the_full_annotation_beside_it(histories):
    full = references(histories)
    classes = scored_classes(Tiny(), pool_pixels(full))
    found = rows(class_score_table(cohorts(histories), full, classes, "iou"))
    assert len(found) == 3 * 2
    first = found[0]
    assert (first["class"], first["sampler"], first["cycle"], first["repeats"]) == ("ground", "rand", 3, 2)
    assert (first["iou_mean"], first["full_iou_mean"]) == (pytest.approx(0.65), 0.72)
    undefined = next(row for row in found if row["class"] == "road (wet)")
    assert (undefined["repeats"], undefined["iou_mean"], undefined["full_iou_mean"]) == (0, None, None)


def test_rare_classes_are_set_against_the_others(histories):
    full = references(histories)
    classes = [replace(c, rare=c.name == "tree") for c in scored_classes(Tiny(), pool_pixels(full))]
    table = rare_class_table(cohorts(histories), full, classes, "iou")
    found = {row["sampler"]: row for row in rows(table)}
    assert (found["rand"]["rare_iou_mean"], found["rand"]["other_iou_mean"]) == (0.5, pytest.approx(0.65))
    assert found["full annotation"]["other_iou_mean"] == 0.72
    assert "tree" in table.note


def test_correlation_has_a_row_per_sampler_and_cycle(histories):
    found = rows(confidence_table(cohorts(histories), Tiny.classes, "iou"))
    # Of three classes one has no score, so two points per repeat are left: too few.
    assert [(row["sampler"], row["cycle"], row["points"]) for row in found] == [
        *(("rand", cycle, 4) for cycle in (2, 3)),
        *(("decomp", cycle, 4) for cycle in (2, 3)),
    ]
    assert all(row["pearson_mean"] is None for row in found)
    assert found[0]["pearson_pooled"] == pytest.approx(1.0)


def test_enrichment_is_the_annotated_share_over_that_of_the_pool(histories):
    pixels = pool_pixels(references(histories)) * [1, 1, 2]
    found = rows(annotated_class_table(cohorts(histories), Tiny.classes, pixels))
    assert [row["enrichment"] for row in found[:3]] == pytest.approx([0.25 / 0.2, 0.5 / 0.4, 0.25 / 0.4])
    without = rows(annotated_class_table(cohorts(histories), Tiny.classes, None))
    assert [(row["annotated_mean"], row["pool_share"], row["enrichment"]) for row in without[:2]] == [
        (0.25, None, None),
        (0.5, None, None),
    ]


def test_seconds_of_the_phases_add_up_to_those_of_a_cycle(histories):
    found = rows(phase_table(cohorts(histories)))
    assert [(row["predict"], row["train"], row["cycle"]) for row in found] == [(1.0, 2.0, 3.0)] * 2


def test_wall_times_add_up(histories):
    found = rows(wall_table(histories))
    assert sum(row["seconds"] for row in found[:-1]) == found[-1]["seconds"] == 3.0 * (2 + 2 * 2 + 2 * 2 + 1)
    assert found[-1]["cycles"] == 11


def test_members_of_an_ablation_have_their_final_scores(stores):
    comparison = compare(stores, "miou")
    group = Ablation(Varied.REGIONS, "images by a", (("rand", "b"), ("decomp", "c")))
    found = rows(ablation_table([(group, comparison.budgets[0])]))
    assert [(row["sampler"], row["value"], row["final_mean"]) for row in found] == [
        ("rand", "b", pytest.approx(0.65)),
        ("decomp", "c", pytest.approx(0.7)),
    ]
