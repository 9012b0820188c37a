"""What the annotation consists of, class by class, beside what the pool consists of: numbers, a table and a figure.

All numbers are over the repeats of a `Cohort` at its last common cycle, so samplers are compared like with like.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.ticker import LogLocator, NullFormatter

from decomp.experiments.report.class_rows import (
    lanes_of,
    legend_beside,
    legend_line,
    mark,
    mark_across,
    rows_of_classes,
)
from decomp.experiments.report.cohorts import Cohort
from decomp.experiments.report.figures import Drawing, by_budget, render
from decomp.experiments.report.page import Section
from decomp.experiments.report.run_history import RunHistory
from decomp.experiments.report.statistics import Spread
from decomp.experiments.report.tables import Row, Table, mean_sd
from decomp.platform.datasets.base import Dataset
from decomp.platform.storage.records import CycleRecord


def annotated_class_section(cohorts: Sequence[Cohort], references: Sequence[RunHistory], dataset: Dataset) -> Section:
    """The section of the page.

    Args:
        cohorts: the runs of each budget.
        references: finished full-annotation references, possibly none.
        dataset: the data set of all runs.
    """
    pixels = pool_pixels(references)
    pool = pool_shares(pixels, len(dataset.classes))
    text = "What the annotation consists of, and how far that is from the pool as a whole."
    if pixels is None:
        text += " Without a finished full-annotation reference the share of the pool is not known and is left out."
    drawings = {cohort.budget: annotated_class_drawing(cohort, dataset.classes, pool) for cohort in cohorts}
    tables = (annotated_class_table(cohorts, dataset.classes, pixels),)
    return Section("Annotated classes", text, tables, by_budget(drawings))


def pool_pixels(references: Sequence[RunHistory]) -> npt.NDArray[np.int64] | None:
    """True pixels of the pool per class, shape (C,), summed over the folds; None without a full-annotation reference.

    The pool is what may be annotated: the training images and, in the ROI task, the validation images.
    """
    by_fold = {history.spec.fold: history.cycles[-1].record.annotated.class_pixels for history in references}
    return np.array(list(by_fold.values()), np.int64).sum(axis=0) if by_fold else None


def pool_shares(pixels: npt.NDArray[np.int64] | None, n_classes: int) -> list[float | None]:
    """Share of each class in the pool, length C; None where unknown."""
    if pixels is None or pixels.sum() == 0:
        return [None] * n_classes
    return [float(share) for share in pixels / pixels.sum()]


def annotated_shares(records: Sequence[CycleRecord]) -> list[Spread | None]:
    """Share of each true class in the annotated pixels, length C, over repeats; None where nothing is annotated.

    Args:
        records: a cycle of each repeat, at least one.
    """
    pixels = np.array([record.annotated.class_pixels for record in records], float)
    totals = pixels.sum(axis=1)
    shares = pixels[totals > 0] / totals[totals > 0, None]
    return [Spread.of_defined(column) for column in shares.T]


def annotated_class_table(
    cohorts: Sequence[Cohort], classes: Sequence[str], pixels: npt.NDArray[np.int64] | None
) -> Table:
    """Share of every class in what is annotated, by sampler at the last common cycle, beside its share of the pool."""
    pool = pool_shares(pixels, len(classes))
    rows: list[Row] = []
    for cohort in cohorts:
        for name in cohort.names:
            for class_, annotated, share in zip(classes, annotated_shares(cohort.last(name)), pool, strict=True):
                enrichment = annotated.mean / share if annotated and share else None
                rows.append((cohort.budget, cohort.cycle, name, class_, share, *mean_sd(annotated), enrichment))
    heads = ("budget", "cycle", "sampler", "class", "pool_share", "annotated_mean", "annotated_sd", "enrichment")
    note = (
        "Share of the annotated pixels (voxels, ROIs) that are of the class; mean and sd over repeats. "
        "enrichment: annotated_mean / pool_share, above 1 where a sampler prefers the class."
    )
    return Table("annotated_classes", "Annotated share by class", heads, tuple(rows), note)


def annotated_class_drawing(cohort: Cohort, classes: Sequence[str], pool: Sequence[float | None]) -> Drawing:
    """Share of every class in what is annotated, a row per class, beside its share of the pool where it is known."""
    order = sorted(range(len(classes)), key=lambda c: pool[c] or 0.0, reverse=True)
    by_sampler = {sampler: annotated_shares(cohort.last(sampler)) for sampler in cohort.names}
    positive = [share.mean for shares in by_sampler.values() for share in shares if share and share.mean > 0]
    positive += [share for share in pool if share]
    least = 0.6 * min(positive, default=0.001)
    figure, panel = rows_of_classes([classes[c] for c in order], len(cohort.names))
    for sampler, style, shift in lanes_of(cohort):
        for row, c in enumerate(order):
            annotated, share = by_sampler[sampler][c], pool[c]
            if annotated is None:
                continue
            at = max(annotated.mean, least)
            if share:
                panel.plot([100 * share, 100 * at], [row + shift] * 2, color=style.colour, linewidth=1.2, alpha=0.6)
            if annotated.mean > 0:
                mark(panel, 100 * at, row + shift, style)
            else:
                panel.text(100 * at, row + shift, "0", color=style.colour, ha="right", va="center", fontsize=8)
    for row, c in enumerate(order):
        if share := pool[c]:
            mark_across(panel, 100 * share, row)
    panel.set_xscale("log")
    panel.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    panel.xaxis.set_major_formatter("{x:g}")
    panel.xaxis.set_minor_formatter(NullFormatter())
    panel.set_xlim(left=100 * least)
    panel.set_xlabel(f"share of what is annotated after cycle {cohort.cycle} (%, logarithmic)")
    legend_beside(figure, cohort, [legend_line("share of the pool")] if any(pool) else [])
    note = "Right of the grey line a sampler annotates more of the class than chance would; 0: none."
    return render(figure, "annotated_classes", "Annotated share by class", note)
