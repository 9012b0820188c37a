from dataclasses import replace

import pytest

from decomp.experiments.report.pairs import Pair, corrected
from decomp.experiments.report.statistics import Paired
from decomp.experiments.sources import open_source
from decomp.experiments.study.claims import CLAIMS, Expectation, Question, new_rivals
from decomp.experiments.study.outcomes import ALL, MARGIN, Answer, outcome_of, outcome_table
from decomp.experiments.verdict.pooled import pool

RIVALS = CLAIMS[0]


def answer(expected, *differences):
    (pair,) = corrected([Pair("all", "decomp", "rand", None, Paired.of(differences))])
    return Answer(Question("decomp", "rand", expected), pair)


@pytest.mark.parametrize(
    ("expected", "differences", "verdict"),
    [
        (Expectation.BETTER, [0.1] * 6, "holds"),
        (Expectation.BETTER, [-0.1] * 6, "the opposite holds"),
        (Expectation.BETTER, [0.1, -0.1] * 3, "undecided"),
        (Expectation.BETTER, [0.1] * 5, "too few repeats"),
        (Expectation.OPEN, [0.1] * 6, "decomp better"),
        (Expectation.OPEN, [-0.1] * 6, "rand better"),
        (Expectation.ALIKE, [0.9 * MARGIN] * 6, "holds"),  # small, though p is significant
        (Expectation.ALIKE, [0.5 * MARGIN, 1.5 * MARGIN] * 3, "undecided"),
        (Expectation.ALIKE, [-1.1 * MARGIN] * 6, "does not hold"),
        (Expectation.ALIKE, [0.0] * 5, "too few repeats"),  # though the interval is a point
    ],
)
def test_verdicts_say_whether_a_claim_holds_whoever_wins(expected, differences, verdict):
    assert answer(expected, *differences).verdict == verdict


def test_an_answer_gives_the_difference_its_interval_p_and_the_number_of_blocks():
    assert answer(Expectation.BETTER, *[0.1] * 6).text == "+0.100 [+0.100, +0.100], p 0.031, holds (6)"
    assert answer(Expectation.ALIKE, 0.01).text == "+0.010, too few repeats (1)"


def test_what_is_no_test_is_not_corrected_for(toy):
    data_sets = pool([open_source(toy[1] / "study-toy.zip")]).data_sets
    questions = (Question("decomp", "rand"), Question("decomp", "uncert_decomp", Expectation.ALIKE))
    outcome = outcome_of(replace(RIVALS, questions=questions), data_sets)
    first, second = outcome.answers[ALL]
    assert first.question == questions[0]
    assert first.pair.family == 1
    assert second.pair.paired.difference.n == 3


def test_samplers_that_are_not_there_are_not_answered_for(toy):
    outcome = outcome_of(RIVALS, pool([open_source(toy[1] / "study-toy.zip")]).data_sets)
    assert [each.question.second for each in outcome.answers[ALL]] == ["rand", "uncert"]
    assert outcome.answer(ALL, Question("decomp", "badge")) is None
    table = outcome_table([outcome])
    assert len(table.rows) == 2 * 2  # two pairs, in the data set and over all


def test_every_sampler_that_the_paper_does_not_know_is_a_new_rival():
    claim = new_rivals(["rand", "decomp", "clasp-pe", "uncert_decomp", "decomp_tau-0.3", "bald"])
    assert [(q.first, q.second) for q in claim.questions] == [("decomp", "clasp-pe"), ("decomp", "bald")]
