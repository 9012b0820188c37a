"""The page of the study: what became of every claim, from archives alone.

No figure on it is written by hand: fixed text says what the paper claims and how things are measured, and what came out
is put into words by what was computed.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from decomp.experiments.report.conclusions import conclusions
from decomp.experiments.report.figures import Drawing
from decomp.experiments.report.incomplete import listed
from decomp.experiments.report.learning_curve_figure import learning_curve_drawing
from decomp.experiments.report.page import bullets
from decomp.experiments.report.statistics import COVER, LEVEL, Spread
from decomp.experiments.report.tables import Row, Table
from decomp.experiments.schema import load_experiment
from decomp.experiments.sources import Source, open_source
from decomp.experiments.study.claims import CLAIMS, RIVALS, Expectation, new_rivals
from decomp.experiments.study.markdown import of_cells, of_table
from decomp.experiments.study.measures import rare_names
from decomp.experiments.study.outcomes import ALL, MARGIN, Outcome, outcome_of, outcome_table
from decomp.experiments.verdict.forest import forest_drawing
from decomp.experiments.verdict.pooled import Compared, Pooled, pool
from decomp.experiments.verdict.sentences import what_is_missing
from decomp.experiments.verdict.tables import agreement_table, rank_table

PAPER = "https://arxiv.org/abs/2512.07606"

COMMAND = "python -m decomp.experiments.study"


@dataclass(frozen=True)
class Study:
    """The page and what belongs to it.

    Attributes:
        page: the page as Markdown.
        tables: a CSV file each, in the folder of the archives.
        drawings: a PNG file each, there too.
    """

    page: str
    tables: tuple[Table, ...]
    drawings: tuple[Drawing, ...]


def make_study(presets: Sequence[Path], folder: Path) -> Study:
    """The study as far as its archives go.

    Args:
        presets: its experiment files, in the order of the page.
        folder: where the archives lie, each named after its experiment file; the page lies beside the folder.

    Raises:
        UserError: if an archive or experiment file is not in order.
    """
    archives = {preset.stem: folder / f"{preset.stem}.zip" for preset in presets}
    archives = {name: archive for name, archive in archives.items() if archive.exists()}
    sources = [open_source(archive) for archive in archives.values()]
    waiting = [preset for preset in presets if preset.stem not in archives]
    if not sources:
        text = f"# The study\n\nNothing is computed yet: {', '.join(preset.stem for preset in waiting)}.\n"
        return Study(text, (), ())
    pooled = pool(sources)
    outcomes = [outcome_of(claim, pooled.data_sets) for claim in (*CLAIMS, new_rivals(pooled.samplers))]
    names = [data_set.name for data_set in pooled.data_sets]
    forests = {each.claim.name: _forest(each, names) for each in outcomes}
    curves = {each.name: _curves(each) for each in pooled.experiments if each.comparison.curves}
    blocks = [
        "# The study",
        _introduction(folder),
        "## What came out",
        _overview(outcomes, names),
        "## What is computed",
        _computed(pooled, [f"{folder.name}/{archive.name}" for archive in archives.values()]),
        bullets([*_unfinished(waiting), *what_is_missing(pooled)]),
        "## Claim by claim",
        "In the figures, black diamonds are means over the blocks of all data sets, filled where p is significant; in "
        f"brackets is the number of blocks. Intervals ({COVER}) that leave a figure are cut. Where a claim is that "
        "there is hardly a difference, those that count as small are shaded.",
        *(block for each in outcomes for block in _claim(each, names, forests[each.claim.name], pooled, folder)),
        "## Data set by data set",
        "In the figures, means over the repeats of the paper's samplers, with a band of one standard deviation.",
        *(block for each in pooled.experiments for block in _experiment(each, curves.get(each.name), folder)),
        "### Ranks over the data sets",
        *(block for table in (rank_table(pooled), agreement_table(pooled)) for block in _table(table)),
        "## To repeat it",
        _repeating(presets, folder),
    ]
    drawings = [*(each for each in forests.values() if each is not None), *curves.values()]
    page = "\n\n".join(block for block in blocks if block) + "\n"
    return Study(page, (outcome_table(outcomes),), tuple(drawings))


def _introduction(folder: Path) -> str:
    return (
        f"What [the paper]({PAPER}) claims of DECOMP, measured on data that one machine can compute: generated slides, "
        "digit scenes and CT volumes of other seeds than those that any preset was made with, and a real brain. They "
        "are small, and the paper's data are not among them; what does not hold here may hold there, and the "
        "reverse.\n\n"
        f"`{COMMAND} docs/{folder.name}` makes this page and its figures from the archives beside it; nothing in it is "
        f"written by hand, whoever wins. Every answer at full precision: [claims.csv]({folder.name}/claims.csv).\n\n"
        "A block is a repeat, or the folds of a seed that share training images "
        "([Sec. 15](method.md#sec-15)). Differences are first minus second, means over blocks with Student's t "
        f"interval ({COVER}). p is that of the sign-flip test, corrected after Holm over the questions of a claim, in "
        f"each data set and over all of them; significant up to {LEVEL:g}. Where a claim says that there is hardly a "
        f"difference, it holds if the whole interval lies within {MARGIN:g} of zero, and does not if all of it lies "
        "beyond. Otherwise: undecided. Too few repeats: no difference of so few blocks could be significant."
    )


def _overview(outcomes: Sequence[Outcome], names: Sequence[str]) -> str:
    heads = ["claim", *(["all data sets"] if len(names) > 1 else []), *names]
    rows = [
        [
            f"[{outcome.claim.title}](#{_anchor(outcome.claim.title)})",
            *(outcome.counts(name) or "–" for name in _columns(names)),
        ]
        for outcome in outcomes
    ]
    return of_cells(heads, rows)


def _computed(pooled: Pooled, archives: Sequence[str]) -> str:
    rows: list[Row] = []
    for each in pooled.experiments:
        source = each.source
        finished = sum(history.finished for history in source.histories)
        rows.append(
            (
                *(source.description.metric, len({run.spec.sampler.name for run in source.runs if run.spec.sampler})),
                *(len(each.comparison.budgets), finished, finished + len(source.left_out), _complete(source)),
                *(each.first, each.full),
            )
        )
    heads = ("metric", "samplers", "budgets", "finished", "planned", "complete", "first_cycle", "full_annotation")
    table = of_table(Table("computed", "", heads, tuple(rows))).splitlines()
    links = [f"| [{each.name}]({archive}) " for each, archive in zip(pooled.experiments, archives, strict=True)]
    first = ["| archive ", "| --- ", *links]
    note = (
        "Finished and planned: runs and full annotations. Complete: repeats of which nothing is left to compute. "
        "Scores of the shared first cycle and of full annotation are means."
    )
    return "\n".join(f"{a}{b}" for a, b in zip(first, table, strict=True)) + f"\n\n{note}"


def _complete(source: Source) -> str:
    """Seeds and folds of which all runs are there."""
    of_repeat = [history.spec.label.rpartition("/")[2] for history in source.histories]
    open_ = {label.rpartition("/")[2] for label in source.left_out}
    return listed([repeat for repeat in dict.fromkeys(of_repeat) if repeat not in open_]) or "none"


def _unfinished(waiting: Sequence[Path]) -> list[str]:
    return [
        f"{preset.stem} ({len(load_experiment(preset).seeds)} seeds) is not computed yet, and has no part in anything."
        for preset in waiting
    ]


def _claim(outcome: Outcome, names: Sequence[str], forest: Drawing | None, pooled: Pooled, folder: Path) -> list[str]:
    claim = outcome.claim
    heads = ["compared", "the claim", *(["all data sets"] if len(names) > 1 else []), *names]
    rows = []
    for question in claim.questions:
        answers = [outcome.answer(name, question) for name in _columns(names)]
        if any(answers):
            cells = [answer.text if answer else "–" for answer in answers]
            rows.append([f"{question.first} – {question.second}", str(question.expected), *cells])
    blocks = [f"### {claim.title}", f"*The paper:* {claim.paper} *Measured:* {claim.measured}"]
    if claim.name.startswith("rare"):
        blocks.append(_rare(pooled))
    if not rows:
        return [*blocks, "No data set has finished what this needs."]
    decisive, *_ = _columns(names)
    blocks += [f"{'All data sets together' if decisive == ALL else decisive}: {outcome.sentence(decisive)}."]
    return [*blocks, of_cells(heads, rows), *_figure(forest, folder)]


def _rare(pooled: Pooled) -> str:
    """Which classes are rare."""
    named = {each.name: rare_names(each.source) for each in pooled.experiments}
    return "Rare: " + "; ".join(f"in {name} {', '.join(rare) or 'none'}" for name, rare in named.items()) + "."


def _experiment(experiment: Compared, curves: Drawing | None, folder: Path) -> list[str]:
    blocks = [f"### {experiment.name}"]
    for budget, sentences in conclusions(experiment.comparison).items():
        blocks += [f"Budget {budget}:", bullets(sentences)]
    return [*blocks, *_figure(curves, folder), *_heights(experiment)]


def _heights(experiment: Compared) -> list[str]:
    """Mean height of the learning curve of every sampler over the repeats that all share, oracle baselines included."""
    blocks = []
    for result in experiment.comparison.budgets:
        rows: list[Row] = []
        for sampler in sorted((s for s in result.samplers if s.area), key=lambda s: -s.area.mean if s.area else 0.0):
            areas = {repeat: sampler.areas[repeat] for repeat in sampler.repeats}
            spread = Spread.of(list(experiment.comparison.design.by_block(areas).values()))
            final, oracle = sampler.final, sampler.sampler in experiment.comparison.design.oracles
            rows.append(
                (
                    *(sampler.sampler, "reads the truth" if oracle else "", spread.n, spread.mean),
                    *(*(spread.interval or (None, None)), final.mean if final else None),
                )
            )
        if rows:
            heads = ("sampler", "oracle_baseline", "blocks", "mean_height", "low", "high", "last_score")
            blocks += [f"Heights of the curves, budget {result.budget}:", of_table(Table("", "", heads, tuple(rows)))]
    return blocks


def _table(table: Table) -> list[str]:
    return [of_table(table), table.note] if table.rows else []


def _figure(drawing: Drawing | None, folder: Path) -> list[str]:
    return [] if drawing is None else [f"![{drawing.title}]({folder.name}/{drawing.name}.png)"]


def _forest(outcome: Outcome, names: Sequence[str]) -> Drawing | None:
    answers = {(each.pair.first, each.pair.second): each.short for each in outcome.answers[ALL]}
    shown = [answers[each.pair.first, each.pair.second] for each in outcome.pooled]
    alike = any(question.expected is Expectation.ALIKE for question in outcome.claim.questions)
    there = [name for name in names if outcome.answers[name]]
    drawing = forest_drawing(outcome.pooled, there, outcome.claim.axis, shown, MARGIN if alike else 0.0)
    return drawing and replace(drawing, name=outcome.claim.name, title=outcome.claim.title)


def _curves(experiment: Compared) -> Drawing:
    """The learning curves of the paper's samplers; those of all would hide each other."""
    shown = ("decomp", *RIVALS)
    results = [
        replace(result, samplers=tuple(sampler for sampler in result.samplers if sampler.sampler in shown))
        for result in experiment.comparison.budgets
    ]
    budgets = tuple(result for result in results if result.samplers)
    drawing = learning_curve_drawing(replace(experiment.comparison, budgets=budgets))
    return replace(drawing, name=f"curves-{experiment.name}", title=f"{drawing.title}: {experiment.name}")


def _repeating(presets: Sequence[Path], folder: Path) -> str:
    lines = []
    for preset in presets:
        lines += [f"    decomp run experiments/{preset.name}"]
        lines += [f"    decomp export experiments/{preset.name} docs/{folder.name}/{preset.stem}.zip"]
    return "\n".join([*lines, f"    {COMMAND} docs/{folder.name}"])


def _columns(names: Sequence[str]) -> list[str]:
    """What has a column: all data sets together, where there are several, and each of them."""
    return [*([ALL] if len(names) > 1 else []), *names]


def _anchor(title: str) -> str:
    """The anchor of a heading, as GitHub and MkDocs make it."""
    kept = "".join(letter for letter in title.lower() if letter.isalnum() or letter in " -_")
    return kept.replace(" ", "-")
