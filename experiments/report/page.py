"""A report as one HTML page that needs nothing else: no network, no script, no other file."""

import base64
import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from itertools import pairwise

import jinja2

from decomp.experiments.report.figures import Drawing
from decomp.experiments.report.tables import UNDEFINED, Table, readable, text

OPEN_ROWS = 16
"""Tables with more rows are folded."""

SHOWN_ROWS = 250
"""Tables with more rows are in their files only."""

NARROW = 900
"""Greatest width in pixels of drawings that may stand side by side."""


@dataclass(frozen=True)
class Block:
    """A paragraph of one line, or a list of several.

    Attributes:
        is_list: whether it is a list.
        lines: its lines.
    """

    is_list: bool
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Attributes:
        title: its heading.
        text: paragraphs, with an empty line between two of them; lines that begin with ``- `` are a list.
        tables: shown below the drawings.
        drawings: shown below the text.
    """

    title: str
    text: str = ""
    tables: tuple[Table, ...] = ()
    drawings: tuple[Drawing, ...] = ()

    @property
    def anchor(self) -> str:
        """Where links to the section lead."""
        return re.sub(r"[^a-z0-9]+", "-", self.title.lower()).strip("-")

    @property
    def blocks(self) -> list[Block]:
        """The text in paragraphs and lists."""
        blocks = []
        for block in self.text.split("\n\n"):
            lines = block.strip().splitlines()
            if lines and all(line.startswith("- ") for line in lines):
                blocks.append(Block(True, tuple(line[2:] for line in lines)))
            elif lines:
                blocks.append(Block(False, (" ".join(lines),)))
        return blocks


@dataclass(frozen=True)
class Column:
    """A column as it is shown; a mean and its standard deviation share one.

    Attributes:
        head: its heading.
        numeric: whether it is aligned to the right.
        cells: its cells.
    """

    head: str
    numeric: bool
    cells: tuple[str, ...]


def page(title: str, about: Mapping[str, str], sections: Sequence[Section]) -> str:
    """The page; the same input gives the same bytes.

    Files of tables (``NAME.csv``, ``NAME.tex``) and drawings (``NAME.svg``, ``NAME.png``) are linked by name, so they
    are found where the page lies in their folder; without them it is still whole.

    Args:
        title: heading of the page.
        about: what the report is about, by key.
        sections: its parts, in order.
    """
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string(
        resources.files("decomp.experiments.report").joinpath("page.html").read_text("utf-8")
    )
    return template.render(
        title=title,
        about=about,
        sections=sections,
        columns=columns,
        picture=picture,
        size=size,
        paired=paired,
        open_rows=OPEN_ROWS,
        shown_rows=SHOWN_ROWS,
    )


def bullets(lines: Sequence[str]) -> str:
    """Lines as a list in a section's text."""
    return "\n".join(f"- {line}" for line in lines)


def columns(table: Table) -> list[Column]:
    """The columns of a table as they are shown."""
    pairs = {
        mean.removesuffix("_mean"): (place, place + 1)
        for place, (mean, sd) in enumerate(pairwise(table.heads))
        if mean.endswith("_mean") and sd == f"{mean.removesuffix('_mean')}_sd"
    }
    firsts, seconds = {first for first, _ in pairs.values()}, {second for _, second in pairs.values()}
    shown = []
    for place, head in enumerate(table.heads):
        if place in seconds:
            continue
        if place in firsts:
            cells = tuple(_mean_sd(text(row[place]), text(row[place + 1])) for row in table.rows)
            shown.append(Column(_head(head.removesuffix("_mean")), True, cells))
        else:
            undefined = all(row[place] is None for row in table.rows)
            cells = tuple(text(row[place]) for row in table.rows)
            shown.append(Column(_head(head), table.numeric(place) or undefined, cells))
    return shown


def picture(drawing: Drawing) -> str:
    """A drawing as a data URI: the vector form where there is one."""
    kind, content = ("svg+xml", drawing.svg.encode()) if drawing.svg else ("png", drawing.png)
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def size(drawing: Drawing) -> tuple[int, int]:
    """Width and height of a drawing in pixels, from its PNG file."""
    width, height = struct.unpack(">II", drawing.png[16:24])
    return width, height


def paired(drawings: Sequence[Drawing]) -> bool:
    """Whether drawings stand side by side: if they are several and none is wide."""
    return len(drawings) > 2 and all(size(drawing)[0] <= NARROW for drawing in drawings)


def _head(head: str) -> str:
    """A heading; only long ones may be broken into lines."""
    words = readable(head)
    return words if len(words) > 12 else words.replace(" ", "\u00a0")


def _mean_sd(mean: str, sd: str) -> str:
    return mean if sd == UNDEFINED else f"{mean} ± {sd}"
