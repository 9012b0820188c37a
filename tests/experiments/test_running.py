import pytest
from helpers.toy_runs import run_locally

from decomp.experiments import running
from decomp.experiments.archives.archive import Archive
from decomp.experiments.archives.exporting import export
from decomp.experiments.archives.importing import import_archive
from decomp.experiments.description import Description
from decomp.experiments.plan import make_plan
from decomp.experiments.schema import load_experiment


class Mirror:
    """Remembers what it is told, and which of it had cycles then."""

    def __init__(self):
        self.submitted = []

    def submit(self, store):
        if store.committed():
            self.submitted.append(store.spec.key)


@pytest.fixture
def locally(monkeypatch):
    """Missing runs are computed in this process."""

    def compute(plan, missing, mirror, address, *, verbose):
        run_locally(plan.experiment.root, *(store.spec for store in missing.values() if store.spec.kind == "run"))
        return []

    monkeypatch.setattr(running, "_compute", compute)


def test_imported_runs_are_mirrored_once_their_first_cycle_is_there_again(toy_file, tmp_path, locally, capsys):
    def planned(storage, *more):
        return make_plan(load_experiment(toy_file, [f"storage={tmp_path / storage}", "budgets.0.cycles=2", *more]))

    theirs, ours = planned("theirs"), planned("ours", "samplers=[rand,decomp,uncert]")
    run_locally(theirs.experiment.root, *theirs.references, *theirs.runs)
    export(Description.of(theirs), theirs.histories(), tmp_path / "toy.zip")
    ours.experiment.root.mkdir(parents=True)
    import_archive(Archive.open(tmp_path / "toy.zip"), ours.experiment.root)
    mirror = Mirror()
    failed, histories = running.compute_all(ours, ours.missing(ours.histories()), mirror, None, verbose=False)
    assert failed == []
    assert all(history.finished for history in histories)
    assert set(mirror.submitted) == {store.spec.key for store in ours.compared}
    assert capsys.readouterr().err.count("was imported without its model") == 2
    again = Mirror()
    running.compute_all(ours, ours.missing(ours.histories()), again, None, verbose=False)
    assert again.submitted == []
