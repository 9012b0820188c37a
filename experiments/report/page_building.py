"""What the page of a report consists of, from the headline to the wall times."""

from collections.abc import Sequence
from dataclasses import replace

from decomp.experiments.plan import Plan
from decomp.experiments.report.ablations import Ablation, ablations
from decomp.experiments.report.analysis import PER_CLASS, class_scores, pool_pixels, pool_shares, scored_classes
from decomp.experiments.report.analysis_figures import (
    annotated_drawing,
    class_score_drawing,
    confidence_drawing,
    correlation_drawing,
    phase_drawing,
)
from decomp.experiments.report.analysis_tables import (
    ablation_table,
    annotated_class_table,
    class_score_table,
    confidence_table,
    phase_table,
    rare_class_table,
    wall_table,
)
from decomp.experiments.report.comparison import BudgetResult, Comparison
from decomp.experiments.report.conclusions import conclusions
from decomp.experiments.report.figures import Drawing, learning_curves
from decomp.experiments.report.histories import Cohort, History, cohorts, references
from decomp.experiments.report.page import Section, page
from decomp.experiments.report.pictures import picture_of_samplers
from decomp.experiments.report.report import Report
from decomp.experiments.report.report_tables import caveats
from decomp.experiments.report.tables import Table
from decomp.platform.datasets.base import Dataset
from decomp.platform.spec import Component
from decomp.platform.storage.runs import RunStore

MISSING = 12
"""Most sentences about what is missing."""

FIRST_TABLES = ("summary",)
"""Tables that stand at the top of the page."""


def with_page(report: Report, plan: Plan) -> Report:
    """A report with the analyses of its runs and the page that shows everything."""
    parts = sections(plan, report.comparison, report.tables, report.drawings)
    # The first tables and drawings stay first.
    tables = {table.name: table for table in [*report.tables, *(t for part in parts for t in part.tables)]}
    drawings = {drawing.name: drawing for drawing in [*report.drawings, *(d for part in parts for d in part.drawings)]}
    html = page(f"Report of {plan.experiment.name}", about(plan), parts)
    return replace(report, tables=tuple(tables.values()), drawings=tuple(drawings.values()), html=html)


def sections(plan: Plan, comparison: Comparison, tables: Sequence[Table], drawings: Sequence[Drawing]) -> list[Section]:
    """All parts of the page of a report.

    Args:
        plan: the experiment.
        comparison: what is compared, over the metric's first axis.
        tables: the tables of the comparison.
        drawings: its learning curves, those over the first axis first.
    """
    return [
        headline(comparison, [table for table in tables if table.name in FIRST_TABLES], drawings[:1]),
        Section(
            "Comparison of the samplers",
            "Repeats are joined by seed and fold. What each number means stands below its table.",
            tuple(table for table in tables if table.name not in FIRST_TABLES),
            tuple(drawings[1:]),
        ),
        *analyse(plan.compared, plan.dataset, comparison),
    ]


def about(plan: Plan) -> dict[str, str]:
    """What a report is of."""
    experiment = plan.experiment
    seeds = len(experiment.seeds)
    folds = len({spec.fold for spec in plan.runs})
    finished = sum(store.finished for store in plan.compared)
    start = "with the weights of the one before" if experiment.warm_start else "from scratch"
    return {
        "Experiment": experiment.name,
        "Data set": f"{_component(experiment.dataset)}, {len(plan.dataset.classes)} classes",
        "Learner": f"{_component(experiment.learner)}; every cycle starts {start}",
        "Samplers": ", ".join(sampler.name for sampler in experiment.samplers),
        "Budgets": ", ".join(f"{budget.label} ({budget.cycles} cycles)" for budget in experiment.budgets),
        "Repeats": f"{seeds} seed(s), {folds} fold(s)",
        "Finished": f"{finished} of {len(plan.compared)} runs, full annotations among them",
    }


def headline(comparison: Comparison, tables: Sequence[Table], drawings: Sequence[Drawing]) -> Section:
    """The first section: who needs least annotation, what the statistics say, and what is missing."""
    blocks = []
    for budget, sentences in conclusions(comparison).items():
        blocks += [f"Budget {budget}:"] if len(comparison.budgets) > 1 else []
        blocks.append(_bullets(sentences))
    blocks += caveats(comparison)
    if comparison.unfinished:
        more = len(comparison.unfinished) - MISSING
        lines = [*comparison.unfinished[:MISSING], *([f"and {more} more."] if more > 0 else [])]
        blocks += ["Not complete, so the comparison is over fewer repeats:", _bullets(lines)]
    return Section("Result", "\n\n".join(blocks), tuple(tables), tuple(drawings))


def analyse(runs: Sequence[RunStore], dataset: Dataset, comparison: Comparison) -> list[Section]:
    """The analyses by class, the chosen regions, ablations and wall times, as far as committed cycles allow.

    Args:
        runs: the runs that are compared, full-annotation references among them.
        dataset: their data set.
        comparison: of these runs.
    """
    histories = [History.read(run) for run in runs]
    groups = cohorts(histories)
    if not groups:
        return []
    full, score = references(histories), PER_CLASS[comparison.metric]
    return [
        _scores(groups, full, dataset, score),
        _confidence(groups, dataset, score),
        _annotated(groups, full, dataset),
        _regions(groups, dataset),
        *_ablations(groups, comparison),
        _times(groups, histories),
    ]


def _scores(groups: Sequence[Cohort], full: Sequence[History], dataset: Dataset, score: str) -> Section:
    classes = scored_classes(dataset, pool_pixels(full))
    reference = class_scores([history.records[-1] for history in full], score)
    drawings = [class_score_drawing(group, classes, score, reference) for group in groups]
    tables = [class_score_table(groups, full, classes, score)]
    text = "How well each class is recognised at the last cycle that all samplers have reached."
    if not full:
        text += (
            "\n\nWithout a finished full-annotation reference the classes' share of the pool is not known, so rare "
            "classes are not marked and there is nothing to measure the scores against."
        )
    elif any(class_.rare for class_ in classes):
        tables.insert(0, rare_class_table(groups, full, classes, score))
        text += " A sampler may gain on the rare classes what it loses on the others; the table of both shows it."
    else:
        text += " No class is rare here: none has less than half of an even share of the pool."
    return Section("Scores by class", text, tuple(tables), _by_budget(drawings, groups))


def _confidence(groups: Sequence[Cohort], dataset: Dataset, score: str) -> Section:
    title = "Class confidence"
    if dataset.nested:
        text = "Left out: test scores are those of nested sets of classes, confidence is that of single classes."
        return Section(title, text)
    drawn = dict.fromkeys(name for group in groups for name in group.names if _has_confidence(group, name))
    if not drawn:
        return Section(title, "Left out: no sampler here computes the confidence of classes.")
    text = (
        "DECOMP draws classes that the model is unsure of, so its choices are as good as the class confidence delta "
        "tells which classes are recognised badly. Here delta is set against the test score of the same model. It is "
        f"computed only for samplers that use it: {', '.join(drawn)}."
    )
    drawings = [confidence_drawing(group, dataset.classes, score) for group in groups]
    lines = [correlation_drawing(group, dataset.classes, score) for group in groups]
    tables = (confidence_table(groups, dataset.classes, score),)
    return Section(title, text, tables, _by_budget(drawings, groups) + _by_budget(lines, groups))


def _has_confidence(group: Cohort, sampler: str) -> bool:
    return any(r.class_confidence is not None for h in group.of(sampler) for r in h.records[: group.cycle])


def _annotated(groups: Sequence[Cohort], full: Sequence[History], dataset: Dataset) -> Section:
    pixels = pool_pixels(full)
    pool = pool_shares(pixels, len(dataset.classes))
    text = "What the annotation consists of, and how far that is from the pool as a whole."
    if pixels is None:
        text += " Without a finished full-annotation reference the share of the pool is not known and is left out."
    drawings = [annotated_drawing(group, dataset.classes, pool) for group in groups]
    tables = (annotated_class_table(groups, dataset.classes, pixels),)
    return Section("Annotated classes", text, tables, _by_budget(drawings, groups))


def _regions(groups: Sequence[Cohort], dataset: Dataset) -> Section:
    title = "Chosen regions"
    if dataset.task == "roi":
        return Section(title, "Left out: sets of ROIs have no picture. The annotated classes are above.")
    drawings = [_picture(group, dataset) for group in groups]
    if not any(drawings):
        return Section(title, "Nothing has been annotated yet after the first cycle, which is common to all samplers.")
    text = "The same images, and what each sampler has annotated of them: the true classes within its regions."
    return Section(title, text, (), _by_budget(drawings, groups))


def _picture(group: Cohort, dataset: Dataset) -> Drawing | None:
    repeat = group.repeats[0]
    stores = {name: group.histories[name, repeat].store for name in group.names}
    ledgers = {name: store.ledger(store.committed()[: group.cycle]) for name, store in stores.items()}
    png = picture_of_samplers(dataset, ledgers)
    note = (
        f"Seed {repeat[0]}, fold {repeat[1]}, all regions until cycle {group.cycle}. The images are those that most "
        "samplers have opened after the first cycle, which is common to all; of a volume, the slice with most regions."
    )
    return None if png is None else Drawing("chosen_regions", "Chosen regions of all samplers", png, "", note)


def _ablations(groups: Sequence[Cohort], comparison: Comparison) -> list[Section]:
    by_budget = {result.budget: result for result in comparison.budgets}
    found = [(ablation, by_budget[group.budget]) for group in groups for ablation in ablations(group.samplers)]
    if not found:
        return []
    shown = [pair for pair in found if len(pair[0].members) < len(pair[1].samplers)]
    drawings = [_panel(comparison, *pair, number) for number, pair in enumerate(shown, start=1)]
    text = "Samplers that are equal but for one thing, side by side."
    if len(shown) < len(found):
        text += " Where these are all samplers of the experiment, its learning curves show them already."
    return [Section("Ablations", text, (ablation_table(found),), tuple(drawings))]


def _panel(comparison: Comparison, ablation: Ablation, result: BudgetResult, number: int) -> Drawing:
    members = [name for name, _ in ablation.members]
    own = replace(result, samplers=tuple(sampler for sampler in result.samplers if sampler.sampler in members))
    drawing = learning_curves(replace(comparison, budgets=(own,)))
    note = f"In common: {ablation.fixed}. {drawing.note}"
    what = "; ".join(f"{name}: {value}" for name, value in ablation.members)
    title = f"Ablation of the {ablation.varied}"
    return replace(drawing, name=f"ablation_{number}", title=title, note=f"{note} Differing: {what}.")


def _times(groups: Sequence[Cohort], histories: Sequence[History]) -> Section:
    computed = sorted({f"decomp {t.version}{_commit(t.commit)}" for history in histories for t in history.timings})
    text = (
        "Wall times depend on the machine and on what else it did; the time that an expert needs is another matter.\n\n"
        f"Computed by {', '.join(computed)}."
    )
    drawing = phase_drawing(groups)
    return Section("Time", text, (phase_table(groups), wall_table(histories)), () if drawing is None else (drawing,))


def _by_budget(drawings: Sequence[Drawing | None], groups: Sequence[Cohort]) -> tuple[Drawing, ...]:
    """The drawings there are, told apart by their budget where there are several budgets."""
    if len(groups) == 1:
        return tuple(drawing for drawing in drawings if drawing is not None)
    return tuple(
        replace(drawing, name=f"{drawing.name}_{group.budget}", title=f"{drawing.title}, budget {group.budget}")
        for drawing, group in zip(drawings, groups, strict=True)
        if drawing is not None
    )


def _bullets(lines: Sequence[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _component(component: Component) -> str:
    options = ", ".join(f"{key} {value}" for key, value in component.options.items())
    return f"{component.name} ({options})" if options else component.name


def _commit(commit: str) -> str:
    return f" (commit {commit[:12]})" if commit else ""
