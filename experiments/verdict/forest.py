"""Every pair of samplers at a glance: pooled differences with their intervals, those of each data set around them."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import blended_transform_factory

from decomp.experiments.report.figures import DPI, GREY, Drawing, legend_below, render, tidy
from decomp.experiments.report.pairs import Verdict
from decomp.experiments.report.statistics import COVER
from decomp.experiments.verdict.pooled import PooledPair

LOOKS = (
    *(("#4477AA", "o"), ("#EE6677", "s"), ("#228833", "^"), ("#CCBB44", "D"), ("#66CCEE", "v"), ("#AA3377", "P")),
    *(("#777777", "X"), ("#994455", "h"), ("#004488", "*"), ("#997700", "<")),
)
"""Colour and marker of data sets, after Paul Tol's bright scheme, which no sampler has."""

POOLED = "#000000"

LANE, ROW = 0.19, 0.34
"""Inches of a data set's lane and of a row without them."""

FEW = 4
"""Blocks from which an interval is narrow enough to be given room."""

GAINS = "difference of gains (1: from the first cycle to full annotation); right of 0 the first is better"

VERDICTS = {Verdict.SIGNIFICANT: "significant", Verdict.NOT_SIGNIFICANT: "undecided", Verdict.TOO_FEW: "too few blocks"}


@dataclass(frozen=True)
class Said:
    """What stands beside a row.

    Attributes:
        text: the text.
        decided: whether it decides anything; the row is then filled and bold.
        small: differences within -+ this much are shaded.
    """

    text: str
    decided: bool
    small: float = 0.0


def forest_drawing(
    pairs: Sequence[PooledPair],
    data_sets: Sequence[str],
    measured: str = GAINS,
    answers: Sequence[Said] | None = None,
) -> Drawing | None:
    """A row for every pair, in the order in which they are tested; None where there is none.

    Args:
        pairs: the pairs.
        data_sets: names of all data sets, whose looks follow from their places; those that have a pair are drawn.
        measured: what the differences are, and what it means to lie right of 0.
        answers: of each row; the corrected p and what it says by default.
    """
    if not pairs:
        return None
    looks = {name: LOOKS[place % len(LOOKS)] for place, name in enumerate(data_sets)}
    names = [name for name in looks if any(name in each.by_data_set for each in pairs)]
    lanes = len(names) if len(names) > 1 else 0
    height = len(pairs) * (ROW + LANE * lanes)
    figure = Figure(figsize=(9.4, 1.15 + height), dpi=DPI, layout="constrained")
    panel = figure.subplots()
    step = 0.8 / (lanes + 1)
    said = answers or [_tested(each) for each in pairs]
    for row, (each, answer) in enumerate(zip(pairs, said, strict=True)):
        panel.fill_betweenx([row - 0.5, row + 0.5], -answer.small, answer.small, color="#EEEEEE", linewidth=0, zorder=0)
        _draw_pooled(panel, each, row - 0.4 + step / 2 if lanes else row, answer)
        for lane, name in enumerate(names[:lanes], start=1):
            if name in each.by_data_set:
                _draw_data_set(panel, each, name, row - 0.4 + step * (lane + 0.5), looks[name])
    panel.axvline(0, color=GREY, linewidth=1)
    for row in range(1, len(pairs)):
        panel.axhline(row - 0.5, color="#DDDDDD", linewidth=0.7)
    panel.set_yticks(range(len(pairs)), [f"{each.pair.first} – {each.pair.second}" for each in pairs])
    panel.set_ylim(len(pairs) - 0.5, -0.5)
    panel.set_xlim(*_limits(pairs, max(answer.small for answer in said)))
    panel.set_xlabel(measured)
    tidy(panel, "x")
    panel.tick_params(axis="y", length=0)
    panel.plot([], [], "D-", color=POOLED, markersize=7, linewidth=2.4, label="all blocks")
    for name in names[:lanes]:
        colour, marker = looks[name]
        panel.plot([], [], f"{marker}-", color=colour, markersize=5, linewidth=1.1, label=name)
    legend_below(figure)
    note = (
        f"Mean differences over blocks with Student's t interval ({COVER}); whiskers that leave the figure are cut. "
        "p is corrected after Holm over all rows, filled where it is significant; in brackets the number of blocks."
    )
    return render(figure, "forest", "Every pair of samplers", note)


def _tested(each: PooledPair) -> Said:
    text = f"p {each.pair.p_holm:.2g}, {VERDICTS[each.pair.verdict]} ({each.pair.paired.difference.n})"
    return Said(text, each.pair.significant)


def _draw_pooled(panel: Axes, each: PooledPair, y: float, answer: Said) -> None:
    spread = each.pair.paired.difference
    if spread.interval:
        panel.plot(spread.interval, [y, y], color=POOLED, linewidth=2.4, solid_capstyle="butt")
    face = POOLED if answer.decided else "white"
    panel.plot([spread.mean], [y], "D", color=POOLED, markerfacecolor=face, markersize=7, zorder=3)
    panel.text(
        1.01,
        y,
        answer.text,
        transform=blended_transform_factory(panel.transAxes, panel.transData),
        va="center",
        fontsize=8.5,
        color=POOLED,
        fontweight="bold" if answer.decided else "normal",
    )


def _draw_data_set(panel: Axes, each: PooledPair, name: str, y: float, look: tuple[str, str]) -> None:
    spread, (colour, marker) = each.by_data_set[name].difference, look
    if spread.interval:
        panel.plot(spread.interval, [y, y], color=colour, linewidth=1.1)
    panel.plot([spread.mean], [y], marker, color=colour, markersize=5)


def _limits(pairs: Sequence[PooledPair], small: float) -> tuple[float, float]:
    """All means, zero, what is small, pooled intervals of at least `FEW` blocks, and room for most of the others."""
    ends = [-small, small]
    for each in pairs:
        pooled = each.pair.paired.difference
        ends += [pooled.mean, *((pooled.n >= FEW and pooled.interval) or ())]
        ends += [paired.difference.mean for paired in each.by_data_set.values()]
    margin = 0.2 * (max(ends) - min(ends)) or 0.01
    return min(ends) - margin, max(ends) + margin
