import csv
import io
import re
import sys
from pathlib import Path

import pytest

from decomp.experiments.results import open_results
from decomp.experiments.study.command import PRESETS, main
from decomp.experiments.study.markdown import of_cells
from decomp.experiments.study.page import make_study

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def study(toy):
    preset, folder = toy
    return make_study([preset, PRESETS[0]], folder)


def cells(line):
    return [cell.strip() for cell in line.strip("|").split(" | ")]


def rows_of(page, title):
    """The rows of the first table below a heading, by the first cell."""
    lines = page.partition(f"# {title}\n")[2].splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith("| ---")) + 1
    table = []
    for line in lines[start:]:
        if not line.startswith("|"):
            break
        table.append(cells(line))
    return {row[0]: row[1:] for row in table}


def test_the_page_shows_what_the_verdict_over_the_same_archives_finds(study, toy):
    verdicts = open_results(toy[1] / "study-toy.zip").verdicts()
    shown = rows_of(study.page, "DECOMP against each rival of the paper") | rows_of(study.page, "The new rivals")
    assert set(shown) == {"decomp – rand", "decomp – uncert", "decomp – power-pe"}
    for row in verdicts.to_dict("records"):
        if (name := f"decomp – {row['second']}") in shown:
            text = f"{row['difference']:+.3f} [{row['low']:+.3f}, {row['high']:+.3f}]<br>p "
            assert shown[name][-1].startswith(text)
            assert shown[name][-1].endswith(f"too few repeats ({row['blocks']})")


def test_the_table_beside_the_page_has_every_answer_at_full_precision(study, toy):
    verdicts = open_results(toy[1] / "study-toy.zip").verdicts().set_index(["first", "second"])
    rows = list(csv.DictReader(io.StringIO(study.tables[0].csv())))
    compared = 0
    for row in rows:
        if row["claim"] in ("rivals", "new-rivals") and row["data_set"] == "all":
            expected = verdicts.loc[row["first"], row["second"]]
            assert [float(row[key]) for key in ("difference", "low", "high", "p")] == [
                expected[key] for key in ("difference", "low", "high", "p")
            ]
            compared += 1
    assert compared == 3


def test_heights_of_curves_are_those_of_every_cycle(study, toy):
    cycles = open_results(toy[1] / "study-toy.zip").cycles()
    (budget,) = re.findall(r"Heights of the curves, budget (2x4-4x4 and .*):", study.page)
    table = rows_of(study.page.replace(f"Heights of the curves, budget {budget}:", "# heights"), "heights")
    assert table["rand-fg-66"][0] == "reads the truth"
    assert table["decomp"][0] == ""
    of_decomp = cycles[(cycles["sampler"] == "decomp") & (cycles["budget"] == "2x4-4x4")]
    last = of_decomp[(of_decomp["cycle"] == 3) & (of_decomp["seed"] < 2)]  # all samplers have finished these
    assert float(table["decomp"][-2]) == pytest.approx(last["miou"].mean(), abs=1e-4)
    assert int(table["decomp"][1]) == len(last)
    assert int(table["decomp"][-1]) == last["regions"].mean()


def test_what_is_not_computed_is_told(study):
    assert "study-slides (10 seeds) is not computed yet" in study.page
    assert "study-toy is not complete: 2 of" in study.page
    (row,) = rows_of(study.page, "What is computed").values()
    planned = 3 * (4 * 2 + 2) + 3
    assert row[3:6] == [str(planned - 2), str(planned), "seed-0-fold-0 and seed-1-fold-0"]


def test_nothing_computed_is_a_page_too(tmp_path):
    study = make_study([PRESETS[0]], tmp_path)
    assert study.page == "# The study\n\nNothing is computed yet: study-slides.\n"
    assert not study.drawings


def test_every_figure_of_the_page_is_drawn(study):
    shown = re.findall(r"!\[.*?\]\(study/(.*?)\.png\)", study.page)
    assert sorted(shown) == sorted(drawing.name for drawing in study.drawings)
    assert {"rivals", "confidence", "budgets", "rare-scores", "curves-study-toy"} <= set(shown)


def test_the_same_archives_make_the_same_page(study, toy):
    preset, folder = toy
    again = make_study([preset, PRESETS[0]], folder)
    assert again.page == study.page
    assert [drawing.png for drawing in again.drawings] == [drawing.png for drawing in study.drawings]


def test_the_command_writes_the_page_beside_its_folder(toy, monkeypatch, capsys):
    preset, folder = toy
    monkeypatch.setattr("decomp.experiments.study.command.PRESETS", (preset,))
    monkeypatch.setattr(sys, "argv", ["study", str(folder)])
    main()
    page = folder.with_suffix(".md").read_text()
    for target in re.findall(r"\]\((study/[^)]*)\)", page):
        assert (folder.parent / target).is_file(), target
    assert "study.md" in capsys.readouterr().out


def test_the_command_names_an_archive_that_is_damaged(toy, tmp_path, monkeypatch, capsys):
    (tmp_path / "study-toy.zip").write_bytes((toy[1] / "study-toy.zip").read_bytes()[:-100])
    monkeypatch.setattr("decomp.experiments.study.command.PRESETS", (toy[0],))
    monkeypatch.setattr(sys, "argv", ["study", str(tmp_path)])
    with pytest.raises(SystemExit):
        main()
    assert "study-toy.zip: is no archive, or not all of one" in capsys.readouterr().err


def test_the_committed_page_is_what_the_command_makes():
    folder = ROOT / "docs" / "study"
    study = make_study(PRESETS, folder)
    assert folder.with_suffix(".md").read_text() == study.page
    drawn = {f"{drawing.name}.png" for drawing in study.drawings}
    assert {path.name for path in folder.glob("*.png")} == drawn


def test_a_bar_in_a_cell_ends_no_cell():
    assert of_cells(["a", "b"], [["x|y", "z"]], [False, True]) == "| a | b |\n| --- | ---: |\n| x\\|y | z |"
