"""The page of a run that people annotate: what changes from cycle to cycle, so that they can decide when to stop."""

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from decomp.experiments.plan import Plan
from decomp.experiments.report.axes import score_name
from decomp.experiments.report.canvas import colour_of
from decomp.experiments.report.figures import BLUE, DPI, VERMILLION, Drawing, legend_below, render, tidy
from decomp.experiments.report.page import Section, page
from decomp.experiments.report.page_building import about
from decomp.experiments.report.report import contents_of
from decomp.experiments.report.run_history import RunHistory
from decomp.experiments.report.tables import Row, Table
from decomp.platform.loop.pool_state import PoolState

PAGE = "when-to-stop.html"

MARKERS = "os^DvP*Xhd<>p"
"""Markers of the classes, so that colour is not their only difference."""

STOPPING = """\
No number here says that the model is good enough. Predictions that hardly change any more over several cycles, with
classes that stay confident, say that further regions of the same kind teach this model little; but a model can be sure
and wrong, and a class that is never predicted shows no change at all. {judge}
"""
WITH_TEST = """\
The score is measured on the test images, which the model has not learned from: it is the one figure here that can show
whether annotating more still pays."""
WITHOUT_TEST = """\
There are no test images with labels, so no score is claimed anywhere. Whether the model serves your purpose can only be
seen on images that are annotated apart, drawn at random."""


def annotation_page(plan: Plan, history: RunHistory, states: Sequence[PoolState]) -> dict[str, bytes]:
    """The files of the page, itself first.

    Args:
        plan: the experiment.
        history: its annotated run.
        states: what was observed of its cycles.
    """
    records = history.records
    scores = [record.metrics.get(plan.metric) for record in records]
    has_test = any(score is not None for score in scores)
    sections = [
        Section("When to stop", STOPPING.format(judge=WITH_TEST if has_test else WITHOUT_TEST)),
        Section(
            "From cycle to cycle",
            "",
            (_cycle_table(history, states, scores if has_test else None, plan.metric),),
            (_drawing(history, states, scores if has_test else None, plan.metric),),
        ),
        Section(
            "By class",
            "",
            (_class_table(plan.dataset.classes, history, states),),
            (_class_drawing(plan.dataset.classes, states),),
        ),
    ]
    html = page(f"Annotation of {plan.experiment.name}", about(plan, [history]), sections)
    tables = [table for section in sections for table in section.tables]
    drawings = [drawing for section in sections for drawing in section.drawings]
    return {PAGE: html.encode(), **contents_of(tables, drawings)}


def _cycle_table(
    history: RunHistory, states: Sequence[PoolState], scores: Sequence[float | None] | None, metric: str
) -> Table:
    by_cycle = {state.cycle: state for state in states}
    rows: list[Row] = []
    for number, record in enumerate(history.records):
        state, annotated = by_cycle.get(record.cycle), record.annotated
        changed = None if state is None else state.changed
        row: Row = (record.cycle, annotated.regions, annotated.share, changed, _overall(state))
        rows.append((*row, scores[number]) if scores is not None else row)
    heads = ("cycle", "regions", "annotated_share", "changed_share", "confident_share")
    images = max((state.images for state in states), default=0)
    tau = states[-1].tau if states else 0.0
    note = (
        f"Changed: share of the pixels whose predicted class is another than in the cycle before. Confident: share "
        f"whose probability exceeds {tau:g}. Both over the same {images} image(s) of the pool, drawn at random."
    )
    return Table("annotation_cycles", "Cycles", (*heads, metric) if scores is not None else heads, tuple(rows), note)


def _class_table(classes: Sequence[str], history: RunHistory, states: Sequence[PoolState]) -> Table:
    last, annotated = (states[-1] if states else None), history.records[-1].annotated.class_pixels
    rows = []
    for label, name in enumerate(classes):
        predicted = last.predicted[label] / max(1, sum(last.predicted)) if last else None
        confidence, changed = (last.confidence[label], last.changed_of_class[label]) if last else (None, None)
        rows.append((name, annotated[label], predicted, confidence, changed))
    heads = ("class", "annotated_pixels", "predicted_share", "confident_share", "changed_share")
    note = (
        "After the last cycle. Predicted: share of all pixels looked at. Changed: share of the pixels predicted as the "
        "class now or in the cycle before that are so in one of the two alone."
    )
    return Table("annotation_classes", "Classes", heads, tuple(rows), note)


def _drawing(
    history: RunHistory, states: Sequence[PoolState], scores: Sequence[float | None] | None, metric: str
) -> Drawing:
    panels = 3 if scores is not None else 2
    figure = Figure(figsize=(4.2 * panels, 3.6), dpi=DPI, layout="constrained")
    changed, confident, *others = figure.subplots(1, panels)
    cycles = [state.cycle for state in states if state.changed is not None]
    changed.plot(cycles, [state.changed for state in states if state.changed is not None], "o-", color=BLUE)
    changed.set(ylabel="share of the pool that changed", ylim=(0, None))
    confident.plot([state.cycle for state in states], [_overall(state) for state in states], "s-", color=BLUE)
    confident.set(ylabel="confident share of the pool", ylim=(0, 1.02))
    for panel in others:
        assert scores is not None
        panel.plot([record.cycle for record in history.records], scores, "D-", color=VERMILLION)
        panel.set(ylabel=score_name(metric))
    for panel in figure.axes:
        panel.set(xlabel="cycle", xlim=(0.5, max(2, len(history.records)) + 0.5))
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
        tidy(panel, "both")
    return render(figure, "annotation_progress", "Change, confidence" + ", score" * (scores is not None))


def _class_drawing(classes: Sequence[str], states: Sequence[PoolState]) -> Drawing:
    figure = Figure(figsize=(8.4, 3.8), dpi=DPI, layout="constrained")
    panel = figure.subplots()
    for label, name in enumerate(classes):
        points = [(state.cycle, share) for state in states if (share := state.confidence[label]) is not None]
        cycles, shares = [cycle for cycle, _ in points], [share for _, share in points]
        colour, marker = [value / 255 for value in colour_of(label)], MARKERS[label % len(MARKERS)]
        panel.plot(cycles, shares, label=name, color=colour, marker=marker)
    panel.set(xlabel="cycle", ylabel="confident share of the class", ylim=(-0.02, 1.02))
    panel.xaxis.set_major_locator(MaxNLocator(integer=True))
    tidy(panel, "both")
    legend_below(figure)
    note = "A class has no point where it is not predicted."
    return render(figure, "annotation_confidence", "Confidence of each class", note)


def _overall(state: PoolState | None) -> float | None:
    return None if state is None else sum(state.confident) / max(1, sum(state.predicted))
