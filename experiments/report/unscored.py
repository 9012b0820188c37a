"""The report of runs whose pool people labelled and that have no test images: what is annotated, and no score."""

from collections.abc import Sequence
from pathlib import Path

from decomp.experiments.plan import Plan
from decomp.experiments.report.annotated_classes import annotated_class_section
from decomp.experiments.report.axes import axes_of
from decomp.experiments.report.cohorts import join_cohorts
from decomp.experiments.report.comparison import compare
from decomp.experiments.report.long_tables import cycle_table
from decomp.experiments.report.page import Section, page
from decomp.experiments.report.page_building import about, chosen_region_section
from decomp.experiments.report.report import Report
from decomp.experiments.report.run_history import RunHistory
from decomp.experiments.report.wall_times import wall_time_section

NO_SCORE = """\
No test image has labels, so no score is claimed, and samplers cannot be compared. Label some test images, drawn at
random, to learn what the models are worth."""


def unscored_report(plan: Plan, histories: Sequence[RunHistory], folder: Path) -> Report:
    """What is annotated, class by class, and where.

    Args:
        plan: the experiment, which has no test images.
        histories: its runs.
        folder: where the report is to be written.
    """
    cycles = cycle_table(histories, axes_of(plan.metric, plan.experiment.annotation_seconds))
    sections = [Section("Result", NO_SCORE, (cycles,))]
    if cohorts := join_cohorts(histories):
        sections += [
            annotated_class_section(cohorts, (), plan.dataset),
            chosen_region_section(cohorts, plan.dataset),
            wall_time_section(cohorts, histories),
        ]
    html = page(f"Report of {plan.experiment.name}", about(plan, histories), sections)
    tables = tuple(table for section in sections for table in section.tables)
    drawings = tuple(drawing for section in sections for drawing in section.drawings)
    return Report(compare((), plan.metric), tuple(histories), folder, tables, drawings, html)
