from dataclasses import replace

import pytest

from decomp.experiments.report.axes import axes_of
from decomp.experiments.report.comparison import Comparison
from decomp.experiments.report.pairs import Pair, corrected
from decomp.experiments.report.statistics import Paired
from decomp.experiments.sources import open_source
from decomp.experiments.study.claims import CLAIMS, Expectation, Question, new_rivals
from decomp.experiments.study.outcomes import ALL, MARGIN, Answer, columns_of, outcome_of, outcome_table
from decomp.experiments.verdict.pooled import Compared, DataSet, pool

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
        (Expectation.LITTLE, [0.9 * MARGIN] * 6, "holds"),
        (Expectation.LITTLE, [-9 * MARGIN] * 6, "holds"),  # a loss is no gain
        (Expectation.LITTLE, [0.5 * MARGIN, 1.5 * MARGIN] * 3, "undecided"),
        (Expectation.LITTLE, [1.1 * MARGIN] * 6, "does not hold"),
        (Expectation.LITTLE, [0.0] * 5, "too few repeats"),
    ],
)
def test_verdicts_say_whether_a_claim_holds_whoever_wins(expected, differences, verdict):
    assert answer(expected, *differences).verdict == verdict


def test_an_answer_gives_the_difference_its_interval_p_and_the_number_of_blocks():
    assert answer(Expectation.BETTER, *[0.1] * 6).text == "+0.100 [+0.100, +0.100]<br>p 0.031, holds (6)"
    assert answer(Expectation.ALIKE, 0.01).text == "+0.010<br>too few repeats (1)"


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
    table = outcome_table([[outcome]])
    assert len(table.rows) == 2 * 2  # two pairs, in the data set and over all


def test_every_sampler_that_the_paper_does_not_know_is_a_new_rival():
    claim = new_rivals(["rand", "decomp", "clasp-pe", "uncert_decomp", "decomp_tau-0.3", "bald"])
    assert [(q.first, q.second) for q in claim.questions] == [("decomp", "clasp-pe"), ("decomp", "bald")]


def data_set(name, **gains):
    """A data set of which only the gains are known, by sampler a value for each seed; tau stands for decomp_tau-0.3."""
    compared = Compared(None, Comparison("miou", axes_of("miou")[0], None, None, (), (), ()), None, name)
    by_sampler = {sampler: {(0, "b"): {(k, 0): v for k, v in enumerate(values)}} for sampler, values in gains.items()}
    return DataSet(name, (compared,), by_sampler)


def test_what_a_single_data_set_carries_is_told():
    claim = replace(RIVALS, questions=(Question("decomp", "rand"), Question("decomp", "uncert")))
    large = data_set("large", decomp=[0.5] * 8, rand=[0.0] * 8, uncert=[0.0] * 8)
    small = data_set("small", decomp=[0.1, -0.1] * 4, rand=[0.0] * 8, uncert=[-0.5] * 8)
    outcome = outcome_of(claim, [large, small])
    assert outcome.sentence(ALL) == "holds: decomp – rand and decomp – uncert"
    ((name, (changed,)),) = outcome.without().items()
    assert (name, changed.name, changed.verdict) == ("large", "decomp – rand", "undecided")
    assert outcome.counts(ALL) == "holds: 2 (other answers: 1 without large)"
    assert outcome.counts("large") == "holds: 2"


def test_what_only_one_data_set_has_is_told():
    claim = replace(RIVALS, questions=(Question("decomp", "rand"), Question("decomp", "badge")))
    wide = data_set("wide", decomp=[0.5] * 8, rand=[0.0] * 8, badge=[0.0] * 8)
    narrow = data_set("narrow", decomp=[0.5] * 8, rand=[0.0] * 8)
    outcome = outcome_of(claim, [narrow, wide])
    ((name, (alone,)),) = outcome.alone().items()
    assert (name, alone.name) == ("wide", "decomp – badge")
    assert outcome.without() == {}
    assert outcome.counts(ALL) == "holds: 2 (1 in wide alone)"
    assert outcome.counts("wide") == "holds: 2"


def test_what_differs_over_two_measures_has_a_column_for_each_and_the_rest_has_one():
    claim = replace(RIVALS, questions=(Question("decomp", "rand"),))
    digits = data_set("digits", decomp=[0.1] * 6, rand=[0.0] * 6)
    slides = [data_set("slides", decomp=[gain] * 6, rand=[0.0] * 6) for gain in (0.3, -0.3)]
    outcomes = [
        outcome_of(claim, [each, digits], over, ["slides"])
        for over, each in zip(["over slides", "over ROIs"], slides, strict=True)
    ]
    columns = columns_of(outcomes, [ALL, "slides", "digits"])
    assert [(c.name, c.over, c.outcome.counts(c.name)) for c in columns] == [
        (ALL, "over slides", "holds: 1"),
        (ALL, "over ROIs", "undecided: 1 (other answers: 1 without slides, 1 without digits)"),
        ("slides", "over slides", "holds: 1"),
        ("slides", "over ROIs", "the opposite holds: 1"),
        ("digits", "", "holds: 1"),
    ]
    table = outcome_table([outcomes])
    assert [row[4:6] for row in table.rows] == [
        *(("slides", over) for over in ("over slides", "over ROIs")),
        ("digits", ""),
        *((ALL, over) for over in ("over slides", "over ROIs")),
    ]


def test_both_halves_together_are_set_against_the_better_half():
    (claim,) = (claim for claim in CLAIMS if claim.name == "both")
    gains = {"decomp": [0.52] * 6, "uncert_decomp": [0.1] * 6, "decomp_uncert": [0.5] * 6}
    outcome = outcome_of(claim, [data_set("one", **gains)])
    ((answer,),) = {outcome.answers["one"]}
    assert answer.verdict == "holds"  # though it gains 0.42 over the other half
    assert answer.pair.paired.difference.mean == pytest.approx(0.02)
    weak = outcome_of(claim, [data_set("two", **(gains | {"decomp_uncert": [0.3] * 6}))])
    assert weak.answers["two"][0].verdict == "does not hold"
    lacking = outcome_of(claim, [data_set("three", decomp=gains["decomp"], uncert_decomp=gains["uncert_decomp"])])
    assert lacking.answers["three"] == ()
