"""The command line: `decomp run`, `check`, `status`, `stop`, `report`, `sync`, `ui`, `convert` and `list`.

Heavy libraries are imported where they are used, so that `--help` and `check` answer at once.
"""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer
from rich.table import Table

from decomp.experiments.console import CONSOLE, SweepProgress, duration, prepare_environment, program
from decomp.experiments.plan import Plan, make_plan
from decomp.experiments.schema import load_experiment
from decomp.platform.errors import StorageError, UserError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from decomp.actors.coordinator import Outcome
    from decomp.actors.progress import ProgressReport
    from decomp.experiments.report.axes import Axis
    from decomp.experiments.report.report import Report
    from decomp.experiments.tracking.mirror import MirrorThread

MLFLOW_PATIENCE = 600.0
"""Seconds that the end of a command waits for MLflow while it takes what is left."""


class Published(StrEnum):
    """Published data that can be converted."""

    BRACS = "bracs"


app = typer.Typer(
    help="Replay region-level annotation on fully labelled data and compare samplers.",
    epilog="Start with: decomp run experiments/digits.yaml",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

File = Annotated[Path, typer.Argument(metavar="FILE", help="The experiment file (YAML).")]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY=VALUE]...", help="Replace values of the file, e.g. seeds=10 samplers=\\[decomp,rand]"),
]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Show the messages of Ray and MLflow.")]
Address = Annotated[
    str | None, typer.Option(help="Join a Ray cluster ('auto': the one of this machine) instead of this machine alone.")
]


def main() -> None:
    """Run the command line."""
    with _clear_mistakes():
        app()


@app.command()
def run(file: File, overrides: Overrides = None, address: Address = None, verbose: Verbose = False) -> None:
    """Compute what is missing of an experiment, then report. The same command resumes after any interruption."""
    prepare_environment(verbose=verbose)
    plan = _plan(file, overrides)
    _check_data(file, plan)
    from decomp.actors import session
    from decomp.actors.scheduler import Sweep
    from decomp.experiments.lock import sole_driver
    from decomp.experiments.status import StatusWriter

    root, resources = plan.experiment.root, plan.experiment.resources.spec()
    with _stoppable(), sole_driver(root):
        _announce(plan)
        missing = {store.spec.label: store for store in plan.stores(plan.specs) if not store.finished}
        failed: list[Outcome] = []
        with _mirroring(plan, file, overrides, verbose=verbose) as mirror:
            if missing:
                session.start(address, verbose=verbose)
                cycles = {label: store.spec.cycles for label, store in missing.items()}
                with SweepProgress(cycles) as progress, closing(StatusWriter(root)) as desk:

                    def listen(report: "ProgressReport", ended: "Sequence[Outcome]") -> None:
                        progress.update(report, ended)
                        # Runs that end too: what the progress actor knew is lost with it.
                        for label in dict.fromkeys([*report.committed, *(o.spec.label for o in ended)]):
                            mirror.submit(missing[label])
                        desk.update(report.active, {o.spec.label: o.error for o in ended if o.error is not None})

                    failed = [o for o in Sweep(root, plan.specs, resources).run(listen) if o.error is not None]
                session.stop()
            mirror.summarise(_report(plan, file, overrides))
    if failed:
        CONSOLE.print(f"{len(failed)} of {len(missing)} runs failed; the same command tries them again.", style="red")
        raise typer.Exit(1)


@app.command()
def check(file: File, overrides: Overrides = None) -> None:
    """Validate an experiment file and print the plan without computing anything."""
    plan = _plan(file, overrides)
    _check_data(file, plan)
    _check_gpus(plan)
    table = Table(
        "what", "runs", "cycles each", "trainings", title=f"Plan of {plan.experiment.name}", title_justify="left"
    )
    table.add_row("first cycles, shared by all samplers", str(len(plan.firsts)), "1", str(len(plan.firsts)))
    for sampler in plan.experiment.samplers:
        for budget in plan.experiment.budgets:
            count = sum(r.sampler == sampler.spec() and r.budget == budget.spec() for r in plan.runs)
            table.add_row(
                f"{sampler.spec().name} {budget.spec().label}",
                str(count),
                str(budget.cycles),
                str(count * (budget.cycles - 1)),
            )
    table.add_row("full-annotation references", str(len(plan.references)), "1", str(len(plan.references)))
    table.add_section()
    table.add_row("total", str(len(plan.specs)), "", str(plan.trainings()))
    table.add_row(
        "of which done", str(sum(s.finished for s in plan.stores(plan.specs))), "", str(plan.trainings_done())
    )
    _print(table)
    resources = plan.experiment.resources
    together = f", {resources.training_workers} of which train together" if resources.training_workers > 1 else ""
    typer.echo(
        f"Each run occupies {resources.workers} worker(s) of {resources.cpus:g} CPU and {resources.gpus:g} GPU"
        f"{together}. Results go to {plan.experiment.root}."
    )
    for note in _notes(plan):
        typer.echo(note)


@app.command()
def status(file: File, overrides: Overrides = None) -> None:
    """Show what a running sweep is at, from any terminal that sees its results."""
    from decomp.experiments.lock import is_driven
    from decomp.experiments.status import Status, progress_of

    plan = _plan(file, overrides)
    root = plan.experiment.root
    told = Status.read(root) if is_driven(root) else None
    rows = progress_of(plan, told)
    table = Table("run", "cycle", plan.metric, "doing", "left")
    for row in (row for row in rows if row.doing not in ("finished", "waiting")):
        score = "" if row.score is None else f"{row.score:.3f}"
        left = "" if row.seconds_left is None else duration(row.seconds_left)
        table.add_row(row.label, f"{row.done} of {row.cycles}", score, row.doing, left)
    if table.rows:
        _print(table)
    count = Counter(row.doing for row in rows)
    by = f"driven by process {told.pid} on {told.host}" if told else "nobody works on it"
    typer.echo(
        f"{plan.experiment.name}: {count['finished']} of {len(rows)} runs finished, {count['waiting']} waiting; {by}."
    )


@app.command()
def stop(file: File, overrides: Overrides = None) -> None:
    """End a running sweep from another terminal. Committed cycles are kept; `decomp run` goes on from there."""
    from decomp.experiments.lock import is_driven
    from decomp.experiments.status import ask_to_stop

    root = load_experiment(file, overrides or []).root
    if not is_driven(root):
        raise UserError(f"{file}: nobody works on this experiment in {root}; there is nothing to stop.")
    ask_to_stop(root)
    with CONSOLE.status("Waiting for it to end"):
        while is_driven(root):
            time.sleep(0.2)
    typer.echo("Stopped. Committed cycles are kept; 'decomp run' goes on from there.")


@app.command()
def report(
    files: Annotated[
        list[str], typer.Argument(metavar="FILE... [KEY=VALUE]...", help="Experiment files, and values to replace.")
    ],
    axis: Annotated[
        str | None,
        typer.Option(help="Compare over share, image_share, openings, regions, clicks or hours (expert time)."),
    ] = None,
    verbose: Verbose = False,
) -> None:
    """Print the comparison of the committed cycles, write its page, tables and figures, and log them to MLflow."""
    from decomp.experiments.lock import is_driven, sole_driver
    from decomp.experiments.report.axes import axes_of, find_axis

    overrides = [part for part in files if "=" in part]
    plans = {Path(part): _plan(Path(part), overrides) for part in files if "=" not in part}
    if not plans:
        raise UserError(f"name an experiment file too, e.g. {program()} report experiments/digits.yaml {overrides[0]}.")
    chosen = {}
    for file, plan in plans.items():
        axes = axes_of(plan.metric, plan.experiment.annotation_seconds.spec())
        chosen[file] = axes[0] if axis is None else find_axis(axes, axis)
        if not any(store.committed() for store in plan.stores(plan.specs)):
            raise UserError(f"{file}: nothing is computed yet in {plan.experiment.root}; type '{program()} run' first.")
    for file, plan in plans.items():
        if len(plans) > 1:
            typer.echo(f"{file}:\n")
        written = _report(plan, file, overrides, chosen[file])
        if is_driven(plan.experiment.root):  # MLflow has one writer
            CONSOLE.print("MLflow gets the report from the command that works on this experiment, when that ends.")
            continue
        with sole_driver(plan.experiment.root), _mirroring(plan, file, overrides, verbose=verbose) as mirror:
            mirror.summarise(written)


@app.command()
def sync(file: File, overrides: Overrides = None, verbose: Verbose = False) -> None:
    """Write to MLflow what it does not have yet, e.g. after its server was down. Repeating it adds nothing twice."""
    plan = _plan(file, overrides)
    from decomp.experiments.lock import sole_driver

    with sole_driver(plan.experiment.root), _mirroring(plan, file, overrides, verbose=verbose) as mirror:
        mirror.summarise(_write_report(plan))
    if mirror.warning:
        raise typer.Exit(1)


@app.command()
def ui(
    file: File,
    overrides: Overrides = None,
    port: Annotated[int, typer.Option(help="Port on the loopback interface.")] = 5000,
) -> None:
    """Browse the runs in MLflow, on the loopback interface only, until interrupted."""
    from decomp.experiments.tracking.tracker import tracking_uri, ui_command, ui_environment

    uri = tracking_uri(load_experiment(file, overrides or []).folder.parent)
    CONSOLE.print(f"MLflow shows {uri} at http://127.0.0.1:{port} (Ctrl-C ends it)", highlight=False)
    # In a session of its own, so that Ctrl-C reaches this process alone: the server answers it with a traceback.
    server = subprocess.Popen(ui_command(uri, port), env=ui_environment(), start_new_session=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        status = server.wait()
    except KeyboardInterrupt:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait()
        return
    raise typer.Exit(status)


@app.command()
def convert(
    what: Annotated[Published, typer.Argument(help="Which published data.")],
    source: Annotated[Path, typer.Argument(help="Folder of the published files.")],
    target: Annotated[Path, typer.Argument(help="Folder to make.")],
) -> None:
    """Convert published data into decomp's own files."""
    from rich.progress import Progress

    from decomp.experiments.convert import convert_bracs
    from decomp.platform.datasets.base import Split

    with Progress(console=CONSOLE) as progress:
        bar = progress.add_task(f"{what.value}: {source}")
        made = convert_bracs(source, target, lambda done, total: progress.update(bar, completed=done, total=total))
    slides = {split: [made.shape(slide)[0] for slide in made.ids(split, 0)] for split in get_args(Split)}
    typer.echo("\n".join(f"{split}: {len(rois)} slides, {sum(rois)} ROIs" for split, rois in slides.items()))


@app.command(name="list")
def list_() -> None:
    """List the samplers, selectors, partitions, data sets and learners that an experiment file may name."""
    from decomp.platform.components import resolve
    from decomp.platform.datasets import DATASETS, Dataset
    from decomp.platform.learners import LEARNERS, Learner
    from decomp.platform.partitions import PARTITIONS, Partition
    from decomp.platform.samplers import IMAGE_SELECTORS, REGION_SELECTORS, SAMPLERS, ImageSelector, RegionSelector

    table = Table(box=None, show_header=False, padding=(0, 2))
    for name, (images, regions) in SAMPLERS.items():
        table.add_row("sampler", name, f"images: {images}, regions: {regions}")
    for kind, known, base in (
        ("image selector", IMAGE_SELECTORS, ImageSelector),
        ("region selector", REGION_SELECTORS, RegionSelector),
        ("partition", PARTITIONS, Partition),
        ("data set", DATASETS, Dataset),
        ("learner", LEARNERS, Learner),
    ):
        for name in known:
            doc = resolve(kind, name, known, base).__doc__ or ""
            table.add_row(kind, name, doc.strip().splitlines()[0])
    _print(table)


def _plan(file: Path, overrides: list[str] | None) -> Plan:
    # The user's own classes are found beside where the command is typed, as with `python -m`.
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    experiment = load_experiment(file, overrides or [])
    try:
        return make_plan(experiment)
    except UserError as error:
        raise UserError("\n".join(f"{file}: {line}" for line in str(error).splitlines())) from error


def _check_data(file: Path, plan: Plan) -> None:
    if problems := plan.dataset.problems():
        raise UserError("\n".join(f"{file}: {problem}" for problem in problems))


def _check_gpus(plan: Plan) -> None:
    needed = plan.experiment.resources.gpus
    if needed:
        import torch

        if torch.cuda.device_count() < needed:
            typer.echo(
                f"Note: a worker needs {needed:g} GPU and this machine has {torch.cuda.device_count()}; "
                f"run on a cluster that has them with --address, or set resources.gpus=0."
            )


def _announce(plan: Plan) -> None:
    left = plan.trainings() - plan.trainings_done()
    CONSOLE.print(
        f"{plan.experiment.name}: {len(plan.specs)} runs, {plan.trainings()} trainings, {left} of them to do; "
        f"results go to {plan.experiment.root}",
        highlight=False,
    )
    for note in _notes(plan):
        CONSOLE.print(note, highlight=False)


def _notes(plan: Plan) -> list[str]:
    """What the user should know before anything is computed, a line each."""
    resources = plan.experiment.resources
    if resources.seconds_per_epoch is None:
        return plan.changes()
    epochs = plan.epochs()
    if epochs is None:
        return ["resources.seconds_per_epoch: this learner has no epochs, so nothing is estimated.", *plan.changes()]
    hours = epochs * resources.seconds_per_epoch / 3600
    device = "GPU" if resources.gpus else "worker"
    estimate = (
        f"Training takes at most {epochs:,} epochs; at {resources.seconds_per_epoch:g} s each that is {hours:,.1f} "
        f"{device} hours: {duration(3600 * hours)} on one {device}, {duration(3600 * hours / 8)} on eight."
    )
    return [estimate, *plan.changes()]


def _write_report(plan: Plan) -> "Report":
    from decomp.experiments.report.page_building import with_page
    from decomp.experiments.report.report import compile_report

    folder, seconds = plan.experiment.folder / "report", plan.experiment.annotation_seconds.spec()
    report = with_page(compile_report(plan.compared, folder, plan.metric, seconds), plan)
    try:
        return report.write()
    except OSError as error:
        raise UserError(
            f"{folder} cannot be written: {error.strerror}; mend that, then '{program()} report' writes it."
        ) from error


def _report(plan: Plan, file: Path, overrides: list[str] | None, axis: "Axis | None" = None) -> "Report":
    from decomp.experiments.report.comparison import compare_over
    from decomp.experiments.report.report import console_tables

    written = _write_report(plan)
    comparison = compare_over(axis, written.comparison) if axis else written.comparison
    _print(console_tables(comparison))
    typer.echo(f"Learning curves: {os.path.relpath(written.figure_over(comparison.axis))}")
    typer.echo(f"Report:          {os.path.relpath(written.page)}")
    storage = [override for override in overrides or [] if override.startswith("storage=")]
    typer.echo(f"MLflow:          {' '.join([program(), 'ui', str(file), *storage])}")
    return written


@contextmanager
def _mirroring(plan: Plan, file: Path, overrides: list[str] | None, *, verbose: bool) -> Iterator["MirrorThread"]:
    """Mirror to MLflow what is committed, now and while the body runs; warn of what could not be written."""
    from decomp.experiments.tracking.mirror import MirrorThread
    from decomp.experiments.tracking.tracker import Tracker, tracking_uri

    uri = tracking_uri(plan.experiment.folder.parent)
    remedy = " ".join([program(), "sync", str(file), *(overrides or [])])
    mirror = MirrorThread(
        lambda: Tracker(uri, plan.experiment.name, metric=plan.metric, verbose=verbose),
        uri,
        plan.dataset,
        remedy=remedy,
    )
    with mirror:
        for store in plan.compared:
            mirror.submit(store)
        yield mirror
        with CONSOLE.status("Writing to MLflow"):
            mirror.close(timeout=MLFLOW_PATIENCE)
    if mirror.warning:
        CONSOLE.print(f"warning: {mirror.warning}", markup=False, highlight=False, soft_wrap=True)


def _print(what: "RenderableType") -> None:
    from rich.console import Console

    # A file or pipe has no width, for which rich assumes 80 columns.
    Console(width=None if sys.stdout.isatty() else 100).print(what)


@contextmanager
def _stoppable() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        CONSOLE.print("Stopped. Committed cycles are kept; the same command goes on from there.")
        raise typer.Exit(130) from None


@contextmanager
def _clear_mistakes() -> Iterator[None]:
    """A user's mistake ends in sentences and exit status 2."""
    try:
        yield
    except (UserError, StorageError) as error:
        sentences = f"storage: {error}" if isinstance(error, StorageError) else str(error)
        for line in sentences.splitlines():
            CONSOLE.print(f"error: {line}", style="red", markup=False, highlight=False, soft_wrap=True)
        sys.exit(2)
