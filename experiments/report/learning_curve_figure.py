"""Learning curves as a figure, a panel per budget."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from decomp.experiments.report.axes import Axis, axes_of, score_name
from decomp.experiments.report.comparison import FULL_SHARE, BudgetResult, Comparison, SamplerResult
from decomp.experiments.report.figures import (
    DPI,
    GREY,
    LINES,
    ORACLE,
    Drawing,
    Style,
    legend_below,
    render,
    styles,
    tidy,
)

OPEN: dict[str, Any] = {"markersize": 7, "markerfacecolor": "white", "markeredgewidth": 1.3}


def learning_curve_drawing(comparison: Comparison, budgets: Sequence[str] | None = None) -> Drawing:
    """Mean score with a band of one standard deviation over annotation, a panel per budget.

    Args:
        comparison: what to show.
        budgets: labels of the budgets to show; all by default.
    """
    shown = [result for result in comparison.budgets if budgets is None or result.budget in budgets]
    columns = min(2, max(1, len(shown)))
    rows = max(1, -(-len(shown) // columns))
    figure = Figure(figsize=(7.6 if columns == 1 else 6.4 * columns, 4.8 * rows), dpi=DPI, layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    chosen = styles(list(dict.fromkeys(s.sampler for result in comparison.budgets for s in result.samplers)))
    for panel, result in zip(panels, shown, strict=False):
        _draw_panel(panel, comparison, result, chosen)
    for panel in panels[len(shown) :]:
        panel.set_axis_off()
    legend_below(figure)
    note = (
        "Mean over the repeats; the band is one standard deviation. Open markers and ticks at the bottom: mean "
        f"annotation at which a curve reaches {FULL_SHARE:.0%} of full annotation, if the curves of all repeats do so "
        "after the first cycle."
    )
    title = f"Learning curves over {comparison.axis.label}"
    return render(figure, curves_name(comparison.metric, comparison.axis), title, note)


def all_budgets_drawing(comparison: Comparison) -> Drawing | None:
    """The curves of all budgets in one panel, over the comparison's axis; None where there is one budget.

    Budgets differ in what a cycle annotates, from single regions to whole images; over one axis of annotation they can
    be compared all the same.
    """
    if len(comparison.budgets) < 2:
        return None
    several = Counter(s.sampler for result in comparison.budgets for s in result.samplers if s.cycles)
    figure = Figure(figsize=(8.6, 5.4), dpi=DPI, layout="constrained")
    panel = figure.subplots()
    names = list(several)
    chosen = styles(names)
    for place, result in enumerate(comparison.budgets):
        for sampler in result.samplers:
            if sampler.cycles:
                style = chosen[sampler.sampler]
                if several[sampler.sampler] > 1:
                    style = replace(style, line=LINES[place % len(LINES)])
                label = f"{_shown(sampler.sampler, comparison)}, {result.budget}"
                _draw_curve(panel, sampler, comparison.axis, style, label)
    _draw_reference(panel, comparison)
    counts = [cycle.score.n for result in comparison.budgets for s in result.samplers for cycle in s.cycles]
    _label(panel, comparison, max(counts, default=1))
    legend_below(figure)
    note = "Mean over the repeats; the band is one standard deviation. A sampler has its colour, a budget its line."
    return render(figure, "learning_curves_all_budgets", f"All budgets over {comparison.axis.label}", note)


def curves_name(metric: str, axis: Axis) -> str:
    """Stem of the file of learning curves over an axis."""
    return "learning_curves" if axis.name == axes_of(metric)[0].name else f"learning_curves_by_{axis.name}"


def _draw_panel(panel: Axes, comparison: Comparison, result: BudgetResult, chosen: dict[str, Style]) -> None:
    for sampler in result.samplers:
        if sampler.cycles:
            label = _shown(sampler.sampler, comparison)
            _draw_curve(panel, sampler, comparison.axis, chosen[sampler.sampler], label)
    _draw_reference(panel, comparison)
    if comparison.reference is not None and comparison.target is not None:
        _mark_crossings(panel, comparison.axis, comparison.target, result.samplers, chosen)
    counts = [cycle.score.n for sampler in result.samplers for cycle in sampler.cycles]
    over = f", {_repeats(min(counts), max(counts))}" if counts else ""
    panel.set_title(f"budget {result.budget}{over}", fontsize=11, loc="left")
    _label(panel, comparison, max(counts, default=1))


def _repeats(fewest: int, most: int) -> str:
    """How many repeats the points of the curves are means over, in words."""
    return f"{'' if fewest == most else f'{fewest} to '}{most} repeat{'s' * (most > 1)}"


def _draw_reference(panel: Axes, comparison: Comparison) -> None:
    if comparison.reference is None or comparison.target is None:
        return
    for height, name, line, side in (
        (comparison.reference.mean, "full annotation", "-", "bottom"),
        (comparison.target, f"{FULL_SHARE:.0%} of full annotation", (0, (4, 3)), "top"),
    ):
        panel.axhline(height, color=GREY, linewidth=1.1, linestyle=line, zorder=1)
        panel.annotate(
            name,
            (0, height),
            xycoords=("axes fraction", "data"),
            xytext=(5, 3 if side == "bottom" else -3),
            textcoords="offset points",
            va=side,
            color=GREY,
            fontsize=9,
        )


def _label(panel: Axes, comparison: Comparison, repeats: int) -> None:
    panel.set_xlabel(comparison.axis.title)
    panel.set_ylabel(f"test {score_name(comparison.metric)}{', mean ± sd' if repeats > 1 else ''}")
    panel.set_xlim(left=0)
    panel.margins(y=0.08)
    tidy(panel, "both")


def _shown(sampler: str, comparison: Comparison) -> str:
    return sampler + ORACLE * (sampler in comparison.oracles)


def _draw_curve(panel: Axes, result: SamplerResult, axis: Axis, style: Style, label: str) -> None:
    x = [axis.scale * cycle.amount.mean for cycle in result.cycles]
    y = [cycle.score.mean for cycle in result.cycles]
    sd = [cycle.score.sd or 0.0 for cycle in result.cycles]
    low, high = [a - s for a, s in zip(y, sd, strict=True)], [a + s for a, s in zip(y, sd, strict=True)]
    panel.fill_between(x, low, high, color=style.colour, alpha=0.15, linewidth=0)
    panel.plot(
        x,
        y,
        label=label,
        color=style.colour,
        linestyle=style.line,
        linewidth=2,
        marker=style.marker,
        markersize=6,
        markeredgecolor="white",
        markeredgewidth=0.5,
    )


def _mark_crossings(
    panel: Axes, axis: Axis, target: float, samplers: Sequence[SamplerResult], chosen: dict[str, Style]
) -> None:
    """Where the samplers reach the target, on its line and at the bottom, if all their repeats do."""
    crossings = [(s.sampler, s.needed.amount.mean) for s in samplers if s.needed and s.needed.amount]
    for sampler, amount in crossings:
        x, style = axis.scale * amount, chosen[sampler]
        panel.plot([x], [target], style.marker, color=style.colour, zorder=3, **OPEN)
        panel.axvline(x, ymax=0.025, color=style.colour, linewidth=1.6, zorder=3)
    if crossings:
        panel.plot([], [], "o", color=GREY, label=f"reaches {FULL_SHARE:.0%} (mean)", **OPEN)
