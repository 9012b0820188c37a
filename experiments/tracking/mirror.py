"""A thread that writes to MLflow, so that training never waits for it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING

from decomp.experiments.tracking.uris import without_passwords
from decomp.platform.datasets.base import Dataset
from decomp.platform.errors import StorageError, UserError
from decomp.platform.storage.runs import RunStore

if TYPE_CHECKING:
    from decomp.experiments.report.report import Report
    from decomp.experiments.tracking.tracker import Tracker

RETRY_AFTER = 30.0
"""Seconds between two attempts while MLflow cannot be written."""

_log = logging.getLogger(__name__)


class MirrorThread:
    """Mirrors runs in the order in which they are submitted; a run that is already waiting is not queued twice.

    Failures of MLflow never reach the caller: they become a `warning`, what failed goes to the end of the queue,
    and the thread rests for `retry_after` seconds.

    Args:
        tracker: makes the tracker, in the thread, since importing MLflow and migrating its store takes seconds; made
            again after a failure.
        uri: the tracking URI, for the warning.
        dataset: the data set of all runs.
        remedy: the command that mirrors later, for the warning, e.g. ``decomp sync digits.yaml``.
        retry_after: seconds between two attempts.
    """

    def __init__(
        self,
        tracker: Callable[[], Tracker],
        uri: str,
        dataset: Dataset,
        remedy: str,
        retry_after: float = RETRY_AFTER,
    ) -> None:
        self._make_tracker = tracker
        self._uri = uri
        self._dataset = dataset
        self._remedy = remedy
        self._retry_after = retry_after
        self._tracker: Tracker | None = None
        self._pending: dict[str, RunStore] = {}
        self._report: Report | None = None
        self._closing = False
        self._failed: set[str] = set()
        self._failures_in_a_row = 0
        self._warning: str | None = None
        self._changed = threading.Condition()
        # A daemon: a server that does not answer must not keep the process alive.
        self._thread = threading.Thread(target=self._work, name="mlflow-mirror", daemon=True)

    def __enter__(self) -> MirrorThread:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if not self._closing:  # else it has been waited for already, as long as the caller wanted
            self.close(timeout=60.0 if error is None else 5.0)

    @property
    def warning(self) -> str | None:
        """One sentence about the last failure; None while everything submitted so far could be written."""
        with self._changed:
            return self._warning

    def submit(self, *runs: RunStore) -> None:
        """Mirror what MLflow does not have of these runs; returns at once."""
        with self._changed:
            self._pending |= {run.spec.key: run for run in runs}
            self._changed.notify_all()

    def summarise(self, report: Report) -> None:
        """Log the report once all submitted runs are mirrored; returns at once."""
        with self._changed:
            self._report = report
            self._changed.notify_all()

    def close(self, timeout: float | None = None) -> bool:
        """Write what is left, giving up when two attempts in a row fail, and end the thread.

        Args:
            timeout: seconds to wait at most; None waits as long as it takes.

        Returns:
            Whether everything that was submitted is in MLflow; if not, `warning` says so.
        """
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._thread.ident is not None:
            self._thread.join(timeout)
        with self._changed:
            left = bool(self._pending or self._report)
            if (left or self._thread.is_alive()) and self._warning is None:
                self._warning = self._sentence("did not take everything in time")
            return self._warning is None

    def _work(self) -> None:
        while (job := self._next()) is not None:
            # Whatever goes wrong here, an expensive experiment must not fail because nobody can watch it.
            try:
                self._do(job)
            except Exception as error:
                _log.debug("mirroring failed", exc_info=True)
                if not self._after_failure(job, error):
                    return
            else:
                with self._changed:
                    self._failures_in_a_row = 0
                    self._failed.discard(_key(job))
                    if not self._failed:
                        self._warning = None

    def _next(self) -> RunStore | Report | None:
        """Wait for the next job; None when the thread is to end."""
        with self._changed:
            while not (self._pending or self._report or self._closing):
                self._changed.wait()
            if self._pending:
                return self._pending.pop(next(iter(self._pending)))
            job, self._report = self._report, None
            return job

    def _do(self, job: RunStore | Report) -> None:
        if self._tracker is None:
            self._tracker = self._make_tracker()
        if not isinstance(job, RunStore):
            self._tracker.summarise(job, self._dataset.classes)
        else:
            self._tracker.mirror(job, self._dataset)

    def _after_failure(self, job: RunStore | Report, error: Exception) -> bool:
        """Put the job back and rest; returns whether to go on."""
        self._tracker = None
        with self._changed:
            told = isinstance(error, UserError | StorageError)  # of a result that cannot be read
            self._warning = str(error) if told else self._sentence(f"cannot be written ({_brief(error)})")
            self._failed.add(_key(job))
            self._failures_in_a_row += 1
            if not isinstance(job, RunStore):
                self._report = self._report or job
            else:
                self._pending.setdefault(job.spec.key, job)
            if self._closing:
                return self._failures_in_a_row < 2
            again = time.monotonic() + self._retry_after
            while not self._closing and (left := again - time.monotonic()) > 0:
                self._changed.wait(left)
            return True

    def _sentence(self, fault: str) -> str:
        where = without_passwords(self._uri)
        return f"MLflow at {where} {fault}; nothing is lost: `{self._remedy}` mirrors the records later."


def _key(job: RunStore | Report) -> str:
    return job.spec.key if isinstance(job, RunStore) else "report"


def _brief(error: Exception) -> str:
    text = " ".join(without_passwords(str(error)).split())
    return f"{type(error).__name__}: {text[:300]}{'...' if len(text) > 300 else ''}"
