"""What became of a claim: its pairs in each data set and over all of them, with a verdict each."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from decomp.experiments.report.incomplete import listed
from decomp.experiments.report.pairs import Pair, Verdict
from decomp.experiments.report.statistics import LEVEL, smallest_p
from decomp.experiments.report.tables import Row, Table
from decomp.experiments.study.claims import Claim, Expectation, Question
from decomp.experiments.verdict.pooled import DataSet, PooledPair, pooled_pairs
from decomp.experiments.verdict.tables import spread_text

ALL = "all"
"""What stands for all data sets together."""

MARGIN = 0.05
"""A difference of gains is small where its interval lies within -+ this much of the way to full annotation."""

OPEN = ("undecided", "too few repeats")
"""Verdicts that are none."""


@dataclass(frozen=True)
class Answer:
    """What the data say to a question.

    Attributes:
        question: the question.
        pair: the differences, tested and corrected over the questions of the claim that are tested.
    """

    question: Question
    pair: Pair

    @property
    def name(self) -> str:
        """The pair."""
        return f"{self.pair.first} – {self.pair.second}"

    @property
    def verdict(self) -> str:
        """In a word or two, whoever wins."""
        difference = self.pair.paired.difference
        if not self.question.tested:
            if difference.interval is None or smallest_p(difference.n) > LEVEL:
                return "too few repeats"
            low, high = difference.interval
            least = -MARGIN if self.question.expected is Expectation.ALIKE else -math.inf
            if low >= least and high <= MARGIN:
                return "holds"
            return "does not hold" if low > MARGIN or high < least else "undecided"
        if self.pair.verdict is Verdict.SIGNIFICANT:
            better = difference.mean > 0
            if self.question.expected is Expectation.OPEN:
                return f"{self.pair.first if better else self.pair.second} better"
            return "holds" if better else "the opposite holds"
        return "too few repeats" if self.pair.verdict is Verdict.TOO_FEW else "undecided"

    @property
    def decided(self) -> bool:
        """Whether there is an answer, whichever."""
        return self.verdict not in OPEN

    @property
    def short(self) -> str:
        """p where it is tested, the verdict, and in brackets the blocks."""
        p = f"p {self.pair.p_holm:.2g}, " if self.question.tested else ""
        return f"{p}{self.verdict} ({self.pair.paired.difference.n})"

    @property
    def text(self) -> str:
        """The same below the difference and its interval."""
        difference = self.pair.paired.difference
        return f"{difference.mean:+.3f}{spread_text(difference.interval)}<br>{self.short}"


@dataclass(frozen=True)
class Outcome:
    """What became of a claim.

    Attributes:
        claim: the claim.
        over: what tells it from the outcome over another measure of annotation; empty where there is no other.
        apart: of `answers`, those for which it makes a difference.
        answers: by the name of a data set, or `ALL`, an answer to each question for which there are data.
        pooled: the pairs of the answers of `ALL`.
    """

    claim: Claim
    over: str
    apart: tuple[str, ...]
    answers: Mapping[str, tuple[Answer, ...]]
    pooled: tuple[PooledPair, ...]

    def answer(self, data_set: str, question: Question) -> Answer | None:
        """The answer of a data set, or of `ALL`, to a question; None where there are no data."""
        return next((each for each in self.answers[data_set] if each.question == question), None)

    def counts(self, data_set: str) -> str:
        """How many questions have which answer in a data set, or `ALL`; empty without data.

        Of `ALL` also how many are those of one data set alone, and how many would be others without one.
        """
        groups = by_verdict(self.answers[data_set])
        counts = ", ".join(f"{verdict}: {len(answers)}" for verdict, answers in groups.items())
        if data_set != ALL:
            return counts
        alone = [f"{len(answers)} in {name} alone" for name, answers in self.alone().items()]
        changes = [f"{len(answers)} without {name}" for name, answers in self.without().items()]
        notes = [*alone, *([f"other answers: {', '.join(changes)}"] if changes else [])]
        return f"{counts} ({'; '.join(notes)})" if notes else counts

    def sentence(self, data_set: str) -> str:
        """Which questions have which answer in a data set, or `ALL`; empty without data."""
        groups = by_verdict(self.answers[data_set])
        return "; ".join(f"{verdict}: {listed([each.name for each in answers])}" for verdict, answers in groups.items())

    def alone(self) -> dict[str, list[Answer]]:
        """By the name of a data set, the answers of all data sets together in which no other one has a part."""
        groups: dict[str, list[Answer]] = {}
        for answer, pair in self._together():
            if pair.alone is not None:
                groups.setdefault(pair.alone, []).append(answer)
        return groups

    def without(self) -> dict[str, list[Answer]]:
        """By the name of a data set, the answers of all others together that differ from those with it."""
        changed = {}
        for name in self.answers:
            others = [
                other
                for answer, pair in self._together()
                if name in pair.without
                and (other := Answer(answer.question, pair.without[name])).verdict != answer.verdict
            ]
            if others:
                changed[name] = others
        return changed

    def _together(self) -> list[tuple[Answer, PooledPair]]:
        """The answers of all data sets together, each with its pair."""
        pairs = {(each.pair.first, each.pair.second): each for each in self.pooled}
        return [(each, pairs[each.question.first, each.question.second]) for each in self.answers[ALL]]


def by_verdict(answers: Sequence[Answer]) -> dict[str, list[Answer]]:
    """Answers by their verdict: first those that hold, last those that are open."""
    groups: dict[str, list[Answer]] = {}
    for each in answers:
        groups.setdefault(each.verdict, []).append(each)
    return {verdict: groups[verdict] for verdict in sorted(groups, key=lambda each: (each in OPEN, each != "holds"))}


@dataclass(frozen=True)
class Column:
    """Answers that stand below each other.

    Attributes:
        name: a data set, or `ALL`.
        over: over which measure of annotation; empty where it makes no difference.
        outcome: whose answers they are.
    """

    name: str
    over: str
    outcome: Outcome


def columns_of(outcomes: Sequence[Outcome], names: Sequence[str]) -> list[Column]:
    """The columns of a claim, in the order of the names; what is measured alike in all of its outcomes has one."""
    return [
        Column(name, outcome.over if name in outcome.apart else "", outcome)
        for name in names
        for number, outcome in enumerate(outcomes)
        if number == 0 or name in outcome.apart
    ]


def outcome_of(claim: Claim, data_sets: Sequence[DataSet], over: str = "", apart: Sequence[str] = ()) -> Outcome:
    """Ask the questions of a claim of each data set, and of all together.

    Args:
        claim: the claim.
        data_sets: the data sets, with gains over one measure of annotation each.
        over: see `Outcome`.
        apart: names of the data sets for which it makes a difference.
    """
    measured = [claim.measure(data_set) for data_set in data_sets]
    pairs = {each.name: _pairs(claim, [each]) for each in measured} | {ALL: _pairs(claim, measured)}
    answers = {
        name: tuple(
            Answer(question, each.pair)
            for question in claim.questions
            for each in of_name
            if (each.pair.first, each.pair.second) == (question.first, question.second)
        )
        for name, of_name in pairs.items()
    }
    return Outcome(claim, over, (*apart, *([ALL] if apart else [])), answers, pairs[ALL])


def outcome_table(claims: Sequence[Sequence[Outcome]]) -> Table:
    """Every answer at full precision, of the outcomes of every claim."""
    rows: list[Row] = []
    for outcomes in claims:
        for column in columns_of(outcomes, list(outcomes[0].answers)):
            for each in column.outcome.answers[column.name]:
                paired, difference = each.pair.paired, each.pair.paired.difference
                rows.append(
                    (
                        *(outcomes[0].claim.name, each.pair.first, each.pair.second, str(each.question.expected)),
                        *(column.name, column.over),
                        *(difference.n, difference.mean, *(difference.interval or (None, None))),
                        *(paired.p, each.pair.p_holm, paired.wins, paired.ties, paired.losses, each.verdict),
                    )
                )
    heads = (
        *("claim", "first", "second", "expected", "data_set", "over", "blocks", "difference", "low", "high"),
        *("p", "p_holm", "wins", "ties", "losses", "verdict"),
    )
    return Table("claims", "Every answer", heads, tuple(rows))


def _pairs(claim: Claim, data_sets: Sequence[DataSet]) -> tuple[PooledPair, ...]:
    """The pairs of all questions; those that ask for a small difference are no tests, and not corrected for."""
    tested, small = ([(q.first, q.second) for q in claim.questions if q.tested == whether] for whether in (True, False))
    return (*pooled_pairs(data_sets, tested), *pooled_pairs(data_sets, small))
