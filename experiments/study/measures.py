"""What the claims of the paper are about, measured: values of samplers by repeat, in place of the gains of a `DataSet`.

Every measure takes a data set and gives it back with other values, by the name of a sampler or of what stands for one,
so that pairs of them are compared and tested as gains are. Only finished runs have values.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from decomp.experiments.report.annotated_classes import pool_pixels
from decomp.experiments.report.axes import find_axis
from decomp.experiments.report.class_confidence import confidences, correlation
from decomp.experiments.report.class_scores import PER_CLASS, mean_scores, scored_classes
from decomp.experiments.report.cohorts import finished_references
from decomp.experiments.report.comparison import compare_budget
from decomp.experiments.report.learning_curves import LearningCurve
from decomp.experiments.report.run_history import Repeat, RunHistory
from decomp.experiments.sources import Source
from decomp.experiments.verdict.pooled import Compared, DataSet, Setting

Measure = Callable[[DataSet], DataSet]

Values = dict[str, dict[Setting, dict[Repeat, float]]]

DENSE, SPARSE = "dense", "sparse"

FIRST, LAST = "first selection", "last selection"

HALVES = ("uncert_decomp", "decomp_uncert")
"""DECOMP's regions in the images of UNCERT, and the reverse."""

BETTER_HALF = "its better half"

UNRELATED = "no relation"
"""What a correlation is set against: 0 in every repeat."""


def gains(data_set: DataSet) -> DataSet:
    """Mean height of the learning curve from 0, the shared first cycle, to 1, full annotation: as in every verdict."""
    return data_set


def better_half(data_set: DataSet) -> DataSet:
    """Gains of DECOMP, and of the `BETTER_HALF` of it as `BETTER_HALF`; of the latter none where one has not run."""
    half = which_half(data_set)
    return replace(
        data_set,
        gains={"decomp": data_set.gains.get("decomp", {}), BETTER_HALF: data_set.gains[half] if half else {}},
    )


def which_half(data_set: DataSet) -> str | None:
    """Which of DECOMP's `HALVES` has the higher mean gain over the blocks that both have; None where they have none."""
    means = np.array(list(data_set.means(HALVES).values()))
    return HALVES[int(means.mean(axis=0).argmax())] if len(means) else None


def dense_and_sparse(axis: str) -> Measure:
    """Gains of ``SAMPLER, dense`` and ``SAMPLER, sparse``: few images with many regions each, or the reverse.

    Both budgets have as many regions in a cycle. Their curves are compared over the annotation that both cover, as the
    axis of that name measures it, see `report.axes`.
    """

    def measure(data_set: DataSet) -> DataSet:
        experiment, values = data_set.experiments[0], Values()
        assert experiment.first is not None, experiment.fault
        assert experiment.full is not None, experiment.fault
        for sampler, curves in _dense_and_sparse(data_set).items():
            result = compare_budget(curves, find_axis(experiment.source.axes, axis), None)
            for kind in result.samplers:
                height = experiment.full - experiment.first
                of_repeats = {repeat: (area - experiment.first) / height for repeat, area in kind.areas.items()}
                values[f"{sampler}, {kind.sampler}"] = {(0, axis): of_repeats}
        return replace(data_set, gains=values)

    return measure


def confidence(data_set: DataSet) -> DataSet:
    """Rank correlation over classes of DECOMP's confidence (Eq. 1) with the true score of the same model.

    At the `FIRST` and the `LAST` selection of a run, beside `UNRELATED`.
    """

    def of_run(experiment: Compared, run: RunHistory, cycle: int) -> float | None:
        description = experiment.source.description
        if description.scored:  # scores are those of sets of classes, confidence is that of single ones
            return None
        points = confidences(run, description.classes, PER_CLASS[description.metric], cycle)
        return correlation([point for point in points if point.cycle == cycle]).pooled_spearman

    first = _by_repeat(data_set, lambda experiment, run: of_run(experiment, run, 2)).get("decomp", {})
    last = _by_repeat(data_set, lambda experiment, run: of_run(experiment, run, len(run.cycles))).get("decomp", {})
    nothing = {
        setting: dict.fromkeys([*first.get(setting, {}), *last.get(setting, {})], 0.0) for setting in first | last
    }
    return replace(data_set, gains={FIRST: first, LAST: last, UNRELATED: nothing})


def rare_scores(data_set: DataSet) -> DataSet:
    """Mean test score of the rare classes at the last cycle, see `scored_classes`."""

    def of_run(experiment: Compared, run: RunHistory) -> float | None:
        score = PER_CLASS[experiment.source.description.metric]
        names = [name for name, _ in _rare(experiment.source)]
        mean = mean_scores([run.records[-1]], score, names)
        return None if mean is None else mean.mean

    return replace(data_set, gains=_by_repeat(data_set, of_run))


def rare_annotated(data_set: DataSet) -> DataSet:
    """Share of the rare classes' true pixels that is annotated after the last cycle, in [0, 1]."""

    def of_run(experiment: Compared, run: RunHistory) -> float | None:
        labels = sorted({label for _, labels in _rare(experiment.source) for label in labels})
        references = finished_references(experiment.source.histories)
        pool = pool_pixels([each for each in references if each.spec.fold == run.spec.fold])
        if pool is None or not labels or not pool[labels].sum():
            return None
        return float(np.array(run.records[-1].annotated.class_pixels)[labels].sum() / pool[labels].sum())

    return replace(data_set, gains=_by_repeat(data_set, of_run))


def rare_names(source: Source) -> list[str]:
    """Names of the rare classes of an experiment; none where no full annotation is finished."""
    return [name for name, _ in _rare(source)]


def _by_repeat(data_set: DataSet, of_run: Callable[[Compared, RunHistory], float | None]) -> Values:
    """A value of every finished run, where it has one."""
    values = Values()
    for number, experiment in enumerate(data_set.experiments):
        for run in experiment.source.runs:
            assert run.spec.sampler is not None, run.spec.label
            assert run.spec.budget is not None, run.spec.label
            value = of_run(experiment, run) if run.finished else None
            if value is not None:
                of_sampler = values.setdefault(run.spec.sampler.name, {})
                of_sampler.setdefault((number, run.spec.budget.label), {})[run.repeat] = value
    return values


def _dense_and_sparse(data_set: DataSet) -> dict[str, list[LearningCurve]]:
    """By sampler, the curves under the densest and the sparsest of the budgets of images with as many regions."""
    runs = [(experiment.source, run) for experiment in data_set.experiments for run in experiment.source.runs]
    curves: dict[str, dict[int, list[LearningCurve]]] = {}
    for source, run in runs:
        spec = run.spec
        assert spec.sampler is not None, spec.label
        assert spec.budget is not None, spec.label
        if run.finished and spec.budget.n_image is not None:
            by_images = curves.setdefault(spec.sampler.name, {})
            by_images.setdefault(spec.budget.n_image, []).append(LearningCurve.of(run, source.description.metric))
    return {
        sampler: [
            replace(curve, sampler=kind, budget="both")
            for kind, n_image in ((DENSE, min(by_images)), (SPARSE, max(by_images)))
            for curve in by_images[n_image]
        ]
        for sampler, by_images in curves.items()
        if len(by_images) > 1
    }


def _rare(source: Source) -> list[tuple[str, tuple[int, ...]]]:
    """Names and labels of the rare classes."""
    description = source.description
    pixels = pool_pixels(finished_references(source.histories))
    rare = [each.name for each in scored_classes(description.classes, description.scored, pixels) if each.rare]
    return [
        (name, description.scored[name] if description.scored else (description.classes.index(name),)) for name in rare
    ]
