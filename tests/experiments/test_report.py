import csv
import io

import cv2
import numpy as np
import pytest
from fake_runs import fake_reference, fake_run, spec
from rich.console import Console

from decomp.experiments.comparison import compare
from decomp.experiments.figures import learning_curves, style_of, styles
from decomp.experiments.report import WIDTH, console_tables, summary_markdown, write_report
from decomp.platform.store import RunStore


@pytest.fixture
def runs(tmp_path):
    return [
        *(fake_run(tmp_path, [0.2, 0.4, 0.6 + 0.1 * seed], seed=seed) for seed in range(2)),
        *(fake_run(tmp_path, [0.2, 0.5, 0.7], seed=seed, sampler="decomp") for seed in range(2)),
        fake_reference(tmp_path, 0.72),
    ]


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
    assert write_report(runs, tmp_path / "report", "miou").figure.stat().st_size > 0


def test_files_hold_the_numbers_of_the_comparison(runs, tmp_path):
    report = write_report(runs, tmp_path / "report", "miou")
    summary = list(csv.DictReader(report.summary.open()))
    assert [row["sampler"] for row in summary] == ["rand", "decomp", "full annotation"]
    assert float(summary[0]["final_miou_mean"]) == pytest.approx(0.65)
    assert summary[0]["needed_share_mean"] == ""
    assert summary[0]["repeats_that_reach_target"] == "1"
    cycles = list(csv.DictReader(report.cycles.open()))
    assert len(cycles) == 6
    assert float(cycles[-1]["miou_mean"]) == pytest.approx(0.7)
    repeats = list(csv.DictReader(report.repeats.open()))
    assert len(repeats) == 12
    assert (repeats[3]["seed"], repeats[3]["cycle"], repeats[3]["regions"]) == ("1", "1", "2")


def test_the_same_cycles_give_the_same_bytes(runs, tmp_path):
    first = [file.read_bytes() for file in write_report(runs, tmp_path / "a", "miou").files]
    assert [file.read_bytes() for file in write_report(runs, tmp_path / "b", "miou").files] == first
    assert [file.name for file in (tmp_path / "a").iterdir() if file.name.startswith(".")] == []


def test_figure_shows_every_sampler_in_its_colour(runs):
    picture = cv2.imdecode(np.frombuffer(learning_curves(compare(runs, "miou")), np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    for sampler in ("rand", "decomp"):
        colour = [int(style_of(sampler).colour[i : i + 2], 16) for i in (1, 3, 5)]
        assert (picture == colour).all(axis=-1).sum() > 100


def test_a_sampler_has_the_same_style_in_any_company():
    assert styles(["decomp", "rand"])["decomp"] == styles(["x", "y", "decomp"])["decomp"] == style_of("decomp")


def test_samplers_of_one_figure_differ_in_style():
    names = ["rand", "uncert", "decomp", *"abcdef"]
    assert len(set(styles(names).values())) == len(names)


def test_markdown_has_a_row_for_every_sampler(runs):
    lines = summary_markdown(compare(runs, "miou")).splitlines()
    assert len(lines) == 4
    assert len({line.count("|") for line in lines}) == 1
