"""The drawings of the analysis by class and of wall times; a sampler has the colour of its learning curve."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from decomp.experiments.report.analysis import (
    Confidence,
    ScoredClass,
    annotated_shares,
    class_scores,
    correlation,
    phases_of,
    samplers_confidences,
    samplers_phase_seconds,
)
from decomp.experiments.report.figures import DPI, GREY, Drawing, Style, render, styles, tidy
from decomp.experiments.report.histories import Cohort
from decomp.experiments.report.statistics import Spread

ROW = 0.34
"""Inches per class where classes are rows."""

HATCHES = ("", "///", "...", "xxx", "\\\\\\", "---", "+++")
"""Of phases, so that their colours are not the only difference."""

MANY = 400
"""More points than these are pixels in an SVG file too, which would become large."""

FILLS = {"-": "full", "--": "none", ":": "bottom", "-.": "left"}
"""How the markers of samplers that share one are told apart, by their lines."""

# Paul Tol's bright scheme, which no sampler has, from dark to light so that phases differ in print too.
PHASE_COLOURS = ("#4477AA", "#CCBB44", "#66CCEE", "#AA3377", "#BBBBBB", "#228833", "#EE6677")


def class_score_drawing(
    cohort: Cohort, classes: Sequence[ScoredClass], score: str, full: Mapping[str, Spread | None]
) -> Drawing:
    """Test score of every class at the last common cycle, a row per class, the class with most pixels on top."""
    ordered = sorted(classes, key=lambda class_: class_.share or 0.0, reverse=True)
    rows = {class_.name: row for row, class_ in enumerate(ordered)}
    figure, panel = _rows_of_classes([f"{c.name} (rare)" if c.rare else c.name for c in ordered], len(cohort.names))
    for class_name, row in rows.items():
        if (value := full.get(class_name)) is not None:
            panel.plot([value.mean] * 2, [row - 0.42, row + 0.42], color=GREY, linewidth=2.2, solid_capstyle="butt")
    for sampler, style, shift in _lanes(cohort):
        found = class_scores(cohort.last(sampler), score)
        for class_name, row in rows.items():
            if (value := found.get(class_name)) is not None:
                sd = value.sd or 0.0
                panel.plot([value.mean - sd, value.mean + sd], [row + shift] * 2, color=style.colour, linewidth=1.2)
                _mark(panel, value.mean, row + shift, style)
    panel.set_xlabel(f"test {_written(score)} after cycle {cohort.cycle}{_over(cohort)}")
    reference = [Line2D([], [], color=GREY, linewidth=2.2, label="full annotation")] if any(full.values()) else []
    _legend_beside(figure, cohort, reference)
    note = "Classes from the most to the fewest pixels. Whiskers: one standard deviation over the repeats."
    return render(figure, "class_scores", "Test score by class", note)


def annotated_drawing(cohort: Cohort, classes: Sequence[str], pool: Sequence[float | None]) -> Drawing:
    """Share of every class in what is annotated, a row per class, beside its share of the pool where it is known."""
    order = sorted(range(len(classes)), key=lambda c: pool[c] or 0.0, reverse=True)
    found = {sampler: annotated_shares(cohort.last(sampler)) for sampler in cohort.names}
    positive = [share.mean for shares in found.values() for share in shares if share and share.mean > 0]
    positive += [share for share in pool if share]
    least = 0.6 * min(positive, default=0.001)
    figure, panel = _rows_of_classes([classes[c] for c in order], len(cohort.names))
    for sampler, style, shift in _lanes(cohort):
        for row, c in enumerate(order):
            own, share = found[sampler][c], pool[c]
            if own is None:
                continue
            at = max(own.mean, least)
            if share:
                panel.plot([100 * share, 100 * at], [row + shift] * 2, color=style.colour, linewidth=1.2, alpha=0.6)
            if own.mean > 0:
                _mark(panel, 100 * at, row + shift, style)
            else:
                panel.text(100 * at, row + shift, "0", color=style.colour, ha="right", va="center", fontsize=8)
    for row, c in enumerate(order):
        if share := pool[c]:
            panel.plot([100 * share] * 2, [row - 0.42, row + 0.42], color=GREY, linewidth=2.2, solid_capstyle="butt")
    panel.set_xscale("log")
    panel.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    panel.xaxis.set_major_formatter("{x:g}")
    panel.xaxis.set_minor_formatter(NullFormatter())
    panel.set_xlim(left=100 * least)
    panel.set_xlabel(f"share of what is annotated after cycle {cohort.cycle} (%, logarithmic)")
    reference = [Line2D([], [], color=GREY, linewidth=2.2, label="share of the pool")] if any(pool) else []
    _legend_beside(figure, cohort, reference)
    note = "Right of the grey line a sampler annotates more of the class than chance would; 0: none."
    return render(figure, "annotated_classes", "Annotated share by class", note)


def confidence_drawing(cohort: Cohort, classes: Sequence[str], score: str) -> Drawing | None:
    """Class confidence against the true score of the same model, a panel per sampler that uses it; None without any."""
    points = {sampler: own for sampler, own in samplers_confidences(cohort, classes, score).items() if own}
    if not points:
        return None
    columns = 2 if len(points) == 4 else min(3, len(points))
    rows = -(-len(points) // columns)
    size = (3.5 * columns + 0.4, 3.3 * rows + 0.3)
    figure = Figure(figsize=size, dpi=DPI, layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    chosen = styles(cohort.names)
    for panel, (sampler, own) in zip(panels, points.items(), strict=False):
        _scatter(panel, own, chosen[sampler], cohort.cycle)
        panel.set_title(sampler, fontsize=11, loc="left")
    for panel in panels[len(points) :]:
        panel.set_axis_off()
    figure.supxlabel("class confidence (delta of Eq. 1)", fontsize=10)
    figure.supylabel(f"test {_written(score)} of the class", fontsize=10)
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
    found = samplers_confidences(cohort, classes, score)
    for sampler, style in styles(cohort.names).items():
        points = found[sampler]
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


def phase_drawing(cohorts: Sequence[Cohort]) -> Drawing | None:
    """Mean seconds of the phases of a cycle, a bar per sampler and budget; None before cycle 2."""
    phases = phases_of([history for cohort in cohorts for history in cohort.histories.values()])
    bars = [
        (f"{sampler}, {cohort.budget}" if len(cohorts) > 1 else sampler, seconds)
        for cohort in cohorts
        for sampler, seconds in samplers_phase_seconds(cohort).items()
        if seconds
    ]
    if not bars:
        return None
    figure = Figure(figsize=(8.6, 1.1 + 0.42 * len(bars)), dpi=DPI, layout="constrained")
    panel = figure.subplots()
    starts = np.zeros(len(bars))
    for number, phase in enumerate(phases):
        widths = np.array([seconds[phase].mean if phase in seconds else 0.0 for _, seconds in bars])
        panel.barh(
            range(len(bars)),
            widths,
            left=starts,
            height=0.66,
            label=phase,
            color=PHASE_COLOURS[number % len(PHASE_COLOURS)],
            hatch=HATCHES[number % len(HATCHES)],
            edgecolor="white",
            linewidth=0.6,
        )
        starts += widths
    panel.set_yticks(range(len(bars)), [label for label, _ in bars])
    panel.invert_yaxis()
    panel.set_xlabel("seconds per cycle")
    tidy(panel, "x")
    figure.legend(loc="outside right upper", frameon=False)
    note = "Mean over the cycles from 2 on and the repeats."
    return render(figure, "phase_seconds", "Wall time of a cycle by phase", note)


def _rows_of_classes(labels: Sequence[str], lanes: int) -> tuple[Figure, Axes]:
    height = 1.2 + len(labels) * max(ROW, 0.085 * lanes)
    figure = Figure(figsize=(8.6, height), dpi=DPI, layout="constrained")
    panel = figure.subplots()
    panel.set_yticks(range(len(labels)), labels)
    panel.set_ylim(len(labels) - 0.5, -0.5)
    for row in range(0, len(labels), 2):
        panel.axhspan(row - 0.5, row + 0.5, color="#F3F3F3", zorder=0)
    tidy(panel, "x")
    return figure, panel


def _lanes(cohort: Cohort) -> list[tuple[str, Style, float]]:
    """Every sampler, its style and how far its lane lies from the middle of a row of height 1."""
    shifts = np.linspace(-0.34, 0.34, len(cohort.names)) if len(cohort.names) > 1 else np.zeros(1)
    return [
        (name, style, float(shift)) for (name, style), shift in zip(styles(cohort.names).items(), shifts, strict=True)
    ]


def _mark(panel: Axes, x: float, y: float, style: Style) -> None:
    panel.plot([x], [y], **_marker(style), linestyle="none", zorder=3, clip_on=False)


def _marker(style: Style) -> dict[str, Any]:
    return {
        "marker": style.marker,
        "markersize": _size(style),
        "fillstyle": FILLS[style.line],
        "markerfacecolor": style.colour,
        "markerfacecoloralt": "white",
        "markeredgecolor": style.colour,
        "markeredgewidth": 1.1,
    }


def _size(style: Style) -> float:
    """Of markers, in points; a star looks smaller than it is."""
    return 8.5 if style.marker == "*" else 5.5


def _scatter(panel: Axes, points: Sequence[Confidence], style: Style, last: int) -> None:
    for now in (False, True):
        own = [point for point in points if (point.cycle == last) == now]
        panel.scatter(
            [point.delta for point in own],
            [point.score for point in own],
            s=(_size(style) if now else 0.65 * _size(style)) ** 2,
            marker=style.marker,
            color=style.colour,
            alpha=1.0 if now else 0.22,
            linewidths=0.5,
            edgecolors="white" if now else "none",
            zorder=3 if now else 2,
            rasterized=not now and len(own) > MANY,
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
        markersize=_size(style),
        markeredgecolor="white",
        markeredgewidth=0.6,
    )


def _legend_beside(figure: Figure, cohort: Cohort, further: Sequence[Line2D]) -> None:
    handles = [
        Line2D([], [], label=name, color=style.colour, linewidth=1.2, **_marker(style))
        for name, style in styles(cohort.names).items()
    ]
    figure.legend(handles=[*handles, *further], loc="outside right upper", frameon=False)


def _written(score: str) -> str:
    return {"iou": "IoU", "dice": "Dice", "f1": "F1"}.get(score, score)


def _over(cohort: Cohort) -> str:
    return f", mean over {len(cohort.repeats)} repeats" if len(cohort.repeats) > 1 else ""
