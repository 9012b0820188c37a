"""Samplers of an experiment that differ in one thing only, so that comparing them shows what it does."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from decomp.experiments.report.cohorts import Cohort
from decomp.experiments.report.comparison import BudgetResult, Comparison
from decomp.experiments.report.figures import Drawing
from decomp.experiments.report.learning_curve_figure import learning_curve_drawing
from decomp.experiments.report.page import Section
from decomp.experiments.report.tables import Row, Table, mean_sd
from decomp.platform.grid import Component, Sampler


class Varied(StrEnum):
    """What the samplers of an ablation differ in."""

    REGIONS = "region selection"
    IMAGES = "image selection"
    TAU = "confidence threshold"
    RESELECTION = "re-selection"


@dataclass(frozen=True)
class Ablation:
    """Samplers that are equal but for one thing.

    Attributes:
        varied: what they differ in.
        fixed: what they have in common, in words.
        members: their names and what each has in place of the others', in order of the samplers; two at least.
    """

    varied: Varied
    fixed: str
    members: tuple[tuple[str, str], ...]


def ablation_sections(cohorts: Sequence[Cohort], comparison: Comparison) -> list[Section]:
    """The section of the page; none where the experiment has no ablation.

    Args:
        cohorts: the runs of each budget.
        comparison: of these runs.
    """
    by_budget = {result.budget: result for result in comparison.budgets}
    groups = [
        (group, by_budget[comparison.joint.get(cohort.budget, cohort.budget)])
        for cohort in cohorts
        for group in find_ablations(cohort.samplers)
    ]
    if not groups:
        return []
    # An ablation of all samplers would repeat the figure of the comparison.
    drawn = [(group, result) for group, result in groups if len(group.members) < len(result.samplers)]
    drawings = [ablation_drawing(comparison, *each, number) for number, each in enumerate(drawn, start=1)]
    text = "Samplers that are equal but for one thing, side by side."
    if len(drawn) < len(groups):
        text += " Where these are all samplers of the experiment, its learning curves show them already."
    return [Section("Ablations", text, (ablation_table(groups),), tuple(drawings))]


def find_ablations(samplers: Sequence[Sampler]) -> tuple[Ablation, ...]:
    """All groups of at least two samplers that differ in one thing of `Varied` alone."""
    return tuple(group for varied in Varied for group in _groups(varied, samplers))


def ablation_table(groups: Sequence[tuple[Ablation, BudgetResult]]) -> Table:
    """Final score and area under the curve of the members of every ablation."""
    rows: list[Row] = []
    for group, result in groups:
        by_name = {sampler.sampler: sampler for sampler in result.samplers}
        for name, value in group.members:
            sampler = by_name[name]
            scores = (*mean_sd(sampler.final), *mean_sd(sampler.area))
            rows.append((result.budget, str(group.varied), group.fixed, value, name, len(sampler.repeats), *scores))
    heads = (
        *("budget", "varied", "in_common", "value", "sampler", "repeats"),
        *("final_mean", "final_sd", "area_mean", "area_sd"),
    )
    note = "Over the repeats that the samplers share, as in the summary; area: mean height of the learning curve."
    return Table("ablations", "Ablations", heads, tuple(rows), note)


def ablation_drawing(comparison: Comparison, ablation: Ablation, result: BudgetResult, number: int) -> Drawing:
    """The learning curves of an ablation's members alone.

    Args:
        comparison: of all samplers.
        ablation: which of them to show.
        result: the budget that they are shown under.
        number: tells the drawings of several ablations apart, from 1.
    """
    names = [name for name, _ in ablation.members]
    members = replace(result, samplers=tuple(sampler for sampler in result.samplers if sampler.sampler in names))
    drawing = learning_curve_drawing(replace(comparison, budgets=(members,)))
    note = f"In common: {ablation.fixed}. {drawing.note}"
    what = "; ".join(f"{name}: {value}" for name, value in ablation.members)
    title = f"Ablation of the {ablation.varied}"
    return replace(drawing, name=f"ablation_{number}", title=title, note=f"{note} Differing: {what}.")


def _groups(varied: Varied, samplers: Sequence[Sampler]) -> list[Ablation]:
    groups: dict[Hashable, dict[str, Sampler]] = {}
    for sampler in samplers:
        common = *(value(sampler) for each, value in _VALUES.items() if each is not varied), *_rest(sampler)
        # Two samplers that differ in nothing but their names show nothing; the first stands for both.
        groups.setdefault(common, {}).setdefault(_VALUES[varied](sampler), sampler)
    return [
        Ablation(
            varied,
            _in_common(next(iter(group.values())), varied),
            tuple((sampler.name, which) for which, sampler in group.items()),
        )
        for group in groups.values()
        if len(group) > 1
    ]


def _rest(sampler: Sampler) -> tuple[Hashable, ...]:
    return tuple(sorted(sampler.emphasis.items())), sampler.background, sampler.uncertainty


def _images(sampler: Sampler) -> str:
    return _selector(sampler.images)


def _regions(sampler: Sampler) -> str:
    return _selector(sampler.regions)


def _reselection(sampler: Sampler) -> str:
    return "none" if sampler.reselect_below is None else f"below {sampler.reselect_below:g}"


def _tau(sampler: Sampler) -> str:
    if sampler.tau_quantile is not None:
        return f"quantile {sampler.tau_quantile:g}"
    if len(sampler.tau) == 1:
        return f"{sampler.tau[0][1]:g}"
    return ", ".join(f"{tau:g} from cycle {cycle}" for cycle, tau in sampler.tau)


_VALUES: Mapping[Varied, Callable[[Sampler], str]] = {
    Varied.REGIONS: _regions,
    Varied.IMAGES: _images,
    Varied.TAU: _tau,
    Varied.RESELECTION: _reselection,
}


def _in_common(sampler: Sampler, varied: Varied) -> str:
    """What the samplers of an ablation have in common, in words; defaults go without saying."""
    words = [] if varied is Varied.IMAGES else [f"images by {_images(sampler)}"]
    words += [] if varied is Varied.REGIONS else [f"regions by {_regions(sampler)}"]
    words += _special(sampler)
    words += [] if varied is Varied.TAU or _tau(sampler) == "0.7" else [f"threshold {_tau(sampler)}"]
    if varied is not Varied.RESELECTION and sampler.reselect_below is not None:
        words.append(f"re-selection {_reselection(sampler)}")
    return ", ".join(words)


def _special(sampler: Sampler) -> list[str]:
    special = [f"{name} emphasised by {factor:g}" for name, factor in sorted(sampler.emphasis.items())]
    special += [f"{sampler.background} never drawn"] if sampler.background is not None else []
    special += [f"uncertainty by {sampler.uncertainty}"] if sampler.uncertainty is not None else []
    return special


def _selector(component: Component) -> str:
    # The same options in another order are the same selector.
    return component_in_words(replace(component, options=dict(sorted(component.options.items()))))


def component_in_words(component: Component) -> str:
    """A component's name, and its options in brackets."""
    return f"{component.name} ({_in_words(component.options)})" if component.options else component.name


def _in_words(value: object) -> str:
    """An option's value: what is in it one after the other, what is in that in brackets."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_nested(each)}" for key, each in value.items()) or "none"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_nested, value)) or "none"
    return {None: "none", True: "yes", False: "no"}[value] if value is None or isinstance(value, bool) else str(value)


def _nested(value: object) -> str:
    return f"({_in_words(value)})" if isinstance(value, (Mapping, list, tuple)) and value else _in_words(value)
