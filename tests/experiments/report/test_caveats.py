from dataclasses import replace

from helpers.fake_runs import fake_reference, fake_run

from decomp.experiments.report.comparison import compare
from decomp.experiments.report.comparison_tables import comparison_tables
from decomp.experiments.report.design import Design
from decomp.experiments.report.page_building import result_section
from decomp.experiments.report.run_history import read_histories


def compared(tmp_path, curves, full=0.8):
    """By sampler, the scores of every seed."""
    runs = [
        fake_run(tmp_path, scores, sampler=sampler, seed=seed)
        for sampler, of_seeds in curves.items()
        for seed, scores in enumerate(of_seeds)
    ]
    return compare(read_histories([*runs, *([] if full is None else [fake_reference(tmp_path, full)])]), "miou")


def test_repeats_in_which_no_sampler_learns_anything_are_named(tmp_path):
    comparison = compared(
        tmp_path,
        {
            "rand": [[0.0, 0.0, 0.001], [0.0, 0.0, 0.0], [0.1, 0.3, 0.4]],
            "decomp": [[0.0, 0.0, 0.007], [0.0, 0.0, 0.2], [0.1, 0.1, 0.1]],
        },
    )
    sentence = (
        "No sampler's score ever leaves that of the first cycle in seed 0 fold 0 (0.000), full annotation being at "
        "0.800. Such a repeat says nothing about any sampler, but counts like every other."
    )
    assert comparison.caveats == (sentence,)
    assert sentence in result_section(comparison, (), ()).text
    assert all(sentence in table.note for table in comparison_tables([comparison]) if table.name == "summary")


def test_an_oracle_baseline_that_learns_says_nothing_of_the_samplers_that_one_could_use(tmp_path):
    made = compared(tmp_path, {"rand": [[0.0, 0.0, 0.0]], "rand-fg-66": [[0.0, 0.0, 0.4]]})
    assert made.caveats == ()
    (sentence,) = replace(made, design=Design(oracles=("rand-fg-66",))).caveats
    assert sentence.startswith("Oracle baselines apart, no sampler's score ever leaves")


def test_a_score_that_falls_has_left_that_of_the_first_cycle_too(tmp_path):
    assert compared(tmp_path, {"rand": [[0.3, 0.1, 0.1]]}).caveats == ()


def test_what_is_not_finished_says_nothing_yet(tmp_path):
    assert compared(tmp_path, {"rand": [[0.3, 0.3], [0.3]]}).caveats == ()


def test_without_full_annotation_any_change_counts(tmp_path):
    assert compared(tmp_path, {"rand": [[0.3, 0.3, 0.3001]]}, full=None).caveats == ()
    (sentence,) = compared(tmp_path / "same", {"rand": [[0.3, 0.3, 0.3]]}, full=None).caveats
    assert "in seed 0 fold 0 (0.300). Such a repeat" in sentence
