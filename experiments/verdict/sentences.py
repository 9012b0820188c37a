"""What a verdict over several experiments says in a few sentences, whoever wins."""

from collections.abc import Sequence

from decomp.experiments.report.incomplete import listed
from decomp.experiments.report.pairs import Pair, Verdict
from decomp.experiments.report.power import MOST_REPEATS, least_corrected_p, repeats_needed
from decomp.experiments.verdict.pooled import Pooled, PooledPair
from decomp.experiments.verdict.ranking import agreements, mean_ranks
from decomp.experiments.verdict.tables import spread_text

NAMED = 8
"""Most pairs that a sentence names."""


def verdict_sentences(pooled: Pooled) -> list[str]:
    """Which pairs differ and in how many data sets, which are undecided and what it would take, ranks, agreement."""
    if not pooled.pairs:
        return ["No pair of samplers has a finished block in common, so there is no verdict.", *_oracles(pooled)]
    return [
        *_significant(pooled),
        *_without(pooled),
        *_alone(pooled),
        *_undecided(pooled),
        *_too_few(pooled),
        *_ranks(pooled),
        *_agreement(pooled),
        *_oracles(pooled),
    ]


def what_is_missing(pooled: Pooled) -> list[str]:
    """What has no part in the verdict, what is imported, and what limits it, a sentence each."""
    lines = [experiment.fault for experiment in pooled.experiments if experiment.fault is not None]
    for experiment in pooled.experiments:
        lines += [f"{experiment.name}: {caveat}" for caveat in experiment.comparison.caveats]
        if left_out := experiment.source.left_out:
            runs = len(left_out) + len(experiment.source.histories)
            lines.append(
                f"{experiment.name} is not complete: {len(left_out)} of {runs} runs and full annotations were not "
                f"finished when it was exported, {left_out[0]} the first of them."
            )
        elif unfinished := experiment.comparison.unfinished:
            first = f"{unfinished[0]}{f' And {len(unfinished) - 1} more.' if len(unfinished) > 1 else ''}"
            lines.append(f"{experiment.name} is not complete: {first}")
    return lines


def _significant(pooled: Pooled) -> list[str]:
    found = [each for each in pooled.pairs if each.pair.verdict is Verdict.SIGNIFICANT]
    where = f"Over {pooled.blocks} block(s) of {len(pooled.data_sets)} data set(s)"
    tested = f"{len(pooled.pairs)} {'declared ' if pooled.declared else ''}pair(s) of samplers"
    if not found:
        if all(each.pair.verdict is Verdict.TOO_FEW for each in pooled.pairs):
            family, n = len(pooled.pairs), max(each.pair.paired.difference.n for each in pooled.pairs)
            return [
                f"{where} no difference can be significant: with {n} the least corrected p of {tested} is "
                f"{least_corrected_p(n, family):.2g}; {repeats_needed(family) - n} more block(s) would do."
            ]
        return [f"{where} none of the {tested} differs significantly."]
    text = _first(list(map(_better, found)))
    return [f"{where} {len(found)} of the {tested} differ(s) significantly: {text}."]


def _better(each: PooledPair) -> str:
    first, second, mean = each.pair.first, each.pair.second, each.pair.paired.difference.mean
    if mean < 0:
        first, second = second, first
    interval = each.pair.paired.difference.interval
    turned = None if interval is None else interval if mean >= 0 else (-interval[1], -interval[0])
    return f"{first} over {second} ({abs(mean):+.3f}{spread_text(turned)}, p {each.pair.p_holm:.2g})"


def _without(pooled: Pooled) -> list[str]:
    """Which verdicts a single data set carries."""
    sentences = []
    for name in [data_set.name for data_set in pooled.data_sets]:
        there = [(each.pair, each.without[name]) for each in pooled.pairs if name in each.without]
        lost = [rest for pair, rest in there if pair.significant and not rest.significant]
        won = [rest for pair, rest in there if rest.significant and not pair.significant]
        changes = [
            f"{what}: {_first(list(map(_named, pairs)))}"
            for what, pairs in (("no longer significant", lost), ("significant only then", won))
            if pairs
        ]
        if changes:
            sentences.append(f"Without {name}, {'; '.join(changes)}.")
    return sentences


def _alone(pooled: Pooled) -> list[str]:
    """Which verdicts only one of several data sets has a part in."""
    if len(pooled.data_sets) == 1:
        return []
    by_name: dict[str, list[str]] = {}
    for each in pooled.pairs:
        if each.alone is not None and each.pair.significant:
            by_name.setdefault(each.alone, []).append(_named(each.pair))
    return [
        f"Significant in {name} alone, since no other data set compares them: {_first(pairs)}."
        for name, pairs in by_name.items()
    ]


def _undecided(pooled: Pooled) -> list[str]:
    undecided = [each for each in pooled.pairs if each.pair.verdict is Verdict.NOT_SIGNIFICANT]
    if not undecided:
        return []
    named = []
    for each in undecided:
        needed = each.blocks_for_effect
        named.append(_named(each.pair, f"more than {MOST_REPEATS:,}" if needed is None else f"{needed} more"))
    return [
        "Undecided, with the blocks that would find a difference as large as the one seen with a chance of 80 %: "
        f"{_first(named)}."
    ]


def _too_few(pooled: Pooled) -> list[str]:
    few = [each for each in pooled.pairs if each.pair.verdict is Verdict.TOO_FEW]
    if not few:
        return []
    named = [
        f"{each.pair.first} – {each.pair.second} ({each.pair.paired.difference.mean:+.3f}, "
        f"{each.pair.paired.difference.n}; {each.blocks_for_least_p} more)"
        for each in few
    ]
    return [
        "Too few blocks for p to be significant, whatever they show; in brackets the difference, the blocks, and how "
        f"many more it takes at least: {_first(named)}."
    ]


def _named(pair: Pair, more: str = "") -> str:
    """A pair with its difference, p and what else there is to say."""
    text = f"{pair.paired.difference.mean:+.3f}, p {pair.p_holm:.2g}"
    return f"{pair.first} – {pair.second} ({text}{f'; {more}' if more else ''})"


def _ranks(pooled: Pooled) -> list[str]:
    ranks = mean_ranks(pooled)
    if not ranks:
        return ["Fewer than two samplers have finished enough of all data sets, so none is ranked."]
    shown = [
        f"{each.sampler} {each.rank:.2f}"
        + (f" [{each.interval[0]:.2f}, {each.interval[1]:.2f}]" if each.interval else "")
        for each in ranks
    ]
    return [f"Mean ranks, 1 being the best: {listed(shown)}."]


def _agreement(pooled: Pooled) -> list[str]:
    taus = [each.tau for each in agreements(pooled) if each.tau is not None]
    if not taus:
        return []
    spread = f", from {min(taus):.2f} to {max(taus):.2f}" if len(taus) > 1 else ""
    return [f"Agreement of the data sets on the ranking, Kendall's tau: {sum(taus) / len(taus):.2f}{spread}."]


def _oracles(pooled: Pooled) -> list[str]:
    if not pooled.oracles:
        return []
    return [
        f"Oracle baselines, which read the truth, are shown but have no part in the verdict: {listed(pooled.oracles)}."
    ]


def _first(texts: Sequence[str]) -> str:
    """The first `NAMED` of them, and how many more there are."""
    return listed([*texts[:NAMED], *([f"{len(texts) - NAMED} more"] if len(texts) > NAMED else [])])
