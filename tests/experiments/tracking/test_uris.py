from pathlib import Path

import pytest

from decomp.experiments.tracking.mlflow_experiment import MlflowExperiment
from decomp.experiments.tracking.uris import artifact_folder, sqlite_file, sqlite_uri, tracking_uri, without_passwords
from decomp.platform.errors import UserError


@pytest.fixture(autouse=True)
def unset(monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("MLFLOW_ALLOW_FILE_STORE", raising=False)


def test_the_environment_chooses_the_server(monkeypatch, tmp_path):
    assert tracking_uri(tmp_path) == f"sqlite:///{tmp_path}/mlflow.db"
    for uri in ("http://example.org", "postgresql://somebody@host/db", "databricks"):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        assert tracking_uri(tmp_path) == uri


@pytest.mark.parametrize("uri", ["./mlruns", "mlruns", "/data/mlruns", "file:///data/mlruns", "file:mlruns"])
def test_a_plain_folder_is_refused_with_what_to_set(uri, monkeypatch, tmp_path):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(UserError, match=r"^MLFLOW_TRACKING_URI=.*sqlite:////.*mlruns/mlflow.db"):
        tracking_uri(tmp_path)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    assert tracking_uri(tmp_path) == uri


def test_a_path_may_hold_what_uris_decode(tmp_path):
    file = tmp_path / "100%25?a=b#c d" / "mlflow.db"
    assert sqlite_file(sqlite_uri(file)) == file
    assert artifact_folder(sqlite_uri(file)) == file.parent / "mlartifacts"
    assert sqlite_file("sqlite:////data/x.db?timeout=9") == Path("/data/x.db")
    assert sqlite_file("http://example.org") is None


@pytest.mark.slow  # MLflow makes its tables
def test_mlflow_is_written_into_such_a_path(tmp_path):
    folder = tmp_path / "100%25?a=b#c d"
    experiment = MlflowExperiment(sqlite_uri(folder / "mlflow.db"), "x", "about")
    run_id = experiment.create("r", {"kind": "run"}, 1).info.run_id
    experiment.log_files(run_id, {"a/b.txt": b"content"})
    assert [run.info.run_id for run in experiment.search("kind", "run")] == [run_id]
    assert [file.read_bytes() for file in folder.rglob("b.txt")] == [b"content"]
    assert {entry.name for entry in tmp_path.iterdir()} == {folder.name}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://alice:s3cret@host:9/mlflow", "http://alice:***@host:9/mlflow"),
        (
            "no http://a:p@ss@h/x, nor postgresql+psycopg2://b:q@h/y",
            "no http://a:***@h/x, nor postgresql+psycopg2://b:***@h/y",
        ),
        ("mysql://:s3cret@host/db", "mysql://:***@host/db"),
        (
            "postgresql://host/db?user=a&password=s3cret&sslmode=require",
            "postgresql://host/db?user=a&password=***&sslmode=require",
        ),
        ("https://host/?access_token=abc", "https://host/?access_token=***"),
        ("sqlite:////data/a:b@c/mlflow.db", "sqlite:////data/a:b@c/mlflow.db"),
        ("http://alice@host:5000/x", "http://alice@host:5000/x"),
        ("http://host:5000/x@y", "http://host:5000/x@y"),
    ],
)
def test_passwords_are_not_shown(text, shown):
    assert without_passwords(text) == shown
