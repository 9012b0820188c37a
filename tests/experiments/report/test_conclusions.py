import pytest
from helpers.fake_runs import fake_reference, fake_run

from decomp.experiments.report.comparison import compare
from decomp.experiments.report.conclusions import conclusions
from decomp.experiments.report.run_history import read_histories


def said(*runs):
    (sentences,) = conclusions(compare(read_histories(runs), "miou")).values()
    return " ".join(sentences)


@pytest.fixture
def made(tmp_path):
    def make(sampler, *finals, middle=0.4):
        return [fake_run(tmp_path, [0.2, middle, final], sampler=sampler, seed=k) for k, final in enumerate(finals)]

    return make


@pytest.fixture
def full(tmp_path):
    return fake_reference(tmp_path, 0.7)  # the target is 0.665


def test_who_needs_least_annotation_comes_first_even_if_it_is_not_decomp(made, full):
    text = said(*made("decomp", 0.67, 0.67), *made("uncert", 0.69, 0.69, middle=0.5), *made("rand", 0.6, 0.67), full)
    assert "uncert (2.87 %) reaches 95% of the full-annotation score (mIoU 0.665)" in text
    assert "before decomp (2.98 %)" in text
    assert "In some repeats only: rand in 1 of 2." in text
    assert "decomp is number 2 of 2 by the annotation needed, behind uncert" in text
    assert "number 2 of 3 by the height of its curve, behind uncert" in text


def test_decomp_leads_where_it_does(made, full):
    text = said(*made("rand", 0.5, 0.5), *made("decomp", 0.69, 0.69), full)
    assert "decomp leads by the annotation needed and leads by the height of its curve" in text
    assert "Never: rand." in text


def test_the_shared_first_cycle_tells_nobody_apart(tmp_path, full):
    names = ("rand", "uncert", "decomp")
    runs = [fake_run(tmp_path, [0.69, 0.69 + 0.01 * k, 0.7], sampler=name) for k, name in enumerate(names)]
    text = said(*runs, full)
    assert text.startswith("rand, uncert and decomp reach 95%")
    assert "by the shared first cycle (annotated share of the training pixels: at most 1.00 %)." in text
    assert "before" not in text
    assert "decomp shares place 1 of 3 by the annotation needed with rand and uncert" in text


def test_repeats_that_the_first_cycle_decides_make_the_mean_an_upper_bound(tmp_path, full):
    runs = [
        fake_run(tmp_path, [first, middle, 0.7], sampler=name, seed=seed)
        for name, middle in (("rand", 0.5), ("decomp", 0.66))
        for seed, first in enumerate((0.2, 0.69))
    ]
    text = said(*runs, full)
    # decomp: 0.02 + 0.01 * 0.005 / 0.04 and 0.01; rand: 0.02 + 0.01 * 0.165 / 0.2 and 0.01.
    assert "decomp (at most 1.56 %) reaches 95%" in text
    assert "before rand (at most 1.91 %)" in text
    assert "1 of 2 repeat(s) reach it by the shared first cycle" in text


def test_equals_share_a_place_and_the_next_is_left_out(made, full):
    text = said(
        *made("uncert", 0.69, 0.69, middle=0.5),
        *made("rand", 0.69, 0.69),
        *made("decomp", 0.69, 0.69),
        *made("badge", 0.68, 0.68),
        full,
    )
    assert "before rand and decomp (2.91 % each) and badge (2.95 %)" in text
    assert "decomp shares place 2 of 4 by the annotation needed with rand, behind uncert" in text


def test_places_after_a_shared_one_are_left_out(made, full):
    last = said(*made("badge", 0.68), *made("uncert", 0.69), *made("rand", 0.69), *made("decomp", 0.675), full)
    assert "decomp is number 4 of 4 by the annotation needed, behind uncert, rand and badge" in last


def test_all_curves_of_the_same_height_are_called_so(made):
    text = said(*made("rand", 0.5), *made("decomp", 0.5))
    assert "is the same, 0.375, for rand and decomp" in text
    assert "decomp shares place 1 of 2 by the height of its curve with rand" in text


def test_one_failing_sampler_takes_nothing_from_the_others(made, tmp_path, full):
    failing = [fake_run(tmp_path, [0.2, 0.4], sampler="badge", seed=seed) for seed in (0, 1)]
    text = said(*made("rand", 0.5, 0.5), *made("decomp", 0.69, 0.69), *failing, full)
    assert "decomp (2.91 %) reaches 95%" in text
    assert "badge has finished none of the 2 repeat(s) that the others are compared over, and is not ranked." in text


def test_that_decomp_misses_the_score_is_said(made, full):
    text = said(*made("rand", 0.69, 0.69), *made("decomp", 0.5, 0.5), full)
    assert "decomp does not reach that score in every repeat" in text


def test_that_nobody_reaches_the_score_is_said(made, full):
    assert "No sampler reaches 95%" in said(*made("rand", 0.5, 0.5), *made("decomp", 0.5, 0.5), full)
    text = said(*made("uncert", 0.5, 0.69), *made("decomp", 0.5, 0.5), full)
    assert "No sampler reaches" in text
    assert "In some repeats only: uncert in 1 of 2. Never: decomp." in text


def test_without_a_reference_there_is_no_score_to_reach(made):
    assert "no score to reach" in said(*made("rand", 0.5, 0.5), *made("decomp", 0.6, 0.6))


def test_two_repeats_are_too_few_for_any_claim(made, full):
    text = said(*made("rand", 0.5, 0.5), *made("decomp", 0.69, 0.69), full)
    assert "No difference in it can be called significant" in text
    assert "significantly" not in text


@pytest.mark.parametrize(("decomp", "rand", "claim"), [(0.69, 0.5, "better than rand"), (0.5, 0.69, "worse than rand")])
def test_significant_differences_are_named_with_their_direction(made, full, decomp, rand, claim):
    scores = [[score + 0.001 * k for k in range(8)] for score in (decomp, rand)]
    text = said(*made("decomp", *scores[0]), *made("rand", *scores[1]), full)
    better, worse = ("decomp", "rand") if decomp > rand else ("rand", "decomp")
    assert f"Of 1 pair(s) of samplers, 1 differ significantly in it: {better} over {worse}." in text
    assert f"is significantly {claim}" in text


def test_equal_samplers_differ_significantly_from_none(made, full):
    mixed = [0.5, 0.6] * 4
    text = said(*made("decomp", *mixed), *made("rand", *mixed[::-1]), full)
    assert "None of the 1 pair(s) of samplers differs significantly" in text
    assert "differs significantly from no other" in text


def test_nothing_is_summed_up_before_a_repeat_is_finished(tmp_path):
    text = said(fake_run(tmp_path, [0.2, 0.3]), fake_run(tmp_path, [0.2, 0.3], sampler="decomp"))
    assert text == "No repeat is finished by all samplers yet, so nothing is summed up."
