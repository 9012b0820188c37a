import pytest
from helpers.fake_runs import CLASSES, fake_reference, fake_run
from helpers.report_contents import rows

from decomp.experiments.report.axes import axes_of
from decomp.experiments.report.long_tables import FULL, class_table, cycle_table, region_table, timing_table
from decomp.experiments.report.run_history import read_histories
from decomp.experiments.schema import AnnotationSeconds


@pytest.fixture
def histories(tmp_path):
    return read_histories(
        [
            fake_run(tmp_path, [0.2, 0.4, 0.6]),
            fake_run(tmp_path, [0.2], sampler="decomp"),
            fake_reference(tmp_path, 0.7),
        ]
    )


def test_every_cycle_is_a_row_with_all_measures_of_the_annotation(histories):
    table = rows(cycle_table(histories, axes_of("miou", AnnotationSeconds(image=0.0, region=0.0, click=3600.0))))
    assert [(row["sampler"], row["cycle"], row["miou"]) for row in table] == [
        ("rand", 1, 0.2),
        ("rand", 2, 0.4),
        ("rand", 3, 0.6),
        ("decomp", 1, 0.2),
        (FULL, 1, 0.7),
    ]
    assert [row["hours"] for row in table[:3]] == [7, 14, 21]
    assert [row["budget"] for row in table[2:]] == ["1x2-4x4", "1x2-4x4", None]


def test_every_class_is_a_row_with_its_scores_and_its_part_in_the_selection(histories):
    table = rows(class_table(histories, CLASSES))
    first, last = table[:3], table[6:9]
    assert [row["class"] for row in last] == list(CLASSES)
    assert [row["iou"] for row in last] == [0.6, None, 0.5]
    assert [row["annotated_pixels"] for row in last] == [3, 6, 3]
    assert [row["confidence"] for row in last] == [0.25, 0.5, 0.75]
    assert [row["weight"] for row in first] == [None] * 3  # nothing is predicted before the first cycle


def test_nested_sets_of_classes_have_scores_alone(histories):
    table = rows(class_table(histories[:1], ("background",)))
    assert [row["class"] for row in table[:4]] == ["background", *CLASSES]
    assert [row["annotated_pixels"] for row in table[:4]] == [1, None, None, None]
    assert [row["iou"] for row in table[:4]] == [None, 0.2, None, 0.5]


def test_times_are_given_by_phase_with_the_code_that_computed_the_cycle(histories):
    row = rows(timing_table(histories))[1]
    assert (row["train"], row["predict"], row["version"], row["commit"]) == (2.0, 1.0, "0.1", "c0ffee")
    assert row["imported_from"] is None


def test_regions_have_the_name_of_the_class_that_was_drawn_for_them(histories):
    table = region_table(histories[:1], CLASSES).to_pylist()
    assert len(table) == 6
    assert [row["drawn_class"] for row in table[:2]] == ["road (wet)", None]
    assert (table[2]["sampler"], table[2]["cycle"], table[2]["image"], table[2]["size"]) == (
        "rand",
        2,
        "train-2",
        [4, 4],
    )


def test_nothing_committed_is_a_table_without_rows(tmp_path):
    assert cycle_table([], axes_of("miou")).rows == class_table([], CLASSES).rows == timing_table([]).rows == ()
    assert region_table([], CLASSES).num_rows == 0
