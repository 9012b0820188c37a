"""What a plan can conclude, said before anything is computed: the least corrected p, the repeats needed, the power."""

from collections.abc import Sequence

from decomp.experiments.plan import Plan
from decomp.experiments.report.comparison import compare
from decomp.experiments.report.design import Design, design_of
from decomp.experiments.report.joint_budgets import joint_budgets
from decomp.experiments.report.pairs import Pair, pairs_overall
from decomp.experiments.report.power import FEWEST, POWER, least_corrected_p, power, repeats_for, repeats_needed
from decomp.experiments.report.run_history import RunHistory
from decomp.experiments.report.statistics import LEVEL
from decomp.platform.storage.runs import DamagedCycle

EFFECT = 0.01
"""A difference that matters: one point of the test metric in the mean height of the learning curve."""


def prospects(plan: Plan, histories: Sequence[RunHistory]) -> list[str]:
    """A sentence on what can be significant, and one on what would be found as far as runs that exist can tell.

    Args:
        plan: the experiment's plan.
        histories: what its runs have committed.
    """
    design, joint = design_of(plan), joint_budgets(plan.runs)
    under: dict[str, dict[str, None]] = {}
    for run in plan.runs:
        if run.budget is not None and run.sampler is not None:
            under.setdefault(joint[run.budget.label], {})[run.sampler.name] = None
    family = max(len(design.pairs(list(names))) for names in under.values())
    if not family:
        return []
    repeats = {(spec.seed, spec.fold) for spec in plan.runs}
    n = len(design.blocks(repeats))
    seeds = len({seed for seed, _ in repeats})
    return [_significance(n, len(repeats), seeds, family, design), *_power(plan, histories, design, n, family)]


def _significance(n: int, repeats: int, seeds: int, family: int, design: Design) -> str:
    """What p can be."""
    least = least_corrected_p(n, family)
    counted = f"{n} repeat(s)" if n == repeats else f"{n} independent repeat(s) (folds of a seed share training images)"
    which = f"{family} pair(s) of samplers that {'are tested' if design.contrasts is None else 'contrasts declares'}"
    basis = f"with {counted} the least corrected p of the {which} is {least:.2g}"
    if least <= LEVEL:
        return f"Differences can be significant: {basis}."
    needed = repeats_needed(family)
    enough = f"{needed} would do (seeds={-(-needed * seeds // n)})"
    return f"No difference can be significant: {basis}; {enough}{_fewer(family, design)}."


def _fewer(family: int, design: Design) -> str:
    """How declaring pairs lowers the number of repeats."""
    samplers = round((1 + (1 + 8 * family) ** 0.5) / 2)
    fewer = repeats_needed(max(1, samplers - 1))
    if design.contrasts is not None or fewer == repeats_needed(family):
        return ""
    return f", or {fewer} where contrasts={{against: SAMPLER}} declares one sampler against each of the others"


def _power(plan: Plan, histories: Sequence[RunHistory], design: Design, n: int, family: int) -> list[str]:
    """What would be found, by the deviations of the differences that finished runs have."""
    compared = [history for history in histories if history.spec.kind != "first"]
    if sum(history.finished for history in compared if history.spec.kind == "run") < 2 * FEWEST:
        return []
    try:
        pairs = pairs_overall(compare(compared, plan.metric, design=design))
    except DamagedCycle:  # which `decomp run` is about to mend, and other commands name
        return []
    deviations = [(pair, pair.paired.difference.sd) for pair in pairs if pair.paired.difference.n >= FEWEST]
    effects = [(EFFECT / sd, pair) for pair, sd in deviations if sd]
    if not effects:
        return []
    (least, hardest), (most, easiest) = (bound(effects, key=lambda each: each[0]) for bound in (min, max))
    chances = f"{power(least, n, family):.0%} ({_name(hardest)})"
    if hardest is not easiest:
        chances += f" to {power(most, n, family):.0%} ({_name(easiest)})"
    needed = repeats_for(least, family)
    return [
        f"By the deviations seen so far, a difference of {EFFECT:g} in the mean height of the learning curve would be "
        f"found with a chance of {chances}; "
        + (f"{needed} repeats give every pair {POWER:.0%}." if needed else f"no number gives every pair {POWER:.0%}.")
    ]


def _name(pair: Pair) -> str:
    return f"{pair.first} – {pair.second}"
