"""What `decomp annotate` does: it asks for the regions of the next cycle, takes answers in, trains, and asks again.

Everything happens in this process, without Ray: between two cycles a person works for hours. Heavy libraries are
imported where they are used.
"""

import os
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from decomp.experiments.arguments import File, Overrides, check_data, plan_of
from decomp.experiments.console import CONSOLE, program
from decomp.experiments.plan import Plan
from decomp.platform.errors import StorageError, UserError
from decomp.platform.spec import RunSpec

if TYPE_CHECKING:
    from rich.status import Status

    from decomp.platform.loop.live import Pending

FOLDER = "annotation"
"""Folder of what annotators open, and of the page, in that of the experiment."""


def annotate(
    file: File,
    overrides: Overrides = None,
    go_on: Annotated[
        bool,
        typer.Option("--continue", help="Go on although regions of this cycle have no answer; they count as skipped."),
    ] = False,
) -> None:
    """Ask people for the regions of the next cycle; typed again, take their answers in, train, and ask for the next."""
    from decomp.experiments.interruption import stoppable
    from decomp.experiments.status import driving

    with stoppable():
        plan = plan_of(file, overrides)
        run = only_run(file, plan)
        check_data(file, plan)
        for change in plan.changes(plan.histories()) or begins_beside_others(plan, run):
            CONSOLE.print(change, markup=False, highlight=False, soft_wrap=True)
        again = shlex.join([program(), "annotate", str(file), *(overrides or [])])
        with driving(plan.experiment.root), CONSOLE.status("Reading") as status:
            pending = advance(plan, run, leave_out=go_on, status=status)
            page = write_page(plan, run)
    if go_on and pending is not None and not pending.answered + pending.skipped:
        CONSOLE.print("--continue: nothing of this cycle has come back yet, so it waits; annotate or skip one region.")
    for line in sentences(plan, pending, again):
        typer.echo(line)
    if page is not None:
        typer.echo(f"When to stop: {os.path.relpath(page)} shows how the predictions change.")


def only_run(file: Path, plan: Plan) -> RunSpec:
    """The run of an experiment that people can annotate: one sampler, one budget, one repeat.

    Raises:
        UserError: if there are several, or the pool is labelled already.
    """
    if plan.dataset.labelled:
        raise UserError(
            f"{file}: dataset: the images of the pool have labels, which 'decomp run' reveals; where people give them, "
            f"write labelled: false (data sets folder and nnunet, and your own)."
        )
    counts = {
        "samplers": len(plan.experiment.samplers),
        "budgets": len(plan.experiment.budgets),
        "seeds": len(plan.experiment.seeds),
        "folds": len({run.fold for run in plan.runs}),
    }
    if several := [key for key, count in counts.items() if count > 1]:
        first = {"samplers": plan.experiment.samplers[0].name, "seeds": plan.experiment.seeds[0]}.get(several[0], 0)
        mend = "keep one of them in the file" if several[0] == "budgets" else f"add {several[0]}=[{first}]"
        raise UserError(
            f"{file}: {several[0]}: people annotate one run at a time, but there are {counts[several[0]]}; {mend}."
        )
    (run,) = plan.runs
    return run


def begins_beside_others(plan: Plan, run: RunSpec) -> list[str]:
    """A sentence if nothing is asked yet for a run, although something was for others of the experiment; else none."""
    from decomp.platform.storage.runs import RunStore

    folder = plan.experiment.folder / FOLDER
    if RunStore(plan.experiment.root, run.first).path.exists() or not any(folder.glob("*/cycle-0001")):
        return []
    return [
        f"{plan.experiment.name}: this is another run than those annotated before, so it begins with its first cycle; "
        f"what was annotated for them stays in {folder} and is not mixed in."
    ]


def advance(plan: Plan, run: RunSpec, *, leave_out: bool = False, status: "Status | None" = None) -> "Pending | None":
    """Take in what has come back and compute until people are needed.

    Args:
        plan: the plan of the experiment.
        run: its only run.
        leave_out: whether regions of the pending cycle that have no answer are skipped.
        status: shows what is going on.

    Returns:
        The regions that wait for people; None if the run is finished.
    """
    from decomp.platform.annotation.answered import Answers, with_answers
    from decomp.platform.components import build_dataset, build_learner
    from decomp.platform.loop.live import LiveOracle, Pending
    from decomp.platform.loop.loop import Loop, Observer
    from decomp.platform.loop.pool_state import observe
    from decomp.platform.loop.shard import PoolShard
    from decomp.platform.loop.workers import LocalWorkers
    from decomp.platform.storage.runs import RunStore

    answers, learner = Answers(), build_learner(run.learner)
    dataset = learner.prepare(with_answers(build_dataset(run.dataset), answers))
    shard = PoolShard(dataset, learner, "cuda" if plan.experiment.resources.gpus else "cpu")

    @dataclass
    class Watching(Observer):
        """Shows what is going on, and looks at the pool after every cycle."""

        store: RunStore
        warnings: list[str] = field(default_factory=list)

        def phase(self, cycle: int, name: str) -> None:
            if status is not None:
                status.update(f"Cycle {cycle}: {name}")

        def committed(self, cycle: int) -> None:
            self.phase(cycle, "look at the pool")
            observe(self.store, shard)

        def warn(self, message: str) -> None:
            CONSOLE.print(f"warning: {message}", markup=False, highlight=False, soft_wrap=True)

    for spec in (run.first, run):
        store = RunStore(plan.experiment.root, spec)
        oracle = LiveOracle(
            store, shard, answers, plan.experiment.annotation, plan.experiment.folder / FOLDER, leave_out=leave_out
        )
        watching = Watching(store)
        try:
            watching.committed(len(store.committed()))  # where the last command was killed before it could look
            Loop(store, dataset, LocalWorkers(shard), watching, oracle).run()
        except Pending as pending:
            return pending
        except Exception as error:
            if isinstance(error, UserError | StorageError) or (isinstance(error, OSError) and error.filename):
                raise  # which is told in a sentence
            from decomp.actors.coordinator import reason, write_traceback

            details = write_traceback(error, store.path)
            where = "" if details is None else f" (traceback: {details})"
            raise UserError(f"{spec.label}: {reason(error, store.path)}{where}") from error
    return None


def sentences(plan: Plan, pending: "Pending | None", again: str) -> list[str]:
    """What the user does next, a line each."""
    from decomp.platform.components import build_format

    if pending is None:
        (store,) = plan.stores(plan.runs)
        done, planned = len(store.committed()), store.spec.cycles
        what = "all cycles are annotated"
        if done < planned:
            what = f"no region of the pool is left to select after cycle {done} of {planned}, so the run is finished"
        return [f"{plan.experiment.name}: {what}; 'decomp report' shows the results."]
    advice = build_format(plan.experiment.annotation).advice(Path(os.path.relpath(pending.opened)))
    come = f"{pending.answered} of {pending.total} regions are annotated"
    come += f", {pending.skipped} skipped" if pending.skipped else ""
    return [f"{plan.experiment.name}, cycle {pending.cycle}: {come}.", advice, f"Then type again: {again}"]


def write_page(plan: Plan, run: RunSpec) -> Path | None:
    """Write the page about when to stop; None before a cycle is committed."""
    from decomp.experiments.report.annotation_page import annotation_page
    from decomp.experiments.report.report import write_contents
    from decomp.experiments.report.run_history import read_histories
    from decomp.platform.loop.pool_state import read_states
    from decomp.platform.storage.runs import RunStore

    store = RunStore(plan.experiment.root, run)
    (history,) = read_histories([store])
    if not history.cycles:
        return None
    contents = annotation_page(plan, history, read_states(store))
    folder = plan.experiment.folder / FOLDER
    write_contents(folder, contents)
    return folder / next(iter(contents))
