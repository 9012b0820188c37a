"""What figures with a row for every class have in common: the rows, and in each a lane for every sampler."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from decomp.experiments.report.cohorts import Cohort
from decomp.experiments.report.figures import DPI, GREY, LEGEND_LINE, ORACLE, Style, marker_size, styles, tidy
from decomp.platform.components import reads_truth

ROW = 0.34
"""Inches per class."""

FILLS = {"-": "full", "--": "none", ":": "bottom", "-.": "left"}
"""How the markers of samplers that share one differ, by their lines."""


def rows_of_classes(labels: Sequence[str], lanes: int) -> tuple[Figure, Axes]:
    """An empty figure with a row for every class, from top to bottom, high enough for so many lanes."""
    height = max(1.2 + len(labels) * max(ROW, 0.085 * lanes), 0.4 + LEGEND_LINE * (lanes + 1))
    figure = Figure(figsize=(8.6, height), dpi=DPI, layout="constrained")
    panel = figure.subplots()
    panel.set_yticks(range(len(labels)), labels)
    panel.set_ylim(len(labels) - 0.5, -0.5)
    for row in range(0, len(labels), 2):
        panel.axhspan(row - 0.5, row + 0.5, color="#F3F3F3", zorder=0)
    tidy(panel, "x")
    return figure, panel


def lanes_of(cohort: Cohort) -> list[tuple[str, Style, float]]:
    """Every sampler, its style and how far its lane lies from the middle of a row of height 1."""
    shifts = np.linspace(-0.34, 0.34, len(cohort.names)) if len(cohort.names) > 1 else np.zeros(1)
    return [
        (name, style, float(shift)) for (name, style), shift in zip(styles(cohort.names).items(), shifts, strict=True)
    ]


def mark(panel: Axes, x: float, y: float, style: Style) -> None:
    """Draw a sampler's marker."""
    panel.plot([x], [y], **_marker(style), linestyle="none", zorder=3, clip_on=False)


def mark_across(panel: Axes, x: float, row: int) -> None:
    """Draw a grey line across a row, for what holds for all samplers."""
    panel.plot([x] * 2, [row - 0.42, row + 0.42], color=GREY, linewidth=2.2, solid_capstyle="butt")


def legend_line(label: str) -> Line2D:
    """What `mark_across` draws, for the legend."""
    return Line2D([], [], color=GREY, linewidth=2.2, label=label)


def legend_beside(figure: Figure, cohort: Cohort, further: Sequence[Line2D]) -> None:
    """A legend of the samplers and of what else is drawn, on the right of the rows."""
    handles = [
        Line2D(
            [], [], label=f"{name}{ORACLE * reads_truth(sampler)}", color=style.colour, linewidth=1.2, **_marker(style)
        )
        for sampler, (name, style) in zip(cohort.samplers, styles(cohort.names).items(), strict=True)
    ]
    figure.legend(handles=[*handles, *further], loc="outside right upper", frameon=False)


def _marker(style: Style) -> dict[str, Any]:
    return {
        "marker": style.marker,
        "markersize": marker_size(style),
        "fillstyle": FILLS[style.line],
        "markerfacecolor": style.colour,
        "markerfacecoloralt": "white",
        "markeredgecolor": style.colour,
        "markeredgewidth": 1.1,
    }
