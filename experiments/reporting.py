"""The report of an experiment: written, shown on the console, and mirrored to MLflow with all that is committed.

Heavy libraries are imported where they are used, so that `decomp --help` answers at once.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from decomp.experiments.console import CONSOLE, program, show
from decomp.experiments.plan import Plan
from decomp.platform.errors import UserError

if TYPE_CHECKING:
    from decomp.experiments.report.axes import Axis
    from decomp.experiments.report.report import Report
    from decomp.experiments.report.run_history import RunHistory
    from decomp.experiments.tracking.mirror import MirrorThread
    from decomp.experiments.tracking.tracker import Tracker

MLFLOW_PATIENCE = 600.0
"""Seconds that a command waits at its end for MLflow to take what is left."""


def write_report(plan: Plan, histories: "Sequence[RunHistory]") -> "Report":
    """Write the report's page, tables and figures; `UserError` where its folder cannot be written."""
    from decomp.experiments.report.design import design_of
    from decomp.experiments.report.page_building import with_page
    from decomp.experiments.report.report import compile_report
    from decomp.experiments.report.unscored import unscored_report

    folder, seconds = plan.experiment.folder / "report", plan.experiment.annotation_seconds
    if plan.scored:
        report = with_page(compile_report(histories, folder, plan.metric, seconds, design_of(plan)), plan)
    else:
        report = unscored_report(plan, histories, folder)
    try:
        return report.write()
    except OSError as error:
        raise UserError(
            f"{folder} cannot be written: {error.strerror}; mend that, then '{program()} report' writes it."
        ) from error


def print_report(
    plan: Plan,
    histories: "Sequence[RunHistory]",
    file: Path,
    overrides: list[str] | None,
    axis: "Axis | None" = None,
) -> "Report":
    """Write the report and print its tables, over an axis of choice, and where the rest is found."""
    from decomp.experiments.report.comparison import compare_over
    from decomp.experiments.report.console_tables import console_tables

    written = write_report(plan, histories)
    if plan.scored:
        comparison = compare_over(axis, written.comparison) if axis else written.comparison
        show(console_tables(comparison))
        typer.echo(f"Learning curves: {os.path.relpath(written.figure_over(comparison.axis))}")
    typer.echo(f"Report:          {os.path.relpath(written.page)}")
    storage = [override for override in overrides or [] if override.startswith("storage=")]
    typer.echo(f"MLflow:          {' '.join([program(), 'ui', str(file), *storage])}")
    return written


@contextmanager
def mirroring(plan: Plan, file: Path, overrides: list[str] | None, *, verbose: bool) -> Iterator["MirrorThread"]:
    """Mirror to MLflow what the body submits; warn of what could not be written."""
    from decomp.experiments.tracking.mirror import MirrorThread
    from decomp.experiments.tracking.uris import tracking_uri

    uri = tracking_uri(plan.experiment.folder.parent)
    remedy = " ".join([program(), "sync", str(file), *(overrides or [])])

    def tracker() -> "Tracker":
        from decomp.experiments.tracking.tracker import Tracker

        return Tracker(uri, plan.experiment.name, metric=plan.metric, verbose=verbose)

    with MirrorThread(tracker, uri, plan.dataset, remedy=remedy) as mirror:
        yield mirror
        with CONSOLE.status("Writing to MLflow"):
            mirror.close(timeout=MLFLOW_PATIENCE)
    if mirror.warning:
        CONSOLE.print(f"warning: {mirror.warning}", markup=False, highlight=False, soft_wrap=True)
