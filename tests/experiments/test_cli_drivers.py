"""`decomp run` while it works: killed, interrupted, watched and stopped from elsewhere, and several of them at once."""

import os
import signal

import pytest
from helpers.commands import TOY, decomp, decomp_apart, kill, plan_of, start, store_of, told_active, wait_for
from helpers.toy_runs import results, run_locally

from decomp.experiments.bench.processes import births, descendants, is_ours, outliving, title_of
from decomp.experiments.status import Status


@pytest.fixture
def folder(tmp_path):
    """Where the command is typed, with the toy experiment."""
    (tmp_path / "toy.yaml").write_text(TOY)
    return tmp_path


def workers_of(driver):
    """Our processes among those that a driver has started, and when they were born."""
    workers = births([pid for pid in descendants([driver.pid]) if is_ours(title_of(pid))])
    assert workers
    return workers


@pytest.mark.slow  # half a minute; by default a driver that shares its runs is killed, whose runs another one resumes
def test_a_killed_driver_resumes_with_identical_results(folder):
    overrides = ("seeds=1", "learner.seconds=0.3")
    plan = plan_of(folder, *overrides)
    stores = plan.stores(plan.specs)
    process = start("run", "toy.yaml", *overrides, cwd=folder, start_new_session=True)
    wait_for(lambda: sum(len(store.committed()) for store in stores) >= 4, process)
    workers = workers_of(process)
    kill(process)
    assert outliving(workers, patience=60) == []
    interrupted = results(store_of(folder))
    status, _, err = decomp_apart("run", "toy.yaml", *overrides, cwd=folder)
    assert status == 0, err
    assert len(interrupted) < len(results(store_of(folder)))
    run_locally(folder / "oracle", *plan.references, *plan.runs)
    assert results(store_of(folder)) == results(folder / "oracle")


@pytest.mark.parametrize("where", ["folder", pytest.param("bucket", marks=pytest.mark.slow)])
def test_drivers_share_the_runs_and_take_over_those_of_one_that_was_killed(folder, where, request):
    storage = folder / "shared" if where == "folder" else request.getfixturevalue("bucket")
    arguments = ("toy.yaml", f"storage={storage}", "learner.seconds=0.3", "resources.runs_at_once=1")
    drivers = [start("run", *arguments, cwd=folder, start_new_session=True) for _ in range(2)]
    told = dict[int, set[str]]()

    def active():
        told.update({status.pid: set(status.active) for status in Status.read(storage / "toy").values()})
        return set(told) == {driver.pid for driver in drivers} and all(told.values())

    wait_for(active, drivers[0])
    assert set.intersection(*told.values()) == set()
    workers = workers_of(drivers[0])
    kill(drivers.pop(0))
    out, err = drivers[0].communicate(timeout=600)
    assert drivers[0].returncode == 0, err
    assert "Report:" in out
    assert outliving(workers, patience=60) == []
    plan = plan_of(folder, "learner.seconds=0.3")
    run_locally(folder / "oracle", *plan.references, *plan.runs)
    assert results(storage / "toy") == results(folder / "oracle")


ENDLESS = ("learner.seconds=60", "resources.runs_at_once=1")


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGHUP, marks=pytest.mark.slow)])
def test_an_interruption_says_how_to_go_on(folder, number):
    heeding = {"start_new_session": True, "preexec_fn": lambda: signal.signal(number, signal.SIG_DFL)}
    process = start("run", "toy.yaml", *ENDLESS, cwd=folder, **heeding)
    wait_for(lambda: told_active(folder), process)
    family = births(descendants([process.pid]))
    os.killpg(process.pid, number)  # as a lost terminal does; Ray answers SIGTERM by a stack of its own
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert err.splitlines()[-1] == "Stopped. Committed cycles are kept; the same command goes on from there."
    assert "Traceback" not in err
    assert "***" not in err
    assert outliving(family, patience=60) == []


def test_another_terminal_sees_a_sweep_and_stops_it(folder):
    process = start("run", "toy.yaml", *ENDLESS, cwd=folder)
    wait_for(lambda: any(label.startswith("first-cycle") for label in told_active(folder)), process)
    status, out, _ = decomp("status", "toy.yaml", *ENDLESS, cwd=folder)
    assert status == 0
    assert any("first-cycle" in line and "0 of 1" in line and "cycle 1" in line for line in out.splitlines())
    assert "toy: 0 of 8 runs finished" in out
    assert f"driven by process {process.pid}" in out
    status, out, _ = decomp("stop", "toy.yaml", *ENDLESS, cwd=folder)
    assert status == 0
    assert process.wait(timeout=60) == 130
    assert "the same command goes on from there" in process.communicate()[1]
    status, _, err = decomp("stop", "toy.yaml", *ENDLESS, cwd=folder)
    assert status == 2
    assert "there is nothing to stop" in err
