import errno
import json

import pytest
import yaml
from helpers.toy_runs import results, run_locally
from typer.testing import CliRunner

from decomp.experiments.archives.archive import Archive
from decomp.experiments.archives.exporting import export
from decomp.experiments.archives.importing import import_archive, release_first_cycles, root_of
from decomp.experiments.checking import notes, plan_table
from decomp.experiments.cli import app
from decomp.experiments.description import Description
from decomp.experiments.import_marks import IMPORTS
from decomp.experiments.report.comparison import compare
from decomp.experiments.report.imported import imported_notes
from decomp.experiments.report.run_history import read_histories
from decomp.experiments.sources import open_source
from decomp.experiments.status import progress_of
from decomp.experiments.tracking.fields import import_tags
from decomp.platform.errors import UserError
from decomp.platform.storage.files import FilePath
from decomp.platform.storage.runs import CycleFolder


def imported_into(plan, archive):
    root = plan.experiment.root
    root.mkdir(parents=True, exist_ok=True)
    return import_archive(archive, root)


def without_models(root):
    return {name: content for name, content in results(root).items() if not name.endswith("/model")}


def test_imported_runs_count_as_done_and_are_what_was_exported(archive, computed, planned, tmp_path):
    mine = planned(tmp_path / "mine")
    imported = imported_into(mine, archive)
    assert (imported.added, imported.present, imported.equal, imported.other) == (6, 0, 0, ())
    assert without_models(mine.experiment.root) == without_models(computed.experiment.root)
    histories = mine.histories()
    assert mine.missing(histories) == {}
    assert {history.imported.archive for history in histories} == {"toy.zip"}
    assert (
        compare(read_histories(mine.compared), "miou").curves
        == compare(read_histories(computed.compared), "miou").curves
    )


def test_imports_go_to_any_storage(archive, planned, memory):
    imported = import_archive(archive, memory / "toy")
    assert imported.added == 6
    mine = planned(str(memory))
    assert mine.missing(mine.histories()) == {}


def test_imported_runs_are_marked_everywhere(archive, planned, tmp_path):
    mine = planned(tmp_path / "mine")
    imported_into(mine, archive)
    histories = mine.histories()
    assert "of these imported" in list(plan_table(mine, histories).columns[0].cells)
    source = f"toy.zip (SHA-256 {archive.sha256[:12]}...)"
    sentence = f"Imported from {source}, not computed here: 6 run(s) of full annotation, rand, decomp."
    assert sentence in notes(mine, histories)
    assert {row.doing for row in progress_of(mine)} == {"imported"}
    assert sentence in compare(read_histories(mine.compared), "miou").caveats
    assert import_tags(histories[0].imported) == {"imported_from": "toy.zip", "imported_sha256": archive.sha256}
    assert import_tags(None) == {}


def test_a_new_sampler_is_compared_with_imported_rivals_which_are_not_computed_again(archive, planned, tmp_path):
    mine = planned(tmp_path / "mine", "samplers=[rand,decomp,uncert]")
    imported_into(mine, archive)
    before = {name: f.read_bytes() for name, f in files_of(mine) if "uncert" not in name and "first-cycle" not in name}
    missing = mine.missing(mine.histories())
    assert {store.spec.sampler.name for store in missing.values() if store.spec.sampler} == {"uncert"}
    assert sum(store.spec.kind == "first" for store in missing.values()) == 2
    sentences = release_first_cycles(list(missing.values()))
    assert len(sentences) == 2
    assert all("was imported without its model, so it is trained again" in sentence for sentence in sentences)
    run_locally(mine.experiment.root, *(store.spec for store in missing.values() if store.spec.kind == "run"))
    assert {name: f.read_bytes() for name, f in files_of(mine) if name in before} == before
    alone = planned(tmp_path / "alone", "samplers=[uncert]", "contrasts=null")
    run_locally(alone.experiment.root, *alone.runs)
    ours = {name: content for name, content in results(mine.experiment.root).items() if name.startswith("uncert")}
    assert ours == {name: c for name, c in results(alone.experiment.root).items() if name.startswith("uncert")}
    histories = read_histories(mine.compared)
    assert mine.missing(mine.histories()) == {}
    assert [h.spec.sampler.name for h in histories if h.spec.sampler and not h.imported] == ["uncert"] * 2
    assert len(imported_notes(histories)) == 1  # the first cycles came out as they were
    assert release_first_cycles(mine.stores(mine.firsts)) == []


def files_of(plan):
    root = plan.experiment.root
    return [(str(f.relative_to(root)), f) for f in root.rglob("*") if f.is_file() and not f.name.startswith(".")]


def test_imported_runs_that_are_to_go_on_are_computed_anew_from_a_first_cycle_with_a_model(archive, planned, tmp_path):
    mine = planned(tmp_path / "mine", "budgets.0.cycles=4")
    imported_into(mine, archive)
    assert any("4 imported run(s) have fewer cycles than are planned" in note for note in notes(mine, mine.histories()))
    missing = mine.missing(mine.histories())
    assert len(missing) == 2 + 4
    release_first_cycles(list(missing.values()))
    run_locally(mine.experiment.root, *mine.runs)
    alone = planned(tmp_path / "alone", "budgets.0.cycles=4")
    run_locally(alone.experiment.root, *alone.runs)
    assert results(mine.experiment.root).items() >= results(alone.experiment.root).items()
    assert not any(history.imported for history in read_histories(mine.stores(mine.runs)))


def test_a_first_cycle_that_came_out_differently_is_told(archive, planned, tmp_path):
    mine = planned(tmp_path / "mine")
    imported_into(mine, archive)
    marks = json.loads((mine.experiment.root / IMPORTS).read_bytes())
    for mark in marks.values():
        mark["metrics"] = {name: value + 0.01 for name, value in mark["metrics"].items()}
    (mine.experiment.root / IMPORTS).write_text(json.dumps(marks))
    first, *others = imported_notes(read_histories(mine.compared))
    assert first.startswith("Imported from")
    assert len(others) == 2
    assert "was computed here with another result (miou " in others[0]


def test_nothing_is_overwritten_and_what_is_left_alone_is_said(archive, planned, tmp_path):
    mine = planned(tmp_path / "mine")
    root = mine.experiment.root
    run_locally(root, *mine.runs[:1])  # the same results, computed here
    unfinished = mine.stores(mine.runs)[1]
    first = unfinished.first.committed()[0].record.metrics
    run_locally(root, mine.runs[1])
    (unfinished.path / "cycle-0003").rename(unfinished.path / "gone")
    before = {name: file.read_bytes() for name, file in files_of(mine)}
    imported = imported_into(mine, archive)
    assert (imported.added, imported.equal, imported.other) == (4, 1, (unfinished.spec.label,))
    after = {name: file.read_bytes() for name, file in files_of(mine)}
    assert {name: after[name] for name in before} == before
    said = " ".join(imported.sentences(archive, root))
    assert "Left alone, since they are here with the same results: 1 run(s)." in said
    assert f"unfinished or with other results: {unfinished.spec.label}." in said
    assert first == unfinished.first.committed()[0].record.metrics
    again = imported_into(mine, archive)
    assert (again.added, again.present, again.equal) == (0, 4, 1)


def test_a_run_that_is_computed_again_is_no_longer_imported(archive, planned, tmp_path):
    mine = planned(tmp_path / "mine")
    imported_into(mine, archive)
    release_first_cycles(mine.stores(mine.firsts[:1]))
    for cycle in (2, 3):
        (mine.stores(mine.runs)[0].path / f"cycle-000{cycle}").set_aside()
    run_locally(mine.experiment.root, mine.runs[0])
    assert [history.imported is None for history in read_histories(mine.stores(mine.runs))] == [True] + 3 * [False]


def test_an_import_that_was_interrupted_goes_on(archive, planned, tmp_path, monkeypatch):
    mine = planned(tmp_path / "mine")
    publish, published = FilePath.publish, []

    def failing(self, staged, files):
        if len(published) == 5:
            raise OSError(errno.ENOSPC, "No space left on device")
        published.append(self)
        return publish(self, staged, files)

    monkeypatch.setattr(FilePath, "publish", failing)
    with pytest.raises(UserError, match=r"storage: there is no room for more in .*make room"):
        imported_into(mine, archive)
    assert not list(mine.experiment.root.rglob(".staging-*"))
    monkeypatch.undo()
    imported = imported_into(mine, archive)
    assert imported.other == ()
    assert mine.missing(mine.histories()) == {}


def test_a_damaged_archive_leaves_no_trace(archive, planned, tmp_path):
    mine = planned(tmp_path / "mine")
    content = bytearray(archive.path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    archive.path.write_bytes(content)
    with pytest.raises(UserError, match="is damaged"):
        imported_into(mine, Archive.open(archive.path))
    assert not list(mine.experiment.root.iterdir())


def test_an_imported_run_can_be_exported_again(archive, planned, tmp_path):
    mine = planned(tmp_path / "mine")
    imported_into(mine, archive)
    again = export(Description.of(mine), mine.histories(), tmp_path / "again.zip").archive
    assert {run.spec.key: run.cycles for run in again.runs()} == {run.spec.key: run.cycles for run in archive.runs()}


def test_a_run_that_goes_through_two_archives_tells_both(archive, planned, tmp_path):
    mine = planned(tmp_path / "mine", "samplers=[rand,decomp,uncert]")
    imported_into(mine, archive)
    marks = json.loads((mine.experiment.root / IMPORTS).read_bytes())
    for mark in marks.values():  # as if another machine had trained the first cycles
        mark["metrics"] = {name: value + 0.01 for name, value in mark["metrics"].items()}
    (mine.experiment.root / IMPORTS).write_text(json.dumps(marks))
    release_first_cycles(mine.stores(mine.firsts))
    run_locally(mine.experiment.root, *mine.runs)
    again = export(Description.of(mine), mine.histories(), tmp_path / "again.zip").archive
    assert set(run.spec.key for run in again.runs()) > {run.spec.key for run in archive.runs()}

    was = f"toy.zip (SHA-256 {archive.sha256[:12]}...)"
    opened = open_source(again.path)  # whose folder lives as long as it does
    notes = imported_notes(opened.histories)
    assert notes[0] == f"Imported from {was}, not computed here: 6 run(s) of full annotation, rand, decomp."
    assert len(notes) == 3
    assert all("with another result" in note for note in notes[1:])

    theirs = planned(tmp_path / "theirs-again", "samplers=[rand,decomp,uncert]")
    imported_into(theirs, again)
    source = f"again.zip (SHA-256 {again.sha256[:12]}...)"
    told = imported_notes(read_histories(theirs.compared))
    assert set(told) == {
        f"Imported from {source}, itself imported from {was}, not computed here: 6 run(s) of full annotation, rand, "
        f"decomp.",
        f"Imported from {source}, not computed here: 2 run(s) of uncert.",
        *notes[1:],
    }


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("seeds=3", "an import takes storage=FOLDER and name=EXPERIMENT alone"),
        ("toy.yaml", "an import takes storage=FOLDER and name=EXPERIMENT alone"),
        ("name=../../x", "name '../../x': use up to 200 letters"),
        ("storage=http://x", "storage 'http://x'"),
    ],
)
def test_where_nothing_can_be_imported_is_said(archive, override, message):
    with pytest.raises(UserError, match=message.replace(".", r"\.")):
        root_of(archive, [override])


def test_the_commands_carry_results_from_one_experiment_to_another(computed, toy_file, tmp_path):
    def decomp(*arguments):
        done = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.stdout

    toy_file.write_text(yaml.safe_dump(yaml.safe_load(toy_file.read_text()) | {"contrasts": {"against": "decomp"}}))
    overrides = ["budgets.0.cycles=3"]
    out = decomp("export", toy_file, tmp_path / "shared.zip", *overrides, f"storage={tmp_path / 'theirs'}")
    digest = Archive.open(tmp_path / "shared.zip").sha256
    assert out == f"{tmp_path / 'shared.zip'}: 6 run(s) of toy, SHA-256 {digest}.\n"
    storage = f"storage={tmp_path / 'ours'}"
    out = decomp("import", tmp_path / "shared.zip", storage, "name=ours")
    assert out.startswith(f"{tmp_path / 'shared.zip'} (SHA-256 {digest}): 6 run(s) imported into")
    assert "The archive is of the experiment toy: where ours plans other runs, these are not shown." in out
    checked = decomp("check", toy_file, *overrides, storage, "name=ours", "samplers=[rand,decomp,uncert]")
    assert "of these imported" in checked
    status = decomp("status", toy_file, *overrides, storage, "name=ours")
    assert "8 of 8 runs finished (8 imported)" in status


def test_a_cycle_that_is_read_from_an_imported_run_is_checked_like_any_other(archive, planned, tmp_path):
    mine = planned(tmp_path / "mine")
    imported_into(mine, archive)
    for store in mine.compared:
        for folder in store.committed():
            assert isinstance(folder, CycleFolder)
            folder.ledger_of(folder.record)
