"""The coordinator of one run: a Ray task that drives the run's loop on a group of workers."""

import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from typing_extensions import override

from decomp.actors.group import LostWorker, WorkerGroup
from decomp.actors.worker import Job
from decomp.platform.components import build_dataset, build_learner
from decomp.platform.datasets.base import pool_ids
from decomp.platform.errors import StorageError, UserError
from decomp.platform.loop.loop import Loop, Observer
from decomp.platform.spec import RunSpec
from decomp.platform.storage.location import Location
from decomp.platform.storage.runs import RunStore


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        spec: the run.
        error: one line saying why it failed, or None.
        lost: whether processes were lost, so that it may go on elsewhere.
        details: file with the traceback of the failure, or None.
    """

    spec: RunSpec
    error: str | None = None
    details: Location | None = None
    lost: bool = False


def coordinate(
    spec: RunSpec, root: Location, workers: Sequence[Any], progress: Any, training_workers: int = 1
) -> Outcome:
    """Compute all cycles of a run that are not committed yet.

    Idempotent: after the loss of the process Ray runs it again, and it goes on after the last committed cycle. A
    failure of the user's code ends this run alone; its traceback is kept beside the run's cycles.
    """
    store = RunStore(root, spec)
    observer = ProgressObserver(progress, spec.label)
    observer.phase(len(store.committed()) + 1, "start")
    job = Job(spec.label, spec.dataset, spec.learner)
    try:
        dataset = build_learner(spec.learner).prepare(build_dataset(spec.dataset))
        group = WorkerGroup(workers, job, pool_ids(dataset, spec.fold), progress, training_workers)
        Loop(store, dataset, group, observer).run()
        return Outcome(spec)
    except Exception as error:
        return Outcome(
            spec, reason(error, store.path), write_traceback(error, store.path), isinstance(error, LostWorker)
        )
    finally:
        progress.ended.remote(spec.label)


def reason(error: Exception, folder: Location) -> str:
    """One line for the user."""
    cause = getattr(error, "cause", None) or error
    if no_room := folder.no_room(cause):
        return no_room
    text = str(cause).splitlines()[0] if str(cause) else ""
    return text if isinstance(cause, UserError | LostWorker | StorageError) else f"{type(cause).__name__}: {text}"


def write_traceback(error: Exception, folder: Location) -> Location | None:
    """Keep the traceback beside the run's cycles; None where the disk has no room for it."""
    details = folder / "failure.txt"
    try:
        folder.prepare()
        details.write_atomically("".join(traceback.format_exception(error)).encode())
    except OSError:
        return None
    return details


class ProgressObserver(Observer):
    """Reports the progress of one run's loop to a `ProgressActor`, and waits for nothing."""

    def __init__(self, progress: Any, run: str) -> None:
        self._progress = progress
        self._run = run

    @override
    def phase(self, cycle: int, name: str) -> None:
        self._progress.phase.remote(self._run, cycle, name)

    @override
    def committed(self, cycle: int) -> None:
        self._progress.committed.remote(self._run)

    @override
    def warn(self, message: str) -> None:
        self._progress.warn.remote(f"{self._run}: {message}")
