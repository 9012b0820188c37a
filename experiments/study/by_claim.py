"""Claim by claim: what the paper says, what came out, over every measure of annotation that makes a difference."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from decomp.experiments.report.axes import POOLS, find_axis
from decomp.experiments.report.figures import Drawing
from decomp.experiments.report.incomplete import listed
from decomp.experiments.report.page import bullets
from decomp.experiments.sources import Source
from decomp.experiments.study.claims import CLAIMS, new_rivals
from decomp.experiments.study.markdown import figure, of_cells
from decomp.experiments.study.measures import HALVES, better_half, rare_names, which_half
from decomp.experiments.study.outcomes import ALL, MARGIN, Outcome, by_verdict, columns_of, outcome_of
from decomp.experiments.verdict.forest import Said, forest_drawing
from decomp.experiments.verdict.pooled import Pooled, pool


@dataclass(frozen=True)
class View:
    """All data sets, with learning curves over one measure of annotation each.

    Attributes:
        over: what tells it from the other view, such as ``over slides``; empty where there is none.
        pooled: the data sets.
        own: names of those whose measure is another one in the other view.
    """

    over: str
    pooled: Pooled
    own: tuple[str, ...]


def views_of(sources: Sequence[Source]) -> tuple[View, ...]:
    """One view over the paper's measures, and if these differ from it, one over the annotated share."""
    paper = [source.axes[0] for source in sources]
    share = [find_axis(source.axes, "share") for source in sources]
    own = tuple(source.name for source, axis in zip(sources, paper, strict=True) if axis.name != "share")
    if not own:
        return (View("", pool(sources, paper), ()),)
    slides, rois = POOLS["weighted_f1"]
    return View(f"over {slides}", pool(sources, paper), own), View(f"over {rois}", pool(sources, share), own)


def outcomes_of(views: Sequence[View]) -> list[tuple[Outcome, ...]]:
    """What became of every claim, in the order of the page: over every view where it is about gains."""
    return [
        tuple(
            outcome_of(claim, view.pooled.data_sets, view.over, view.own)
            if claim.of_gains
            else outcome_of(claim, view.pooled.data_sets)
            for view in (views if claim.of_gains else views[:1])
        )
        for claim in (*CLAIMS, new_rivals(views[0].pooled.samplers))
    ]


def overview(claims: Sequence[tuple[Outcome, ...]], views: Sequence[View]) -> str:
    """How many questions of each claim have which answer."""
    names = _names(views)
    rows = []
    for outcomes in claims:
        title = outcomes[0].claim.title
        cells = []
        for name in names:
            told = [(column.over, column.outcome.counts(name)) for column in columns_of(outcomes, [name])]
            cells.append("<br>".join(f"{over}{': ' * bool(over)}{text}" for over, text in told if text) or "–")
        rows.append([f"[{title}](#{_anchor(title)})", *cells])
    return of_cells(["claim", *map(_shown, names)], rows)


def claim_section(
    outcomes: Sequence[Outcome], forests: Sequence[Drawing], views: Sequence[View], folder: Path
) -> list[str]:
    """What the paper says, what is measured, what came out in words, as a table and as figures."""
    claim = outcomes[0].claim
    columns = columns_of(outcomes, _names(views))
    rows = []
    for question in claim.questions:
        answers = [column.outcome.answer(column.name, question) for column in columns]
        if any(answers):
            cells = [answer.text if answer else "–" for answer in answers]
            rows.append([f"{question.first} – {question.second}", str(question.expected), *cells])
    blocks = [f"### {claim.title}", f"*The paper:* {claim.paper} *Measured:* {claim.measured}"]
    if claim.name.startswith("rare"):
        blocks.append(_rare(views[0].pooled))
    if claim.measure is better_half:
        blocks.append(_halves(views))
    if not rows:
        return [*blocks, "No data set has finished what this needs."]
    heads = [f"{_shown(each.name)}{', ' * bool(each.over)}{each.over}" for each in columns]
    blocks += [bullets(_in_words(outcomes, _names(views))), of_cells(["compared", "the claim", *heads], rows)]
    return [*blocks, *(figure(drawing, folder) for drawing in forests)]


def forests_of(outcomes: Sequence[Outcome], views: Sequence[View]) -> tuple[Drawing, ...]:
    """A forest of every outcome that has answers."""
    names = [data_set.name for data_set in views[0].pooled.data_sets]
    drawings = []
    for number, outcome in enumerate(outcomes):
        claim, answers = outcome.claim, {(a.pair.first, a.pair.second): a for a in outcome.answers[ALL]}
        shown = [answers[each.pair.first, each.pair.second] for each in outcome.pooled]
        said = [Said(each.short, each.decided, 0.0 if each.question.tested else MARGIN) for each in shown]
        measured = f"{claim.axis} ({listed(views[number].own)} {outcome.over})" if outcome.over else claim.axis
        drawing = forest_drawing(outcome.pooled, names, measured, said)
        if drawing is not None:
            name = f"{claim.name}-{outcome.over.replace(' ', '-').lower()}" if number else claim.name
            title = f"{claim.title}, {outcome.over}" if outcome.over else claim.title
            drawings.append(replace(drawing, name=name, title=title))
    return tuple(drawings)


def _in_words(outcomes: Sequence[Outcome], names: Sequence[str]) -> list[str]:
    """The answers of all data sets together, those of one alone, and those that would be others without one."""
    decisive = names[0]
    lines = []
    for column in columns_of(outcomes, [decisive]):
        over = f"{', ' * bool(column.over)}{column.over}"
        if sentence := column.outcome.sentence(decisive):
            lines.append(f"{'All data sets together' if decisive == ALL else decisive}{over}: {sentence}.")
        if decisive == ALL:
            compares = f"no other data set compares them{' ' * bool(column.over)}{column.over}"
            for name, answers in column.outcome.alone().items():
                lines.append(f"In {name} alone, since {compares}: {listed([a.name for a in answers])}.")
            for name, answers in column.outcome.without().items():
                told = [
                    f"{verdict}: {listed([f'{a.name} ({a.pair.paired.difference.mean:+.3f})' for a in changed])}"
                    for verdict, changed in by_verdict(answers).items()
                ]
                lines.append(f"All data sets but {name}{over}: {'; '.join(told)}.")
    return lines


def _shown(name: str) -> str:
    """How a column is called."""
    return "all data sets" if name == ALL else name


def _names(views: Sequence[View]) -> list[str]:
    """What has a column: all data sets together, where there are several, and each of them."""
    names = [data_set.name for data_set in views[0].pooled.data_sets]
    return [*([ALL] if len(names) > 1 else []), *names]


def _rare(pooled: Pooled) -> str:
    """Which classes are rare."""
    named = {each.name: rare_names(each.source) for each in pooled.experiments}
    return "Rare: " + "; ".join(f"in {name} {', '.join(rare) or 'none'}" for name, rare in named.items()) + "."


def _halves(views: Sequence[View]) -> str:
    """Which half is the better one."""
    better: dict[str, list[str]] = {}
    for place, data_set in enumerate(views[0].pooled.data_sets):
        apart = data_set.name in views[0].own
        for view in views if apart else views[:1]:
            if half := which_half(view.pooled.data_sets[place]):
                better.setdefault(half, []).append(f"{data_set.name}{f' {view.over}' if apart else ''}")
    told = [f"{half} in {listed(better[half])}" for half in HALVES if half in better]
    return f"The better half is {'; '.join(told)}." if told else ""


def _anchor(title: str) -> str:
    """The anchor of a heading, as GitHub and MkDocs make it."""
    kept = "".join(letter for letter in title.lower() if letter.isalnum() or letter in " -_")
    return kept.replace(" ", "-")
