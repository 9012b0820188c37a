import threading
import time
from unittest.mock import Mock
from urllib.parse import parse_qs

import pytest
from helpers.fake_runs import T0, Tiny, commit, fake_reference, fake_run, spec

import decomp.experiments.tracking.mlflow_experiment
import decomp.experiments.tracking.tracker
from decomp.experiments.import_marks import Import, add_imports
from decomp.experiments.report.report import compile_report
from decomp.experiments.report.run_history import read_histories
from decomp.experiments.tracking.fields import class_keys, cycle_points
from decomp.experiments.tracking.mirror import MirrorThread
from decomp.experiments.tracking.mlflow_experiment import calls
from decomp.experiments.tracking.tracker import Tracker, charts_address, ui_command, ui_environment
from decomp.platform.errors import UserError
from decomp.platform.storage.runs import RunStore


@pytest.fixture(scope="module")
def uri(tmp_path_factory):
    """One store for all tests of this file: making one takes MLflow seconds."""
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'mlflow.db'}"


@pytest.fixture
def experiment(request):
    return request.node.name


@pytest.fixture
def tracker(uri, experiment):
    return Tracker(uri, experiment, metric="miou")


@pytest.fixture
def client(uri, experiment):
    return Reader(uri, experiment)


class Reader:
    """What a user finds in MLflow."""

    def __init__(self, uri, experiment):
        self.uri, self.experiment = uri, experiment

    @property
    def mlflow(self):
        import mlflow

        return mlflow.MlflowClient(self.uri)

    def runs(self):
        found = self.mlflow.get_experiment_by_name(self.experiment)
        return {} if found is None else {r.info.run_name: r for r in self.mlflow.search_runs([found.experiment_id])}

    def count(self):
        return len(self.mlflow.search_runs([self.mlflow.get_experiment_by_name(self.experiment).experiment_id]))

    def history(self, name, key):
        run = self.runs()[name]
        rows = self.mlflow.get_metric_history(run.info.run_id, key)
        return sorted((row.step, row.value, row.timestamp) for row in rows)

    def files(self, name, folder=None):
        return [file.path for file in self.mlflow.list_artifacts(self.runs()[name].info.run_id, folder)]


CHILD, PARENT = "decomp s0 f0 1x2-4x4", "decomp 1x2-4x4"


def test_an_imported_run_says_where_it_comes_from(tracker, client, tmp_path):
    run = fake_run(tmp_path, [0.1, 0.2, 0.3], sampler="decomp")
    committed_at = run.committed()[1].timing.committed_at
    add_imports(run.root, {run.spec.key: Import("theirs.zip", "a" * 64, committed_at)})
    tracker.mirror(run, Tiny())
    tags = client.runs()[CHILD].data.tags
    assert (tags["imported_from"], tags["imported_sha256"]) == ("theirs.zip", "a" * 64)


def test_a_run_is_mirrored_whole(tracker, client, tmp_path):
    run = fake_run(tmp_path, [0.1, 0.2, 0.3], sampler="decomp")
    tracker.mirror(run, Tiny())
    found = client.runs()
    assert set(found) == {PARENT, CHILD}
    child = found[CHILD]
    assert child.info.status == "FINISHED"
    assert child.data.tags["mlflow.parentRunId"] == found[PARENT].info.run_id
    assert child.data.params["learner.options.iterations"] == "5"
    assert child.data.params["sampler.regions.name"] == "uncertainty"
    expected = {
        "sampler": "decomp",
        "budget": "1x2-4x4",
        "seed": "0",
        "fold": "0",
        "kind": "run",
        "git_commit": "c0ffee",
        "dataset_fingerprint": "f00d",
        "decomp.key": run.spec.key,
        "first_cycle_key": run.spec.first.key,
        "first_cycle_checkpoint_sha256": run.committed()[0].record.checkpoint_sha256,
    }
    assert expected.items() <= child.data.tags.items()
    assert client.history(CHILD, "miou") == [(k, pytest.approx(0.1 * k), T0 + 60_000 * k) for k in (1, 2, 3)]
    assert client.history(CHILD, "delta/tree") == [(k, 0.75, T0 + 60_000 * k) for k in (2, 3)]
    assert client.history(CHILD, "annotated_ppm")[0][1] == pytest.approx(10_000)
    assert client.files(CHILD, "regions") == [
        f"regions/cycle-000{k}.{kind}" for k in (1, 2, 3) for kind in ("csv", "parquet")
    ]
    assert client.files(CHILD, "pictures") == [f"pictures/cycle-000{k}.png" for k in (1, 2, 3)]
    assert "learning_curve.png" in client.files(CHILD)
    for name in (CHILD, PARENT):
        (logged,) = found[name].inputs.dataset_inputs
        assert (logged.dataset.name, logged.dataset.digest, logged.dataset.source_type) == ("tiny", "f00d", "decomp")
        assert [(tag.key, tag.value) for tag in logged.tags] == [("mlflow.data.context", "training")]


def test_mirroring_again_adds_nothing(tracker, uri, experiment, client, tmp_path):
    run = fake_run(tmp_path, [0.1, 0.2, 0.3], sampler="decomp")
    tracker.mirror(run, Tiny())
    Tracker(uri, experiment, metric="miou").mirror(run, Tiny())
    assert client.count() == 2
    for key in client.runs()[CHILD].data.metrics:
        steps = [step for step, _, _ in client.history(CHILD, key)]
        assert steps == sorted(set(steps))
    assert {len(run.inputs.dataset_inputs) for run in client.runs().values()} == {1}


def test_mirroring_goes_on_where_it_stopped(tracker, uri, experiment, client, tmp_path):
    run = fake_run(tmp_path, [0.1], sampler="decomp")
    tracker.mirror(run, Tiny())
    assert client.runs()[CHILD].info.status == "RUNNING"
    commit(run, 2, 0.2, 0.02)
    commit(run, 3, 0.3, 0.03)
    Tracker(uri, experiment, metric="miou").mirror(run, Tiny())
    assert [step for step, _, _ in client.history(CHILD, "miou")] == [1, 2, 3]
    assert client.runs()[CHILD].info.status == "FINISHED"
    assert client.count() == 2


def test_mirroring_that_is_killed_again_and_again_is_completed_without_duplicates(uri, tmp_path, monkeypatch):
    import mlflow

    run = fake_run(tmp_path, [0.1, 0.2], sampler="decomp", cycles=2)
    report = compile_report(read_histories([run]), tmp_path / "report", "miou").write()
    calls = ("create_run", "log_batch", "log_artifact", "set_terminated", "delete_run")
    real = {name: getattr(mlflow.MlflowClient, name) for name in calls}
    left = 0

    def mirror(name, limit=None):
        """Until the call after the first `limit` ones; returns whether it came to the end."""
        nonlocal left
        left = limit
        tracker = Tracker(uri, name, metric="miou")
        try:
            tracker.mirror(run, Tiny())
            tracker.summarise(report, Tiny().classes)
        except Killed:
            return False
        return True

    def counted(name):
        def call(*args, **kwargs):
            nonlocal left
            if left is not None:
                left -= 1
                if left < 0:
                    raise Killed
            return real[name](*args, **kwargs)

        return call

    for name in calls:
        monkeypatch.setattr(mlflow.MlflowClient, name, counted(name))
    monkeypatch.setattr(decomp.experiments.tracking.mlflow_experiment, "CALLS_AT_ONCE", 1)
    monkeypatch.setattr(decomp.experiments.tracking.mlflow_experiment, "MAX_METRICS", 20)  # a cycle takes several calls
    assert mirror("at once")
    limit = 0
    while not mirror("killed", limit):
        limit += 1
    assert limit > 8
    assert mirror("killed")
    assert contents(uri, "killed") == contents(uri, "at once")


class Killed(Exception):
    pass


def contents(uri, experiment):
    """Rows and files of each run by its name, and the name of its parent."""
    reader = Reader(uri, experiment)
    runs, found = reader.runs(), {}
    assert len(runs) == reader.count()
    names = {run.info.run_id: name for name, run in runs.items()}
    for name, run in runs.items():
        rows = {key: reader.history(name, key) for key in run.data.metrics} if name != "comparison" else {}
        folders = ("regions", "pictures") if name == CHILD else ()
        files = [file for folder in (None, *folders) for file in reader.files(name, folder)]
        parent = names.get(run.data.tags.get("mlflow.parentRunId"))
        found[name] = (run.info.status, rows, run.data.params, files, parent)
    return found


def test_a_longer_experiment_goes_on_in_the_same_run(tracker, client, tmp_path):
    run = fake_run(tmp_path, [0.1, 0.2, 0.3], sampler="decomp")
    tracker.mirror(run, Tiny())
    longer = RunStore(tmp_path, spec("decomp", cycles=4))
    tracker.mirror(longer, Tiny())
    assert client.runs()[CHILD].info.status == "RUNNING"
    commit(longer, 4, 0.4, 0.04)
    tracker.mirror(longer, Tiny())
    assert client.runs()[CHILD].info.status == "FINISHED"
    assert len(client.history(CHILD, "miou")) == 4


def test_first_cycles_and_runs_that_have_not_begun_are_passed_over(tracker, client, tmp_path):
    run = fake_run(tmp_path, [0.1])
    tracker.mirror(run.first, Tiny())
    tracker.mirror(RunStore(tmp_path, spec(seed=5)), Tiny())
    assert client.runs() == {}


def test_references_have_a_parent_and_no_pictures(tracker, client, tmp_path):
    tracker.mirror(fake_reference(tmp_path, 0.9), Tiny())
    assert set(client.runs()) == {"full annotation", "full annotation s0 f0"}
    assert client.files("full annotation s0 f0") == ["regions"]


def test_summary_gives_parents_means_and_writes_the_comparison_once(tracker, client, tmp_path):
    runs = [fake_run(tmp_path, [0.1, 0.2, 0.3 + 0.1 * s], sampler="decomp", seed=s) for s in range(2)]
    runs.append(fake_reference(tmp_path, 0.3))
    for run in runs:
        tracker.mirror(run, Tiny())
    assert client.history(PARENT, "miou") == []
    report = compile_report(read_histories(runs), tmp_path / "report", "miou").write()
    for _ in range(2):
        tracker.summarise(report, Tiny().classes)
    assert client.count() == 6
    assert [value for _, value, _ in client.history(PARENT, "miou")] == pytest.approx([0.1, 0.2, 0.35])
    assert client.history(PARENT, "miou_sd")[-1][1] == pytest.approx(0.1 / 2**0.5)
    assert client.runs()[PARENT].info.status == "FINISHED"
    assert client.files(PARENT) == ["learning_curves.png"]
    comparison = client.runs()["comparison"]
    assert comparison.data.metrics["summary/final score decomp 1x2-4x4"] == pytest.approx(0.35)
    assert "0.350 ± 0.071" in comparison.data.tags["mlflow.note.content"]
    names = sorted(file.name for file in report.files)
    assert client.files("comparison") == names
    assert {"summary.csv", "cycles.csv", "repeats.csv", "learning_curves.png"} < set(names)


def test_a_summary_that_changes_replaces_the_old_one(tracker, client, tmp_path):
    runs = [fake_run(tmp_path, [0.1, 0.2, 0.3], sampler="decomp")]
    tracker.mirror(runs[0], Tiny())
    tracker.summarise(compile_report(read_histories(runs), tmp_path / "report", "miou").write(), Tiny().classes)
    runs.append(fake_run(tmp_path, [0.1, 0.2, 0.5], sampler="decomp", seed=1))
    tracker.mirror(runs[1], Tiny())
    tracker.summarise(compile_report(read_histories(runs), tmp_path / "report", "miou").write(), Tiny().classes)
    found = client.runs()
    assert client.count() == 4
    assert [value for _, value, _ in client.history(PARENT, "miou")] == pytest.approx([0.1, 0.2, 0.4])
    for seed in range(2):
        parent = found[f"decomp s{seed} f0 1x2-4x4"].data.tags["mlflow.parentRunId"]
        assert parent == found[PARENT].info.run_id


def test_parents_of_unfinished_runs_get_no_means(tracker, client, tmp_path):
    runs = [fake_run(tmp_path, [0.1, 0.2], sampler="decomp")]
    tracker.mirror(runs[0], Tiny())
    tracker.summarise(compile_report(read_histories(runs), tmp_path / "report", "miou").write(), Tiny().classes)
    assert client.history(PARENT, "miou") == []
    assert client.runs()[PARENT].info.status == "RUNNING"


def test_points_are_finite_and_names_acceptable(tmp_path):
    folder = fake_run(tmp_path, [float("nan")]).committed()[0]
    keys = {point.key for point in cycle_points(folder.record, folder.timing, Tiny().classes)}
    assert "miou" not in keys
    assert "iou/road _wet_" not in keys  # undefined
    assert {"share/road _wet_", "iou/tree", "seconds/train", "annotated_images"} <= keys


def test_scores_are_logged_by_what_was_annotated_too(tracker, client, tmp_path):
    tracker.mirror(fake_run(tmp_path, [0.1, 0.2, 0.3], [0.01, 0.02, 0.04], sampler="decomp"), Tiny())
    for axis, steps in {
        "ppm": [round(1e6 * share) for share in (0.01, 0.02, 0.04)],
        "images_ppm": [250_000, 500_000, 750_000],
        "openings": [1, 2, 3],
        "clicks": [7, 14, 21],
    }.items():
        history = client.history(CHILD, f"curves/miou_by_{axis}")
        assert [step for step, _, _ in history] == pytest.approx(steps, rel=1e-2)
        assert [value for _, value, _ in history] == pytest.approx([0.1, 0.2, 0.3])


def test_references_have_no_curves(tracker, client, tmp_path):
    tracker.mirror(fake_reference(tmp_path, 0.9), Tiny())
    assert not [key for key in client.runs()["full annotation s0 f0"].data.metrics if "_by_" in key]


def test_parents_have_mean_scores_at_mean_annotation(tracker, client, tmp_path):
    shares = ([0.01, 0.02, 0.04], [0.01, 0.03, 0.06])
    runs = [fake_run(tmp_path, [0.1, 0.2, 0.3 + s], shares[s], sampler="decomp", seed=s) for s in range(2)]
    for run in runs:
        tracker.mirror(run, Tiny())
    tracker.summarise(compile_report(read_histories(runs), tmp_path / "report", "miou").write(), Tiny().classes)
    rows = client.history(PARENT, "curves/miou_by_ppm")
    assert [step for step, _, _ in rows] == pytest.approx([10_000, 25_000, 50_000], abs=1)
    assert [value for _, value, _ in rows] == pytest.approx([0.1, 0.2, 0.8])


def test_pages_group_and_filter_by_samplers_and_budgets(tracker, uri, experiment, client, tmp_path):
    runs = [fake_run(tmp_path, [0.1, 0.2, 0.3], sampler=name) for name in ("decomp", "rand")]
    for run in [*runs, fake_reference(tmp_path, 0.9)]:
        tracker.mirror(run, Tiny())
    found = client.runs()
    expected = {"sampler": "decomp", "budget": "1x2-4x4", "seed": "0", "fold": "0"}
    assert expected.items() <= found[CHILD].data.params.items()
    assert {"sampler": "decomp", "budget": "1x2-4x4"}.items() <= found[PARENT].data.params.items()
    assert "seed" not in found[PARENT].data.params
    assert found["full annotation"].data.params["sampler"] == "full annotation"
    id_ = client.mlflow.get_experiment_by_name(experiment).experiment_id
    chosen = client.mlflow.search_runs([id_], "params.sampler = 'decomp' and tags.kind = 'run'")
    assert [run.info.run_name for run in chosen] == [CHILD]


def test_runs_are_asked_for_once(tracker, client, tmp_path, monkeypatch):
    run = fake_run(tmp_path, [0.1], sampler="decomp")
    tracker.mirror(run, Tiny())
    commit(run, 2, 0.2, 0.02)
    monkeypatch.setattr("mlflow.MlflowClient.search_runs", Mock(side_effect=AssertionError("asked again")))
    tracker.mirror(run, Tiny())
    monkeypatch.undo()
    assert [step for step, _, _ in client.history(CHILD, "miou")] == [1, 2]


def test_cycles_share_a_call_as_far_as_mlflow_takes_them():
    assert list(calls([400, 600, 1, 1500, 10])) == [slice(0, 2), slice(2, 3), slice(3, 4), slice(4, 5)]
    assert list(calls([])) == []


def test_class_names_stay_apart():
    assert class_keys(["a/b", "a:b", "c"]) == ["a_b_0", "a_b_1", "c"]


def test_the_console_stays_quiet(tracker, tmp_path, capfd):
    tracker.mirror(fake_run(tmp_path, [0.1, 0.2, 0.3]), Tiny())
    assert capfd.readouterr() == ("", "")


def test_the_address_of_the_charts_leads_to_this_experiment(tracker, uri, experiment, client, tmp_path):
    assert charts_address(uri, experiment, 5001) is None
    tracker.mirror(fake_run(tmp_path, [0.1], sampler="decomp"), Tiny())
    number = client.mlflow.get_experiment_by_name(experiment).experiment_id
    page, _, query = charts_address(uri, experiment, 5001).partition("?")
    assert page == f"http://127.0.0.1:5001/#/experiments/{number}/runs"
    assert parse_qs(query) == {
        "searchFilter": ["tags.kind = 'mean'"],
        "orderByKey": ["metrics.`miou`"],
        "orderByAsc": ["false"],
        "compareRunsMode": ["CHART"],
    }
    assert charts_address(f"sqlite:///{tmp_path}/none.db", experiment, 5001) is None
    assert charts_address("postgresql://db", experiment, 5001) is None
    (tmp_path / "damaged.db").write_text("no database")
    assert charts_address(f"sqlite:///{tmp_path}/damaged.db", experiment, 5001) is None


def test_pages_are_served_on_loopback_only():
    command = ui_command("sqlite:////data/mlflow.db", 5001)
    assert command[command.index("--host") + 1] == "127.0.0.1"
    assert "file:///data/mlartifacts" in command
    assert not any("mlflow.db" in part for part in command)  # a password would be seen by all users of the machine
    assert ui_environment("sqlite:////data/mlflow.db")["MLFLOW_BACKEND_STORE_URI"] == "sqlite:////data/mlflow.db"
    with pytest.raises(UserError, match="open that address"):
        ui_command("http://example.org", 5001)


def test_thread_mirrors_and_summarises(uri, experiment, client, tmp_path):
    run = fake_run(tmp_path, [0.1, 0.2, 0.3], sampler="decomp")
    with MirrorThread(lambda: Tracker(uri, experiment, metric="miou"), uri, Tiny(), "decomp sync x.yaml") as mirror:
        mirror.submit(run)
        mirror.summarise(compile_report(read_histories([run]), tmp_path / "report", "miou").write())
        assert mirror.close(30)
    assert mirror.warning is None
    assert set(client.runs()) == {PARENT, CHILD, "comparison"}


def test_thread_takes_several_submissions_of_a_run_as_one(tmp_path):
    gate, tracker = threading.Event(), Mock()
    tracker.mirror.side_effect = lambda run, dataset: gate.wait(10)
    runs = [RunStore(tmp_path, spec(seed=seed)) for seed in range(2)]
    with MirrorThread(lambda: tracker, "uri", Tiny(), "decomp sync x.yaml") as mirror:
        mirror.submit(runs[0])
        wait_for(lambda: tracker.mirror.called)
        for _ in range(5):
            mirror.submit(runs[1])
        gate.set()
        assert mirror.close(10)
    assert [call.args[0].spec.seed for call in tracker.mirror.call_args_list] == [0, 1]


def test_an_unreachable_server_is_a_warning(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "2")
    uri = "http://127.0.0.1:9"
    begin = time.monotonic()
    with MirrorThread(lambda: Tracker(uri, "x", metric="miou"), uri, Tiny(), "decomp sync x.yaml") as mirror:
        for seed in range(3):
            mirror.submit(fake_run(tmp_path, [0.1, 0.2], seed=seed))
        assert not mirror.close(20)
    assert time.monotonic() - begin < 15
    assert mirror.warning.startswith("MLflow at http://127.0.0.1:9 cannot be written (")
    assert mirror.warning.endswith("nothing is lost: `decomp sync x.yaml` mirrors the records later.")


def test_a_store_that_cannot_be_written_is_a_warning_at_once(tmp_path):
    (tmp_path / "mlflow.db").mkdir()
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    with MirrorThread(lambda: Tracker(uri, "x", metric="miou"), uri, Tiny(), "decomp sync x.yaml") as mirror:
        mirror.submit(fake_run(tmp_path, [0.1]))
        assert not mirror.close(20)
    assert "mlflow.db cannot be written (IsADirectoryError: " in mirror.warning


def test_thread_recovers_when_the_server_does(tmp_path):
    tracker = Mock()
    tracker.mirror.side_effect = [OSError("down"), None, None]
    runs = [RunStore(tmp_path, spec(seed=seed)) for seed in range(2)]
    with MirrorThread(lambda: tracker, "uri", Tiny(), "decomp sync x.yaml", retry_after=0.05) as mirror:
        for run in runs:
            mirror.submit(run)
        wait_for(lambda: tracker.mirror.call_count == 3)
        assert mirror.close(10)
    assert mirror.warning is None


def test_a_server_that_hangs_holds_nobody_up(tmp_path):
    gate, tracker = threading.Event(), Mock()
    tracker.mirror.side_effect = lambda run, dataset: gate.wait(10)
    with MirrorThread(lambda: tracker, "uri", Tiny(), "decomp sync x.yaml") as mirror:
        mirror.submit(RunStore(tmp_path, spec()))
        assert not mirror.close(0.1)
        assert "did not take everything in time" in mirror.warning
        gate.set()


def wait_for(condition):
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
