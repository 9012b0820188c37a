"""The benchmark of mirroring at a small size: on SQLite always, on PostgreSQL among the slow tests."""

import pytest

from decomp.experiments.bench import mirroring
from decomp.experiments.bench.mirroring import METRIC, Plots, classes_for, commit_runs, measure, mirror
from decomp.experiments.bench.servers import postgres_programs
from decomp.experiments.report.report import compile_report
from decomp.experiments.report.run_history import read_histories
from decomp.platform.errors import UserError


def test_committed_runs_are_mirrored_whole(tmp_path):
    import mlflow

    dataset = Plots(classes_for(40))
    runs = commit_runs(tmp_path / "results", dataset, 3, 3)
    assert len({run.spec.key for run in runs}) == 3
    assert all(run.finished for run in runs)
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    outcome = mirror(uri, "x", runs, compile_report(read_histories(runs), tmp_path / "report", METRIC).write(), dataset)
    client = mlflow.MlflowClient(uri)
    found = client.search_runs([client.get_experiment_by_name("x").experiment_id], "tags.kind = 'run'")
    assert len(found) == 3
    histories = [len(client.get_metric_history(run.info.run_id, key)) for run in found for key in run.data.metrics]
    assert outcome.points == sum(histories)
    assert outcome.files == 3 * 3 * 3


def test_the_wanted_number_of_metrics_is_logged_or_refused():
    assert mirroring._metrics_of(classes_for(60)) <= 60 < mirroring._metrics_of(classes_for(60) + 1)
    with pytest.raises(UserError, match="ask for more"):
        classes_for(3)


def test_a_missing_server_is_named_with_its_mend(monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: None)
    monkeypatch.setattr("pathlib.Path.glob", lambda *_: iter(()))
    with pytest.raises(UserError, match="apt-get install postgresql"):
        postgres_programs()


@pytest.mark.slow
def test_mirroring_to_postgresql_again_adds_nothing(capsys):
    try:
        postgres_programs()
    except UserError as error:
        pytest.skip(str(error))
    measure(3, 2, 60, 1, keep=False)
    assert "no row added" in capsys.readouterr().out
