"""The report of an experiment: tables for the console and as files, and the learning curves."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table as RichTable
from rich.text import Text

from decomp.experiments.report.axes import Axis, axes_of
from decomp.experiments.report.comparison import (
    FULL_SHARE,
    BudgetResult,
    Comparison,
    Needed,
    SamplerResult,
    compare,
    compare_over,
)
from decomp.experiments.report.figures import Drawing, curves_name, learning_curves, score_name
from decomp.experiments.report.pairs import Pair, Verdict, family_notes, pairs_overall
from decomp.experiments.report.report_tables import COVER, REPEATS, caveats, report_tables
from decomp.experiments.report.statistics import Spread
from decomp.experiments.report.tables import Table
from decomp.experiments.schema import AnnotationSeconds
from decomp.platform.storage.location import write_whole
from decomp.platform.storage.runs import RunStore

WIDTH = 100
"""Columns of a terminal in which every table fits."""

PAIRS = 15
"""Most pairs of samplers of a budget that the console shows."""

SHORT = {Verdict.SIGNIFICANT: "yes", Verdict.NOT_SIGNIFICANT: "no", Verdict.TOO_FEW: "too few"}

PAGE = "report.html"

NONE = "–"
NO_BREAK_SPACES = "\u00a0" * 4


@dataclass(frozen=True)
class Report:
    """Everything that a report consists of.

    Attributes:
        comparison: what the files show, over the metric's first axis.
        runs: the runs that were compared.
        folder: where the files are.
        tables: a file ``NAME.csv`` and ``NAME.tex`` each; raw values of single repeats as CSV only.
        drawings: a file ``NAME.png`` and ``NAME.svg`` each, pictures as PNG only; first the learning curves over the
            first axis.
        html: the page ``report.html``, which shows them all; empty where there is none.
    """

    comparison: Comparison
    runs: tuple[RunStore, ...]
    folder: Path
    tables: tuple[Table, ...]
    drawings: tuple[Drawing, ...]
    html: str = ""

    @property
    def page(self) -> Path:
        """The page."""
        return self.folder / PAGE

    @property
    def files(self) -> tuple[Path, ...]:
        """All files."""
        return tuple(self.folder / name for name in self.contents())

    def figure_over(self, axis: Axis) -> Path:
        """The learning curves over an axis."""
        return self.folder / f"{curves_name(self.comparison.metric, axis)}.png"

    def contents(self) -> dict[str, bytes]:
        """Content of every file by its name; the same cycles give the same bytes."""
        found = {f"{table.name}.csv": table.csv().encode() for table in self.tables}
        found |= {f"{table.name}.tex": table.latex().encode() for table in self.tables if table.name != REPEATS}
        found |= {f"{drawing.name}.png": drawing.png for drawing in self.drawings}
        found |= {f"{drawing.name}.svg": drawing.svg.encode() for drawing in self.drawings if drawing.svg}
        return found | ({PAGE: self.html.encode()} if self.html else {})

    def write(self) -> "Report":
        """Write all files into the folder, which is made where missing."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for name, content in self.contents().items():
            write_whole(self.folder / name, content)
        return self


def compile_report(
    runs: Sequence[RunStore], folder: Path, metric: str, seconds: AnnotationSeconds | None = None
) -> Report:
    """Compare runs: tables and learning curves, without a page, which `page_building.with_page` adds.

    Args:
        runs: stores with the planned number of cycles, see `compare`.
        folder: where it is to be written.
        metric: the test metric.
        seconds: what expert time is reckoned from; its defaults by default.
    """
    comparison = compare(runs, metric)
    by_axis = [compare_over(axis, comparison) for axis in axes_of(metric, seconds)]
    tables = report_tables(by_axis)
    drawings = tuple(learning_curves(each) for each in by_axis)
    return Report(comparison, tuple(runs), folder, tables, drawings)


def console_tables(comparison: Comparison) -> RenderableType:
    """A readable selection, at most `WIDTH` columns wide, and a note for everything that is missing."""
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
    pairs = pairs_overall(comparison)
    for budget in dict.fromkeys(pair.budget for pair in pairs):
        parts += ["", _pairs_table(budget, [pair for pair in pairs if pair.budget == budget])]
    parts += [Text(note) for note in family_notes(pairs)]
    parts += [Text(note) for note in caveats(comparison)]
    if comparison.unfinished:
        parts += [Text("Not complete, so the comparison is over fewer repeats:")]
        parts += [Text(f"  {line}") for line in comparison.unfinished[:12]]
        parts += [Text(f"  and {len(comparison.unfinished) - 12} more.")] if len(comparison.unfinished) > 12 else []
    return Group(*parts)


def spread(value: Spread | None, factor: float = 1.0, digits: int = 3) -> str:
    """``mean ± sd``, times a factor; a dash for None."""
    if value is None:
        return NONE
    mean = f"{factor * value.mean:.{digits}f}"
    return mean if value.sd is None else f"{mean} ± {factor * value.sd:.{digits}f}"


def needed_text(needed: Needed | None, axis: Axis) -> str:
    """Annotation with its unit, or why there is none."""
    if needed is None:
        return "no reference"
    if needed.amount is None:
        return f"not reached ({needed.reached} of {needed.repeats} repeats)"
    return f"{spread(needed.amount, axis.scale, axis.digits)} {axis.unit}".rstrip()


def summary_markdown(comparison: Comparison) -> str:
    """The summary table in Markdown."""
    rows = [["budget", "sampler", *_summary_heads(comparison)]]
    for result in comparison.budgets:
        for sampler in result.samplers:
            rows.append([result.budget, sampler.sampler, *_summary_cells(comparison, sampler)])
    # MLflow leaves no space between columns, hence the hard spaces.
    lines = [f"| {' | '.join(cell + NO_BREAK_SPACES for cell in row)} |" for row in rows]
    return "\n".join([lines[0], f"|{' --- |' * len(rows[0])}", *lines[1:]]) + "\n"


def _cycle_tables(comparison: Comparison, result: BudgetResult) -> list[RichTable]:
    # Cycle and share take 24 columns, a sampler 2 more than its text.
    widths = [max(len(s.sampler), 13) + 2 for s in result.samplers]
    per_table = max(1, (WIDTH - 24) // max(widths))
    groups = [result.samplers[i : i + per_table] for i in range(0, len(result.samplers), per_table)]
    return [_cycle_table(comparison, result, group) for group in groups]


def _cycle_table(comparison: Comparison, result: BudgetResult, samplers: Sequence[SamplerResult]) -> RichTable:
    table = _table(f"Test {score_name(comparison.metric)} by cycle, budget {result.budget}")
    table.add_column("cycle", justify="right")
    table.add_column(comparison.axis.short, justify="right")
    for sampler in samplers:
        table.add_column(sampler.sampler, justify="right", overflow="fold")
    last = max((len(sampler.cycles) for sampler in result.samplers), default=0)
    for t in range(last):
        present = [sampler.cycles[t] for sampler in result.samplers if t < len(sampler.cycles)]
        cells = [spread(sampler.cycles[t].score) if t < len(sampler.cycles) else NONE for sampler in samplers]
        table.add_row(str(t + 1), _range(comparison.axis, [cycle.amount.mean for cycle in present]), *cells)
    return table


def _range(axis: Axis, amounts: Sequence[float]) -> str:
    low, high = axis.text(min(amounts)), axis.text(max(amounts))
    return low if low == high else f"{low.removesuffix(axis.unit).rstrip()}–{high}"


def _summary_table(comparison: Comparison) -> RichTable:
    table = _table("Summary")
    table.add_column("budget", overflow="fold")
    table.add_column("sampler", overflow="fold")
    for head in _summary_heads(comparison):
        table.add_column(head, justify="right")
    for result in comparison.budgets:
        for row, sampler in enumerate(result.samplers):
            name = result.budget if row == 0 else ""
            table.add_row(name, sampler.sampler, *_summary_cells(comparison, sampler))
        table.add_section()
    return table


def _pairs_table(budget: str, pairs: Sequence[Pair]) -> RichTable:
    table = _table(f"Pairs of samplers, budget {budget}: first minus second, area under the curve")
    table.add_column("pair", overflow="fold")
    for head in (f"difference [{COVER}]", "higher in", "p (Holm)", "significant"):
        table.add_column(head, justify="right", no_wrap=True)
    for pair in pairs[:PAIRS]:
        paired = pair.paired
        interval = paired.difference.interval
        between = f" [{interval[0]:+.3f}, {interval[1]:+.3f}]" if interval else ""
        table.add_row(
            f"{pair.first} – {pair.second}",
            f"{paired.difference.mean:+.3f}{between}",
            f"{paired.wins} of {paired.difference.n}",
            f"{pair.p_holm:.3f}",
            SHORT[pair.verdict],
        )
    if len(pairs) > PAIRS:
        table.add_row(f"and {len(pairs) - PAIRS} more in pairs_overall.csv")
    return table


def _summary_heads(comparison: Comparison) -> tuple[str, ...]:
    measure = "annotation" if comparison.axis.unit == "%" else comparison.axis.label
    return f"final {score_name(comparison.metric)}", "area under curve", f"{measure} for {FULL_SHARE:.0%} of full"


def _summary_cells(comparison: Comparison, sampler: SamplerResult) -> tuple[str, ...]:
    unfinished = sampler.final is None and comparison.reference is not None
    needed = NONE if unfinished else needed_text(sampler.needed, comparison.axis)
    return spread(sampler.final), spread(sampler.area), needed


def _table(title: str) -> RichTable:
    return RichTable(
        title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False
    )
