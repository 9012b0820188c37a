"""Four drivers share experiments while they are killed, or held up so long that others take them for dead.

Run as a program, `python shared_runs.py FOLDER STORAGE KILLS SEED`, since drivers are forks, which must come before
torch starts threads. A driver is what `decomp run` is but for Ray: in its place a process computes one run at a time,
which outlives a killed driver for a while, as Ray's processes do. As far as it knows, each driver is on a machine of
its own. Prints a JSON object: what was done to the drivers, and what differs from one undisturbed process.
"""

import json
import multiprocessing
import os
import random
import signal
import sys
import time
import traceback
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pyarrow.dataset  # noqa: F401  as above
import yaml
from helpers.toy_runs import results, run_alone, run_locally

import decomp.platform.learners.inference.decode  # noqa: F401  PyTorch is loaded once instead of in every fork
from decomp.actors import scheduler
from decomp.actors.coordinator import Outcome
from decomp.actors.progress import Activity, ProgressReport
from decomp.experiments import running, status
from decomp.experiments.plan import make_plan
from decomp.experiments.schema import load_experiment
from decomp.platform.ledger import Ledger
from decomp.platform.loop.loop import Observer
from decomp.platform.storage import owners
from decomp.platform.storage.claims import Claims
from decomp.platform.storage.files import FilePath

DRIVERS, REPORT = 4, "report"
IN_VAIN = 5
"""Most kills between two commits, or a slow machine would get nowhere."""
QUICK = partial(Claims, renew=0.2, expire=3.0, look=0.3)
HELD_UP = 5.0
"""Seconds; longer than a silent driver counts as living."""


def main(folder, storage, kills, seed):
    Ledger.of([])  # makes pyarrow import what it needs, once instead of in every fork
    chance, tally, wrong = random.Random(seed), Counter(), []
    while tally["killed"] < kills and not wrong:
        case = Case(Path(folder) / str(tally["experiments"]), storage, tally["experiments"])
        Torment(case, chance, tally, wrong, kills).run()
        forked(case.compare).join()
        wrong += case.differences.read_text().splitlines()
        tally["experiments"] += 1
    sys.stdout.write(json.dumps({**tally, "wrong": wrong}) + "\n")


class Case:
    """An experiment of three seeds that no other has."""

    def __init__(self, folder, storage, number):
        self.calm, self.commits, self.differences = folder / "calm", folder / "commits", folder / "differences"
        folder.mkdir()
        self.commits.touch()
        content = {
            "name": f"shared-{number}",
            "storage": storage,
            "dataset": {"name": "helpers.toys:Blobs"},
            "learner": {"name": "helpers.toys:Centroids", "seconds": 0.1},
            "samplers": ["rand", "decomp"],
            "seeds": [3 * number, 3 * number + 1, 3 * number + 2],
            "budgets": [{"n_image": 2, "n_region": 3, "region": [4, 4], "cycles": 5}],
        }
        file = folder / "experiment.yaml"
        file.write_text(yaml.safe_dump(content))
        self.experiment = load_experiment(file, [])
        self.root = self.experiment.root

    def compare(self):
        plan, calm = make_plan(self.experiment), FilePath(self.calm)
        run_locally(calm, *plan.references, *plan.runs)
        found, expected = results(self.root), results(calm)
        wrong = [f"{name} differs" for name in found.keys() | expected.keys() if found.get(name) != expected.get(name)]
        try:
            reported = int((self.root / REPORT).read_bytes())
        except FileNotFoundError:
            reported = 0
        wrong += [] if reported == len(plan.specs) else [f"of {len(plan.specs)} runs {reported} are reported"]
        with Claims(self.root).open() as claims:
            wrong += [f"{name} is claimed" for name, claim in claims.others().items() if claim.living]
        self.differences.write_text("\n".join(sorted(wrong)))


@dataclass
class Torment:
    case: Case
    chance: random.Random
    tally: Counter
    wrong: list
    kills: int
    drivers: dict = field(default_factory=dict)

    def run(self):
        """Kill drivers, and start each again that was killed, until all have ended by themselves."""
        done = killed = 0
        for machine in range(DRIVERS):
            self._start(machine)
        while self.drivers:
            time.sleep(self.chance.uniform(0.1, 0.8))
            if (now := self._commits()) != done:
                done, killed = now, 0
            for machine, driver in list(self.drivers.items()):
                if not driver.is_alive():
                    del self.drivers[machine]
                    if driver.exitcode:
                        self.wrong.append(f"a driver ended with {driver.exitcode}, see its traceback")
            if self.drivers and killed < IN_VAIN and self.tally["killed"] < self.kills:
                killed += self._disturb(self.chance.choice(sorted(self.drivers)))

    def _disturb(self, machine):
        driver = self.drivers[machine]
        if self.chance.random() < 0.1:
            os.kill(driver.pid, signal.SIGSTOP)
            time.sleep(HELD_UP)
            os.kill(driver.pid, signal.SIGCONT)
            self.tally["held up"] += 1
            return 0
        driver.kill()
        driver.join()
        if driver.exitcode != -signal.SIGKILL:
            return 0  # it had ended
        self.tally["killed"] += 1
        self._start(machine)
        return 1

    def _start(self, machine):
        self.drivers[machine] = forked(lambda: drive(self.case, machine))

    def _commits(self):
        return self.case.commits.stat().st_size


def forked(do):
    def run():
        try:
            do()
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(1)
        os._exit(0)

    process = multiprocessing.get_context("fork").Process(target=run)
    process.start()
    return process


def drive(case, machine):
    """What `decomp run` does."""
    os.environ["LOCK_CLIENT"] = str(machine)
    owners._machine = lambda: f"machine{machine}"
    status.Claims = QUICK
    status.WRITE_EVERY = status.LISTEN_EVERY = status.SUCCEED_EVERY = 0.2
    coordinator = Coordinator(case)
    running.Sweep = partial(ForkedSweep, coordinator=coordinator)
    running.session = SimpleNamespace(start=lambda address, verbose: None, stop=lambda: None)
    scheduler.ray = coordinator
    scheduler.open_progress = lambda: None
    scheduler.ProgressReader = lambda progress: coordinator
    scheduler.remove_placement_group = lambda group: None
    plan = make_plan(case.experiment)
    with status.sharing(case.root) as driver:
        mirror = SimpleNamespace(submit=lambda *stores: None)
        failed, histories = running.compute_all(
            plan, plan.missing(plan.histories()), mirror, None, driver, verbose=False
        )
        if failed:
            raise RuntimeError([outcome.error for outcome in failed])
        if driver.leads:
            done = sum(history.finished for history in histories)
            (case.root / REPORT).write_atomically(str(done).encode())


class Counting(Observer):
    def __init__(self, case):
        self.case = case

    def committed(self, cycle):
        with self.case.commits.open("ab") as file:
            file.write(b".")


class Coordinator:
    """Stands for Ray: a process that computes one run after the other."""

    exceptions = SimpleNamespace(RayError=EOFError)

    def __init__(self, case):
        self.pipe, theirs = multiprocessing.Pipe()
        self.case, self.spec = case, None
        parent = os.getpid()
        if os.fork() == 0:
            self.pipe.close()
            self._serve(theirs, parent)
            os._exit(0)
        theirs.close()

    def _serve(self, pipe, parent):
        import threading

        def end_with_parent():
            while os.getppid() == parent:
                time.sleep(1.0)
            os._exit(0)

        threading.Thread(target=end_with_parent, daemon=True).start()
        with suppress(EOFError, OSError):  # the driver was killed
            while True:
                root, spec = pipe.recv()
                try:
                    run_alone(root, spec, Counting(self.case))
                    pipe.send(None)
                except Exception as error:
                    pipe.send(f"{type(error).__name__}: {error}")

    def wait(self, references, num_returns, timeout):
        return ([*references], []) if self.pipe.poll(timeout) else ([], [])

    def get(self, reference):
        return Outcome(self.spec, self.pipe.recv())

    def read(self):
        return ProgressReport(active={self.spec.label: Activity(1, "train", 0.0)} if self.spec else {})


@dataclass
class ForkedSweep(scheduler.Sweep):
    coordinator: Coordinator = None

    def _follow_cluster(self, deadline):
        self._room = 1
        return []

    def _start(self, spec, done, progress):
        slot = scheduler._Slot(None, [])
        self._slots.append(slot)
        self.coordinator.spec = spec
        self.coordinator.pipe.send((self.root, spec))
        self._running[spec.key] = scheduler._Running(spec, slot, done)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
