"""The coordinator of one run: a Ray task that drives the run's loop on a group of workers."""

import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from decomp.actors.board import BoardObserver
from decomp.actors.group import WorkerGroup
from decomp.actors.worker import Job
from decomp.platform.components import build_dataset, build_learner
from decomp.platform.datasets.base import pool_ids
from decomp.platform.loop import Loop
from decomp.platform.spec import RunSpec
from decomp.platform.store import RunStore


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        spec: the run.
        error: one line saying why it failed, or None.
        details: file with the traceback of the failure, or None.
    """

    spec: RunSpec
    error: str | None = None
    details: Path | None = None


def coordinate(spec: RunSpec, root: Path, workers: Sequence[Any], board: Any) -> Outcome:
    """Compute all cycles of a run that are not committed yet.

    Idempotent: after the loss of the process Ray runs it again, and it goes on after the last committed cycle. A
    failure of the user's code ends this run alone; its traceback is kept beside the run's cycles.
    """
    store = RunStore(root, spec)
    observer = BoardObserver(board, spec.label)
    observer.phase(len(store.committed()) + 1, "start", 0.0)
    job = Job(spec.label, spec.dataset, spec.learner)
    try:
        dataset = build_learner(spec.learner).prepare(build_dataset(spec.dataset))
        group = WorkerGroup(workers, job, pool_ids(dataset, spec.fold), board)
        Loop(store, dataset, group, observer).run()
        return Outcome(spec)
    except Exception as error:
        details = store.path / "failure.txt"
        details.parent.mkdir(parents=True, exist_ok=True)
        details.write_text("".join(traceback.format_exception(error)))
        cause = getattr(error, "cause", None) or error
        return Outcome(spec, f"{type(cause).__name__}: {str(cause).splitlines()[0] if str(cause) else ''}", details)
    finally:
        board.ended.remote(spec.label)
