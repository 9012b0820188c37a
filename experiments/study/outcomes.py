"""What became of a claim: its pairs in each data set and over all of them, with a verdict each."""

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
    def verdict(self) -> str:
        """In a word or two, whoever wins."""
        difference = self.pair.paired.difference
        if self.question.expected is Expectation.ALIKE:
            if difference.interval is None or smallest_p(difference.n) > LEVEL:
                return "too few repeats"
            low, high = difference.interval
            if low >= -MARGIN and high <= MARGIN:
                return "holds"
            return "does not hold" if low > MARGIN or high < -MARGIN else "undecided"
        if self.pair.verdict is Verdict.SIGNIFICANT:
            better = difference.mean > 0
            if self.question.expected is Expectation.OPEN:
                return f"{self.pair.first if better else self.pair.second} better"
            return "holds" if better else "the opposite holds"
        return "too few repeats" if self.pair.verdict is Verdict.TOO_FEW else "undecided"

    @property
    def short(self) -> str:
        """p where it is tested, the verdict, and in brackets the blocks."""
        p = "" if self.question.expected is Expectation.ALIKE else f"p {self.pair.p_holm:.2g}, "
        return f"{p}{self.verdict} ({self.pair.paired.difference.n})"

    @property
    def text(self) -> str:
        """The same after the difference with its interval."""
        difference = self.pair.paired.difference
        return f"{difference.mean:+.3f}{spread_text(difference.interval)}, {self.short}"


@dataclass(frozen=True)
class Outcome:
    """What became of a claim.

    Attributes:
        claim: the claim.
        answers: by the name of a data set, or `ALL`, an answer to each question for which there are data.
        pooled: the pairs of the answers of `ALL`.
    """

    claim: Claim
    answers: Mapping[str, tuple[Answer, ...]]
    pooled: tuple[PooledPair, ...]

    def answer(self, data_set: str, question: Question) -> Answer | None:
        """The answer of a data set, or of `ALL`, to a question; None where there are no data."""
        return next((each for each in self.answers[data_set] if each.question == question), None)

    def counts(self, data_set: str) -> str:
        """How many questions have which answer in a data set, or `ALL`; empty without data."""
        groups = self._by_verdict(data_set)
        return ", ".join(f"{verdict}: {len(pairs)}" for verdict, pairs in groups.items())

    def sentence(self, data_set: str) -> str:
        """Which questions have which answer in a data set, or `ALL`; empty without data."""
        groups = self._by_verdict(data_set)
        return "; ".join(f"{verdict}: {listed(pairs)}" for verdict, pairs in groups.items())

    def _by_verdict(self, data_set: str) -> dict[str, list[str]]:
        groups: dict[str, list[str]] = {}
        for each in self.answers[data_set]:
            groups.setdefault(each.verdict, []).append(f"{each.pair.first} – {each.pair.second}")
        order = sorted(groups, key=lambda verdict: (verdict in ("undecided", "too few repeats"), verdict != "holds"))
        return {verdict: groups[verdict] for verdict in order}


def outcome_of(claim: Claim, data_sets: Sequence[DataSet]) -> Outcome:
    """Ask the questions of a claim of each data set, and of all together."""
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
    return Outcome(claim, answers, pairs[ALL])


def outcome_table(outcomes: Sequence[Outcome]) -> Table:
    """Every answer at full precision."""
    rows: list[Row] = []
    for outcome in outcomes:
        for name, answers in outcome.answers.items():
            for each in answers:
                paired, difference = each.pair.paired, each.pair.paired.difference
                rows.append(
                    (
                        *(outcome.claim.name, each.pair.first, each.pair.second, str(each.question.expected), name),
                        *(difference.n, difference.mean, *(difference.interval or (None, None))),
                        *(paired.p, each.pair.p_holm, paired.wins, paired.ties, paired.losses, each.verdict),
                    )
                )
    heads = (
        *("claim", "first", "second", "expected", "data_set", "blocks", "difference", "low", "high", "p", "p_holm"),
        *("wins", "ties", "losses", "verdict"),
    )
    return Table("claims", "Every answer", heads, tuple(rows))


def _pairs(claim: Claim, data_sets: Sequence[DataSet]) -> tuple[PooledPair, ...]:
    """The pairs of all questions; those that ask for a small difference are no tests, and not corrected for."""
    tested, small = (
        [(q.first, q.second) for q in claim.questions if (q.expected is Expectation.ALIKE) == alike]
        for alike in (False, True)
    )
    return (*pooled_pairs(data_sets, tested), *pooled_pairs(data_sets, small))
