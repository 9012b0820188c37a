"""Figures and how a sampler looks in them: the same colour everywhere, also for readers who are colour-blind."""

import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from matplotlib import rc_context
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

# Okabe and Ito's palette without yellow, which is too light for lines on white.
BLUE, VERMILLION, GREEN, ORANGE, PURPLE, SKY, BLACK = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#E69F00",
    "#CC79A7",
    "#56B4E9",
    "#000000",
)
BROWN, VIOLET = "#8C6D31", "#6A3D9A"
KNOWN = {
    "rand": (BLUE, "s", ":"),
    "uncert": (ORANGE, "^", "--"),
    "divers-cluster": (GREEN, "D", "-."),
    "divers-core-set": (PURPLE, "v", ":"),
    "badge": (SKY, "P", "--"),
    "decomp": (VERMILLION, "o", "-"),
    "bald": (VIOLET, "h", "-"),
    "power-bald": (VIOLET, "h", "--"),
    "softrank-bald": (VIOLET, "h", ":"),
    "predictive-entropy": (BROWN, "*", "-"),
    "expected-entropy": (BROWN, "*", ":"),
    "power-pe": (BROWN, "*", "--"),
    "clasp-pe": (BLACK, "X", "-"),
    "clasp-pe-33": (BLACK, "X", "--"),
    "rand-pool": (BLUE, "s", "--"),
    "rand-pred-fg": ("#4D9DE0", ">", "-"),
    "rand-fg-33": ("#7F7F7F", "<", "--"),
    "rand-fg-66": ("#7F7F7F", "<", "-"),
    "rand-class": ("#7F7F7F", "<", ":"),
    "typiclust": ("#66A61E", "p", "-"),
    "probcover": ("#E7298A", "d", "-"),
}
"""Colour, marker and line of samplers that have a name; a family shares a colour."""
OTHERS = ((BLACK, "X", "-."), (BROWN, "*", "-."), (VIOLET, "h", "-."))
LINES = ("-", "--", ":", "-.")
MARKERS = ("o", "s", "^", "D", "v")
GREY = "#555555"
DPI = 110
LEGEND_LINE = 0.22
"""Inches of a line of a legend."""


@dataclass(frozen=True)
class Drawing:
    """A figure, rendered; the same data give the same bytes.

    Attributes:
        name: stem of its files.
        title: one line for humans.
        png: PNG file.
        svg: SVG file; empty for a picture, which has pixels only.
        note: what a reader must know, e.g. what a band is.
    """

    name: str
    title: str
    png: bytes
    svg: str
    note: str = ""

    @property
    def files(self) -> tuple[str, ...]:
        """Names of its files: SVG unless it is a picture, and PNG."""
        return (f"{self.name}.svg", f"{self.name}.png") if self.svg else (f"{self.name}.png",)


@dataclass(frozen=True)
class Style:
    """How a sampler's line looks.

    Attributes:
        colour: ``#RRGGBB``.
        marker: matplotlib's marker, so that colour is not the only difference.
        line: matplotlib's line style, another one where two samplers of a figure share colour and marker.
    """

    colour: str
    marker: str
    line: str = "-"


def style_of(sampler: str) -> Style:
    """Looks of a sampler, which depend on its name only; a pair looks like the sampler of its regions."""
    regions = sampler.rpartition("_")[2]
    if regions in KNOWN:
        return Style(*KNOWN[regions])
    digest = hashlib.blake2b(sampler.encode(), digest_size=4).digest()
    return Style(*OTHERS[int.from_bytes(digest, "big") % len(OTHERS)])


def styles(samplers: Sequence[str]) -> dict[str, Style]:
    """Styles for one figure: `style_of`, where samplers that share a colour differ in their lines, or in markers too.

    Samplers that have a name keep the look of it.
    """
    chosen: dict[str, Style] = {}
    for sampler in sorted(samplers, key=lambda name: name not in KNOWN):
        style = style_of(sampler)
        alike = [other for other in chosen.values() if other.colour == style.colour]
        lines = [line for line in (style.line, *LINES) if line not in [other.line for other in alike]]
        looks = [replace(style, line=line) for line in lines]
        looks += [replace(style, marker=marker, line=line) for marker in MARKERS for line in LINES]
        chosen[sampler] = next((look for look in looks if look not in alike), style)
    return {sampler: chosen[sampler] for sampler in samplers}


def marker_size(style: Style) -> float:
    """Size of a sampler's markers, in points; a star looks smaller than it is."""
    return 8.5 if style.marker == "*" else 5.5


def by_budget(drawings: Mapping[str, Drawing | None]) -> tuple[Drawing, ...]:
    """The drawings that exist, distinguished by their budget where there are several budgets.

    Args:
        drawings: a drawing for each label of a budget; None where there is none.
    """
    if len(drawings) == 1:
        return tuple(drawing for drawing in drawings.values() if drawing is not None)
    return tuple(
        replace(drawing, name=f"{drawing.name}_{budget}", title=f"{drawing.title}, budget {budget}")
        for budget, drawing in drawings.items()
        if drawing is not None
    )


def tidy(panel: Axes, axis: Literal["both", "x", "y"]) -> None:
    """A pale grid behind the data, over one axis or both, and a frame on two sides only."""
    panel.grid(axis=axis, color="#DDDDDD", linewidth=0.7)
    panel.set_axisbelow(True)
    panel.spines[["top", "right"]].set_visible(False)


ORACLE = " (reads the truth)"
"""What follows the name of an oracle baseline in a legend."""


def legend_below(figure: Figure) -> None:
    """One legend of all panels, a label each, below them where it covers no data; the figure grows by its lines."""
    handles: dict[str, Artist] = {}
    for panel in figure.axes:
        for handle, label in zip(*panel.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    if handles:
        width, height = figure.get_size_inches()
        columns = max(1, min(len(handles), int(width / (0.75 + 0.085 * max(map(len, handles))))))
        figure.set_size_inches(width, height + LEGEND_LINE * -(-len(handles) // columns))
        figure.legend(
            list(handles.values()),
            list(handles),
            loc="outside lower center",
            ncols=columns,
            frameon=False,
            handlelength=3.2,
        )


def render(figure: Figure, name: str, title: str, note: str = "") -> Drawing:
    """Both files of a figure, without anything that differs between two renderings of the same data."""
    png, svg = io.BytesIO(), io.StringIO()
    FigureCanvasAgg(figure).print_png(png, metadata={"Software": None})
    with rc_context({"svg.hashsalt": name, "svg.fonttype": "none"}):
        FigureCanvasSVG(figure).print_svg(svg, metadata={"Date": None, "Creator": None})
    return Drawing(name, title, png.getvalue(), svg.getvalue(), note)
