"""The page of the study: what became of every claim, from archives alone.

No figure on it is written by hand: fixed text says what the paper claims and how things are measured, and what came out
is put into words by what was computed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from decomp.experiments.report.axes import POOLS
from decomp.experiments.report.figures import Drawing
from decomp.experiments.report.incomplete import listed
from decomp.experiments.report.page import bullets
from decomp.experiments.report.statistics import COVER, LEVEL
from decomp.experiments.report.tables import Row, Table
from decomp.experiments.schema import load_experiment
from decomp.experiments.sources import Source, open_source
from decomp.experiments.study.by_claim import View, claim_section, forests_of, outcomes_of, overview, views_of
from decomp.experiments.study.by_data_set import curves_of, experiment_section, spent_sentences
from decomp.experiments.study.markdown import of_table
from decomp.experiments.study.outcomes import MARGIN, outcome_table
from decomp.experiments.verdict.pooled import Pooled
from decomp.experiments.verdict.sentences import what_is_missing
from decomp.experiments.verdict.tables import agreement_table, axes_in_words, rank_table

PAPER = "https://arxiv.org/abs/2512.07606"

COMMAND = "python -m decomp.experiments.study"


@dataclass(frozen=True)
class Study:
    """The page and what belongs to it.

    Attributes:
        page: the page as Markdown.
        tables: a CSV file each, in the folder of the archives.
        drawings: a PNG file each, there too.
    """

    page: str
    tables: tuple[Table, ...]
    drawings: tuple[Drawing, ...]


def make_study(presets: Sequence[Path], folder: Path) -> Study:
    """The study as far as its archives go.

    Args:
        presets: its experiment files, in the order of the page.
        folder: where the archives lie, each named after its experiment file; the page lies beside the folder.

    Raises:
        UserError: if an archive or experiment file is not in order.
    """
    archives = {preset.stem: folder / f"{preset.stem}.zip" for preset in presets}
    archives = {name: archive for name, archive in archives.items() if archive.exists()}
    sources = [open_source(archive) for archive in archives.values()]
    waiting = [preset for preset in presets if preset.stem not in archives]
    if not sources:
        text = f"# The study\n\nNothing is computed yet: {', '.join(preset.stem for preset in waiting)}.\n"
        return Study(text, (), ())
    views = views_of(sources)
    pooled = views[-1].pooled  # over the annotated share
    claims = outcomes_of(views)
    forests = [forests_of(outcomes, views) for outcomes in claims]
    curves = {each.name: curves_of(each.name, views) for each in pooled.experiments}
    blocks = [
        "# The study",
        *_introduction(folder, views),
        "## What came out",
        "Each claim is one question or several, mostly on pairs of samplers. The table counts their answers; in "
        "brackets it says how many answers of all data sets together are those of one alone, since no other compares "
        "the two, and how many would be others without one of them.",
        overview(claims, views),
        "## What is computed",
        _computed(pooled, [f"{folder.name}/{archive.name}" for archive in archives.values()]),
        bullets([*_unfinished(waiting), *what_is_missing(pooled)]),
        *_measures(views, pooled),
        "## Claim by claim",
        "In the figures, black diamonds are means over the blocks of all data sets, filled where there is a verdict "
        "other than undecided or too few repeats; in brackets is the number of blocks. Intervals "
        f"({COVER}) that leave a figure are cut. Where a claim is that a difference is small, those that count as "
        "small are shaded.",
        *(block for each in zip(claims, forests, strict=True) for block in claim_section(*each, views, folder)),
        "## Data set by data set",
        "Here p is corrected over all pairs that an experiment declares, under each budget by itself; in the claims "
        "above it is corrected over the questions of a claim, which are fewer. So a difference may be significant "
        "there and not here. Heights of curves are in units of the score. The figures show means over the repeats of "
        "the paper's samplers, with a band of one standard deviation.",
        *(block for each in pooled.experiments for block in experiment_section(each, curves[each.name], folder)),
        "### Ranks over the data sets",
        *(block for table in (rank_table(pooled), agreement_table(pooled)) for block in _table(table)),
        "## To repeat it",
        _repeating(presets, folder),
    ]
    drawings = [drawing for each in (*forests, *curves.values()) for drawing in each]
    page = "\n\n".join(block for block in blocks if block) + "\n"
    return Study(page, (outcome_table(claims),), tuple(drawings))


def _introduction(folder: Path, views: Sequence[View]) -> list[str]:
    return [
        f"What [the paper]({PAPER}) claims of DECOMP, measured on data that one machine can compute: generated slides, "
        "digit scenes and CT volumes of other seeds than those that any preset was made with, and a real brain. There "
        "is only one brain, so it is the one that the demonstration was made with. The data sets are small, and the "
        "paper's are not among them; what does not hold here may hold there, and the reverse.",
        f"`{COMMAND} docs/{folder.name}` makes this page and its figures from the archives beside it; nothing in it is "
        f"written by hand, whoever wins. Every answer at full precision: [claims.csv]({folder.name}/claims.csv).",
        "A block is a repeat, or the folds of a seed that share training images "
        "([Sec. 15](method.md#sec-15)). Differences are first minus second, means over blocks with Student's t "
        f"interval ({COVER}). p is that of the sign-flip test, corrected after Holm over the questions of a claim, in "
        f"each data set and over all of them; significant up to {LEVEL:g}. Where a claim says that there is hardly a "
        f"difference, it holds if the whole interval lies within {MARGIN:g} of zero, and does not if all of it lies "
        f"beyond; where it says that the first is hardly better, it holds if the whole interval lies below {MARGIN:g}, "
        "and does not if all of it lies above. Otherwise: undecided. Too few repeats: no difference of so few blocks "
        "could be significant.",
        "All data sets together are all their blocks: a data set with more blocks weighs more, and one with large "
        "differences can carry a verdict alone. Where all data sets but one give another answer, a line says so.",
        *_two_measures(views),
    ]


def _two_measures(views: Sequence[View]) -> list[str]:
    """Why some data sets are measured twice."""
    if len(views) == 1:
        return []
    slides, rois = POOLS["weighted_f1"]
    return [
        f"Learning curves of {listed(views[0].own)} are drawn over two measures of annotation: **over {slides}**, the "
        f"share of the {slides} that are processed, as in the paper; and **over {rois}**, the share of the {rois} that "
        f"are annotated. They need not give the same answer: a slide gives at most the {rois} that it has, so a "
        f"sampler that chooses {slides} with many {rois} gets more labels for as many {slides}. Samplers that select "
        f"in the whole pool are compared with the others over {rois} only. Other data sets have one measure, so that "
        f"all data sets together differ between the two in {listed(views[0].own)} alone. Each measure is tested by "
        "itself."
    ]


def _measures(views: Sequence[View], pooled: Pooled) -> list[str]:
    """What the learning curves are drawn over, and what the samplers spend where that is not all there is to it."""
    alike = [data_set for data_set in views[0].pooled.data_sets if data_set.name not in views[0].own]
    told = [f"Learning curves are drawn over {axes_in_words(alike)}"] if alike else []
    told += [
        f"{each.name} has two measures: {listed([f'the {_axis(view, each.name)} ({view.over})' for view in views])}"
        for each in views[0].pooled.data_sets
        if each not in alike
    ]
    spent = [sentence for each in pooled.experiments for sentence in spent_sentences(each)]
    return [f"{'. '.join(told)}." if told else "", bullets(spent)]


def _axis(view: View, data_set: str) -> str:
    (axis,) = (d.experiments[0].comparison.axis for d in view.pooled.data_sets if d.name == data_set)
    return axis.label


def _computed(pooled: Pooled, archives: Sequence[str]) -> str:
    rows: list[Row] = []
    for each in pooled.experiments:
        source = each.source
        finished = sum(history.finished for history in source.histories)
        rows.append(
            (
                *(source.description.metric, len({run.spec.sampler.name for run in source.runs if run.spec.sampler})),
                *(len(each.comparison.budgets), finished, finished + len(source.left_out), _complete(source)),
                *(each.first, each.full),
            )
        )
    heads = ("metric", "samplers", "budgets", "finished", "planned", "complete", "first_cycle", "full_annotation")
    table = of_table(Table("computed", "", heads, tuple(rows))).splitlines()
    links = [f"| [{each.name}]({archive}) " for each, archive in zip(pooled.experiments, archives, strict=True)]
    first = ["| archive ", "| --- ", *links]
    note = (
        "Finished and planned: runs and full annotations. Complete: repeats of which nothing is left to compute. "
        "Scores of the shared first cycle and of full annotation are means. A budget such as 10x12-16x16 is, in every "
        "cycle, 12 regions of 16 x 16 in each of 10 images; 120-of-pool-12-16x16 is 120 of them in the whole pool, at "
        "most 12 in an image; a region of 1 is a ROI. A sampler such as uncert_decomp chooses images as UNCERT and "
        "regions as DECOMP; decomp_tau-0.3 is DECOMP with a threshold of 0.3. [Samplers](samplers.md) explains the "
        "other names."
    )
    return "\n".join(f"{a}{b}" for a, b in zip(first, table, strict=True)) + f"\n\n{note}"


def _complete(source: Source) -> str:
    """Seeds and folds of which all runs are there."""
    of_repeat = [history.spec.label.rpartition("/")[2] for history in source.histories]
    open_ = {label.rpartition("/")[2] for label in source.left_out}
    return listed([repeat for repeat in dict.fromkeys(of_repeat) if repeat not in open_]) or "none"


def _unfinished(waiting: Sequence[Path]) -> list[str]:
    return [
        f"{preset.stem} ({len(load_experiment(preset).seeds)} seeds) is not computed yet, and has no part in anything."
        for preset in waiting
    ]


def _table(table: Table) -> list[str]:
    return [of_table(table), table.note] if table.rows else []


def _repeating(presets: Sequence[Path], folder: Path) -> str:
    lines = []
    for preset in presets:
        lines += [f"    decomp run experiments/{preset.name}"]
        lines += [f"    decomp export experiments/{preset.name} docs/{folder.name}/{preset.stem}.zip"]
    return "\n".join([*lines, f"    {COMMAND} docs/{folder.name}"])
