"""What the user sees while an experiment runs: one bar for all runs, one line for each active run."""

import errno
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from decomp.platform.errors import StorageError, UserError, printable

CONSOLE = Console(stderr=True)
"""Messages and progress; standard output is for results."""

QUIET = {
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_IGNORE_UNHANDLED_ERRORS": "1",
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".",
}
"""Settings that keep Ray's own messages off the console."""


def prepare_environment(*, verbose: bool) -> None:
    """Set what Ray reads when it is imported; so this comes first."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_AUTH_MODE", "token")
    os.environ.setdefault("RAY_raylet_start_wait_time_s", "120")  # a busy machine needs more than Ray's 30
    if not verbose:
        for name, value in QUIET.items():
            os.environ.setdefault(name, value)


def show(results: RenderableType) -> None:
    """Print on standard output."""
    # A file or pipe has no width, for which rich assumes 80 columns.
    Console(width=None if sys.stdout is not None and sys.stdout.isatty() else 100).print(results)


@contextmanager
def clear_mistakes() -> Iterator[None]:
    """A user's mistake, and a file that cannot be read or written, end in sentences and exit status 2."""
    try:
        yield
    except (UserError, OSError) as error:
        if isinstance(error, StorageError):
            sentences = f"storage: {error}"
        elif isinstance(error, UserError):
            sentences = str(error)
        elif error.filename is not None:
            name = os.fsdecode(error.filename)
            sentences = f"{name}: {error.strerror}; mend that, then type the same command again."
        elif isinstance(error, FileNotFoundError):  # of os.getcwd
            sentences = "The folder in which you are exists no more; change into another one."
        elif error.errno == errno.ENOSPC:  # files have names, so it is the output's
            sentences = f"The output cannot be written: {error.strerror}."
        else:
            raise  # a fault of this program
        for line in sentences.splitlines():
            CONSOLE.print(f"error: {printable(line)}", style="red", markup=False, highlight=False, soft_wrap=True)
        sys.exit(2)


def program() -> str:
    """How the user called this program, to be repeated in hints."""
    called = sys.argv[0]
    if os.path.basename(called) == "__main__.py":
        return "python -m decomp.experiments"
    return os.path.relpath(called) if os.path.dirname(called) and not _on_path(called) else os.path.basename(called)


def _on_path(called: str) -> bool:
    folder = os.path.dirname(os.path.abspath(called))
    return folder in os.environ.get("PATH", "").split(os.pathsep)


def duration(seconds: float) -> str:
    """A rough duration for people, e.g. ``3 h 20 min``."""
    minutes = round(seconds / 60)
    if minutes < 1:
        return "under a minute"
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    amounts = [f"{n} {unit}" for n, unit in ((days, "d"), (hours, "h"), (minutes, "min")) if n]
    return " ".join(amounts[:2])


class SweepProgress:
    """Progress of a sweep; without a terminal, one line per run that ends.

    Args:
        cycles: cycles of each run to compute, by label.
    """

    def __init__(self, cycles: dict[str, int]) -> None:
        self._cycles = cycles
        self._ended = 0
        self._started: dict[str, float] = {}
        self._bars: dict[str, TaskID] = {}
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[phase]}"),
            TimeElapsedColumn(),
            console=CONSOLE,
            disable=not CONSOLE.is_terminal,
        )
        self._all = self._progress.add_task("[bold]all runs", total=len(cycles), phase="")

    def __enter__(self) -> "SweepProgress":
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def update(self, report: Any, ended: Sequence[Any]) -> None:
        """Show how runs get on, as a `decomp.actors.scheduler.Listener`."""
        for label, activity in report.active.items():
            self._started.setdefault(label, time.monotonic())
            if label not in self._bars:
                self._bars[label] = self._progress.add_task(label, total=self._cycles[label], phase="")
            share = f" {activity.fraction:4.0%}" if activity.fraction else ""
            self._progress.update(
                self._bars[label],
                completed=activity.cycle - 1,
                phase=f"cycle {activity.cycle}: {activity.phase}{share}",
            )
        for outcome in ended:
            self._end(outcome)
        for label in [label for label in self._bars if label not in report.active]:
            self._progress.remove_task(self._bars.pop(label))
        for warning in report.warnings:
            CONSOLE.print(f"warning: {warning}", markup=False, highlight=False, soft_wrap=True)

    def _end(self, outcome: Any) -> None:
        self._ended += 1
        self._progress.update(self._all, completed=self._ended)
        label = outcome.spec.label
        if outcome.error is not None:
            details = f" (traceback: {outcome.details})" if outcome.details else ""
            CONSOLE.print(f"failed: {label}: {outcome.error}{details}", markup=False, highlight=False, soft_wrap=True)
        elif not CONSOLE.is_terminal:
            now = time.monotonic()
            seconds = now - self._started.get(label, now)
            CONSOLE.print(
                f"[{self._ended}/{len(self._cycles)}] {label}: {seconds:.0f} s", markup=False, highlight=False
            )
