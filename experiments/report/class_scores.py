"""How well each class is recognised, the rare ones among them: test scores by class as numbers, tables and a figure.

All numbers are over the repeats of a `Cohort` at its last common cycle, so samplers are compared like with like.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from decomp.experiments.report.annotated_classes import pool_pixels
from decomp.experiments.report.axes import class_score_name
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

PER_CLASS = {"miou": "iou", "dice": "dice", "weighted_f1": "f1"}
"""By test metric, the score of a single class that it is the mean of."""

RARE = (
    "Rare: among the quarter of the classes (rounded up) with the smallest share of the pool, and below half of an "
    "even share."
)


@dataclass(frozen=True)
class ScoredClass:
    """A class, or a nested set of classes, that has a test score.

    Attributes:
        name: its name.
        share: true pixels of the pool that belong to it, over all that belong to a class; None where unknown.
        rare: whether it is one of the rare classes, see `scored_classes`.
    """

    name: str
    share: float | None
    rare: bool


def class_score_section(
    cohorts: Sequence[Cohort], references: Sequence[RunHistory], dataset: Dataset, score: str
) -> Section:
    """The section of the page.

    Args:
        cohorts: the runs of each budget.
        references: finished full-annotation references, possibly none.
        dataset: the data set of all runs.
        score: name of the score, one of the values of `PER_CLASS`.
    """
    classes = scored_classes(dataset.classes, dataset.scored, pool_pixels(references))
    full = class_scores([history.cycles[-1].record for history in references], score)
    drawings = {cohort.budget: class_score_drawing(cohort, classes, score, full) for cohort in cohorts}
    tables = [class_score_table(cohorts, references, classes, score)]
    text = "How well each class is recognised at the last cycle that all samplers have reached."
    if not references:
        text += (
            "\n\nWithout a finished full-annotation reference the classes' share of the pool is not known, so rare "
            "classes are not marked and there is nothing to measure the scores against."
        )
    elif any(class_.rare for class_ in classes):
        tables.insert(0, rare_class_table(cohorts, references, classes, score))
        text += " A sampler may gain on the rare classes what it loses on the others; the table of both shows it."
    else:
        text += " No class is rare here: none has less than half of an even share of the pool."
    return Section("Scores by class", text, tuple(tables), by_budget(drawings))


def scored_classes(
    classes: Sequence[str], scored: Mapping[str, Sequence[int]], pixels: npt.NDArray[np.int64] | None
) -> tuple[ScoredClass, ...]:
    """The classes that have a test score.

    A class is rare if it is in the quarter of them (rounded up, with all that are equal to its last) with the fewest
    true pixels and has less than half of an even share, 1 / (2 C) with C the number of classes of the data set.

    Args:
        classes: names of the classes of the data set, length C.
        scored: see `Dataset.scored`.
        pixels: true pixels of the pool per class, shape (C,), see `pool_pixels`; None where unknown.
    """
    labels = scored or {name: (label,) for label, name in enumerate(classes)}
    if pixels is None or pixels.sum() == 0:
        return tuple(ScoredClass(name, None, False) for name in labels)
    shares = {name: float(pixels[list(members)].sum() / pixels.sum()) for name, members in labels.items()}
    quarter = sorted(shares.values())[-(-len(shares) // 4) - 1]
    even = 1 / len(classes)
    return tuple(ScoredClass(n, share, share <= quarter and share < even / 2) for n, share in shares.items())


def class_scores(records: Sequence[CycleRecord], score: str) -> dict[str, Spread | None]:
    """Test score of every class over repeats; None for a class whose score is defined in none of them.

    Args:
        records: a cycle of each repeat, at least one.
        score: name of the score, one of the values of `PER_CLASS`.
    """
    names = dict.fromkeys(name for record in records for name in record.class_metrics[score])
    return {name: Spread.of_defined(record.class_metrics[score].get(name) for record in records) for name in names}


def mean_scores(records: Sequence[CycleRecord], score: str, names: Sequence[str]) -> Spread | None:
    """Mean over some classes, those whose score is defined, over repeats; None where it is defined in none of them.

    Args:
        records: a cycle of each repeat.
        score: name of the score.
        names: the classes.
    """
    means: list[float | None] = []
    for record in records:
        known = [value for name in names if (value := record.class_metrics[score].get(name)) is not None]
        means.append(float(np.mean(known)) if known else None)
    return Spread.of_defined(means)


def class_score_table(
    cohorts: Sequence[Cohort], references: Sequence[RunHistory], classes: Sequence[ScoredClass], score: str
) -> Table:
    """Test score of every class by sampler at the last common cycle, beside full annotation."""
    full = class_scores([history.cycles[-1].record for history in references], score)
    rows: list[Row] = []
    for cohort in cohorts:
        by_sampler = {name: class_scores(cohort.last(name), score) for name in cohort.names}
        for class_ in classes:
            for name in cohort.names:
                value = by_sampler[name].get(class_.name)
                rows.append(
                    (
                        *(cohort.budget, cohort.cycle, class_.name, class_.share, "rare" if class_.rare else ""),
                        *(name, value.n if value else 0, *mean_sd(value), *mean_sd(full.get(class_.name))),
                    )
                )
    heads = (
        *("budget", "cycle", "class", "pool_share", "rare", "sampler", "repeats"),
        *(f"{score}_mean", f"{score}_sd", f"full_{score}_mean", f"full_{score}_sd"),
    )
    note = f"At the last common cycle; repeats: those in which the score is defined. {RARE}"
    return Table("class_scores", "Test score by class", heads, tuple(rows), note)


def rare_class_table(
    cohorts: Sequence[Cohort], references: Sequence[RunHistory], classes: Sequence[ScoredClass], score: str
) -> Table:
    """Mean test score of the rare and of the other classes by sampler, beside full annotation."""
    rare, others = [c.name for c in classes if c.rare], [c.name for c in classes if not c.rare]
    full = [history.cycles[-1].record for history in references]
    rows: list[Row] = []
    for cohort in cohorts:
        lines = [(name, cohort.cycle, cohort.last(name)) for name in cohort.names]
        for name, cycle, records in [*lines, *([("full annotation", None, full)] if full else [])]:
            values = [mean_scores(records, score, names) for names in (rare, others)]
            rows.append((cohort.budget, name, cycle, len(records), *(c for value in values for c in mean_sd(value))))
    heads = (
        *("budget", "sampler", "cycle", "repeats"),
        *(f"rare_{score}_mean", f"rare_{score}_sd", f"other_{score}_mean", f"other_{score}_sd"),
    )
    names = ", ".join(rare)
    return Table("rare_classes", "Rare and other classes", heads, tuple(rows), f"{RARE} Here: {names}.")


def class_score_drawing(
    cohort: Cohort, classes: Sequence[ScoredClass], score: str, full: Mapping[str, Spread | None]
) -> Drawing:
    """Test score of every class at the last common cycle, a row per class, the class with most pixels on top."""
    ordered = sorted(classes, key=lambda class_: class_.share or 0.0, reverse=True)
    rows = {class_.name: row for row, class_ in enumerate(ordered)}
    figure, panel = rows_of_classes([f"{c.name} (rare)" if c.rare else c.name for c in ordered], len(cohort.names))
    for class_name, row in rows.items():
        if (value := full.get(class_name)) is not None:
            mark_across(panel, value.mean, row)
    for sampler, style, shift in lanes_of(cohort):
        scores = class_scores(cohort.last(sampler), score)
        for class_name, row in rows.items():
            if (value := scores.get(class_name)) is not None:
                sd = value.sd or 0.0
                panel.plot([value.mean - sd, value.mean + sd], [row + shift] * 2, color=style.colour, linewidth=1.2)
                mark(panel, value.mean, row + shift, style)
    over = f", mean over {len(cohort.repeats)} repeats" if len(cohort.repeats) > 1 else ""
    panel.set_xlabel(f"test {class_score_name(score)} after cycle {cohort.cycle}{over}")
    legend_beside(figure, cohort, [legend_line("full annotation")] if any(full.values()) else [])
    note = "Classes from the most to the fewest pixels. Whiskers: one standard deviation over the repeats."
    return render(figure, "class_scores", "Test score by class", note)
