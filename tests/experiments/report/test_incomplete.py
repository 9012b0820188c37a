from decomp.experiments.report.incomplete import unfinished_sentences, unranked_sentences


def test_samplers_and_repeats_in_the_same_state_share_a_sentence():
    waiting = {(sampler, (seed, 0)): 1 for sampler in ("bald", "power-bald", "rand") for seed in range(9)}
    begun = {**waiting, ("rand", (3, 0)): 4, ("rand", (5, 0)): None}
    assert unfinished_sentences(begun) == (
        "bald and power-bald: 9 repeats, seed 0 fold 0 the first, have 1 cycle(s) and are not finished.",
        "rand: 7 repeats, seed 0 fold 0 the first, have 1 cycle(s) and are not finished.",
        "rand: seed 3 fold 0 has 4 cycle(s) and is not finished.",
        "rand: seed 5 fold 0 is missing.",
    )
    assert unfinished_sentences({}) == ()


def test_samplers_that_are_as_far_behind_share_a_sentence():
    assert unranked_sentences({"bald": 0, "badge": 2, "power-pe": 0, "rand": 1, "decomp": 1}, 9) == (
        "bald and power-pe have finished none of the 9 repeat(s) that the others are compared over, "
        "and are not ranked.",
        "badge is summed up over 2 of the 9 repeat(s) that the others are compared over, and is not ranked.",
        "rand and decomp are each summed up over 1 of the 9 repeat(s) that the others are compared over, "
        "and are not ranked.",
    )
