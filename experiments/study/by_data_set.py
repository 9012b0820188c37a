"""Data set by data set: the conclusions of each experiment, learning curves, and all samplers with what they spent."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from decomp.experiments.report.axes import POOLS, find_axis
from decomp.experiments.report.comparison import BudgetResult, Comparison, SamplerResult, compare_over
from decomp.experiments.report.conclusions import conclusions
from decomp.experiments.report.figures import Drawing
from decomp.experiments.report.incomplete import listed
from decomp.experiments.report.learning_curve_figure import learning_curve_drawing
from decomp.experiments.report.page import bullets
from decomp.experiments.report.statistics import Spread
from decomp.experiments.report.tables import Row, Table
from decomp.experiments.study.by_claim import View
from decomp.experiments.study.claims import RIVALS
from decomp.experiments.study.markdown import figure, of_table
from decomp.experiments.verdict.pooled import Compared


def experiment_section(experiment: Compared, curves: Sequence[Drawing], folder: Path) -> list[str]:
    """Conclusions, learning curves, and tables of all samplers."""
    blocks = [f"### {experiment.name}", f"Over the {experiment.comparison.axis.label}:"]
    for budget, sentences in conclusions(experiment.comparison).items():
        blocks += [f"Budget {budget}:", bullets(sentences)]
    return [*blocks, *(figure(drawing, folder) for drawing in curves), *_heights(experiment.comparison)]


def curves_of(name: str, views: Sequence[View]) -> tuple[Drawing, ...]:
    """The learning curves of the paper's samplers, those of all would hide each other; over every measure of a view."""
    drawings = []
    for number, view in enumerate(views):
        (experiment,) = (each for each in view.pooled.experiments if each.name == name)
        if experiment.comparison.curves and (number == 0 or name in view.own):
            drawing = learning_curve_drawing(_of_the_paper(experiment.comparison))
            over = f"-{view.over.replace(' ', '-').lower()}" if number else ""
            drawings.append(replace(drawing, name=f"curves-{name}{over}", title=f"{drawing.title}: {name}"))
    return tuple(drawings)


def spent_sentences(experiment: Compared) -> list[str]:
    """What samplers that choose as many slides have annotated after the last cycle, which is not the same."""
    metric = experiment.source.description.metric
    axes = {name: find_axis(experiment.source.axes, name) for name in ("image_share", "regions")}
    if not experiment.source.axes[0].of_images:
        return []
    by_slides, by_rois = (compare_over(axis, _of_the_paper(experiment.comparison)) for axis in axes.values())
    slides, rois = POOLS[metric]
    sentences = []
    for over_slides, over_rois in zip(by_slides.budgets, by_rois.budgets, strict=True):
        spent = [
            (sampler.sampler, sampler.cycles[-1].amount.mean, same.cycles[-1].amount.mean)
            for same, sampler in zip(over_slides.samplers, over_rois.samplers, strict=True)
            if sampler.cycles
        ]
        if spent:
            ends = [axes["image_share"].text(bound(share for _, _, share in spent)) for bound in (min, max)]
            told = [f"{name} {count:.0f}" for name, count, _ in sorted(spent, key=lambda each: -each[1])]
            sentences.append(
                f"{experiment.name}, budget {over_rois.budget}, last cycle: {' to '.join(dict.fromkeys(ends))} of the "
                f"{slides} are processed. Annotated {rois}, on average: {listed(told)}."
            )
    return sentences


def _of_the_paper(comparison: Comparison) -> Comparison:
    shown = ("decomp", *RIVALS)
    results = [replace(r, samplers=tuple(s for s in r.samplers if s.sampler in shown)) for r in comparison.budgets]
    curves = tuple(curve for curve in comparison.curves if curve.sampler in shown)
    return replace(comparison, budgets=tuple(result for result in results if result.samplers), curves=curves)


def _heights(comparison: Comparison) -> list[str]:
    """All samplers, oracle baselines included; those that have finished fewer repeats stand apart."""
    blocks = []
    for result in comparison.budgets:
        there = sorted((s for s in result.samplers if s.area), key=lambda s: -s.area.mean if s.area else 0.0)
        apart = [sampler for sampler in there if sampler not in result.ranked]
        if ranked := [sampler for sampler in there if sampler in result.ranked]:
            blocks += [f"Heights of the curves, budget {result.budget}:", _height_table(ranked, result, comparison)]
        if apart:
            blocks += [
                f"Samplers that have finished fewer repeats of budget {result.budget}, so that their heights are not "
                f"comparable with {'those above' if ranked else 'each other'}:",
                _height_table(apart, result, comparison),
            ]
    return blocks


def _height_table(samplers: Sequence[SamplerResult], result: BudgetResult, comparison: Comparison) -> str:
    """Mean height of the learning curve over the repeats of each sampler, and what it has annotated at its end."""
    regions = POOLS[comparison.metric][1] if comparison.metric == "weighted_f1" else "regions"
    rows: list[Row] = []
    for sampler in samplers:
        spread = Spread.of(list(comparison.design.by_block({r: sampler.areas[r] for r in sampler.repeats}).values()))
        last = [
            curve.annotated[-1].regions
            for curve in comparison.of_budget(result.budget)
            if curve.sampler == sampler.sampler and curve.repeat in sampler.repeats
        ]
        oracle = "reads the truth" if sampler.sampler in comparison.design.oracles else ""
        final = sampler.final.mean if sampler.final else None
        interval = spread.interval or (None, None)
        rows.append((sampler.sampler, oracle, spread.n, spread.mean, *interval, final, round(sum(last) / len(last))))
    heads = ("sampler", "oracle_baseline", "blocks", "mean_height", "low", "high", "last_score", f"{regions}_annotated")
    return of_table(Table("", "", heads, tuple(rows)))
