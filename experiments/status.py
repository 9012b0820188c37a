"""What a running sweep tells other terminals, and what they tell it: two small files in the experiment's folder.

Whoever sees the folder can ask, on any node and without joining the cluster.
"""

import json
import os
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field

from rich.table import Table

from decomp.actors.progress import Activity
from decomp.experiments.console import duration
from decomp.experiments.interruption import interrupter
from decomp.experiments.lock import sole_driver
from decomp.experiments.plan import Plan
from decomp.experiments.report.run_history import CommittedCycle, RunHistory
from decomp.platform.errors import StorageError, UserError
from decomp.platform.storage.location import Location
from decomp.platform.storage.runs import DamagedCycle, LostTimes

STATUS, STOP = ".status.json", ".stop"

WRITE_EVERY, LISTEN_EVERY = 2.0, 2.0
"""Seconds between two writings of the status, and between two looks for a request to stop."""

RECENT = 3
"""Cycles from which the time left is estimated: later cycles take longer, and each costs a request in a bucket."""


@dataclass(frozen=True)
class Status:
    """What a sweep is doing.

    Attributes:
        host, pid: the process that drives it.
        active: what each active run is doing, by label.
        failed: why runs failed, by label.
    """

    host: str = field(default_factory=socket.gethostname)
    pid: int = field(default_factory=os.getpid)
    active: Mapping[str, Activity] = field(default_factory=dict)
    failed: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, root: Location) -> "Status | None":
        """What was written last, or None if nothing was; `UserError` if it is damaged."""
        try:
            content = json.loads((root / STATUS).read_bytes())
            content["active"] = {label: Activity(**activity) for label, activity in content["active"].items()}
            return cls(**content)
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise UserError(
                f"{root / STATUS} is damaged; it is written anew every few seconds, so ask again."
            ) from error

    def write(self, root: Location) -> None:
        """Replace what was written before, at once."""
        (root / STATUS).write_atomically(json.dumps(asdict(self)).encode())


class StatusWriter:
    """The driver's side: writes the status every few seconds.

    Args:
        root: the experiment's folder.
    """

    def __init__(self, root: Location) -> None:
        self._root = root
        self._written = -WRITE_EVERY
        self._failed: dict[str, str] = {}

    def update(self, active: Mapping[str, Activity], failed: Mapping[str, str]) -> None:
        """Write what is going on, unless it was written just now and no run has failed.

        Args:
            active: what each active run is doing, by label.
            failed: why runs that have just ended failed, by label.
        """
        self._failed |= failed
        if failed or time.monotonic() - self._written >= WRITE_EVERY:
            self._written = time.monotonic()
            self._write(active)

    def close(self) -> None:
        """Write that nothing is running any more."""
        self._write({})

    def _write(self, active: Mapping[str, Activity]) -> None:
        with suppress(OSError):  # a sweep does not end because others cannot watch it
            Status(active=dict(active), failed=self._failed).write(self._root)


@contextmanager
def driving(root: Location) -> Iterator[None]:
    """Work alone on an experiment; another terminal's request to stop raises `KeyboardInterrupt` here (main thread).

    Raises:
        UserError: if another process works on it.
        StorageError: if the folder cannot be written.
    """
    interrupt, ended = interrupter(), threading.Event()

    def listen() -> None:
        while not ended.wait(LISTEN_EVERY):
            with suppress(OSError, StorageError):  # the storage cannot be reached for now
                if withdraw_request(root):
                    interrupt()
                    return

    with sole_driver(root):
        withdraw_request(root)
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


def progress_of(plan: Plan, status: Status | None) -> list[Progress]:
    """How far the runs of a plan have come, those that are active first.

    Args:
        plan: the experiment's plan.
        status: what the sweep has written, or None where none is running.
    """
    active = status.active if status else {}
    failed = status.failed if status else {}
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


def ask_to_stop(root: Location) -> None:
    """Ask the process that drives the experiment to stop.

    Raises:
        UserError: if the folder cannot be written.
    """
    try:
        (root / STOP).write_atomically(b"")
    except OSError as error:
        raise UserError(f"storage: {root} cannot be written: {error.strerror or error}.") from error


def withdraw_request(root: Location) -> bool:
    """Remove a request to stop; returns whether there was one."""
    if not (root / STOP).exists():
        return False
    (root / STOP).discard()
    return True


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
