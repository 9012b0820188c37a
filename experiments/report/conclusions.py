"""What a comparison says in a few sentences, whoever wins."""

from collections.abc import Sequence

from decomp.experiments.report.axes import Axis, score_name
from decomp.experiments.report.comparison import FULL_SHARE, BudgetResult, Comparison, SamplerResult
from decomp.experiments.report.pairs import Pair, Verdict, family_notes, pairs_overall

SUBJECT = "decomp"
"""The sampler that the experiments are about; it gets a sentence of its own."""


def conclusions(comparison: Comparison) -> dict[str, list[str]]:
    """Sentences by budget: who needs least annotation, whose curve is highest, the statistics, how DECOMP stands."""
    by_budget = {}
    pairs = pairs_overall(comparison)
    for result in comparison.budgets:
        of_budget = [pair for pair in pairs if pair.budget == result.budget]
        sentences = [
            *(_target(comparison, result), _areas(result)),
            *(_significance(of_budget), _subject(result, of_budget)),
        ]
        if not result.repeats:
            sentences = ["No repeat is finished by all samplers yet, so nothing is summed up."]
        by_budget[result.budget] = [sentence for sentence in sentences if sentence]
    return by_budget


def _target(comparison: Comparison, result: BudgetResult) -> str:
    """Who reaches the target with least annotation."""
    if comparison.target is None:
        return "Without a finished full-annotation reference there is no score to reach."
    goal = f"{FULL_SHARE:.0%} of the full-annotation score ({score_name(comparison.metric)} {comparison.target:.3f})"
    there = _by_need(result)
    rest = [s for s in result.samplers if s not in there]
    reached = [
        f"{s.sampler} in {s.needed.reached} of {s.needed.repeats}" for s in rest if s.needed and s.needed.reached
    ]
    never = [s.sampler for s in rest if not (s.needed and s.needed.reached)]
    counts = f"In some repeats only: {_listed(reached)}. " if reached else ""
    if not there:
        if not reached:
            return f"No sampler reaches {goal} in any of the {len(result.repeats)} repeat(s)."
        return f"No sampler reaches {goal} in every repeat. {counts}Never: {_listed(never) or 'none'}."
    first, *others = [f"{s.sampler} ({_need(s, comparison.axis)})" for s in there]
    text = f"{first} reaches {goal} with the smallest {comparison.axis.label}"
    text += f", before {_listed(others)}. " if others else ". "
    return (text + counts + (f"Never: {_listed(never)}." if never else "")).strip()


def _areas(result: BudgetResult) -> str:
    """Who has the highest curve."""
    ranked = _by_area(result)
    if not ranked:
        return ""
    areas = [f"{s.sampler} ({s.area.mean:.3f})" for s in ranked if s.area]
    if len(areas) == 1:
        return ""
    return f"The mean height of the learning curve is greatest for {areas[0]}, then {_listed(areas[1:])}."


def _significance(pairs: Sequence[Pair]) -> str:
    """Which pairs of samplers differ."""
    if not pairs:
        return ""
    significant = [pair for pair in pairs if pair.verdict is Verdict.SIGNIFICANT]
    if significant:
        named = _listed([f"{a} over {b}" for a, b in map(_better, significant)])
        return f"Of {len(pairs)} pair(s) of samplers, {len(significant)} differ significantly in it: {named}."
    if all(pair.verdict is Verdict.TOO_FEW for pair in pairs):
        notes = " ".join(family_notes(pairs)).partition(": ")[2]
        return f"No difference in it can be called significant: {notes}"
    return f"None of the {len(pairs)} pair(s) of samplers differs significantly in it."


def _subject(result: BudgetResult, pairs: Sequence[Pair]) -> str:
    """How DECOMP stands, also where it loses."""
    if SUBJECT not in [sampler.sampler for sampler in result.samplers] or len(result.samplers) == 1:
        return ""
    need, area = _by_need(result), _by_area(result)
    places = [_place(need, "by the annotation needed", "does not reach that score in every repeat")] if need else []
    places += [_place(area, "by the height of its curve", "has no curve")] if area else []
    significant = [_better(pair) for pair in pairs if pair.verdict is Verdict.SIGNIFICANT]
    beaten = [worse for better, worse in significant if better == SUBJECT]
    beating = [better for better, worse in significant if worse == SUBJECT]
    places += [f"is significantly better than {_listed(beaten)}"] if beaten else []
    places += [f"is significantly worse than {_listed(beating)}"] if beating else []
    if not beaten + beating and any(pair.verdict is Verdict.NOT_SIGNIFICANT for pair in pairs):
        places += ["differs significantly from no other"]
    return f"{SUBJECT} {_listed(places)}." if places else ""


def _place(ranked: Sequence[SamplerResult], what: str, otherwise: str) -> str:
    names = [sampler.sampler for sampler in ranked]
    if SUBJECT not in names:
        return otherwise
    place = names.index(SUBJECT)
    if place == 0:
        return f"leads {what}"
    return f"is number {place + 1} of {len(names)} {what}, behind {_listed(names[:place])}"


def _by_need(result: BudgetResult) -> list[SamplerResult]:
    """Samplers that reach the target in every repeat, the one that needs least annotation first."""
    there = [(s.needed.amount.mean, s) for s in result.samplers if s.needed is not None and s.needed.amount is not None]
    return [sampler for _, sampler in sorted(there, key=lambda pair: pair[0])]


def _by_area(result: BudgetResult) -> list[SamplerResult]:
    """Samplers with a mean height of their learning curve, the highest first."""
    known = [(s.area.mean, s) for s in result.samplers if s.area is not None]
    return [sampler for _, sampler in sorted(known, key=lambda pair: -pair[0])]


def _need(sampler: SamplerResult, axis: Axis) -> str:
    assert sampler.needed is not None
    assert sampler.needed.amount is not None
    return axis.text(sampler.needed.amount.mean)


def _better(pair: Pair) -> tuple[str, str]:
    """The better sampler of a pair, then the worse one."""
    return (pair.first, pair.second) if pair.paired.difference.mean > 0 else (pair.second, pair.first)


def _listed(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else "".join(names)
