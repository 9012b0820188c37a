"""What the page of a report consists of, from the conclusions to the wall times."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import PurePath

from decomp.experiments.plan import Plan
from decomp.experiments.report.ablations import ablation_sections, component_in_words
from decomp.experiments.report.annotated_classes import annotated_class_section
from decomp.experiments.report.class_confidence import class_confidence_section
from decomp.experiments.report.class_scores import PER_CLASS, class_score_section
from decomp.experiments.report.cohorts import Cohort, finished_references, join_cohorts
from decomp.experiments.report.comparison import Comparison
from decomp.experiments.report.conclusions import conclusions
from decomp.experiments.report.figures import Drawing, by_budget
from decomp.experiments.report.incomplete import shortened
from decomp.experiments.report.page import Section, bullets, page
from decomp.experiments.report.pictures import picture_of_samplers
from decomp.experiments.report.report import Report
from decomp.experiments.report.run_history import RunHistory
from decomp.experiments.report.tables import Table
from decomp.experiments.report.wall_times import wall_time_section
from decomp.platform.components import reads_truth
from decomp.platform.datasets.base import Dataset
from decomp.platform.grid import Component, Start
from decomp.platform.passes import Passes

FIRST_TABLES = ("summary",)
"""Tables that stand at the top of the page."""


def with_page(report: Report, plan: Plan) -> Report:
    """A report with the analyses of its runs and the page that shows everything."""
    sections = page_sections(report, plan.dataset)
    # The first tables and drawings stay first.
    tables = {table.name: table for table in [*report.tables, *(t for section in sections for t in section.tables)]}
    drawings = {each.name: each for each in [*report.drawings, *(d for section in sections for d in section.drawings)]}
    html = page(f"Report of {plan.experiment.name}", about(plan, report.histories), sections)
    return replace(report, tables=tuple(tables.values()), drawings=tuple(drawings.values()), html=html)


def page_sections(report: Report, dataset: Dataset) -> list[Section]:
    """All sections of the page, in order.

    Args:
        report: its tables are those of the comparison, its drawings the learning curves, first those over the first
            axis.
        dataset: the data set of its runs.
    """
    return [
        result_section(
            report.comparison, [table for table in report.tables if table.name in FIRST_TABLES], report.drawings[:1]
        ),
        Section(
            "Comparison of the samplers",
            "Repeats are joined by seed and fold. What each number means stands below its table.",
            tuple(table for table in report.tables if table.name not in FIRST_TABLES),
            report.drawings[1:],
        ),
        *analysis_sections(report.histories, dataset, report.comparison),
    ]


def about(plan: Plan, histories: Sequence[RunHistory]) -> dict[str, str]:
    """What a report is about, by key.

    Args:
        plan: the experiment.
        histories: its runs and references.
    """
    experiment = plan.experiment
    seeds = len(experiment.seeds)
    folds = len({spec.fold for spec in plan.runs})
    finished = sum(history.finished for history in histories)
    imported = sum(history.imported is not None for history in histories)
    start = "with the weights of the one before" if experiment.warm_start else "from scratch"
    return {
        "Experiment": experiment.name,
        "Data set": f"{component_in_words(_placeless(experiment.dataset))}, {len(plan.dataset.classes)} classes",
        "Learner": f"{component_in_words(_placeless(experiment.learner))}; every cycle starts {start}",
        "Samplers": ", ".join(
            sampler.name + " (oracle baseline: reads the truth)" * reads_truth(sampler)
            for sampler in experiment.samplers
        ),
        **({"Start": _start(experiment.start)} if experiment.start else {}),
        **({"Passes": _in_words(experiment.passes)} if experiment.passes else {}),
        "Budgets": ", ".join(f"{budget.label} ({budget.cycles} cycles)" for budget in experiment.budgets),
        "Repeats": f"{seeds} seed(s), {folds} fold(s)",
        "Finished": f"{finished} of {len(histories)} runs, full annotations among them"
        + (f"; {imported} are imported" if imported else ""),
    }


def _start(start: Start) -> str:
    choice = "with all classes (reads the truth)" if start.choice == "all-classes" else start.choice
    return choice + (f", {start.budget.label}" if start.budget else "")


def _in_words(passes: Passes) -> str:
    scored = "their mean is scored" if passes.evaluate == "mean" else "the first model is scored, in one pass"
    return f"each image is predicted {passes.n} times, by {passes.method}; {scored}"


def _placeless(component: Component) -> Component:
    """A component whose options name folders and files without their paths, which are nobody else's business."""
    return replace(component, options={key: _last_part(value) for key, value in component.options.items()})


def _last_part(value: object) -> object:
    if isinstance(value, Mapping):
        return {key: _last_part(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_last_part(each) for each in value]
    return PurePath(value).name if isinstance(value, (str, PurePath)) and re.match(r"[/~]|\w:\\", str(value)) else value


def result_section(comparison: Comparison, tables: Sequence[Table], drawings: Sequence[Drawing]) -> Section:
    """The first section: the conclusions, and what is missing.

    Args:
        comparison: what is compared.
        tables: shown in it.
        drawings: shown in it.
    """
    blocks = []
    for budget, sentences in conclusions(comparison).items():
        blocks += [f"Budget {budget}:"] if len(comparison.budgets) > 1 else []
        blocks.append(bullets(sentences))
    blocks += comparison.caveats
    if comparison.unfinished:
        blocks += ["Not complete, so the comparison is over fewer repeats:", bullets(shortened(comparison.unfinished))]
    return Section("Result", "\n\n".join(blocks), tuple(tables), tuple(drawings))


def analysis_sections(histories: Sequence[RunHistory], dataset: Dataset, comparison: Comparison) -> list[Section]:
    """The analyses by class, the chosen regions, ablations and wall times, as far as committed cycles allow.

    Args:
        histories: of the runs that are compared, full-annotation references among them.
        dataset: their data set.
        comparison: of these runs.
    """
    cohorts = join_cohorts(histories)
    if not cohorts:
        return []
    references, score = finished_references(histories), PER_CLASS[comparison.metric]
    behind = dict.fromkeys(name for cohort in cohorts for name in cohort.behind)
    left_out = (
        [Section("Left out", f"Not half as far as the others, so not below: {', '.join(behind)}.")] if behind else []
    )
    return [
        *left_out,
        class_score_section(cohorts, references, dataset, score),
        class_confidence_section(cohorts, dataset, score),
        annotated_class_section(cohorts, references, dataset),
        chosen_region_section(cohorts, dataset),
        *ablation_sections(cohorts, comparison),
        wall_time_section(cohorts, histories),
    ]


def chosen_region_section(cohorts: Sequence[Cohort], dataset: Dataset) -> Section:
    """The regions of all samplers on the same images, in a repeat of each budget.

    Args:
        cohorts: the runs of each budget.
        dataset: where images and labels are read.
    """
    title = "Chosen regions"
    if dataset.task == "roi":
        return Section(title, "Left out: sets of ROIs have no picture. The annotated classes are above.")
    drawings = {cohort.budget: _chosen_regions(cohort, dataset) for cohort in cohorts}
    if not any(drawings.values()):
        return Section(title, "Nothing has been annotated yet after the first cycle, which is common to all samplers.")
    text = "The same images, and what each sampler has annotated of them: the true classes within its regions."
    return Section(title, text, (), by_budget(drawings))


def _chosen_regions(cohort: Cohort, dataset: Dataset) -> Drawing | None:
    repeat = cohort.repeats[0]
    ledgers = {name: cohort.histories[name, repeat].ledger(cohort.cycle) for name in cohort.names}
    png = picture_of_samplers(dataset, ledgers)
    note = (
        f"Seed {repeat[0]}, fold {repeat[1]}, all regions until cycle {cohort.cycle}. The images are those that most "
        "samplers have opened after the first cycle, which is common to all; of a volume, the slice with most regions."
    )
    return None if png is None else Drawing("chosen_regions", "Chosen regions of all samplers", png, "", note)
