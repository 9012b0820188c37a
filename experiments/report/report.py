"""The files of a report: tables, drawings and the page that shows them all."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from decomp.experiments.report.axes import Axis, axes_of
from decomp.experiments.report.comparison import Comparison, compare, compare_over
from decomp.experiments.report.comparison_tables import comparison_tables
from decomp.experiments.report.design import Design
from decomp.experiments.report.figures import Drawing
from decomp.experiments.report.learning_curve_figure import (
    all_budgets_drawing,
    curves_name,
    learning_curve_drawing,
)
from decomp.experiments.report.long_tables import cycle_table
from decomp.experiments.report.run_history import RunHistory
from decomp.experiments.report.tables import Table
from decomp.experiments.schema import AnnotationSeconds
from decomp.platform.storage.files import FilePath

PAGE = "report.html"


@dataclass(frozen=True)
class Report:
    """Everything that a report consists of.

    Attributes:
        comparison: what the files show, over its first axis.
        histories: the runs and references that were compared.
        folder: where the files are.
        tables: a file ``NAME.csv`` and ``NAME.tex`` each; raw values of single repeats as CSV only.
        drawings: a file ``NAME.png`` and ``NAME.svg`` each, pictures as PNG only; first the learning curves over the
            first axis.
        html: the page ``report.html``, which shows them all; empty where there is none.
    """

    comparison: Comparison
    histories: tuple[RunHistory, ...]
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
        return contents_of(self.tables, self.drawings) | ({PAGE: self.html.encode()} if self.html else {})

    def write(self) -> "Report":
        """Write all files into the folder, which is made where missing."""
        write_contents(self.folder, self.contents())
        return self


def contents_of(tables: Sequence[Table], drawings: Sequence[Drawing]) -> dict[str, bytes]:
    """Content of the files of tables and drawings by their names."""
    contents = {f"{table.name}.csv": table.csv().encode() for table in tables}
    contents |= {f"{table.name}.tex": table.latex().encode() for table in tables if table.has_latex}
    contents |= {f"{drawing.name}.png": drawing.png for drawing in drawings}
    return contents | {f"{drawing.name}.svg": drawing.svg.encode() for drawing in drawings if drawing.svg}


def write_contents(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Write files into a folder, which is made where missing."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        FilePath(folder / name).write_atomically(content)


def compile_report(
    histories: Sequence[RunHistory],
    folder: Path,
    metric: str,
    seconds: AnnotationSeconds | None = None,
    design: Design | None = None,
) -> Report:
    """Compare runs: tables and learning curves, without a page, which `page_building.with_page` adds.

    Args:
        histories: of runs and references, see `compare`.
        folder: where it is to be written.
        metric: the test metric.
        seconds: what expert time is reckoned from; its defaults by default.
        design: which pairs are tested, over which blocks, see `compare`.
    """
    comparison = compare(histories, metric, design=design)
    axes = axes_of(metric, seconds)
    first_axis = comparison.axis.name  # which needs no seconds
    by_axis = [compare_over(axis, comparison) for axis in sorted(axes, key=lambda axis: axis.name != first_axis)]
    runs = [history for history in histories if history.spec.kind == "run"]
    tables = (*comparison_tables(by_axis), cycle_table(runs, axes))
    all_budgets = all_budgets_drawing(comparison)
    drawings = [learning_curve_drawing(each) for each in by_axis]
    drawings[1:1] = [all_budgets] if all_budgets else []
    return Report(comparison, tuple(histories), folder, tables, tuple(drawings))
