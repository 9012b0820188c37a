from dataclasses import replace
from types import MappingProxyType

import numpy as np
import pytest
from helpers.fake_runs import Tiny
from helpers.records import record
from helpers.report_contents import colour_pixels, rows

from decomp.experiments.report.annotated_classes import pool_pixels
from decomp.experiments.report.class_scores import (
    class_score_drawing,
    class_score_table,
    class_scores,
    mean_scores,
    rare_class_table,
    scored_classes,
)
from decomp.experiments.report.cohorts import finished_references, join_cohorts
from decomp.experiments.report.figures import style_of
from decomp.experiments.report.statistics import Spread

SAMPLERS = ("rand", "decomp", "uncert")


@pytest.fixture
def drawing(cohort):
    classes = scored_classes(Tiny.classes, {}, np.array([90, 9, 1]))
    return class_score_drawing(cohort, classes, "iou", {"ground": Spread.of([0.8]), "tree": None})


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


def test_rare_are_the_classes_of_the_lowest_quarter_that_are_below_half_of_an_even_share():
    class Five(Tiny):
        classes = ("a", "b", "c", "d", "e")

    rare = [c.name for c in scored_classes(Five.classes, {}, np.array([50, 5, 35, 9, 1])) if c.rare]
    assert rare == ["b", "e"]  # the quarter of five, rounded up, is two; d is below 10 % too, but third
    assert [c.name for c in scored_classes(Five.classes, {}, np.array([50, 15, 15, 16, 4])) if c.rare] == ["e"]
    assert not any(c.rare for c in scored_classes(Five.classes, {}, np.array([20, 20, 20, 20, 20])))
    assert [c.name for c in scored_classes(Five.classes, {}, np.array([80, 5, 5, 5, 5])) if c.rare] == [
        "b",
        "c",
        "d",
        "e",
    ]
    unknown = scored_classes(Five.classes, {}, None)
    assert [(c.name, c.share, c.rare) for c in unknown] == [(name, None, False) for name in Five.classes]


def test_nested_classes_have_the_share_of_all_their_members():
    class Nested(Tiny):
        classes = ("background", "kidney", "tumour", "cyst")
        nested = MappingProxyType({"kidney and masses": (1, 2, 3), "masses": (2, 3), "tumour": (2,)})

    found = scored_classes(Nested.classes, Nested().scored, np.array([900, 60, 30, 10]))
    assert [(c.name, c.share, c.rare) for c in found] == [
        ("kidney and masses", 0.1, False),
        ("masses", 0.04, False),
        ("tumour", 0.03, True),
    ]


def test_every_class_has_a_row_per_sampler_with_the_full_annotation_beside_it(histories):
    full = finished_references(histories)
    classes = scored_classes(Tiny.classes, {}, pool_pixels(full))
    found = rows(class_score_table(join_cohorts(histories), full, classes, "iou"))
    assert len(found) == 3 * 2
    first = found[0]
    assert (first["class"], first["sampler"], first["cycle"], first["repeats"]) == ("ground", "rand", 3, 2)
    assert (first["iou_mean"], first["full_iou_mean"]) == (pytest.approx(0.65), 0.72)
    undefined = next(row for row in found if row["class"] == "road (wet)")
    assert (undefined["repeats"], undefined["iou_mean"], undefined["full_iou_mean"]) == (0, None, None)


def test_rare_classes_are_set_against_the_others(histories):
    full = finished_references(histories)
    classes = [replace(c, rare=c.name == "tree") for c in scored_classes(Tiny.classes, {}, pool_pixels(full))]
    table = rare_class_table(join_cohorts(histories), full, classes, "iou")
    found = {row["sampler"]: row for row in rows(table)}
    assert (found["rand"]["rare_iou_mean"], found["rand"]["other_iou_mean"]) == (0.5, pytest.approx(0.65))
    assert found["full annotation"]["other_iou_mean"] == 0.72
    assert "tree" in table.note


def test_classes_are_rows_from_the_most_to_the_fewest_pixels_with_the_rare_ones_marked(drawing):
    svg = drawing.svg
    # SVG lists the ticks in the order of the rows.
    assert svg.index(">ground<") < svg.index(">road (wet)<") < svg.index(">tree (rare)<")


def test_every_sampler_has_its_own_colour(drawing):
    for sampler in SAMPLERS:
        assert colour_pixels(drawing, style_of(sampler).colour) > 20
