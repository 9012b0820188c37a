import csv

import pytest
from helpers.fake_runs import fake_reference, fake_run, spec

from decomp.experiments.report.axes import axes_of
from decomp.experiments.report.report import compile_report
from decomp.experiments.report.run_history import read_histories
from decomp.platform.storage.runs import RunStore


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    return [
        *(fake_run(root, [0.2, 0.4, 0.6 + 0.1 * seed], seed=seed) for seed in range(2)),
        *(fake_run(root, [0.2, 0.5, 0.7], seed=seed, sampler="decomp") for seed in range(2)),
        fake_reference(root, 0.72),
    ]


@pytest.fixture(scope="module")
def report(runs, tmp_path_factory):
    return compile_report(read_histories(runs), tmp_path_factory.mktemp("report"), "miou").write()


def test_a_report_of_nothing_is_empty_but_works(tmp_path):
    histories = read_histories([RunStore(tmp_path, spec())])
    assert compile_report(histories, tmp_path / "report", "miou").write().drawings[0].png


def test_files_hold_the_numbers_of_the_comparison(report):
    summary = list(csv.DictReader((report.folder / "summary.csv").open()))
    assert [row["sampler"] for row in summary] == ["rand", "decomp", "full annotation"]
    assert float(summary[0]["final_miou_mean"]) == pytest.approx(0.65)
    assert summary[0]["needed_mean"] == ""
    assert summary[0]["repeats_that_reach_target"] == "1"
    cycles = list(csv.DictReader((report.folder / "cycles.csv").open()))
    assert len(cycles) == 6
    assert float(cycles[-1]["miou_mean"]) == pytest.approx(0.7)
    repeats = list(csv.DictReader((report.folder / "repeats.csv").open()))
    assert len(repeats) == 12
    assert (repeats[3]["seed"], repeats[3]["cycle"], repeats[3]["regions"]) == ("1", "1", "2")


def test_the_same_cycles_give_the_same_bytes(runs, report, tmp_path):
    again = compile_report(read_histories(runs), tmp_path / "again", "miou").write()
    assert [file.read_bytes() for file in again.files] == [file.read_bytes() for file in report.files]
    assert [file.name for file in again.folder.iterdir() if file.name.startswith(".")] == []


def test_figures_name_their_axis_and_unit(report):
    for axis, drawing in zip(axes_of("miou"), report.drawings, strict=True):
        assert axis.title in drawing.svg
        assert drawing.name.endswith(axis.name) or axis.name == "share"


def test_every_drawing_is_there_as_png_and_svg_and_every_table_as_csv_and_latex(report):
    for drawing in report.drawings:
        assert (report.folder / f"{drawing.name}.png").read_bytes() == drawing.png
        assert (report.folder / f"{drawing.name}.svg").read_text() == drawing.svg
    for table in report.tables:
        assert (report.folder / f"{table.name}.csv").read_text() == table.csv()
        assert (report.folder / f"{table.name}.tex").exists() == (table.name != "repeats")
    assert sorted(report.files) == sorted(report.folder.iterdir())
