"""What limits a comparison of repeats: folds that share images, budgets of two kinds, repeats that say nothing."""

from collections.abc import Mapping, Sequence

from decomp.experiments.report.axes import POOLS, axes_of
from decomp.experiments.report.design import Design
from decomp.experiments.report.incomplete import listed, repeat_name
from decomp.experiments.report.joint_budgets import joins
from decomp.experiments.report.learning_curves import LearningCurve
from decomp.experiments.report.run_history import Repeat

MOVED = 0.01
"""Share of the way from the first cycle to full annotation by which a score must have changed."""


def caveats_of(
    curves: Sequence[LearningCurve], metric: str, full: float | None, design: Design, joint: Mapping[str, str]
) -> list[str]:
    """A sentence for each.

    Args:
        curves: of an experiment.
        metric: its test metric.
        full: mean score of full annotation; None where it is not known.
        design: which repeats are independent.
        joint: see `joint_budgets`.
    """
    return [*_shared_images(curves, design), *_two_kinds(metric, joint), *_unmoved(curves, full, design)]


def _shared_images(curves: Sequence[LearningCurve], design: Design) -> list[str]:
    repeats = {curve.repeat for curve in curves}
    if len(design.blocks(repeats)) == len(repeats):
        return []
    return [
        "Folds share training images, so those of a seed are no independent repeats: tests take their mean and count "
        "it once; the intervals of other tables are too narrow."
    ]


def _two_kinds(metric: str, joint: Mapping[str, str]) -> list[str]:
    """Why the axis is another than the metric's first one."""
    if not joins(joint) or not axes_of(metric)[0].of_images:
        return []
    images, rois = POOLS[metric]
    return [
        f"Budgets of {images} and of the whole pool are compared as one over the annotated share of the {rois}, never "
        f"over {images}: {rois} of the whole pool lie in so many more {images} that the curves hardly overlap."
    ]


def _unmoved(curves: Sequence[LearningCurve], full: float | None, design: Design) -> list[str]:
    """Repeats of which no finished curve moves, where any has more cycles than the first; oracle baselines may."""
    finished: dict[Repeat, list[LearningCurve]] = {}
    for curve in curves:
        if curve.finished and len(curve.scores) > 1 and curve.sampler not in design.oracles:
            finished.setdefault(curve.repeat, []).append(curve)
    unmoved = [
        f"{repeat_name(repeat)} ({of_repeat[0].scores[0]:.3f})"
        for repeat, of_repeat in sorted(finished.items())
        if not any(_moves(curve.scores, full) for curve in of_repeat)
    ]
    if not unmoved:
        return []
    who = "Oracle baselines apart, no sampler's" if design.oracles else "No sampler's"
    against = "" if full is None else f", full annotation being at {full:.3f}"
    return [
        f"{who} score ever leaves that of the first cycle in {listed(unmoved)}{against}. Such a repeat says nothing "
        "about any sampler, but counts like every other."
    ]


def _moves(scores: Sequence[float], full: float | None) -> bool:
    enough = 0.0 if full is None else MOVED * abs(full - scores[0])
    return any(abs(score - scores[0]) > enough for score in scores[1:])
