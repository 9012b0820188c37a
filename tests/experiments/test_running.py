"""What the sweep of a command tells MLflow's mirror, and when."""

from contextlib import ExitStack

import pytest
from helpers.toy_runs import run_locally

from decomp.actors.coordinator import Outcome
from decomp.actors.progress import Activity, ProgressReport
from decomp.experiments import running
from decomp.experiments.archives.archive import Archive
from decomp.experiments.archives.exporting import export
from decomp.experiments.archives.importing import import_archive
from decomp.experiments.description import Description
from decomp.experiments.plan import make_plan
from decomp.experiments.running import compute_all
from decomp.experiments.schema import load_experiment
from decomp.experiments.status import sharing
from decomp.platform.storage.runs import TIMING


class Submissions:
    """Stands for the mirror: what was submitted, by label."""

    def __init__(self):
        self.labels = []

    def submit(self, *stores):
        self.labels += [store.spec.label for store in stores]


@pytest.fixture
def plan(toy_file):
    return make_plan(load_experiment(toy_file, ["samplers=[rand]", "seeds=1"]))


@pytest.fixture
def driver(plan):
    """The only driver of the plan."""
    with sharing(plan.experiment.root) as driver:
        yield driver


@pytest.fixture
def sweeps(monkeypatch):
    """The sweeps that were made, which compute nothing, and what each report of theirs led to."""
    made = []

    class Pretended:
        def __init__(self, root, specs, resources, patience, claims):
            self.specs, self.patience = specs, patience
            made.append(self)

        def run(self, listen):
            label = self.specs[0].label
            for report, ended in (
                (ProgressReport(active={label: Activity(1, "start", 0.0)}), []),
                (ProgressReport(active={label: Activity(1, "train", 0.0)}), []),
                (ProgressReport(committed=[label]), [Outcome(self.specs[0])]),
            ):
                listen(report, ended)
                made.append(report)
            return []

    monkeypatch.setattr(running, "Sweep", Pretended)
    monkeypatch.setattr(running.session, "start", lambda address, verbose: None)
    monkeypatch.setattr(running.session, "stop", lambda: None)
    return made


def test_what_is_committed_already_is_mirrored_once_the_first_runs_are_at_work(plan, driver, sweeps):
    class Watched(Submissions):
        def submit(self, *stores):
            sweeps.append("submitted")
            super().submit(*stores)

    mirror = Watched()
    compute_all(plan, plan.missing(plan.histories()), mirror, None, driver, verbose=False)
    kinds = [made if made == "submitted" else type(made).__name__ for made in sweeps]
    assert kinds[:4] == ["Pretended", "ProgressReport", "submitted", "ProgressReport"]
    assert mirror.labels == [*(store.spec.label for store in plan.compared), plan.specs[0].label]


def test_where_nothing_is_missing_everything_is_mirrored_without_ray(plan, driver, sweeps):
    run_locally(plan.experiment.root, *plan.runs, *plan.references)
    mirror = Submissions()
    failed, histories = compute_all(plan, plan.missing(plan.histories()), mirror, None, driver, verbose=False)
    assert (sweeps, failed) == ([], [])
    assert mirror.labels == [store.spec.label for store in plan.compared]
    assert all(history.finished for history in histories)


def test_where_others_compute_all_that_is_missing_ray_is_not_started(plan, driver, sweeps):
    with sharing(plan.experiment.root) as late:
        for spec in plan.specs:
            assert driver.claims.take(spec.key)
        late.claims.look_again()
        assert compute_all(plan, plan.missing(plan.histories()), Submissions(), None, late, verbose=False) == ([], ())
    assert sweeps == []


def test_damaged_wall_times_are_told_and_nothing_is_computed_again(plan, driver, sweeps, capsys):
    run_locally(plan.experiment.root, *plan.runs, *plan.references)
    damaged = plan.stores(plan.runs)[0].committed()[-1].path / TIMING
    damaged.write_bytes(b"{}")
    compute_all(plan, {}, Submissions(), None, driver, verbose=False)
    assert sweeps == []
    told = " ".join(capsys.readouterr().err.split())
    assert f"warning: {damaged} is damaged" in told
    assert "the cycle's results are kept, without wall times." in told


def test_only_a_cluster_is_waited_for(plan, driver, sweeps):
    for address, patience in ((None, 0.0), ("auto", 60.0)):
        sweeps.clear()
        compute_all(plan, plan.missing(plan.histories()), Submissions(), address, driver, verbose=False)
        assert sweeps[0].patience == patience


class Mirror:
    """Remembers what it is told, and which of it had cycles then."""

    def __init__(self):
        self.submitted = []

    def submit(self, *stores):
        self.submitted += [store.spec.key for store in stores if store.committed()]


@pytest.fixture
def locally(monkeypatch):
    """Missing runs are computed in this process."""

    def compute(plan, missing, mirror, address, driver, *, verbose):
        run_locally(plan.experiment.root, *(store.spec for store in missing.values() if store.spec.kind == "run"))
        return []

    monkeypatch.setattr(running, "_compute", compute)


def test_imported_runs_are_mirrored_once_their_first_cycle_is_there_again(driver, toy_file, tmp_path, locally, capsys):
    def planned(storage, *more):
        return make_plan(load_experiment(toy_file, [f"storage={tmp_path / storage}", "budgets.0.cycles=2", *more]))

    theirs, ours = planned("theirs"), planned("ours", "samplers=[rand,decomp,uncert]")
    run_locally(theirs.experiment.root, *theirs.references, *theirs.runs)
    export(Description.of(theirs), theirs.histories(), tmp_path / "toy.zip")
    ours.experiment.root.mkdir(parents=True)
    import_archive(Archive.open(tmp_path / "toy.zip"), ours.experiment.root)
    mirror = Mirror()
    failed, histories = running.compute_all(ours, ours.missing(ours.histories()), mirror, None, driver, verbose=False)
    assert failed == []
    assert all(history.finished for history in histories)
    assert set(mirror.submitted) == {store.spec.key for store in ours.compared}
    assert capsys.readouterr().err.count("was imported without its model") == 2


def test_what_concerns_all_runs_is_left_to_the_driver_that_leads(plan, sweeps):
    with sharing(plan.experiment.root) as leading, sharing(plan.experiment.root) as driver:
        assert (leading.leads, driver.leads) == (True, False)
        mirror = Submissions()
        failed, histories = compute_all(plan, plan.missing(plan.histories()), mirror, None, driver, verbose=False)
        assert (failed, histories, mirror.labels) == ([], (), [])
        assert sweeps


def test_the_last_driver_mirrors_what_one_that_left_did_not(plan, sweeps):
    with ExitStack() as stack:
        leading = stack.enter_context(sharing(plan.experiment.root))
        with sharing(plan.experiment.root) as driver:
            assert leading.leads
            stack.close()
            mirror = Submissions()
            compute_all(plan, plan.missing(plan.histories()), mirror, None, driver, verbose=False)
            assert driver.leads
            assert {store.spec.label for store in plan.compared} <= set(mirror.labels)
