"""What `decomp status` and `decomp stop` do, from any terminal that sees an experiment's results."""

from collections import Counter
from pathlib import Path

import typer

from decomp.experiments.arguments import if_missing
from decomp.experiments.console import CONSOLE, show
from decomp.experiments.lock import is_driven
from decomp.experiments.plan import Plan
from decomp.experiments.schema import Experiment
from decomp.experiments.status import Status, active_table, progress_of, stop_drivers
from decomp.platform.errors import UserError


def show_status(plan: Plan) -> None:
    """Print which runs are active and how far, what is damaged, and who works on the experiment."""
    root = plan.experiment.root
    statuses = list(Status.read(root).values())
    rows = progress_of(plan, *statuses)
    if (table := active_table(rows, plan.metric)).rows:
        show(table)
    for fault in dict.fromkeys(row.fault for row in rows if row.fault):
        CONSOLE.print(f"warning: {fault}", markup=False, highlight=False, soft_wrap=True)
    count = Counter(row.doing for row in rows)
    done = f"{count['finished'] + count['imported']} of {len(rows)} runs finished"
    done += f" ({count['imported']} imported)" if count["imported"] else ""
    cycles = f"{sum(row.done for row in rows)} of {sum(row.cycles for row in rows)} cycles"
    by = "another command works on it" if is_driven(root) else "nobody works on it"
    by = f"driven by {', '.join(status.sentence for status in statuses)}" if statuses else by
    typer.echo(
        f"{plan.experiment.name}: {done}, {count['waiting']} waiting in {root}{if_missing(plan.experiment)}; "
        f"{cycles}; {by}."
    )
    if not plan.dataset.labelled:
        for sentence in _waiting_for_people(plan):
            typer.echo(sentence)


def stop_and_tell(file: Path, experiment: Experiment, only: str | None) -> None:
    """Stop the experiment's drivers, or only one, and say what came of it; `UserError` if there is none."""
    with CONSOLE.status("Waiting for it to end"):
        heard = stop_drivers(experiment.root, only)
    if heard is None:
        raise UserError(
            f"{file}: {only or 'nobody'} {'does not work' if only else 'works'} on this experiment in "
            f"{experiment.root}{if_missing(experiment)}; there is nothing to stop."
        )
    if heard:
        typer.echo("Stopped. Committed cycles are kept; the command that was stopped goes on from there.")
    else:
        typer.echo("It ended by itself before it heard of this; 'decomp status' tells how far it came.")


def _waiting_for_people(plan: Plan) -> list[str]:
    """A sentence for each cycle that people annotate, with what had come back when `decomp annotate` last looked."""
    from decomp.platform.loop.asked import read_answers, read_asked

    sentences = []
    for store in plan.stores(plan.specs):
        cycle = len(store.committed()) + 1
        if asked := read_asked(store, cycle, plan.dataset.original_files):
            answers = read_answers(store, cycle).by_query
            come = sum(query.id in answers for query in asked.queries)
            sentences.append(
                f"{store.spec.label}: cycle {cycle} waits for people; when 'decomp annotate' last looked, "
                f"{come} of {len(asked.queries)} regions had come back."
            )
    return sentences
