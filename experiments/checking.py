"""What the user is told about a plan before anything is computed."""

from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from decomp.experiments.console import duration
from decomp.experiments.plan import Plan
from decomp.experiments.report.run_history import RunHistory
from decomp.platform.components import reads_truth
from decomp.platform.spec import RunSpec

DRIVERS = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")
"""Where the drivers of NVIDIA, AMD and Windows' Linux answer; without them there is no GPU to be counted."""


def summary(plan: Plan, histories: Sequence[RunHistory]) -> str:
    """How much there is to do, and where results go."""
    left = plan.trainings() - plan.trainings_done(histories)
    return (
        f"{plan.experiment.name}: {len(plan.specs)} runs, {plan.trainings()} trainings, {left} of them to do; "
        f"results go to {plan.experiment.root}"
    )


def plan_table(plan: Plan, histories: Sequence[RunHistory]) -> Table:
    """Runs, cycles and trainings of every sampler under every budget, and how many of them are done."""
    table = Table(
        "what", "runs", "cycles each", "trainings", title=f"Plan of {plan.experiment.name}", title_justify="left"
    )
    start, references = plan.experiment.start, plan.references
    all_classes = " (start with all classes: reads the truth)" * (start is not None and start.choice == "all-classes")
    firsts = f"first cycles, shared by all samplers{all_classes}"
    table.add_row(firsts, str(len(plan.firsts)), "1", str(_trainings(plan.firsts)))
    for sampler in plan.experiment.samplers:
        for budget in plan.experiment.budgets:
            runs = [run for run in plan.runs if run.sampler and run.sampler.name == sampler.name]
            runs = [run for run in runs if run.budget == budget.of_cycle]
            if runs:
                name = f"{sampler.name} {budget.label}{' (oracle baseline: reads the truth)' * reads_truth(sampler)}"
                trainings = (budget.cycles - 1) * _trainings(runs)
                table.add_row(name, str(len(runs)), str(budget.cycles), str(trainings))
    table.add_row("full-annotation references", str(len(references)), "1", str(_trainings(references)))
    table.add_section()
    table.add_row("total", str(len(plan.specs)), "", str(plan.trainings()))
    finished = sum(history.finished for history in histories)
    table.add_row("of which done", str(finished), "", str(plan.trainings_done(histories)))
    imported = [history for history in histories if history.imported is not None]
    if imported:
        table.add_row("of these imported", str(len(imported)), "", str(plan.trainings_done(imported)))
    return table


def _trainings(specs: Sequence[RunSpec]) -> int:
    """Trainings of one cycle of each of the runs."""
    return sum(spec.members for spec in specs)


def occupation(plan: Plan) -> str:
    """What a run occupies and where results go."""
    resources = plan.experiment.resources
    together = f", {resources.training_workers} of which train together" if resources.training_workers > 1 else ""
    return (
        f"Each run occupies {resources.workers} worker(s) of {resources.cpus:g} CPU and {resources.gpus:g} GPU"
        f"{together}. Results go to {plan.experiment.root}."
    )


def notes(plan: Plan, histories: Sequence[RunHistory]) -> list[str]:
    """What can be concluded, how long training takes and what starts anew, a line each."""
    from decomp.experiments.prospects import prospects  # takes half a second to load
    from decomp.experiments.report.imported import imported_notes

    resources = plan.experiment.resources
    concluded = prospects(plan, histories) if plan.scored else []
    changes = [*concluded, *imported_notes(histories), *plan.changes(histories)]
    if resources.seconds_per_epoch is None:
        return changes
    epochs = plan.epochs()
    if epochs is None:
        return ["resources.seconds_per_epoch: this learner has no epochs, so nothing is estimated.", *changes]
    hours = epochs * resources.seconds_per_epoch / 3600
    device = "GPU" if resources.gpus else "worker"
    estimate = (
        f"Training takes at most {epochs:,} epochs; at {resources.seconds_per_epoch:g} s each that is {hours:,.1f} "
        f"{device} hours: {duration(3600 * hours)} on one {device}, {duration(3600 * hours / 8)} on eight."
    )
    return [estimate, *changes]


def missing_gpus(plan: Plan) -> list[str]:
    """A line if a worker needs more GPUs than this machine has."""
    needed = plan.experiment.resources.gpus
    if not needed:
        return []
    available = 0
    if any(Path(driver).exists() for driver in DRIVERS):
        import torch  # takes seconds to load

        available = torch.cuda.device_count()
    if available >= needed:
        return []
    return [
        f"Note: a worker needs {needed:g} GPU and this machine has {available}; run on a cluster that has them with "
        f"--address, or set resources.gpus=0."
    ]
