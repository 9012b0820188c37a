"""The report of an experiment: tables for the console, the same as CSV files, and the learning curves."""

import csv
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from decomp.experiments.comparison import FULL_SHARE, BudgetResult, Comparison, Needed, SamplerResult, compare
from decomp.experiments.curves import AXES, Spread
from decomp.experiments.figures import learning_curves, score_name
from decomp.platform.store import RunStore

WIDTH = 100
"""Columns of a terminal in which every table fits."""

NONE = "–"
NO_BREAK_SPACES = "\u00a0" * 4


@dataclass(frozen=True)
class Report:
    """A written report.

    Attributes:
        comparison: what the files show.
        runs: the runs that were compared.
        summary: CSV file, a row per budget and sampler: final score, area under the curve, annotation needed.
        cycles: CSV file, a row per budget, sampler and cycle: mean and spread over repeats.
        repeats: CSV file, a row per budget, sampler, repeat and cycle: what the others are computed from.
        figure: PNG file of the learning curves.
        further_figures: the same over the metric's other axes, if it has any.
    """

    comparison: Comparison
    runs: tuple[RunStore, ...]
    summary: Path
    cycles: Path
    repeats: Path
    figure: Path
    further_figures: tuple[Path, ...]

    @property
    def files(self) -> tuple[Path, ...]:
        """All files."""
        return (self.summary, self.cycles, self.repeats, self.figure, *self.further_figures)


def write_report(runs: Sequence[RunStore], folder: Path, metric: str) -> Report:
    """Compare runs and write tables and figure into a folder; the same cycles give the same bytes.

    Args:
        runs: stores with the planned number of cycles, see `compare`.
        folder: made where missing.
        metric: the test metric.
    """
    comparison = compare(runs, metric)
    folder.mkdir(parents=True, exist_ok=True)
    report = Report(
        comparison,
        tuple(runs),
        folder / "summary.csv",
        folder / "cycles.csv",
        folder / "repeats.csv",
        folder / "learning_curves.png",
        tuple(folder / f"learning_curves_by_{axis.field}.png" for axis in AXES[metric][1:]),
    )
    _write_csv(report.summary, _summary_rows(comparison))
    _write_csv(report.cycles, _cycle_rows(comparison))
    _write_csv(report.repeats, _repeat_rows(comparison))
    _replace(report.figure, learning_curves(comparison))
    for axis, file in zip(AXES[metric][1:], report.further_figures, strict=True):
        _replace(file, learning_curves(compare(runs, metric, axis)))
    return report


def console_tables(comparison: Comparison) -> RenderableType:
    """All tables, at most `WIDTH` columns wide, and a note for everything that is missing."""
    parts: list[RenderableType] = []
    for result in comparison.budgets:
        parts += [*_cycle_tables(comparison, result), ""]
    if comparison.budgets:
        parts += [_summary_table(comparison)]
    if comparison.reference is not None and comparison.target is not None:
        parts += [
            Text(
                f"Full annotation: {score_name(comparison.metric)} {spread(comparison.reference)} "
                f"({comparison.reference.n} training(s)); {FULL_SHARE:.0%} of it is {comparison.target:.3f}."
            )
        ]
    missing = [*comparison.missing, *(f"budget {b.budget}, {line}" for b in comparison.budgets for line in b.missing)]
    if missing:
        parts += [Text("Not complete, so the comparison is over fewer repeats:")]
        parts += [Text(f"  {line}") for line in missing[:12]]
        parts += [Text(f"  and {len(missing) - 12} more.")] if len(missing) > 12 else []
    return Group(*parts)


def spread(value: Spread | None, factor: float = 1.0, digits: int = 3) -> str:
    """``mean ± sd``, times a factor; a dash for None."""
    if value is None:
        return NONE
    mean = f"{factor * value.mean:.{digits}f}"
    return mean if value.sd is None else f"{mean} ± {factor * value.sd:.{digits}f}"


def needed_text(needed: Needed | None) -> str:
    """Annotated share in percent, or why there is none."""
    if needed is None:
        return "no reference"
    if needed.share is None:
        return f"not reached ({needed.reached} of {needed.repeats} repeats)"
    return f"{spread(needed.share, 100, 2)} %"


def summary_markdown(comparison: Comparison) -> str:
    """The summary table in Markdown."""
    rows = [["budget", "sampler", *_summary_heads(comparison.metric)]]
    for result in comparison.budgets:
        for sampler in result.samplers:
            rows.append([result.budget, sampler.sampler, *_summary_cells(comparison, sampler)])
    # MLflow leaves no space between columns, hence the hard spaces.
    lines = [f"| {' | '.join(cell + NO_BREAK_SPACES for cell in row)} |" for row in rows]
    return "\n".join([lines[0], f"|{' --- |' * len(rows[0])}", *lines[1:]]) + "\n"


def _cycle_tables(comparison: Comparison, result: BudgetResult) -> list[Table]:
    # Cycle and share take 24 columns, a sampler 2 more than its text.
    widths = [max(len(s.sampler), 13) + 2 for s in result.samplers]
    per_table = max(1, (WIDTH - 24) // max(widths))
    groups = [result.samplers[i : i + per_table] for i in range(0, len(result.samplers), per_table)]
    return [_cycle_table(comparison, result, group) for group in groups]


def _cycle_table(comparison: Comparison, result: BudgetResult, samplers: Sequence[SamplerResult]) -> Table:
    table = _table(f"Test {score_name(comparison.metric)} by cycle, budget {result.budget}")
    table.add_column("cycle", justify="right")
    table.add_column(comparison.axis.short, justify="right")
    for sampler in samplers:
        table.add_column(sampler.sampler, justify="right", overflow="fold")
    last = max((len(sampler.cycles) for sampler in result.samplers), default=0)
    for t in range(last):
        present = [sampler.cycles[t] for sampler in result.samplers if t < len(sampler.cycles)]
        cells = [spread(sampler.cycles[t].score) if t < len(sampler.cycles) else NONE for sampler in samplers]
        table.add_row(str(t + 1), _share_range([cycle.share.mean for cycle in present]), *cells)
    return table


def _share_range(shares: Sequence[float]) -> str:
    low, high = f"{100 * min(shares):.2f}", f"{100 * max(shares):.2f}"
    return f"{low} %" if low == high else f"{low}–{high} %"


def _summary_table(comparison: Comparison) -> Table:
    table = _table("Summary")
    table.add_column("budget", overflow="fold")
    table.add_column("sampler", overflow="fold")
    for head in _summary_heads(comparison.metric):
        table.add_column(head, justify="right")
    for result in comparison.budgets:
        for row, sampler in enumerate(result.samplers):
            name = result.budget if row == 0 else ""
            table.add_row(name, sampler.sampler, *_summary_cells(comparison, sampler))
        table.add_section()
    return table


def _summary_heads(metric: str) -> tuple[str, ...]:
    return f"final {score_name(metric)}", "area under curve", f"annotation for {FULL_SHARE:.0%} of full"


def _summary_cells(comparison: Comparison, sampler: SamplerResult) -> tuple[str, ...]:
    unfinished = sampler.final is None and comparison.reference is not None
    return spread(sampler.final), spread(sampler.area), NONE if unfinished else needed_text(sampler.needed)


def _table(title: str) -> Table:
    return Table(
        title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False
    )


def _summary_rows(comparison: Comparison) -> Iterable[Sequence[object]]:
    metric = comparison.metric
    yield (
        *("budget", "sampler", "repeats", f"final_{metric}_mean", f"final_{metric}_sd", "area_mean", "area_sd"),
        *("area_from_share", "area_to_share", "target"),
        *("needed_share_mean", "needed_share_sd", "repeats_that_reach_target"),
    )
    for result in comparison.budgets:
        for sampler in result.samplers:
            yield (
                result.budget,
                sampler.sampler,
                len(result.repeats),
                *_cells(sampler.final),
                *_cells(sampler.area),
                *(result.shares or ("", "")),
                comparison.target,
                *_cells(sampler.needed.share if sampler.needed else None),
                sampler.needed.reached if sampler.needed else "",
            )
    if comparison.reference is not None:
        yield ("", "full annotation", comparison.reference.n, *_cells(comparison.reference), *[""] * 8)


def _cycle_rows(comparison: Comparison) -> Iterable[Sequence[object]]:
    metric = comparison.metric
    yield "budget", "sampler", "cycle", "repeats", "share_mean", "share_sd", f"{metric}_mean", f"{metric}_sd"
    for result in comparison.budgets:
        for sampler in result.samplers:
            for cycle in sampler.cycles:
                spreads = (*_cells(cycle.share), *_cells(cycle.score))
                yield (result.budget, sampler.sampler, cycle.cycle, cycle.score.n, *spreads)


def _repeat_rows(comparison: Comparison) -> Iterable[Sequence[object]]:
    yield "budget", "sampler", "seed", "fold", "cycle", "share", "images", "regions", "pixels", comparison.metric
    for curve in comparison.curves:
        rows = zip(curve.shares, curve.images, curve.regions, curve.pixels, curve.scores, strict=True)
        for cycle, row in enumerate(rows, start=1):
            yield (curve.budget, curve.sampler, *curve.repeat, cycle, *row)


def _cells(value: Spread | None) -> tuple[object, object]:
    return (None, None) if value is None else (value.mean, value.sd)


def _write_csv(file: Path, rows: Iterable[Sequence[object]]) -> None:
    draft = file.with_name(f".{file.name}.draft")
    with draft.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream, lineterminator="\n").writerows(rows)
    os.replace(draft, file)


def _replace(file: Path, content: bytes) -> None:
    draft = file.with_name(f".{file.name}.draft")
    draft.write_bytes(content)
    os.replace(draft, file)
