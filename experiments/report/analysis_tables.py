"""The tables of the analysis by class, of wall times and of ablations."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from decomp.experiments.report.ablations import Ablation
from decomp.experiments.report.analysis import (
    ScoredClass,
    annotated_shares,
    class_scores,
    correlation,
    mean_scores,
    phases_of,
    pool_shares,
    samplers_confidences,
    samplers_phase_seconds,
    wall_seconds,
)
from decomp.experiments.report.comparison import BudgetResult
from decomp.experiments.report.histories import Cohort, History
from decomp.experiments.report.report_tables import mean_sd
from decomp.experiments.report.tables import Row, Table

RARE = (
    "Rare: among the quarter of the classes (rounded up) with the smallest share of the pool, and below half of an "
    "even share."
)


def class_score_table(
    cohorts: Sequence[Cohort], references: Sequence[History], classes: Sequence[ScoredClass], score: str
) -> Table:
    """Test score of every class by sampler at the last common cycle, beside full annotation."""
    full = class_scores([history.records[-1] for history in references], score)
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
    cohorts: Sequence[Cohort], references: Sequence[History], classes: Sequence[ScoredClass], score: str
) -> Table:
    """Mean test score of the rare and of the other classes by sampler, beside full annotation."""
    rare, others = [c.name for c in classes if c.rare], [c.name for c in classes if not c.rare]
    full = [history.records[-1] for history in references]
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


def confidence_table(cohorts: Sequence[Cohort], classes: Sequence[str], score: str) -> Table:
    """Correlation of class confidence with the true score by sampler and cycle."""
    rows: list[Row] = []
    for cohort in cohorts:
        for name, points in samplers_confidences(cohort, classes, score).items():
            for cycle in sorted({point.cycle for point in points}):
                found = correlation([point for point in points if point.cycle == cycle])
                rows.append(
                    (
                        *(cohort.budget, name, cycle, len(cohort.repeats), found.points),
                        *(*mean_sd(found.pearson), *mean_sd(found.spearman)),
                        *(found.pooled_pearson, found.pooled_spearman),
                    )
                )
    heads = (
        *("budget", "sampler", "cycle", "repeats", "points", "pearson_mean", "pearson_sd"),
        *("spearman_mean", "spearman_sd", "pearson_pooled", "spearman_pooled"),
    )
    note = (
        "Correlation over classes of the class confidence delta that the selection of a cycle used with the test "
        f"{score} of the same model, that of the cycle before. Mean and sd: over repeats; pooled: over the classes of "
        "all repeats together; undefined for fewer than three classes or without any variation."
    )
    return Table("class_confidence", "Class confidence and true score", heads, tuple(rows), note)


def annotated_class_table(
    cohorts: Sequence[Cohort], classes: Sequence[str], pixels: npt.NDArray[np.int64] | None
) -> Table:
    """Share of every class in what is annotated, by sampler at the last common cycle, beside its share of the pool."""
    pool = pool_shares(pixels, len(classes))
    rows: list[Row] = []
    for cohort in cohorts:
        for name in cohort.names:
            for class_, own, share in zip(classes, annotated_shares(cohort.last(name)), pool, strict=True):
                enrichment = own.mean / share if own and share else None
                rows.append((cohort.budget, cohort.cycle, name, class_, share, *mean_sd(own), enrichment))
    heads = ("budget", "cycle", "sampler", "class", "pool_share", "annotated_mean", "annotated_sd", "enrichment")
    note = (
        "Of the annotated pixels (voxels, ROIs), those of the class; mean and sd over repeats. "
        "enrichment: annotated_mean / pool_share, above 1 where a sampler prefers the class."
    )
    return Table("annotated_classes", "Annotated share by class", heads, tuple(rows), note)


def phase_table(cohorts: Sequence[Cohort]) -> Table:
    """Mean seconds of every phase of a cycle by sampler."""
    phases = phases_of([history for cohort in cohorts for history in cohort.histories.values()])
    rows: list[Row] = []
    for cohort in cohorts:
        for name, seconds in samplers_phase_seconds(cohort).items():
            if seconds:
                means = [seconds[phase].mean if phase in seconds else None for phase in phases]
                total = sum(spread.mean for spread in seconds.values())
                rows.append((cohort.budget, name, len(cohort.repeats), *means, total))
    note = (
        "Mean seconds per cycle from cycle 2, over cycles and repeats; they depend on the machine and what else it did."
    )
    heads = ("budget", "sampler", "repeats", *phases, "cycle")
    return Table("phase_seconds", "Seconds per phase and cycle", heads, tuple(rows), note)


def wall_table(histories: Sequence[History]) -> Table:
    """Trainings and wall time of everything that is committed."""
    found = wall_seconds(histories)
    rows: list[Row] = [(who, trainings, seconds, seconds / trainings) for who, (trainings, seconds) in found.items()]
    trainings, seconds = (sum(values) for values in zip(*found.values(), strict=True))
    rows.append(("all", trainings, seconds, seconds / trainings))
    note = "Sums of the wall times of all committed cycles; runs that went on at the same time count one by one."
    return Table("wall_time", "Wall time", ("what", "cycles", "seconds", "seconds_per_cycle"), tuple(rows), note)


def ablation_table(groups: Sequence[tuple[Ablation, BudgetResult]]) -> Table:
    """Final score and area under the curve of the members of every ablation."""
    rows: list[Row] = []
    for group, result in groups:
        by_name = {sampler.sampler: sampler for sampler in result.samplers}
        for name, value in group.members:
            own = by_name[name]
            scores = (*mean_sd(own.final), *mean_sd(own.area))
            rows.append((result.budget, str(group.varied), group.fixed, value, name, len(result.repeats), *scores))
    heads = (
        "budget",
        "varied",
        "in_common",
        "value",
        "sampler",
        "repeats",
        "final_mean",
        "final_sd",
        "area_mean",
        "area_sd",
    )
    note = "Over the repeats that all samplers have finished; area: mean height of the learning curve."
    return Table("ablations", "Ablations", heads, tuple(rows), note)
