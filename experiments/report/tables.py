"""A table of a report: raw values, written as CSV at full precision, as LaTeX, and rounded for humans."""

import csv
import io
import re
from dataclasses import dataclass

from decomp.experiments.report.statistics import Spread

Cell = str | int | float | None
"""A raw value; None where it is undefined."""

Row = tuple[Cell, ...]

UNDEFINED = "–"

REPEATS = "repeats"
"""Name of the table that the others are computed from."""

FORMULAS = ("=", "+", "-", "@", "\t", "\r")
"""Beginnings of what spreadsheets compute when they open a CSV file."""

LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "<": r"$<$",
    ">": r"$>$",
    "×": r"$\times$",
    "±": r"$\pm$",
    "≤": r"$\le$",
    "–": "--",
}
"""Characters that LaTeX takes for commands, or lacks, and how they are written."""


@dataclass(frozen=True)
class Table:
    """A table of raw values.

    Attributes:
        name: stem of its files.
        title: one line for humans.
        heads: a name for every column, in lower case with underscores.
        rows: as many cells each as there are heads.
        note: what a reader must know: definitions, orientation, corrections.
    """

    name: str
    title: str
    heads: tuple[str, ...]
    rows: tuple[Row, ...]
    note: str = ""

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.heads):
                raise ValueError(f"Table {self.name} has {len(self.heads)} columns, but a row of {len(row)}: {row}.")

    @property
    def has_latex(self) -> bool:
        """Whether it is written as LaTeX too; the raw values of single repeats are not."""
        return self.name != REPEATS

    @property
    def files(self) -> tuple[str, ...]:
        """Names of its files."""
        return (f"{self.name}.csv", f"{self.name}.tex") if self.has_latex else (f"{self.name}.csv",)

    def csv(self) -> str:
        """Comma-separated values with a line of heads; floats in their shortest exact form, undefined cells empty."""
        stream = io.StringIO()
        csv.writer(stream, lineterminator="\n").writerows([map(inert, row) for row in (self.heads, *self.rows)])
        return stream.getvalue()

    def latex(self) -> str:
        r"""A ``tabular`` for the package booktabs, rounded and escaped; numbers to the right, the note as a comment."""
        columns = "".join("r" if self.numeric(column) else "l" for column in range(len(self.heads)))
        lines = [
            *(f"% {line}" for line in [self.title, self.note] if line),
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            _latex_row([readable(head) for head in self.heads]),
            r"\midrule",
            *(_latex_row([text(cell) for cell in row]) for row in self.rows),
            r"\bottomrule",
            r"\end{tabular}",
        ]
        return "\n".join(lines) + "\n"

    def numeric(self, column: int) -> bool:
        """Whether a column holds numbers, apart from undefined cells."""
        cells = [row[column] for row in self.rows if row[column] is not None]
        return bool(cells) and not any(isinstance(cell, str) for cell in cells)


def inert(cell: Cell) -> Cell:
    """A cell of CSV whose text, such as the name of a class, no spreadsheet takes for a formula."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULAS) else cell


def mean_sd(value: Spread | None) -> tuple[Cell, Cell]:
    """The two cells of a quantity over repeats."""
    return (None, None) if value is None else (value.mean, value.sd)


def text(cell: Cell) -> str:
    """A cell for humans: four decimals below 1, about four digits above, a dash where undefined."""
    if cell is None:
        return UNDEFINED
    if not isinstance(cell, float):
        return str(cell)
    size = abs(cell)
    if size == 0:
        return "0"
    if size < 1e-4:
        return f"{cell:.1e}"
    return f"{cell:.{4 if size < 1 else 3 if size < 10 else 2 if size < 100 else 1 if size < 1000 else 0}f}"


def readable(head: str) -> str:
    """A head for humans."""
    return head.replace("_", " ")


def _latex_row(cells: list[str]) -> str:
    pattern = re.compile("|".join(map(re.escape, LATEX)))
    return " & ".join(pattern.sub(lambda match: LATEX[match[0]], cell) for cell in cells) + r" \\"
