from dataclasses import replace

import cv2
import numpy as np
import pytest
from helpers.fake_runs import Tiny, fake_run

from decomp.experiments.report.analysis import scored_classes
from decomp.experiments.report.analysis_figures import (
    annotated_drawing,
    class_score_drawing,
    confidence_drawing,
    correlation_drawing,
    phase_drawing,
)
from decomp.experiments.report.figures import style_of
from decomp.experiments.report.histories import History, cohorts
from decomp.experiments.report.statistics import Spread

SAMPLERS = ("rand", "decomp", "uncert")
POOL = np.array([90, 9, 1])


@pytest.fixture
def cohort(tmp_path):
    stores = [fake_run(tmp_path, [0.2, 0.4, 0.6], sampler=name, seed=seed) for name in SAMPLERS for seed in (0, 1)]
    return cohorts([History.read(store) for store in stores])[0]


def drawings(cohort):
    classes = scored_classes(Tiny(), POOL)
    return [
        class_score_drawing(cohort, classes, "iou", {"ground": Spread.of([0.8]), "tree": None}),
        annotated_drawing(cohort, Tiny.classes, [0.9, 0.09, 0.01]),
        confidence_drawing(cohort, Tiny.classes, "iou"),
        phase_drawing([cohort]),
    ]


def pixels(drawing, colour):
    picture = cv2.imdecode(np.frombuffer(drawing.png, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    return (picture == [int(colour[k : k + 2], 16) for k in (1, 3, 5)]).all(axis=-1).sum()


def test_every_sampler_has_its_own_colour_in_every_figure(cohort):
    for drawing in drawings(cohort)[:3]:
        for sampler in SAMPLERS:
            assert pixels(drawing, style_of(sampler).colour) > 20, drawing.name


def test_the_same_runs_give_the_same_bytes(cohort):
    for first, second in zip(drawings(cohort), drawings(cohort), strict=True):
        assert (first.png, first.svg) == (second.png, second.svg)


def test_classes_are_rows_from_the_most_to_the_fewest_pixels_with_the_rare_ones_marked(cohort):
    svg = drawings(cohort)[0].svg
    # SVG lists the ticks in the order of the rows.
    assert svg.index(">ground<") < svg.index(">road (wet)<") < svg.index(">tree (rare)<")


def test_a_class_that_nobody_annotates_is_a_nought_and_no_error(cohort):
    histories = {key: _without_trees(history) for key, history in cohort.histories.items()}
    bare = replace(cohort, histories=histories)
    assert annotated_drawing(bare, Tiny.classes, [0.9, 0.09, 0.01]).svg.count(">0<") == len(SAMPLERS)
    assert annotated_drawing(bare, Tiny.classes, [None] * 3).png


def _without_trees(history):
    def bare(annotated):
        return replace(annotated, class_pixels=(*annotated.class_pixels[:2], 0))

    return replace(history, records=tuple(replace(r, annotated=bare(r.annotated)) for r in history.records))


def test_where_nothing_can_be_drawn_there_is_no_figure(cohort, tmp_path):
    assert correlation_drawing(cohort, Tiny.classes, "iou") is None  # two classes with a score define no correlation
    (first,) = cohorts([History.read(fake_run(tmp_path / "first", [0.1]))])
    assert confidence_drawing(first, Tiny.classes, "iou") is None
    assert phase_drawing([first]) is None
