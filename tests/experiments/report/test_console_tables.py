import io

import pytest
from helpers.fake_runs import fake_reference, fake_run, spec
from rich.console import Console

from decomp.experiments.report.axes import axes_of
from decomp.experiments.report.comparison import compare
from decomp.experiments.report.console_tables import WIDTH, console_tables, summary_markdown
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


def rendered(runs):
    console = Console(width=WIDTH, file=io.StringIO(), record=True)
    console.print(console_tables(compare(read_histories(runs), "miou")))
    return console.export_text()


def test_tables_show_means_spreads_and_annotation_needed(runs):
    text = rendered(runs)
    assert "0.650 ± 0.071" in text
    assert "3.00 %" in text
    assert "not reached (1 of 2 repeats)" in text
    assert "2.92 ± 0.00 %" in text  # 0.02 + 0.01 * (0.684 - 0.5) / 0.2
    assert "Full annotation: mIoU 0.720" in text


def test_what_the_first_cycle_reaches_is_shown_as_an_upper_bound(tmp_path):
    reference = fake_reference(tmp_path, 0.5)
    both = [fake_run(tmp_path, [0.5, 0.5, 0.5], seed=seed) for seed in (0, 1)]
    assert "at most 1.00 % (cycle 1)" in rendered([*both, reference])
    text = rendered([*both, fake_run(tmp_path, [0.2, 0.475, 0.5], seed=2), reference])
    assert "at most 1.33 % (cycle 1, 2 of 3)" in text


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


def test_markdown_has_a_row_for_every_sampler(runs):
    lines = summary_markdown(compare(read_histories(runs), "miou")).splitlines()
    assert len(lines) == 4
    assert len({line.count("|") for line in lines}) == 1


def test_the_terminal_compares_pairs_and_says_when_repeats_are_too_few(runs):
    text = rendered(runs)
    assert "rand – decomp" in text
    assert "0 of 2" in text
    assert "too few repeats: with 2 the smallest possible p is 0.5" in text


def test_the_terminal_shows_any_axis_in_its_unit(runs):
    console = Console(width=WIDTH, file=io.StringIO(), record=True)
    for axis in axes_of("miou"):
        console.print(console_tables(compare(read_histories(runs), "miou", axis)))
    text = console.export_text()
    assert "clicks for 95%" in text
    assert "20 ± 0" in text  # 14 + 7 * (0.684 - 0.5) / 0.2
    assert "expert time for 95%" in text
    assert max(map(len, text.splitlines())) <= WIDTH


def test_dependent_repeats_are_said(runs, tmp_path):
    assert "Folds share" not in rendered(runs)
    more = [fake_run(tmp_path, [0.2, 0.4, 0.6], fold=1, sampler=name) for name in ("rand", "decomp")]
    assert "Folds share" in rendered([*runs, *more])
