"""MLflow fails in every way; runs never wait for it, and in the end it holds everything once."""

import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections import Counter

import pytest
from helpers.fake_runs import Tiny, commit, fake_run

from decomp.experiments.report.figures import Drawing
from decomp.experiments.tracking.fields import KEY, cycle_points
from decomp.experiments.tracking.mirror import MirrorThread
from decomp.experiments.tracking.mlflow_experiment import FIRST_CONTACT, SETTINGS, MlflowExperiment
from decomp.experiments.tracking.tracker import Tracker, ui_command, ui_environment

WRITES = ("create", "log_parameters", "log", "log_files", "log_tags", "finish")
REMEDY = "decomp sync x.yaml"


def assert_holds_everything_once(uri, experiment, runs):
    import mlflow

    client = mlflow.MlflowClient(uri)
    number = client.get_experiment_by_name(experiment).experiment_id
    found = client.search_runs([number])
    assert Counter(run.data.tags.get(KEY) for run in found if KEY in run.data.tags) == Counter(r.spec.key for r in runs)
    parents = {run.info.run_id for run in found if KEY not in run.data.tags}
    assert len(parents) == 1
    for store in runs:
        (run,) = [run for run in found if run.data.tags.get(KEY) == store.spec.key]
        assert run.data.tags["mlflow.parentRunId"] in parents
        assert run.info.status == "FINISHED"
        expected = [p for folder in store.committed() for p in cycle_points(folder.record, folder.timing, Tiny.classes)]
        for key in {point.key for point in expected}:
            rows = [(row.step, row.value) for row in client.get_metric_history(run.info.run_id, key)]
            assert sorted(rows) == [(point.step, point.value) for point in expected if point.key == key]


class Outage(Exception):
    pass


@pytest.mark.parametrize("when", ["before", "after"])
def test_an_outage_at_any_write_leaves_nothing_out_and_nothing_twice(tmp_path, monkeypatch, when):
    """The server dies before or after the n-th write, which the writer cannot tell apart; it is repeated."""
    uri, left = f"sqlite:///{tmp_path / 'mlflow.db'}", [0]
    monkeypatch.setattr("decomp.experiments.tracking.tracker.picture_of_cycle", lambda *_: b"a picture")
    monkeypatch.setattr(
        "decomp.experiments.tracking.tracker.learning_curve_drawing", lambda *_: Drawing("curve", "", b"a figure", "")
    )
    for name in WRITES:
        monkeypatch.setattr(MlflowExperiment, name, failing(getattr(MlflowExperiment, name), left, when))
    number, outages = 0, 0
    while outages == number:
        run = fake_run(tmp_path / f"{number}", [0.1, 0.2], cycles=2)
        left[0] = number
        try:
            Tracker(uri, f"x-{number}", metric="miou").mirror(run, Tiny())
        except Outage:
            outages += 1
        left[0] = 10**6
        Tracker(uri, f"x-{number}", metric="miou").mirror(run, Tiny())
        assert_holds_everything_once(uri, f"x-{number}", [run])
        number += 1
    assert outages >= 6


def test_an_interrupted_first_use_breaks_no_store(tmp_path):
    """MLflow cannot take up a migration again that ended in the middle."""
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    uri, run, statements = f"sqlite:///{tmp_path / 'mlflow.db'}", fake_run(tmp_path, [0.1, 0.2], cycles=2), []

    def interrupt(connection, cursor, statement, *_):
        if "CREATE TABLE" in statement:
            statements.append(statement)
            if len(statements) == 30:
                raise Outage

    event.listen(Engine, "after_cursor_execute", interrupt)
    try:
        with pytest.raises(Outage):
            Tracker(uri, "x", metric="miou").mirror(run, Tiny())
    finally:
        event.remove(Engine, "after_cursor_execute", interrupt)
    Tracker(uri, "x", metric="miou").mirror(run, Tiny())
    assert_holds_everything_once(uri, "x", [run])
    left = sorted(path.name for path in tmp_path.iterdir() if "mlflow.db" in path.name)
    assert left == [".mlflow.db.lock", "mlflow.db"]


def failing(write, left, when):
    def attempt(*arguments):
        left[0] -= 1
        if left[0] == -1 and when == "before":
            raise Outage
        answer = write(*arguments)
        if left[0] == -1:
            raise Outage
        return answer

    return attempt


def test_a_server_that_never_answers_holds_no_run_up(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with socket.create_server(("127.0.0.1", 0)) as mute:  # takes connections and says nothing
        uri = f"http://127.0.0.1:{mute.getsockname()[1]}"
        mirror = MirrorThread(lambda: Tracker(uri, "x", metric="miou"), uri, Tiny(), REMEDY)
        with mirror:
            for number in range(3):
                mirror.submit(fake_run(tmp_path, [0.1, 0.2], seed=number))
            assert not mirror.close(1.0)
        assert mirror._thread.is_alive()  # it waits, and nobody else
        assert "did not take everything in time" in mirror.warning
        assert REMEDY in mirror.warning


def test_a_server_that_never_answers_is_given_up_at_the_end_of_a_run(tmp_path, monkeypatch):
    for name in ("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "MLFLOW_HTTP_REQUEST_TIMEOUT"):
        monkeypatch.setenv(name, SETTINGS[name])
    monkeypatch.setitem(FIRST_CONTACT, "MLFLOW_HTTP_REQUEST_TIMEOUT", "1")  # the later calls would wait for 90 s
    with socket.create_server(("127.0.0.1", 0)) as mute:
        uri = f"http://127.0.0.1:{mute.getsockname()[1]}"
        with MirrorThread(lambda: Tracker(uri, "x", metric="miou"), uri, Tiny(), REMEDY) as mirror:
            mirror.submit(fake_run(tmp_path, [0.1, 0.2]))
            assert not mirror.close(60.0)
        assert not mirror._thread.is_alive()
    assert f"MLflow at {uri} cannot be written" in mirror.warning
    assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == SETTINGS["MLFLOW_HTTP_REQUEST_TIMEOUT"]


@pytest.mark.slow  # starting a server takes a quarter of a minute
def test_a_server_killed_midway_is_caught_up_with_after_its_return(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    uri, store = f"http://127.0.0.1:{port}", f"sqlite:///{tmp_path / 'mlflow.db'}"
    runs = [fake_run(tmp_path, [0.1, 0.2], seed=seed) for seed in range(3)]
    server = serve(store, port)
    try:
        with MirrorThread(lambda: Tracker(uri, "x", metric="miou"), uri, Tiny(), REMEDY, retry_after=0.2) as mirror:
            mirror.submit(runs[0])
            wait_until(lambda: not mirror._pending)
            for run in runs:
                commit(run, 3, 0.3, 0.03)
                mirror.submit(run)
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()
            assert not mirror.close(60)
        assert REMEDY in mirror.warning
        server = serve(store, port)
        with MirrorThread(lambda: Tracker(uri, "x", metric="miou"), uri, Tiny(), REMEDY) as again:
            for run in runs:
                again.submit(run)
            assert again.close(120), again.warning
        assert_holds_everything_once(store, "x", runs)
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def serve(store, port):
    server = subprocess.Popen(ui_command(store, port), env=ui_environment(store), start_new_session=True)
    wait_until(lambda: answers(port))
    return server


def answers(port):
    try:
        return urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).status == 200
    except OSError:
        return False


def wait_until(condition):
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)
