"""Tables as Markdown."""

from collections.abc import Sequence
from pathlib import Path

from decomp.experiments.report.figures import Drawing
from decomp.experiments.report.tables import Table, readable, text


def of_table(table: Table) -> str:
    """A table of raw values, rounded for humans; numbers to the right."""
    rows = [[text(cell) for cell in row] for row in table.rows]
    right = [table.numeric(column) for column in range(len(table.heads))]
    return of_cells([readable(head) for head in table.heads], rows, right)


def figure(drawing: Drawing, folder: Path) -> str:
    """A drawing whose file lies in a folder beside the page."""
    return f"![{drawing.title}]({folder.name}/{drawing.name}.png)"


def of_cells(heads: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[bool] = ()) -> str:
    """A table of texts.

    Args:
        heads: of the columns.
        rows: as many cells each as there are heads.
        right: which columns stand to the right; none by default.
    """
    rule = ["---:" if k < len(right) and right[k] else "---" for k in range(len(heads))]
    lines = [[cell.replace("|", "\\|") for cell in row] for row in [heads, rule, *rows]]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
