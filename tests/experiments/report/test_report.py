import csv
import io

import cv2
import numpy as np
import pytest
from helpers.fake_runs import fake_reference, fake_run, spec
from rich.console import Console

from decomp.experiments.report.axes import axes_of
from decomp.experiments.report.comparison import compare, compare_over
from decomp.experiments.report.figures import learning_curves, style_of, styles
from decomp.experiments.report.report import WIDTH, compile_report, console_tables, summary_markdown
from decomp.experiments.report.report_tables import report_tables
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


@pytest.fixture(scope="module")
def report(runs, tmp_path_factory):
    return compile_report(runs, tmp_path_factory.mktemp("report"), "miou").write()


def rendered(runs):
    console = Console(width=WIDTH, file=io.StringIO(), record=True)
    console.print(console_tables(compare(runs, "miou")))
    return console.export_text()


def test_tables_show_means_spreads_and_annotation_needed(runs):
    text = rendered(runs)
    assert "0.650 ± 0.071" in text
    assert "3.00 %" in text
    assert "not reached (1 of 2 repeats)" in text
    assert "2.92 ± 0.00 %" in text  # 0.02 + 0.01 * (0.684 - 0.5) / 0.2
    assert "Full annotation: mIoU 0.720" in text


def test_tables_of_many_samplers_stay_within_the_width(tmp_path):
    names = [f"a-rather-long-name-{k}" for k in range(9)]
    text = rendered([fake_run(tmp_path, [0.2, 0.45, 0.6], seed=s, sampler=name) for name in names for s in (0, 1)])
    assert max(map(len, text.splitlines())) <= WIDTH
    for name in names:
        assert name in text
    assert text.count("0.450 ± 0.000") == 9


def test_what_is_missing_is_said(runs, tmp_path):
    text = rendered([*runs, RunStore(tmp_path, spec("decomp", seed=7))])
    assert "decomp: seed 7 fold 0 has 0 cycle(s) and is not finished." in text
    assert "rand: seed 7 fold 0 is missing." in text


def test_a_report_of_nothing_is_empty_but_works(tmp_path):
    runs = [RunStore(tmp_path, spec())]
    assert "not finished" in rendered(runs)
    assert compile_report(runs, tmp_path / "report", "miou").write().drawings[0].png


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
    again = compile_report(runs, tmp_path / "again", "miou").write()
    assert [file.read_bytes() for file in again.files] == [file.read_bytes() for file in report.files]
    assert [file.name for file in again.folder.iterdir() if file.name.startswith(".")] == []


def test_figure_shows_every_sampler_in_its_colour(runs):
    picture = cv2.imdecode(np.frombuffer(learning_curves(compare(runs, "miou")).png, np.uint8), cv2.IMREAD_COLOR)[
        ..., ::-1
    ]
    for sampler in ("rand", "decomp"):
        colour = [int(style_of(sampler).colour[i : i + 2], 16) for i in (1, 3, 5)]
        assert (picture == colour).all(axis=-1).sum() > 100


def test_figure_marks_where_all_repeats_reach_the_target(runs):
    assert "reaches 95%" in learning_curves(compare(runs, "miou")).svg  # decomp
    assert "reaches 95%" not in learning_curves(compare([*runs[:2], runs[-1]], "miou")).svg  # rand, once


def test_figures_name_their_axis_and_unit(report):
    for axis, drawing in zip(axes_of("miou"), report.drawings, strict=True):
        assert axis.title in drawing.svg
        assert drawing.name.endswith(axis.name) or axis.name == "share"


def test_a_sampler_has_the_same_style_in_any_company():
    assert styles(["decomp", "rand"])["decomp"] == styles(["x", "y", "decomp"])["decomp"] == style_of("decomp")


def test_samplers_of_one_figure_differ_in_style():
    names = ["rand", "uncert", "decomp", *"abcdef"]
    assert len(set(styles(names).values())) == len(names)


def test_markdown_has_a_row_for_every_sampler(runs):
    lines = summary_markdown(compare(runs, "miou")).splitlines()
    assert len(lines) == 4
    assert len({line.count("|") for line in lines}) == 1


def test_every_drawing_is_there_as_png_and_svg_and_every_table_as_csv_and_latex(report):
    for drawing in report.drawings:
        assert (report.folder / f"{drawing.name}.png").read_bytes() == drawing.png
        assert (report.folder / f"{drawing.name}.svg").read_text() == drawing.svg
    for table in report.tables:
        assert (report.folder / f"{table.name}.csv").read_text() == table.csv()
        assert (report.folder / f"{table.name}.tex").exists() == (table.name != "repeats")
    assert sorted(report.files) == sorted(report.folder.iterdir())


def table(report, name):
    return list(csv.DictReader((report.folder / f"{name}.csv").open()))


def test_crossings_hold_every_axis_with_an_interval(report):
    crossings = table(report, "crossings")
    assert [row["axis"] for row in crossings[:6]] == ["share", "image_share", "openings", "regions", "clicks", "hours"]
    assert {(row["sampler"], row["reached"], row["needed_mean"] == "") for row in crossings} == {
        ("rand", "1", True),
        ("decomp", "2", False),
    }
    share = crossings[6]
    assert float(share["needed_mean"]) == pytest.approx(0.0292)
    assert float(share["needed_low"]) == pytest.approx(0.0292)


def test_expert_time_follows_its_assumptions(runs):
    axes = axes_of("miou", AnnotationSeconds(image=0, region=0, click=3600))
    tables = {
        table.name: table for table in report_tables([compare_over(axis, compare(runs, "miou")) for axis in axes])
    }
    cost, repeats = tables["cost"], tables["repeats"]
    assert {row[cost.heads.index("hours_mean")] for row in cost.rows} == {21}
    assert [row[repeats.heads.index("hours")] for row in repeats.rows[:3]] == [7, 14, 21]


def test_tables_of_pairs_hold_every_axis_and_cycle(report):
    assert [row["axis"] for row in table(report, "pairs_overall")] == [axis.name for axis in axes_of("miou")]
    assert [row["cycle"] for row in table(report, "pairs_by_cycle")] == ["2", "3"]
    assert {row["verdict"] for row in table(report, "pairs_overall")} == {"too few repeats"}
    (wins,) = [table for table in report.tables if table.name == "wins"]
    assert "row beats the column" in wins.note
    # 0.4 < 0.5 in both repeats; 0.6 < 0.7 and 0.7 = 0.7.
    assert [row["decomp"] for row in table(report, "wins")] == ["0", ""]
    assert [row["rand"] for row in table(report, "wins")] == ["", "3"]


def test_console_compares_pairs_and_says_when_repeats_are_too_few(runs):
    text = rendered(runs)
    assert "rand – decomp" in text
    assert "0 of 2" in text
    assert "too few repeats: with 2 the smallest possible p is 0.5" in text


def test_console_shows_any_axis_in_its_unit(runs):
    console = Console(width=WIDTH, file=io.StringIO(), record=True)
    for axis in axes_of("miou"):
        console.print(console_tables(compare(runs, "miou", axis)))
    text = console.export_text()
    assert "clicks for 95%" in text
    assert "20 ± 0" in text  # 14 + 7 * (0.684 - 0.5) / 0.2
    assert "expert time for 95%" in text
    assert max(map(len, text.splitlines())) <= WIDTH


def test_dependent_repeats_are_said(runs, tmp_path):
    assert "Folds share" not in rendered(runs)
    more = [fake_run(tmp_path, [0.2, 0.4, 0.6], fold=1, sampler=name) for name in ("rand", "decomp")]
    assert "Folds share" in rendered([*runs, *more])


def test_tables_name_what_is_not_compared(runs, tmp_path):
    comparison = compare([*runs, RunStore(tmp_path, spec("decomp", seed=7))], "miou")
    tables = report_tables([compare_over(axis, comparison) for axis in axes_of("miou")])
    for name in ("summary", "pairs_overall", "wins"):
        (found,) = [table for table in tables if table.name == name]
        assert "rand: seed 7 fold 0 is missing." in found.note
