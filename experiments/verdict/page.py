"""The page of a verdict over several experiments, and the files beside it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from decomp.experiments.report.conclusions import conclusions
from decomp.experiments.report.figures import Drawing
from decomp.experiments.report.learning_curve_figure import learning_curve_drawing
from decomp.experiments.report.page import Section, bullets, page
from decomp.experiments.report.report import contents_of, write_contents
from decomp.experiments.report.tables import Table
from decomp.experiments.sources import Source
from decomp.experiments.verdict.forest import forest_drawing
from decomp.experiments.verdict.pooled import Compared, Pooled, pool
from decomp.experiments.verdict.sentences import verdict_sentences, what_is_missing
from decomp.experiments.verdict.tables import axes_in_words, verdict_tables

PAGE = "verdict.html"


@dataclass(frozen=True)
class VerdictPage:
    """Everything that a verdict consists of.

    Attributes:
        pooled: the numbers.
        tables: a file ``NAME.csv`` and ``NAME.tex`` each.
        drawings: a file ``NAME.png`` and ``NAME.svg`` each; first the forest plot, if any pair is tested.
        sentences: the verdict in words.
        missing: what has no part in it and what limits it, a sentence each.
        html: the page ``verdict.html``, which shows them all.
    """

    pooled: Pooled
    tables: tuple[Table, ...]
    drawings: tuple[Drawing, ...]
    sentences: tuple[str, ...]
    missing: tuple[str, ...]
    html: str

    def contents(self) -> dict[str, bytes]:
        """Content of every file by its name; the same cycles give the same bytes."""
        return contents_of(self.tables, self.drawings) | {PAGE: self.html.encode()}

    def write(self, folder: Path) -> Path:
        """Write all files into a folder, which is made where missing; returns the page."""
        write_contents(folder, self.contents())
        return folder / PAGE


def verdict_page(sources: Sequence[Source]) -> VerdictPage:
    """The verdict over some experiments."""
    pooled = pool(sources)
    tables = {table.name: table for table in verdict_tables(pooled)}
    forest = forest_drawing(pooled.pairs, [data_set.name for data_set in pooled.data_sets])
    sentences, missing = tuple(verdict_sentences(pooled)), tuple(what_is_missing(pooled))
    curves = {experiment.name: _curves(experiment) for experiment in pooled.experiments if experiment.comparison.curves}
    sections = [
        Section(
            "Verdict",
            bullets(sentences),
            (tables["pooled_pairs"],),
            () if forest is None else (forest,),
        ),
        Section(
            "What each data set adds",
            "The same differences in each data set, and what is left without it: a data set weighs by its blocks.",
            (tables["pooled_by_data_set"],),
        ),
        Section("Ranks and wins", "", (tables["mean_ranks"], tables["merged_wins"], tables["agreement"])),
        Section(
            "Foreground efficiency",
            "How fast the score rises with the annotated foreground, whatever else is annotated beside it.",
            (tables["foreground_efficiency"],),
        ),
        *(_experiment_section(experiment, curves.get(experiment.name)) for experiment in pooled.experiments),
        Section("What is compared", bullets(missing), (tables["experiments"],)),
    ]
    about = {
        "Experiments": ", ".join(experiment.name for experiment in pooled.experiments),
        "Data sets": f"{len(pooled.data_sets)}, {pooled.blocks} blocks (independent repeats) in all",
        "Samplers": ", ".join((*pooled.samplers, *(f"{name} (oracle baseline)" for name in pooled.oracles))) or "none",
        "Gains": f"over {axes_in_words(pooled.data_sets)}",
        "Pairs": f"{len(pooled.pairs)}, {'declared by the experiments' if pooled.declared else 'all there are'}",
    }
    drawings = (*(() if forest is None else (forest,)), *curves.values())
    html = page("Verdict over several experiments", about, sections)
    return VerdictPage(pooled, tuple(tables.values()), drawings, sentences, missing, html)


def _curves(experiment: Compared) -> Drawing:
    drawing = learning_curve_drawing(experiment.comparison)
    name = "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in experiment.name)
    return replace(drawing, name=f"{drawing.name}_{name}", title=f"{drawing.title}: {experiment.name}")


def _experiment_section(experiment: Compared, curves: Drawing | None) -> Section:
    blocks = []
    for budget, sentences in conclusions(experiment.comparison).items():
        blocks += [f"Budget {budget}:"] if len(experiment.comparison.budgets) > 1 else []
        blocks.append(bullets(sentences))
    return Section(f"Experiment {experiment.name}", "\n\n".join(blocks), (), () if curves is None else (curves,))
