import pytest
from helpers.fake_runs import fake_reference, fake_run, spec
from helpers.report_contents import rows

from decomp.experiments.report.axes import axes_of
from decomp.experiments.report.comparison import compare, compare_over
from decomp.experiments.report.comparison_tables import comparison_tables
from decomp.experiments.report.run_history import read_histories
from decomp.experiments.schema import AnnotationSeconds
from decomp.platform.storage.runs import RunStore


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    return [
        *(fake_run(root, [0.2, 0.4, 0.6 + 0.1 * seed], seed=seed) for seed in range(2)),
        *(fake_run(root, [0.2, 0.5, 0.7], seed=seed, sampler="decomp") for seed in range(2)),
        fake_reference(root, 0.72),
    ]


def tables_of(runs, seconds=None):
    comparison = compare(read_histories(runs), "miou")
    by_axis = [compare_over(axis, comparison) for axis in axes_of("miou", seconds)]
    return {table.name: table for table in comparison_tables(by_axis)}


def test_crossings_hold_every_axis_with_an_interval(runs):
    crossings = rows(tables_of(runs)["crossings"])
    assert [row["axis"] for row in crossings[:6]] == ["share", "image_share", "openings", "regions", "clicks", "hours"]
    assert {(row["sampler"], row["reached"], row["needed_mean"] is None) for row in crossings} == {
        ("rand", 1, True),
        ("decomp", 2, False),
    }
    share = crossings[6]
    assert share["needed_mean"] == pytest.approx(0.0292)
    assert share["needed_low"] == pytest.approx(0.0292)


def test_expert_time_follows_its_assumptions(runs):
    tables = tables_of(runs, AnnotationSeconds(image=0, region=0, click=3600))
    assert {row["hours_mean"] for row in rows(tables["cost"])} == {21}


def test_tables_of_pairs_hold_every_axis_and_cycle(runs):
    tables = tables_of(runs)
    assert [row["axis"] for row in rows(tables["pairs_overall"])] == [axis.name for axis in axes_of("miou")]
    assert [row["cycle"] for row in rows(tables["pairs_by_cycle"])] == [2, 3]
    assert {row["verdict"] for row in rows(tables["pairs_overall"])} == {"too few repeats"}
    assert "row beats the column" in tables["wins"].note
    # 0.4 < 0.5 in both repeats; 0.6 < 0.7 and 0.7 = 0.7.
    assert [row["decomp"] for row in rows(tables["wins"])] == [0, None]
    assert [row["rand"] for row in rows(tables["wins"])] == [None, 3]


def test_tables_name_what_is_not_compared(runs, tmp_path):
    tables = tables_of([*runs, RunStore(tmp_path, spec("decomp", seed=7))])
    for name in ("summary", "pairs_overall", "wins"):
        assert "rand: seed 7 fold 0 is missing." in tables[name].note
