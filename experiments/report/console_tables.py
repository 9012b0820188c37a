"""A comparison as tables for a terminal, and its summary in Markdown for MLflow."""

from collections.abc import Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table as RichTable
from rich.text import Text

from decomp.experiments.report.axes import Axis, score_name
from decomp.experiments.report.comparison import FULL_SHARE, BudgetResult, Comparison, Needed, SamplerResult
from decomp.experiments.report.incomplete import shortened
from decomp.experiments.report.pairs import Pair, Verdict, family_notes, pairs_overall
from decomp.experiments.report.statistics import COVER, Spread
from decomp.experiments.report.tables import UNDEFINED

WIDTH = 100
"""Columns of a terminal in which every table fits."""


PAIRS = 15
"""Most pairs of samplers of a budget that the console shows."""


SHORT = {Verdict.SIGNIFICANT: "yes", Verdict.NOT_SIGNIFICANT: "no", Verdict.TOO_FEW: "too few"}


NO_BREAK_SPACES = "\u00a0" * 4


def console_tables(comparison: Comparison) -> RenderableType:
    """A readable selection, at most `WIDTH` columns wide, and a note for everything that is missing."""
    shown: list[RenderableType] = []
    for result in comparison.budgets:
        shown += [*_cycle_tables(comparison, result), ""]
    if comparison.budgets:
        shown += [_summary_table(comparison)]
    if comparison.oracle_note:
        shown += [Text(comparison.oracle_note)]
    if comparison.reference is not None and comparison.target is not None:
        shown += [
            Text(
                f"Full annotation: {score_name(comparison.metric)} {spread(comparison.reference)} "
                f"({comparison.reference.n} training(s)); {FULL_SHARE:.0%} of it is {comparison.target:.3f}."
            )
        ]
    pairs = pairs_overall(comparison)
    for budget in dict.fromkeys(pair.budget for pair in pairs):
        shown += ["", _pairs_table(budget, [pair for pair in pairs if pair.budget == budget])]
    shown += [Text(note) for note in family_notes(pairs)]
    shown += [Text(note) for note in comparison.caveats]
    shown += [Text(f"Budget {result.budget}: {note}") for result in comparison.budgets for note in result.aside]
    if comparison.unfinished:
        shown += [Text("Not complete, so the comparison is over fewer repeats:")]
        shown += [Text(f"  {line}") for line in shortened(comparison.unfinished)]
    return Group(*shown)


def spread(value: Spread | None, factor: float = 1.0, digits: int = 3) -> str:
    """``mean ± sd``, times a factor; a dash for None."""
    if value is None:
        return UNDEFINED
    mean = f"{factor * value.mean:.{digits}f}"
    return mean if value.sd is None else f"{mean} ± {factor * value.sd:.{digits}f}"


def needed_text(needed: Needed | None, axis: Axis) -> str:
    """Annotation with its unit, or why there is none."""
    if needed is None:
        return "no reference"
    if needed.at_most is not None:
        which = "" if needed.by_first == needed.repeats else f", {needed.by_first} of {needed.repeats}"
        return f"at most {axis.text(needed.at_most)} (cycle 1{which})"
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
        cells = [spread(sampler.cycles[t].score) if t < len(sampler.cycles) else UNDEFINED for sampler in samplers]
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
    needed = UNDEFINED if unfinished else needed_text(sampler.needed, comparison.axis)
    return spread(sampler.final), spread(sampler.area), needed


def _table(title: str) -> RichTable:
    return RichTable(
        title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False
    )
