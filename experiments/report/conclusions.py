"""What a comparison says in a few sentences, whoever wins."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from decomp.experiments.report.axes import Axis, score_name
from decomp.experiments.report.comparison import FULL_SHARE, BudgetResult, Comparison
from decomp.experiments.report.incomplete import listed
from decomp.experiments.report.pairs import Pair, Verdict, family_notes, pairs_overall

SUBJECT = "decomp"
"""The sampler that the experiments are about; it gets a sentence of its own."""


@dataclass(frozen=True)
class Place:
    """A place in a ranking; equals share one, and as many places after it stay empty (1, 2, 2, 4).

    Attributes:
        number: from 1.
        names: the samplers on it.
        value: what they are ranked by, as it is shown; samplers that do not differ in it are equals.
    """

    number: int
    names: tuple[str, ...]
    value: str

    def __str__(self) -> str:
        return f"{listed(self.names)} ({self.value}{' each' * (len(self.names) > 1)})"


def conclusions(comparison: Comparison) -> dict[str, list[str]]:
    """Sentences by budget: who needs least annotation, whose curve is highest, the statistics, how DECOMP stands."""
    by_budget = {}
    pairs = pairs_overall(comparison)
    for result in comparison.budgets:
        of_budget = [pair for pair in pairs if pair.budget == result.budget]
        result = _without(comparison.design.oracles, result)
        sentences = [
            *(_target(comparison, result), _areas(result), *result.aside),
            *(_significance(of_budget), _subject(comparison, result, of_budget), _oracles(comparison)),
        ]
        if not any(sampler.repeats for sampler in result.samplers):
            sentences = ["No repeat is finished by all samplers yet, so nothing is summed up."]
        by_budget[result.budget] = [sentence for sentence in sentences if sentence]
    return by_budget


def _without(oracles: Sequence[str], result: BudgetResult) -> BudgetResult:
    """The samplers that one could use: those that read the truth are in the tables and figures alone."""
    return replace(result, samplers=tuple(sampler for sampler in result.samplers if sampler.sampler not in oracles))


def _target(comparison: Comparison, result: BudgetResult) -> str:
    """Who reaches the target with least annotation."""
    if comparison.target is None:
        return "Without a finished full-annotation reference there is no score to reach."
    if not result.ranked:
        return ""
    goal = f"{FULL_SHARE:.0%} of the full-annotation score ({score_name(comparison.metric)} {comparison.target:.3f})"
    places = _by_need(comparison.axis, result)
    there = [name for place in places for name in place.names]
    rest = [s for s in result.ranked if s.sampler not in there]
    reached = [
        f"{s.sampler} in {s.needed.reached} of {s.needed.repeats}" for s in rest if s.needed and s.needed.reached
    ]
    never = [s.sampler for s in rest if not (s.needed and s.needed.reached)]
    counts = f"In some repeats only: {listed(reached)}. " if reached else ""
    by_first = max(s.needed.by_first for s in result.ranked if s.needed)
    if by_first:
        counts = f"{by_first} of {len(result.repeats)} repeat(s) reach it by the shared first cycle. {counts}"
    if not there:
        if not reached:
            return f"No sampler reaches {goal} in any of the {len(result.repeats)} repeat(s)."
        return f"No sampler reaches {goal} in every repeat. {counts}Never: {listed(never) or 'none'}."
    if by_first == len(result.repeats):
        amount = f"{comparison.axis.label}: {places[0].value}"
        return f"{listed(there)} {_reach(there)} {goal} by the shared first cycle ({amount})."
    first, *others = [str(place) for place in places]
    text = f"{first} {_reach(places[0].names)} {goal} with the smallest {comparison.axis.label}"
    text += f", before {listed(others)}. " if others else ". "
    return (text + counts + (f"Never: {listed(never)}." if never else "")).strip()


def _reach(names: Sequence[str]) -> str:
    return "reach" if len(names) > 1 else "reaches"


def _areas(result: BudgetResult) -> str:
    """Who has the highest curve."""
    places = _by_area(result)
    if sum(len(place.names) for place in places) < 2:
        return ""
    if len(places) == 1:
        return f"The mean height of the learning curve is the same, {places[0].value}, for {listed(places[0].names)}."
    first, *others = [str(place) for place in places]
    return f"The mean height of the learning curve is greatest for {first}, then {listed(others)}."


def _significance(pairs: Sequence[Pair]) -> str:
    """Which pairs of samplers differ."""
    if not pairs:
        return ""
    significant = [pair for pair in pairs if pair.verdict is Verdict.SIGNIFICANT]
    if significant:
        named = listed([f"{a} over {b}" for a, b in map(_better, significant)])
        return f"Of {len(pairs)} pair(s) of samplers, {len(significant)} differ significantly in it: {named}."
    if all(pair.verdict is Verdict.TOO_FEW for pair in pairs):
        notes = " ".join(family_notes(pairs)).partition(": ")[2]
        return f"No difference in it can be called significant: {notes}"
    return f"None of the {len(pairs)} pair(s) of samplers differs significantly in it."


def _oracles(comparison: Comparison) -> str:
    """Who is left out of all this."""
    if not comparison.oracles:
        return ""
    verb = "are oracle baselines, which read" if len(comparison.oracles) > 1 else "is an oracle baseline, which reads"
    return f"{listed(comparison.oracles)} {verb} the truth: shown, but neither ranked nor tested."


def _subject(comparison: Comparison, result: BudgetResult, pairs: Sequence[Pair]) -> str:
    """How DECOMP stands, also where it loses."""
    if SUBJECT not in [sampler.sampler for sampler in result.ranked] or len(result.ranked) == 1:
        return ""
    need, area = _by_need(comparison.axis, result), _by_area(result)
    stands = [_stand(need, "by the annotation needed", "does not reach that score in every repeat")] if need else []
    stands += [_stand(area, "by the height of its curve", "has no curve")] if area else []
    significant = [_better(pair) for pair in pairs if pair.verdict is Verdict.SIGNIFICANT]
    beaten = [worse for better, worse in significant if better == SUBJECT]
    beating = [better for better, worse in significant if worse == SUBJECT]
    stands += [f"is significantly better than {listed(beaten)}"] if beaten else []
    stands += [f"is significantly worse than {listed(beating)}"] if beating else []
    if not beaten + beating and any(pair.verdict is Verdict.NOT_SIGNIFICANT for pair in pairs):
        stands += ["differs significantly from no other"]
    return f"{SUBJECT} {listed(stands)}." if stands else ""


def _stand(places: Sequence[Place], what: str, otherwise: str) -> str:
    """Where DECOMP stands in a ranking."""
    place = next((place for place in places if SUBJECT in place.names), None)
    if place is None:
        return otherwise
    total = sum(len(each.names) for each in places)
    ahead = [name for each in places if each.number < place.number for name in each.names]
    level = [name for name in place.names if name != SUBJECT]
    behind = f", behind {listed(ahead)}" if ahead else ""
    if level:
        return f"shares place {place.number} of {total} {what} with {listed(level)}{behind}"
    return f"is number {place.number} of {total} {what}{behind}" if ahead else f"leads {what}"


def _by_need(axis: Axis, result: BudgetResult) -> list[Place]:
    """Places of the samplers that reach the target in every repeat, the least annotation first."""
    bounds = [(s.sampler, s.needed.bound, s.needed.at_most) for s in result.ranked if s.needed]
    shown = [(n, b, f"{'at most ' * (most is not None)}{axis.text(b)}") for n, b, most in bounds if b is not None]
    return _places(sorted(shown, key=lambda each: each[1]))


def _by_area(result: BudgetResult) -> list[Place]:
    """Places by the mean height of the learning curve, the highest first; none where they are over several ranges."""
    if len({sampler.budget for sampler in result.ranked}) > 1:
        return []
    known = [(s.sampler, s.area.mean, f"{s.area.mean:.3f}") for s in result.ranked if s.area is not None]
    return _places(sorted(known, key=lambda each: -each[1]))


def _places(ordered: Sequence[tuple[str, float, str]]) -> list[Place]:
    """Places of samplers that are in order: those with the same number as it is shown share one, the next are left out.

    Args:
        ordered: name, number and how it is shown.
    """
    places, number = [], 1
    for value, members in groupby(ordered, key=lambda each: each[2]):
        names = tuple(name for name, _, _ in members)
        places.append(Place(number, names, value))
        number += len(names)
    return places


def _better(pair: Pair) -> tuple[str, str]:
    """The better sampler of a pair, then the worse one."""
    return (pair.first, pair.second) if pair.paired.difference.mean > 0 else (pair.second, pair.first)
