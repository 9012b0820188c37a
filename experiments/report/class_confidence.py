"""Whether class confidence (Eq. 1) knows which classes the model is bad at: numbers, a table and figures.

Class confidence is set against the test score of the same model, over the repeats of a `Cohort` and up to its last
common cycle.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from scipy import stats

from decomp.experiments.report.axes import class_score_name
from decomp.experiments.report.cohorts import Cohort
from decomp.experiments.report.figures import (
    DPI,
    GREY,
    Drawing,
    Style,
    by_budget,
    marker_size,
    render,
    styles,
    tidy,
)
from decomp.experiments.report.page import Section
from decomp.experiments.report.run_history import Repeat, RunHistory
from decomp.experiments.report.statistics import Spread
from decomp.experiments.report.tables import Row, Table, mean_sd
from decomp.platform.datasets.base import Dataset

MANY = 400
"""More points than these are pixels in an SVG file too, which would become large."""


@dataclass(frozen=True)
class Confidence:
    """Confidence in a class and how well it is recognised by the same model.

    Attributes:
        repeat: seed and fold.
        cycle: the cycle, from 2, whose selection used the confidence.
        class_: name of the class.
        delta: class confidence (Eq. 1) of the model of the cycle before.
        score: test score of the class by the model of the cycle before.
    """

    repeat: Repeat
    cycle: int
    class_: str
    delta: float
    score: float


@dataclass(frozen=True)
class Correlation:
    """How class confidence goes with the true score of a class, over classes.

    Attributes:
        pearson: linear correlation, over the repeats where it is defined; None where it is in none.
        spearman: rank correlation, likewise.
        pooled_pearson: linear correlation over the classes of all repeats together; None where undefined.
        pooled_spearman: rank correlation, likewise.
        points: classes and repeats with both numbers.
    """

    pearson: Spread | None
    spearman: Spread | None
    pooled_pearson: float | None
    pooled_spearman: float | None
    points: int


def class_confidence_section(cohorts: Sequence[Cohort], dataset: Dataset, score: str) -> Section:
    """The section of the page.

    Args:
        cohorts: the runs of each budget.
        dataset: the data set of all runs.
        score: name of the score of a single class.
    """
    title = "Class confidence"
    if dataset.nested:
        text = "Left out: test scores are those of nested sets of classes, confidence is that of single classes."
        return Section(title, text)
    drawn = dict.fromkeys(name for cohort in cohorts for name in cohort.names if _has_confidence(cohort, name))
    if not drawn:
        return Section(title, "Left out: no sampler here computes the confidence of classes.")
    text = (
        "DECOMP draws classes that the model is unsure of, so its choices are as good as the class confidence delta "
        "tells which classes are recognised badly. Here delta is set against the test score of the same model. It is "
        f"computed only for samplers that use it: {', '.join(drawn)}."
    )
    scatters = {cohort.budget: confidence_drawing(cohort, dataset.classes, score) for cohort in cohorts}
    lines = {cohort.budget: correlation_drawing(cohort, dataset.classes, score) for cohort in cohorts}
    tables = (confidence_table(cohorts, dataset.classes, score),)
    return Section(title, text, tables, by_budget(scatters) + by_budget(lines))


def _has_confidence(cohort: Cohort, sampler: str) -> bool:
    return any(r.class_confidence is not None for h in cohort.of(sampler) for r in h.records[: cohort.cycle])


def confidences(history: RunHistory, classes: Sequence[str], score: str, last: int) -> list[Confidence]:
    """Class confidence and true score of the same model, for every cycle from 2 on and every class that has both.

    Args:
        history: a run.
        classes: names of the classes of the data set, length C; the scores must have the same names.
        score: name of the score.
        last: last cycle to look at.
    """
    points = []
    for before, record in zip(history.records[: last - 1], history.records[1:last], strict=True):
        if record.class_confidence is None:
            continue
        for name, delta in zip(classes, record.class_confidence, strict=True):
            value = before.class_metrics[score].get(name)
            if value is not None:
                points.append(Confidence(history.repeat, record.cycle, name, delta, value))
    return points


def samplers_confidences(cohort: Cohort, classes: Sequence[str], score: str) -> dict[str, list[Confidence]]:
    """`confidences` of each sampler, all repeats up to the last common cycle; none for those that need no delta."""
    return {
        name: [point for run in cohort.of(name) for point in confidences(run, classes, score, cohort.cycle)]
        for name in cohort.names
    }


def correlation(points: Sequence[Confidence]) -> Correlation:
    """Correlation of class confidence with the true score, for each repeat over its classes and over all together."""
    by_repeat: dict[Repeat, list[Confidence]] = {}
    for point in points:
        by_repeat.setdefault(point.repeat, []).append(point)
    each = [_correlations(of_repeat) for of_repeat in by_repeat.values()]
    pooled = _correlations(points)
    return Correlation(
        Spread.of_defined(r for r, _ in each), Spread.of_defined(rho for _, rho in each), *pooled, len(points)
    )


def _correlations(points: Sequence[Confidence]) -> tuple[float | None, float | None]:
    """Pearson's and Spearman's correlation; None where fewer than three points or no variation define none."""
    delta, score = np.array([p.delta for p in points]), np.array([p.score for p in points])
    if len(points) < 3 or np.ptp(delta) == 0 or np.ptp(score) == 0:
        return None, None
    return float(stats.pearsonr(delta, score).statistic), float(stats.spearmanr(delta, score).statistic)


def confidence_table(cohorts: Sequence[Cohort], classes: Sequence[str], score: str) -> Table:
    """Correlation of class confidence with the true score by sampler and cycle."""
    rows: list[Row] = []
    for cohort in cohorts:
        for name, points in samplers_confidences(cohort, classes, score).items():
            for cycle in sorted({point.cycle for point in points}):
                over_classes = correlation([point for point in points if point.cycle == cycle])
                rows.append(
                    (
                        *(cohort.budget, name, cycle, len(cohort.repeats), over_classes.points),
                        *(*mean_sd(over_classes.pearson), *mean_sd(over_classes.spearman)),
                        *(over_classes.pooled_pearson, over_classes.pooled_spearman),
                    )
                )
    heads = (
        *("budget", "sampler", "cycle", "repeats", "points", "pearson_mean", "pearson_sd"),
        *("spearman_mean", "spearman_sd", "pearson_pooled", "spearman_pooled"),
    )
    note = (
        "Correlation over classes of the class confidence delta that the selection of a cycle used with the test "
        f"{score} of the same model, that of the cycle before. Mean and sd: over repeats; pooled: over the classes of "
        "all repeats together; undefined for fewer than three classes or without any variation."
    )
    return Table("class_confidence", "Class confidence and true score", heads, tuple(rows), note)


def confidence_drawing(cohort: Cohort, classes: Sequence[str], score: str) -> Drawing | None:
    """Class confidence against the true score of the same model, a panel per sampler that uses it; None without any."""
    by_sampler = {name: points for name, points in samplers_confidences(cohort, classes, score).items() if points}
    if not by_sampler:
        return None
    columns = 2 if len(by_sampler) == 4 else min(3, len(by_sampler))
    rows = -(-len(by_sampler) // columns)
    size = (3.5 * columns + 0.4, 3.3 * rows + 0.3)
    figure = Figure(figsize=size, dpi=DPI, layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    chosen = styles(cohort.names)
    for panel, (sampler, points) in zip(panels, by_sampler.items(), strict=False):
        _scatter(panel, points, chosen[sampler], cohort.cycle)
        panel.set_title(sampler, fontsize=11, loc="left")
    for panel in panels[len(by_sampler) :]:
        panel.set_axis_off()
    figure.supxlabel("class confidence (delta of Eq. 1)", fontsize=10)
    figure.supylabel(f"test {class_score_name(score)} of the class", fontsize=10)
    note = (
        f"A point is a class in a cycle and a repeat; filled: the last common cycle, {cohort.cycle}, faint: earlier. "
        "Rank correlation over classes in the last common cycle, mean over the repeats."
    )
    return render(figure, "class_confidence", "Class confidence against the true score", note)


def correlation_drawing(cohort: Cohort, classes: Sequence[str], score: str) -> Drawing | None:
    """Rank correlation of class confidence with the true score by cycle, a line per sampler; None where undefined."""
    figure = Figure(figsize=(7.6, 3.8), dpi=DPI, layout="constrained")
    panel = figure.subplots()
    drawn = False
    by_sampler = samplers_confidences(cohort, classes, score)
    for sampler, style in styles(cohort.names).items():
        points = by_sampler[sampler]
        line = []
        for cycle in sorted({point.cycle for point in points}):
            rank = correlation([point for point in points if point.cycle == cycle]).spearman
            if rank is not None:
                line.append((cycle, rank.mean))
        if line:
            drawn = True
            _line(panel, *zip(*line, strict=True), style=style, label=sampler)
    if not drawn:
        return None
    panel.axhline(0, color=GREY, linewidth=1)
    panel.set_xlabel("cycle whose selection used the confidence")
    panel.set_ylabel("Spearman's rank correlation")
    panel.set_ylim(top=1.02)
    panel.xaxis.set_major_locator(MaxNLocator(integer=True))
    tidy(panel, "both")
    figure.legend(loc="outside right upper", frameon=False)
    note = "Over classes, mean over the repeats. High: the confidence knows which classes the model is bad at."
    return render(figure, "confidence_correlation", "Correlation of class confidence with the true score", note)


def _scatter(panel: Axes, points: Sequence[Confidence], style: Style, last: int) -> None:
    for now in (False, True):
        shown = [point for point in points if (point.cycle == last) == now]
        panel.scatter(
            [point.delta for point in shown],
            [point.score for point in shown],
            s=(marker_size(style) if now else 0.65 * marker_size(style)) ** 2,
            marker=style.marker,
            color=style.colour,
            alpha=1.0 if now else 0.22,
            linewidths=0.5,
            edgecolors="white" if now else "none",
            zorder=3 if now else 2,
            rasterized=not now and len(shown) > MANY,
        )
    rank = correlation([point for point in points if point.cycle == last]).spearman
    text = "undefined" if rank is None else f"{rank.mean:.2f}"
    panel.text(0.03, 0.97, f"rank correlation {text}", transform=panel.transAxes, va="top", fontsize=9)
    panel.set_xlim(-0.03, 1.03)
    panel.set_ylim(-0.03, 1.03)
    tidy(panel, "both")


def _line(panel: Axes, x: Sequence[float], y: Sequence[float], *, style: Style, label: str) -> None:
    panel.plot(
        x,
        y,
        label=label,
        color=style.colour,
        linestyle=style.line,
        linewidth=2,
        marker=style.marker,
        markersize=marker_size(style),
        markeredgecolor="white",
        markeredgewidth=0.6,
    )
