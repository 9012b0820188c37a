import gc
from pathlib import Path

import pytest
from typer.testing import CliRunner

from decomp.experiments.archives.exporting import export
from decomp.experiments.cli import app
from decomp.experiments.description import Description
from decomp.experiments.plan import make_plan
from decomp.experiments.report.run_history import read_histories
from decomp.experiments.schema import load_experiment
from decomp.experiments.sources import names_of, open_source
from decomp.platform.errors import UserError


@pytest.fixture
def archive(toy_file, compute, tmp_path):
    plan = compute(make_plan(load_experiment(toy_file, ["budgets.0.cycles=3", "contrasts={against: decomp}"])))
    return export(Description.of(plan), plan.histories(), tmp_path / "toy.zip").archive.path


def test_an_archive_and_its_experiment_are_read_alike(archive, toy_file):
    source = open_source(archive)
    other = open_source(toy_file, ["budgets.0.cycles=3", "contrasts={against: decomp}"])
    assert source.description == other.description
    assert source.description.design.contrasts == (("decomp", "rand"),)
    of = {history.spec.label: history.records for history in source.histories}
    assert of == {history.spec.label: history.records for history in other.histories}
    assert source.origin.startswith("toy.zip (SHA-256 ")
    assert names_of([source, other]) == ["toy", "toy (2)"]


def test_what_is_unpacked_lives_as_long_as_the_source(archive):
    source = open_source(archive)
    folder = Path(str(source.histories[0].store.root))
    assert folder.is_dir()
    del source
    gc.collect()
    assert not folder.exists()


def test_mistakes_name_the_file(toy_file, tmp_path):
    with pytest.raises(UserError, match=r"toy\.yaml: folds: the data set has no fold 7"):
        open_source(toy_file, ["folds=[7]"])
    with pytest.raises(UserError, match="there is no such file"):
        open_source(tmp_path / "none.zip")


def test_an_archive_that_is_cut_off_is_told_as_one(archive):
    archive.write_bytes(archive.read_bytes()[:2000])
    with pytest.raises(UserError, match="is no archive, or not all of one"):
        open_source(archive)


def test_the_command_compares_experiments_and_archives_and_says_where_the_page_is(archive, toy_file, tmp_path):
    arguments = ["compare", archive, toy_file, "budgets.0.cycles=3", "--into", tmp_path / "verdict"]
    done = CliRunner().invoke(app, list(map(str, arguments)), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "Over 2 block(s) of 1 data set(s) no difference can be significant" in done.stdout
    assert done.stdout.splitlines()[-1].endswith("verdict/verdict.html")
    assert "toy (2)" in (tmp_path / "verdict" / "verdict.html").read_text()


def test_the_command_says_what_is_not_complete(archive, toy_file, tmp_path):
    arguments = ["compare", archive, toy_file, "budgets.0.cycles=3", "seeds=9", "--into", tmp_path / "verdict"]
    lines = CliRunner().invoke(app, list(map(str, arguments)), catch_exceptions=False).stdout.splitlines()
    assert any(line.startswith("toy (2) is not complete: ") and "And " in line for line in lines)
    assert lines[-1].startswith("Verdict: ")


def test_a_damaged_run_is_named_by_the_command(archive, toy_file):
    plan = make_plan(load_experiment(toy_file, ["budgets.0.cycles=3"]))
    (history, *_) = read_histories(plan.stores(plan.runs))
    (history.store.path / "cycle-0002" / "record.json").write_bytes(b"{}")
    with pytest.raises(UserError, match=r"record\.json is damaged"):
        CliRunner().invoke(app, ["compare", str(toy_file), "budgets.0.cycles=3"], catch_exceptions=False)
