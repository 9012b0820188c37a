"""What happens class by class and second by second in the runs of a comparison (Sec. 9 of the method notes).

All numbers are over the repeats of a `Cohort` and up to its last common cycle, so samplers are compared like with like.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from decomp.experiments.report.curves import Repeat
from decomp.experiments.report.histories import Cohort, History
from decomp.experiments.report.statistics import Spread
from decomp.platform.datasets.base import Dataset
from decomp.platform.storage.records import CycleRecord

PER_CLASS = {"miou": "iou", "dice": "dice", "weighted_f1": "f1"}
"""By test metric, the score of a single class that it is the mean of."""

PHASES = ("predict", "select", "reveal", "train", "evaluate")
"""Phases of a cycle in the order of their happening; others come after them."""


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


@dataclass(frozen=True)
class Confidence:
    """Confidence in a class and how well it is recognised by the same model.

    Attributes:
        repeat: seed and fold.
        cycle: the cycle, from 2, whose selection used the confidence.
        class_: name of the class.
        delta: class confidence (Eq. 1) of the model of the cycle before.
        score: test score of the class by the model of the cycle before.
    """

    repeat: Repeat
    cycle: int
    class_: str
    delta: float
    score: float


@dataclass(frozen=True)
class Correlation:
    """How class confidence goes with the true score of a class, over classes.

    Attributes:
        pearson: linear correlation, over the repeats where it is defined; None where it is in none.
        spearman: rank correlation, likewise.
        pooled_pearson: linear correlation over the classes of all repeats together; None where undefined.
        pooled_spearman: rank correlation, likewise.
        points: classes and repeats with both numbers.
    """

    pearson: Spread | None
    spearman: Spread | None
    pooled_pearson: float | None
    pooled_spearman: float | None
    points: int


def pool_pixels(references: Sequence[History]) -> npt.NDArray[np.int64] | None:
    """True pixels of the pool per class, shape (C,), summed over the folds; None without a full-annotation reference.

    The pool is what may be annotated: the training images and, of the ROI task, the validation images.
    """
    by_fold = {history.spec.fold: history.records[-1].annotated.class_pixels for history in references}
    return np.array(list(by_fold.values()), np.int64).sum(axis=0) if by_fold else None


def pool_shares(pixels: npt.NDArray[np.int64] | None, n_classes: int) -> list[float | None]:
    """Share of each class in the pool, length C; None where unknown."""
    if pixels is None or pixels.sum() == 0:
        return [None] * n_classes
    return [float(share) for share in pixels / pixels.sum()]


def scored_classes(dataset: Dataset, pixels: npt.NDArray[np.int64] | None) -> tuple[ScoredClass, ...]:
    """The classes that have a test score.

    A class is rare if it is in the quarter of them (rounded up) with the fewest true pixels and has less than half of
    an even share, 1 / (2 C) with C the number of classes of the data set.

    Args:
        dataset: the data set.
        pixels: see `pool_pixels`.
    """
    labels = dataset.nested or {name: (label,) for label, name in enumerate(dataset.classes)}
    if pixels is None or pixels.sum() == 0:
        return tuple(ScoredClass(name, None, False) for name in labels)
    shares = {name: float(pixels[list(members)].sum() / pixels.sum()) for name, members in labels.items()}
    fewest = sorted(shares, key=lambda name: shares[name])[: -(-len(shares) // 4)]
    even = 1 / len(dataset.classes)
    return tuple(ScoredClass(name, share, name in fewest and share < even / 2) for name, share in shares.items())


def class_scores(records: Sequence[CycleRecord], score: str) -> dict[str, Spread | None]:
    """Test score of every class over repeats; None for a class whose score is defined in none of them.

    Args:
        records: a cycle of each repeat, at least one.
        score: name of the score, one of the values of `PER_CLASS`.
    """
    names = dict.fromkeys(name for record in records for name in record.class_metrics[score])
    return {name: _spread(record.class_metrics[score].get(name) for record in records) for name in names}


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
    return _spread(means)


def confidences(history: History, classes: Sequence[str], score: str, last: int) -> list[Confidence]:
    """Class confidence and true score of the same model, for every cycle from 2 on and every class that has both.

    Args:
        history: a run.
        classes: names of the classes of the data set, length C; the scores must have the same names.
        score: name of the score.
        last: last cycle to look at.
    """
    found = []
    for before, record in zip(history.records[: last - 1], history.records[1:last], strict=True):
        if record.class_confidence is None:
            continue
        for name, delta in zip(classes, record.class_confidence, strict=True):
            value = before.class_metrics[score].get(name)
            if value is not None:
                found.append(Confidence(history.repeat, record.cycle, name, delta, value))
    return found


def samplers_confidences(cohort: Cohort, classes: Sequence[str], score: str) -> dict[str, list[Confidence]]:
    """`confidences` of each sampler, of all repeats up to the last common cycle; none of those that need no delta."""
    return {
        name: [point for run in cohort.of(name) for point in confidences(run, classes, score, cohort.cycle)]
        for name in cohort.names
    }


def correlation(points: Sequence[Confidence]) -> Correlation:
    """Correlation of class confidence with the true score, for each repeat over its classes and over all together."""
    by_repeat: dict[Repeat, list[Confidence]] = {}
    for point in points:
        by_repeat.setdefault(point.repeat, []).append(point)
    each = [_correlations(own) for own in by_repeat.values()]
    pooled = _correlations(points)
    return Correlation(_spread(r for r, _ in each), _spread(rho for _, rho in each), *pooled, len(points))


def annotated_shares(records: Sequence[CycleRecord]) -> list[Spread | None]:
    """Share of each true class in the annotated pixels, length C, over repeats; None where nothing is annotated.

    Args:
        records: a cycle of each repeat, at least one.
    """
    pixels = np.array([record.annotated.class_pixels for record in records], float)
    totals = pixels.sum(axis=1)
    shares = pixels[totals > 0] / totals[totals > 0, None]
    return [_spread(column) for column in shares.T]


def phase_seconds(history: History, last: int) -> dict[str, float]:
    """Mean seconds of each phase of a run's own cycles, which are 2 to `last`; cycle 1 is shared by all samplers."""
    timings = [timing.phases for timing in history.timings[1:last]]
    return {
        phase: sum(phases.get(phase, 0.0) for phases in timings) / len(timings)
        for phase in phases_of([history])
        if timings
    }


def phases_of(histories: Sequence[History]) -> tuple[str, ...]:
    """All phases that runs went through, in order."""
    found = {phase for history in histories for timing in history.timings for phase in timing.phases}
    return (*(phase for phase in PHASES if phase in found), *sorted(found - set(PHASES)))


def samplers_phase_seconds(cohort: Cohort) -> dict[str, dict[str, Spread]]:
    """Mean wall time of each phase of a cycle by sampler, in seconds, over repeats; empty before cycle 2."""
    found: dict[str, dict[str, Spread]] = {}
    for name in cohort.names:
        own = [seconds for run in cohort.of(name) if (seconds := phase_seconds(run, cohort.cycle))]
        phases = dict.fromkeys(phase for seconds in own for phase in seconds)
        found[name] = {phase: Spread.of([seconds.get(phase, 0.0) for seconds in own]) for phase in phases}
    return found


def wall_seconds(histories: Sequence[History]) -> Mapping[str, tuple[int, float]]:
    """Trainings and their cycles' wall time in seconds, by sampler and for first cycles and references; each once."""
    found: dict[str, tuple[int, float]] = {}
    seen: set[str] = set()
    for history in histories:
        for number, timing in enumerate(history.timings, start=1):
            shared = history.spec.kind == "run" and number == 1
            owner = history.spec.first if shared else history.spec
            cycle = f"{owner.key}/{number}"
            if cycle in seen:
                continue
            seen.add(cycle)
            who = "first cycles" if shared else owner.sampler.name if owner.sampler else "full annotation"
            trainings, seconds = found.get(who, (0, 0.0))
            found[who] = trainings + 1, seconds + sum(timing.phases.values())
    return found


def _correlations(points: Sequence[Confidence]) -> tuple[float | None, float | None]:
    """Pearson's and Spearman's correlation; None where fewer than three points or no variation define none."""
    delta, score = np.array([p.delta for p in points]), np.array([p.score for p in points])
    if len(points) < 3 or np.ptp(delta) == 0 or np.ptp(score) == 0:
        return None, None
    return float(stats.pearsonr(delta, score).statistic), float(stats.spearmanr(delta, score).statistic)


def _spread(values: Iterable[float | None]) -> Spread | None:
    known = [float(value) for value in values if value is not None]
    return Spread.of(known) if known else None
