"""The command line: `decomp run`, `submit`, `annotate`, `check`, `status`, `stop`, `report`, `ui` and the like.

Heavy libraries are imported where they are used, so that `--help` and `check` answer at once.
"""

import os
import signal
import subprocess
from pathlib import Path
from typing import Annotated, get_args

import typer

from decomp.experiments.annotating import annotate
from decomp.experiments.arguments import (
    Address,
    File,
    Name,
    Overrides,
    Published,
    Verbose,
    check_data,
    find_own_classes,
    if_missing,
    plan_of,
    separated,
)
from decomp.experiments.checking import missing_gpus, notes, occupation, plan_table, summary
from decomp.experiments.console import CONSOLE, clear_mistakes, prepare_environment, program, show
from decomp.experiments.interruption import heed_signals, signals_as_interruptions, stoppable
from decomp.experiments.reporting import mirroring, print_report, write_report
from decomp.experiments.schema import load_experiment
from decomp.experiments.submitting import submit
from decomp.platform.errors import UserError
from decomp.platform.version import package_version

app = typer.Typer(
    help="Replay region-level annotation on fully labelled data and compare samplers.",
    epilog="Start with: decomp run experiments/digits.yaml",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"decomp {package_version()}")
        raise typer.Exit


@app.callback()
def _program(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line."""
    with signals_as_interruptions(), clear_mistakes():
        app()


@app.command()
def run(file: File, overrides: Overrides = None, address: Address = None, verbose: Verbose = False) -> None:
    """Compute what is missing from an experiment, then report. The same command resumes after any interruption."""
    prepare_environment(verbose=verbose)
    with stoppable():
        plan = plan_of(file, overrides)
        check_data(file, plan)
        from decomp.experiments import running  # Ray reads the environment when it is imported
        from decomp.experiments.status import sharing

        with sharing(plan.experiment.root) as driver:
            histories = plan.histories()
            CONSOLE.print(summary(plan, histories), highlight=False)
            if others := driver.others:
                CONSOLE.print(f"The runs are shared with {', '.join(others)}.", markup=False, highlight=False)
            for note in notes(plan, histories):
                CONSOLE.print(note, highlight=False)
            missing = plan.missing(histories)
            with mirroring(plan, file, overrides, verbose=verbose) as mirror:
                failed, histories = running.compute_all(plan, missing, mirror, address, driver, verbose=verbose)
                if driver.leads:
                    compared = [history for history in histories if history.spec.kind != "first"]
                    mirror.summarise(print_report(plan, compared, file, overrides))
                else:
                    CONSOLE.print(
                        "Nothing is left for this one; another 'decomp run' of these runs does the rest and reports."
                    )
    if failed:
        CONSOLE.print(f"{len(failed)} of {len(missing)} runs failed; the same command tries them again.", style="red")
        raise typer.Exit(1)


app.command()(submit)
app.command()(annotate)


@app.command()
def check(file: File, overrides: Overrides = None) -> None:
    """Validate an experiment file and print the plan without computing anything."""
    from decomp.experiments.tracking.uris import tracking_uri

    plan = plan_of(file, overrides)
    check_data(file, plan)
    tracking_uri(plan.experiment.folder.parent)  # raises if `run` could not write there
    for line in missing_gpus(plan):
        typer.echo(line)
    histories = plan.histories()
    show(plan_table(plan, histories))
    for line in (occupation(plan), *notes(plan, histories)):
        typer.echo(line)


@app.command()
def status(file: File, overrides: Overrides = None) -> None:
    """Show how far a running sweep has come, from any terminal that sees its results."""
    from decomp.experiments.watching import show_status

    show_status(plan_of(file, overrides))


@app.command()
def stop(
    file: File,
    overrides: Overrides = None,
    only: Annotated[
        str | None, typer.Option(metavar="HOST:PROCESS", help="Stop one of several drivers, as 'status' names it.")
    ] = None,
) -> None:
    """End a running command from another terminal. Committed cycles are kept; the same command goes on from there."""
    from decomp.experiments.watching import stop_and_tell

    stop_and_tell(file, load_experiment(file, overrides or []), only)


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
    from decomp.experiments.lock import is_driven
    from decomp.experiments.report.axes import axes_of, find_axis
    from decomp.experiments.report.run_history import read_histories
    from decomp.experiments.status import driving

    named, overrides = separated(files)
    plans = {Path(part): plan_of(Path(part), overrides) for part in named}
    chosen, histories = {}, {}
    for file, plan in plans.items():
        axes = axes_of(plan.metric, plan.experiment.annotation_seconds)
        chosen[file] = None if axis is None else find_axis(axes, axis)
        histories[file] = read_histories(plan.compared)
        if not any(history.cycles for history in histories[file]):
            raise UserError(
                f"{file}: nothing is computed yet in {plan.experiment.root}{if_missing(plan.experiment)}; type "
                f"'{program()} {'run' if plan.dataset.labelled else 'annotate'}' first."
            )
    for file, plan in plans.items():
        if len(plans) > 1:
            typer.echo(f"{file}:\n")
        written = print_report(plan, histories[file], file, overrides, chosen[file])
        if is_driven(plan.experiment.root):  # MLflow has one writer
            CONSOLE.print("MLflow gets the report from the command that works on this experiment, when that ends.")
            continue
        with driving(plan.experiment.root), mirroring(plan, file, overrides, verbose=verbose) as mirror:
            mirror.submit(*plan.compared)
            mirror.summarise(written)


@app.command()
def compare(
    files: Annotated[
        list[str],
        typer.Argument(metavar="FILE... [KEY=VALUE]...", help="Experiment files, archives, and values to replace."),
    ],
    into: Annotated[Path, typer.Option(help="Folder of the page, its tables and figures.")] = Path("verdict"),
) -> None:
    """Compare samplers over several experiments: one test over all their repeats, one page."""
    from decomp.experiments.report.incomplete import shortened
    from decomp.experiments.sources import open_source
    from decomp.experiments.verdict.page import verdict_page

    named, overrides = separated(files)
    written = verdict_page([open_source(Path(file), overrides) for file in named])
    missing = shortened(written.missing)
    typer.echo("\n".join([*written.sentences, *missing, f"Verdict: {os.path.relpath(written.write(into))}"]))


@app.command()
def export(
    file: File,
    archive: Annotated[Path, typer.Argument(metavar="ARCHIVE", help="The file to write, e.g. digits.zip.")],
    overrides: Overrides = None,
) -> None:
    """Write the finished runs of an experiment into one file, without models, that others can read and import."""
    from decomp.experiments.archives.exporting import export as write
    from decomp.experiments.description import Description

    plan = plan_of(file, overrides)
    exported = write(Description.of(plan), plan.histories(), archive)
    typer.echo(f"{archive}: {exported.runs} run(s) of {plan.experiment.name}, SHA-256 {exported.archive.sha256}.")
    if exported.unfinished:
        typer.echo(f"{exported.unfinished} run(s) are not finished and left out.")


@app.command(name="import")
def import_(
    archive: Annotated[Path, typer.Argument(metavar="ARCHIVE", help="What 'decomp export' wrote.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="storage=FOLDER, and name=EXPERIMENT if yours has another name."),
    ] = None,
) -> None:
    """Add the runs of an archive to an experiment's results, where they count as done; nothing is overwritten."""
    from decomp.experiments.archives.archive import Archive
    from decomp.experiments.archives.importing import import_archive, root_of
    from decomp.experiments.status import driving

    opened = Archive.open(archive)
    root = root_of(opened, overrides or [])
    with driving(root):
        imported = import_archive(opened, root)
    typer.echo("\n".join(imported.sentences(opened, root)))


@app.command()
def sync(file: File, overrides: Overrides = None, verbose: Verbose = False) -> None:
    """Write to MLflow what it does not have yet, e.g. after its server was down. Repeating it adds nothing twice."""
    plan = plan_of(file, overrides)
    from decomp.experiments.report.run_history import read_histories
    from decomp.experiments.status import driving

    with driving(plan.experiment.root), mirroring(plan, file, overrides, verbose=verbose) as mirror:
        mirror.submit(*plan.compared)
        mirror.summarise(write_report(plan, read_histories(plan.compared)))
    if mirror.warning:
        raise typer.Exit(1)


@app.command()
def ui(
    file: File,
    overrides: Overrides = None,
    port: Annotated[int, typer.Option(help="Port on the loopback interface.")] = 5000,
) -> None:
    """Browse the runs in MLflow, on the loopback interface only, until interrupted."""
    from decomp.experiments.tracking.tracker import charts_address, ui_command, ui_environment
    from decomp.experiments.tracking.uris import tracking_uri, without_passwords

    experiment = load_experiment(file, overrides or [])
    uri = tracking_uri(experiment.folder.parent)
    command = ui_command(uri, port)
    CONSOLE.print(f"MLflow shows {without_passwords(uri)} at http://127.0.0.1:{port} (Ctrl-C ends it)", highlight=False)
    if (charts := charts_address(uri, experiment.name, port)) is not None:
        CONSOLE.print(f"Charts of {experiment.name}: {charts}", markup=False, highlight=False, soft_wrap=True)
    # In a group of its own, so that Ctrl-C reaches this process alone: the server answers it with a traceback.
    server = subprocess.Popen(command, env=ui_environment(uri), process_group=0, preexec_fn=heed_signals)
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
def list_(name: Name = None) -> None:
    """List what an experiment file may name: samplers, selectors, partitions, data sets, learners; or one's options."""
    from decomp.experiments.listing import table_of_names, tables_of_options

    find_own_classes()
    show(table_of_names() if name is None else tables_of_options(name))
