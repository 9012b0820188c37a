"""What a comparison says of repeats that are not finished: a sentence for all that are in the same state."""

from collections.abc import Mapping, Sequence

from decomp.experiments.report.run_history import Repeat

SHOWN = 12
"""Sentences that `shortened` leaves."""


def listed(names: Sequence[str]) -> str:
    """Names with commas and a last "and"."""
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else "".join(names)


def unfinished_sentences(cycles: Mapping[tuple[str, Repeat], int | None]) -> tuple[str, ...]:
    """A sentence for all samplers of which the same repeats have committed as many cycles.

    Args:
        cycles: by sampler and repeat, of unfinished runs only, the committed cycles; None where no run is planned.
    """
    states: dict[tuple[str, int | None], list[Repeat]] = {}
    for (sampler, repeat), committed in cycles.items():
        states.setdefault((sampler, committed), []).append(repeat)
    samplers: dict[tuple[int | None, tuple[Repeat, ...]], list[str]] = {}
    for (sampler, committed), repeats in states.items():
        samplers.setdefault((committed, tuple(repeats)), []).append(sampler)
    return tuple(f"{listed(names)}: {_state(*state)}." for state, names in samplers.items())


def unranked_sentences(repeats: Mapping[str, int], compared: int) -> tuple[str, ...]:
    """A sentence for all samplers that have finished as few of the repeats that the others are compared over.

    Args:
        repeats: by sampler that cannot be ranked, the repeats that it is summed up over.
        compared: repeats that the others are compared over.
    """
    samplers: dict[int, list[str]] = {}
    for sampler, n in repeats.items():
        samplers.setdefault(n, []).append(sampler)
    sentences = []
    for n, names in samplers.items():
        is_, has = ("is", "has") if len(names) == 1 else ("are", "have")
        each = "each " if n and len(names) > 1 else ""
        over = f"{is_} {each}summed up over {n}" if n else f"{has} finished none"
        of = f"of the {compared} repeat(s) that the others are compared over, and {is_} not ranked."
        sentences.append(f"{listed(names)} {over} {of}")
    return tuple(sentences)


def shortened(sentences: Sequence[str]) -> list[str]:
    """The first of them, and how many more there are."""
    return [*sentences[:SHOWN], *([f"and {len(sentences) - SHOWN} more."] if len(sentences) > SHOWN else [])]


def repeat_name(repeat: Repeat) -> str:
    """Its seed and fold in words."""
    return f"seed {repeat[0]} fold {repeat[1]}"


def _state(committed: int | None, repeats: tuple[Repeat, ...]) -> str:
    one = len(repeats) == 1
    name = repeat_name(repeats[0]) if one else f"{len(repeats)} repeats, {repeat_name(repeats[0])} the first,"
    if committed is None:
        return f"{name} {'is' if one else 'are'} missing"
    return f"{name} {'has' if one else 'have'} {committed} cycle(s) and {'is' if one else 'are'} not finished"
