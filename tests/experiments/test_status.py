import socket
import threading
import time
from contextlib import ExitStack, nullcontext

import pytest
from helpers.fake_runs import commit, fake_run
from helpers.toy_runs import run_locally

from decomp.actors.progress import Activity
from decomp.experiments import status
from decomp.experiments.console import duration
from decomp.experiments.lock import is_driven, sole_driver
from decomp.experiments.plan import make_plan
from decomp.experiments.schema import load_experiment
from decomp.experiments.status import (
    LEADER,
    Driver,
    Status,
    StatusWriter,
    ask_to_stop,
    driving,
    progress_of,
    sharing,
    stop_drivers,
    withdraw_request,
)
from decomp.platform.storage import claims
from decomp.platform.storage.claims import Claims


@pytest.fixture
def plan(toy_file):
    return make_plan(load_experiment(toy_file, []))


def test_what_is_told_is_read_back(tmp_path):
    assert Status.read(tmp_path) == {}
    with sharing(tmp_path) as driver:
        writer = StatusWriter(driver.claims)
        writer.update({"a": Activity(2, "train", 0.5)}, {"b": "RuntimeError: no"})
        (status,) = Status.read(tmp_path).values()
        assert (status.active, status.failed) == ({"a": Activity(2, "train", 0.5)}, {"b": "RuntimeError: no"})
        writer.close()
        (status,) = Status.read(tmp_path).values()
        assert (status.active, status.failed) == ({}, {"b": "RuntimeError: no"})
    assert Status.read(tmp_path) == {}


def test_one_driver_leads_at_a_time_even_where_each_machine_keeps_its_locks_to_itself(tmp_path, monkeypatch):
    monkeypatch.setattr(type(tmp_path), "lock", lambda self: nullcontext())
    with sharing(tmp_path) as first:
        assert first.leads
        with sharing(tmp_path) as driver:
            assert not driver.leads
            assert not driver.lead()
    with sharing(tmp_path) as driver:
        assert driver.leads


def test_who_writes_alone_keeps_drivers_from_leading_until_it_ends(root):
    with ExitStack() as stack:
        stack.enter_context(driving(root))
        with sharing(root) as driver:
            assert not driver.leads
            stack.close()
            assert driver.lead()


def test_a_leader_that_is_heard_is_not_succeeded_and_a_silent_one_is(root, monkeypatch):
    monkeypatch.setattr(claims, "lives", lambda name: None)  # drivers are on other machines
    monkeypatch.setattr(status, "SUCCEED_EVERY", 0.01)
    leader = Claims(root, renew=0.05)
    with ExitStack() as stack, Claims(root, expire=2.0, look=0.0).open() as mine:
        stack.enter_context(leader.open())
        assert leader.take(LEADER)
        driver = Driver(root, mine, _stack=stack)
        assert not driver.succeed()
        assert not driver.leads
    leader.write()
    assert leader.take(LEADER)  # and is killed
    with ExitStack() as stack, Claims(root, expire=0.5, look=0.0).open() as mine:
        assert Driver(root, mine, _stack=stack).succeed()


def test_one_of_several_drivers_is_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(status, "LISTEN_EVERY", 0.01)
    with sharing(tmp_path) as staying:
        StatusWriter(staying.claims).update({}, {})
        with sharing(tmp_path) as driver:
            driver.claims.told = {**driver.claims.told, "pid": 7}
            driver.claims.write()
            stopping = threading.Thread(target=stop_drivers, args=(tmp_path, f"{socket.gethostname()}:7"))
            stopping.start()
            with pytest.raises(KeyboardInterrupt):
                threading.Event().wait(20)
        stopping.join()
        assert list(Status.read(tmp_path)) == [staying.claims.driver]
        assert stop_drivers(tmp_path, "elsewhere:7") is None


def test_a_request_to_stop_is_heard_whatever_goes_on_and_none_from_before_the_start(tmp_path, monkeypatch):
    monkeypatch.setattr(status, "LISTEN_EVERY", 0.01)
    ask_to_stop(tmp_path)
    with driving(tmp_path):
        time.sleep(0.1)
        ask_to_stop(tmp_path)
        with pytest.raises(KeyboardInterrupt):
            threading.Event().wait(20)  # no Python is executed meanwhile
        assert not withdraw_request(tmp_path)
    assert not is_driven(tmp_path)


def test_a_request_that_nobody_heard_is_withdrawn(tmp_path):
    with driving(tmp_path):
        ask_to_stop(tmp_path)
    assert withdraw_request(tmp_path)
    assert not withdraw_request(tmp_path)


def test_a_lock_tells_whether_somebody_works(tmp_path):
    root = tmp_path / "runs"
    assert not is_driven(root)
    with sole_driver(root):
        assert is_driven(root)
    assert not is_driven(root)


def test_progress_tells_of_every_run(plan):
    running, failed = plan.runs[:2]
    run_locally(plan.experiment.root, plan.runs[2])
    active = {running.label: Activity(1, "select", 0.0)}
    rows = progress_of(plan, Status(active=active, failed={failed.label: "RuntimeError: no"}))
    assert len(rows) == len(plan.specs)
    by_label = {row.label: row for row in rows}
    assert rows[0] is by_label[running.label]
    assert rows[0].doing == "cycle 1: select"
    assert by_label[failed.label].doing == "failed: RuntimeError: no"
    done = by_label[plan.runs[2].label]
    assert (done.done, done.cycles, done.doing, done.seconds_left) == (5, 5, "finished", None)
    assert done.score == plan.stores([plan.runs[2]])[0].committed()[-1].record.metrics["miou"]
    assert by_label[plan.references[0].label].doing == "waiting"


def test_the_time_left_follows_from_the_cycles_so_far(plan, tmp_path):
    store = fake_run(plan.experiment.root, [0.1, 0.2], cycles=6)  # of 3 s each, the first one shared
    object.__setattr__(plan, "runs", (store.spec,))
    rows = progress_of(plan, Status(active={store.spec.label: Activity(3, "train", 0.25)}))
    assert (rows[0].doing, rows[0].seconds_left) == ("cycle 3: train 25%", 12.0)
    commit(store, 3, 0.3, 0.03)
    assert progress_of(plan, Status(active={store.spec.label: Activity(4, "train", 0.0)}))[0].seconds_left == 9.0


def test_damaged_files_are_told_and_the_other_runs_too(plan):
    run_locally(plan.experiment.root, *plan.runs[:2])
    damaged, intact = (store.committed()[-1] for store in plan.stores(plan.runs[:2]))
    (damaged.path / "record.json").write_bytes(b"{}")
    (intact.path / "timing.json").write_bytes(b"{}")
    rows = {row.label: row for row in progress_of(plan, Status())}
    assert len(rows) == len(plan.specs)
    row = rows[plan.runs[0].label]
    assert (row.doing, row.score, row.done) == ("damaged", None, 5)
    assert row.fault.startswith(f"{damaged.path / 'record.json'} is damaged (")
    assert row.fault.endswith("'decomp run' computes its cycle again.")
    assert (rows[plan.runs[1].label].doing, rows[plan.runs[1].label].fault) == ("finished", None)


def test_without_wall_times_no_time_left_is_estimated(plan):
    store = fake_run(plan.experiment.root, [0.1, 0.2], cycles=6)
    (store.committed()[-1].path / "timing.json").write_bytes(b"")
    object.__setattr__(plan, "runs", (store.spec,))
    (row, *_) = progress_of(plan, Status(active={store.spec.label: Activity(3, "train", 0.25)}))
    assert (row.doing, row.seconds_left) == ("cycle 3: train 25%", None)


def test_a_damaged_status_is_left_out(root):
    with sharing(root) as driver:
        for content in (b"", b"[]", b"{}", b'{"active": {"a": 3}}', b'{"active": {}, "x": 1}', b"\xff"):
            (root / ".drivers" / driver.claims.driver).write_atomically(content)
            assert Status.read(root) == {}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(3, "under a minute"), (200, "3 min"), (7200, "2 h"), (12_000, "3 h 20 min"), (200_000, "2 d 7 h")],
)
def test_durations_are_rough(seconds, text):
    assert duration(seconds) == text
