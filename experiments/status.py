"""What drivers tell other terminals, and what they are told: two small files of each in the experiment's folder.

Whoever sees the folder can ask, on any node and without joining the cluster.
"""

import os
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field

from rich.table import Table

from decomp.actors.progress import Activity
from decomp.experiments.console import duration
from decomp.experiments.interruption import interrupter
from decomp.experiments.lock import LOCK, is_driven, sole_driver
from decomp.experiments.plan import Plan
from decomp.experiments.report.run_history import CommittedCycle, RunHistory
from decomp.platform.errors import UserError
from decomp.platform.storage.claims import DRIVERS, Claims, drivers
from decomp.platform.storage.location import Location, Locked
from decomp.platform.storage.runs import DamagedCycle, LostTimes

STOP, LEADER = ".stop", "leader"

WRITE_EVERY, LISTEN_EVERY, SUCCEED_EVERY = 2.0, 2.0, 1.0
"""Seconds between two writings of the status, between two looks for a request to stop, and between two attempts to
succeed a leader that is not heard."""

RECENT = 3
"""Cycles from which the time left is estimated: later cycles take longer, and each costs a request in a bucket."""


@dataclass(frozen=True)
class Status:
    """What a driver is doing.

    Attributes:
        host, pid: its process.
        active: what each of its active runs is doing, by label.
        failed: why runs failed, by label.
    """

    host: str = field(default_factory=socket.gethostname)
    pid: int = field(default_factory=os.getpid)
    active: Mapping[str, Activity] = field(default_factory=dict)
    failed: Mapping[str, str] = field(default_factory=dict)

    @property
    def process(self) -> str:
        """The process, as `decomp stop --only` takes it."""
        return f"{self.host}:{self.pid}"

    @property
    def sentence(self) -> str:
        """The process and how many runs it computes now."""
        return f"process {self.pid} on {self.host} ({len(self.active)} active run(s))"

    @staticmethod
    def read(root: Location) -> "dict[str, Status]":
        """What the drivers of an experiment have told last, by their names; what is damaged is left out."""
        found = {}
        for name, told in drivers(root).items():
            with suppress(TypeError, KeyError, AttributeError):
                active = {label: Activity(**activity) for label, activity in told["active"].items()}
                found[name] = Status(told["host"], told["pid"], active, dict(told["failed"]))
        return found


class StatusWriter:
    """The driver's side: tells every few seconds what it does.

    Args:
        claims: the driver's.
    """

    def __init__(self, claims: Claims) -> None:
        self._claims = claims
        self._written = -WRITE_EVERY
        self._failed: dict[str, str] = {}

    def update(self, active: Mapping[str, Activity], failed: Mapping[str, str]) -> None:
        """Tell what is going on, unless that was done just now and no run has failed.

        Args:
            active: what each active run is doing, by label.
            failed: why runs that have just ended failed, by label.
        """
        self._failed |= failed
        if failed or time.monotonic() - self._written >= WRITE_EVERY:
            self._written = time.monotonic()
            self._write(active)

    def close(self) -> None:
        """Tell that nothing is running any more."""
        self._write({})

    def _write(self, active: Mapping[str, Activity]) -> None:
        self._claims.told = asdict(Status(active=dict(active), failed=self._failed))
        with suppress(OSError):  # a sweep does not end because others cannot watch it
            self._claims.write()


@dataclass
class Driver:
    """One of the drivers of an experiment.

    Attributes:
        root: the experiment's folder.
        claims: what it has claimed.
        leads: whether it is the one that writes the report and MLflow.
    """

    root: Location
    claims: Claims
    leads: bool = False
    _stack: ExitStack = field(default_factory=ExitStack)

    @property
    def others(self) -> list[str]:
        """Processes of the other drivers."""
        return [told.process for name, told in Status.read(self.root).items() if name != self.claims.driver]

    def lead(self) -> bool:
        """Be the one that writes the report and MLflow if there is none; returns whether it is."""
        if not self.leads and self.claims.take(LEADER):
            try:
                self._stack.enter_context((self.root / LOCK).lock())
                self.leads = True
            except Locked:  # another command writes at the moment
                self.claims.release(LEADER)
        return self.leads

    def succeed(self) -> bool:
        """Lead unless another driver is seen to do so: one that was killed elsewhere is known to be dead only later."""
        self.claims.look_again()
        before = self.claims.told_by_holder(LEADER)
        while not self.lead():
            self.claims.look_again()
            if self.claims.is_heard(LEADER, before):
                return False
            time.sleep(SUCCEED_EVERY)
        return True


@contextmanager
def sharing(root: Location) -> Iterator[Driver]:
    """Be one of the drivers of an experiment; a request to stop raises `KeyboardInterrupt` here (main thread).

    Raises:
        StorageError: if the folder cannot be written.
    """
    with ExitStack() as stack:
        claims = stack.enter_context(Claims(root, told=asdict(Status())).open())
        driver = Driver(root, claims, _stack=stack)
        driver.lead()
        stack.enter_context(_listening(root, claims.driver))
        yield driver


@contextmanager
def driving(root: Location) -> Iterator[None]:
    """Work alone on an experiment; another terminal's request to stop raises `KeyboardInterrupt` here (main thread).

    Raises:
        UserError: if another process works on it.
        StorageError: if the folder cannot be written.
    """
    with sole_driver(root):
        withdraw_request(root)
        with _listening(root, None):
            yield


@contextmanager
def _listening(root: Location, driver: str | None) -> Iterator[None]:
    interrupt, ended = interrupter(), threading.Event()

    def listen() -> None:
        while not ended.wait(LISTEN_EVERY):
            with suppress(OSError):  # the storage cannot be reached for now
                if withdraw_request(root, driver):
                    interrupt()
                    return

    listener = threading.Thread(target=listen, name="stop-requests", daemon=True)
    listener.start()
    try:
        yield
    finally:
        ended.set()
        listener.join()


@dataclass(frozen=True)
class Progress:
    """How far a run has come.

    Attributes:
        label: the run.
        done: committed cycles, the shared first one included.
        cycles: planned cycles.
        score: test score of the last committed cycle, or None.
        doing: what it is doing, e.g. ``cycle 4: train 30%``, ``waiting``, ``finished``, ``imported``, ``damaged`` or
            why it failed.
        seconds_left: estimate from the last cycles; None where there is nothing to go by.
        fault: a sentence about a file that is damaged, or None.
    """

    label: str
    done: int
    cycles: int
    score: float | None
    doing: str
    seconds_left: float | None
    fault: str | None = None


def progress_of(plan: Plan, *statuses: Status) -> list[Progress]:
    """How far the runs of a plan have come, those that are active first.

    Args:
        plan: the experiment's plan.
        statuses: what its drivers tell.
    """
    active = {label: activity for status in statuses for label, activity in status.active.items()}
    failed = {label: reason for status in statuses for label, reason in status.failed.items()}
    rows = [_progress(history, plan.metric, active, failed) for history in plan.histories()]
    return sorted(rows, key=lambda row: row.label not in active)


def active_table(rows: Sequence[Progress], metric: str) -> Table:
    """The runs that are neither done nor waiting, as a table."""
    table = Table("run", "cycle", metric, "doing", "left")
    for row in (row for row in rows if row.doing not in ("finished", "imported", "waiting")):
        score = "" if row.score is None else f"{row.score:.3f}"
        left = "" if row.seconds_left is None else duration(row.seconds_left)
        table.add_row(row.label, f"{row.done} of {row.cycles}", score, row.doing, left)
    return table


def stop_drivers(root: Location, only: str | None = None) -> bool | None:
    """Ask drivers of the experiment to stop, or a command that works alone on it, and wait until they have ended.

    Args:
        root: the experiment's folder.
        only: process of the only one to stop, see `Status.process`.

    Returns:
        Whether one heard of it before it ended by itself; None if there is none.
    """
    names: list[str | None] = [name for name, told in Status.read(root).items() if only in (None, told.process)]
    if not names and only is None and is_driven(root):
        names = [None]
    for name in names:
        ask_to_stop(root, name)
    while any(is_driven(root) if name is None else name in Status.read(root) for name in names):
        time.sleep(0.2)
    return not all([withdraw_request(root, name) for name in names]) if names else None


def ask_to_stop(root: Location, driver: str | None = None) -> None:
    """Ask a driver of the experiment to stop, or the process that works alone on it.

    Raises:
        UserError: if the folder cannot be written.
    """
    try:
        _request(root, driver).write_atomically(b"")
    except OSError as error:
        raise UserError(f"storage: {root} cannot be written: {error.strerror or error}.") from error


def withdraw_request(root: Location, driver: str | None = None) -> bool:
    """Remove a request to stop; returns whether there was one."""
    request = _request(root, driver)
    if not request.exists():
        return False
    request.discard()
    return True


def _request(root: Location, driver: str | None) -> Location:
    return root / STOP if driver is None else root / DRIVERS / f"{driver}{STOP}"


def _progress(history: RunHistory, metric: str, active: Mapping[str, Activity], failed: Mapping[str, str]) -> Progress:
    label, cycles = history.spec.label, history.cycles
    try:
        finished = history.finished
        score = cycles[-1].record.metrics.get(metric) if cycles else None
    except DamagedCycle as error:
        return Progress(label, len(cycles), history.spec.cycles, None, "damaged", None, str(error))
    left = None
    recent = history.own_cycles[-RECENT:]
    if finished:
        doing = "imported" if history.imported else "finished"
    elif label in active:
        doing = _doing(active[label])
        # A cycle takes as long as those just before it; how far the present one has got is not deducted.
        seconds = [sum(phases.values()) for cycle in recent if (phases := _phases(cycle))]
        left = sum(seconds) / len(seconds) * (history.spec.cycles - len(cycles)) if seconds else None
    else:
        doing = f"failed: {failed[label]}" if label in failed else "waiting"
    return Progress(label, len(cycles), history.spec.cycles, score, doing, left)


def _phases(cycle: CommittedCycle) -> Mapping[str, float]:
    try:
        return cycle.timing.phases
    except LostTimes:
        return {}


def _doing(activity: Activity) -> str:
    share = f" {activity.fraction:.0%}" if activity.fraction else ""
    return f"cycle {activity.cycle}: {activity.phase}{share}"
