from dataclasses import replace

import pytest
from helpers.fake_runs import CLASSES, as_rois, fake_reference, fake_run

from decomp.experiments.description import Description
from decomp.experiments.report.design import Design
from decomp.experiments.report.run_history import read_histories
from decomp.experiments.sources import Source
from decomp.experiments.study.by_claim import claim_section, forests_of, outcomes_of, overview, views_of
from decomp.experiments.study.by_data_set import curves_of, experiment_section, spent_sentences
from decomp.platform.grid import Budget, Start

IMAGES, POOL = Budget(1, 2, (4, 4)), Budget(None, 2, (4, 4), total=2)


def source(root, name, metric, samplers):
    """Eight repeats of known scores; with as many slides decomp annotates twice as much as the others."""
    stores = [
        fake_run(
            root / name,
            scores,
            shares=[0.01, *(0.02 * (1 + (sampler == "decomp")) * k for k in (1, 2))],
            sampler=sampler,
            seed=seed,
            fingerprint=name,
            budget=budget,
            start=Start(budget=IMAGES),
        )
        for sampler, (budget, *scores) in samplers.items()
        for seed in range(8)
    ]
    histories = read_histories([*stores, fake_reference(root / name, 1.0, fingerprint=name)])
    description = Description(name, metric, CLASSES, None, Design((("decomp", "rand"),), {0: 0}))
    return Source(description, f"{name}.zip", as_rois(histories) if metric == "weighted_f1" else histories)


@pytest.fixture
def sources(tmp_path):
    slides = {
        "rand": (IMAGES, 0.2, 0.4, 0.5),
        "decomp": (IMAGES, 0.2, 0.45, 0.5),
        "clasp": (POOL, 0.2, 0.3, 0.4),
    }
    digits = {"rand": (IMAGES, 0.2, 0.3, 0.4), "decomp": (IMAGES, 0.2, 0.5, 0.6)}
    return [source(tmp_path, "slides", "weighted_f1", slides), source(tmp_path, "digits", "miou", digits)]


def test_slides_are_compared_over_slides_and_over_rois_with_a_verdict_for_each(sources, tmp_path):
    views = views_of(sources)
    assert [(view.over, view.own) for view in views] == [("over slides", ("slides",)), ("over ROIs", ("slides",))]
    claims = {outcomes[0].claim.name: outcomes for outcomes in outcomes_of(views)}
    assert {name: len(outcomes) for name, outcomes in claims.items() if len(outcomes) == 1} == dict.fromkeys(
        ("budgets", "budgets-by-time", "confidence", "rare-annotated", "rare-scores"), 1
    )
    section = "\n".join(claim_section(claims["rivals"], forests_of(claims["rivals"], views), views, tmp_path))
    (heads,) = (line for line in section.splitlines() if line.startswith("| compared"))
    assert heads == (
        "| compared | the claim | all data sets, over slides | all data sets, over ROIs | slides, over slides | "
        "slides, over ROIs | digits |"
    )
    (row,) = (line for line in section.splitlines() if line.startswith("| decomp – rand"))
    # Over slides decomp leads by 0.025 of 0.8; with as many ROIs it trails.
    assert "| +0.031 [+0.031, +0.031]<br>p 0.0078, holds (8) | -0." in row
    assert "the opposite holds (8)" in row
    assert "- All data sets together, over slides: holds: decomp – rand." in section
    assert "- All data sets but digits, over ROIs: the opposite holds: decomp – rand (-0." in section
    assert section.count("![") == 2
    together, of_slides, of_digits = overview([claims["rivals"]], views).splitlines()[2].strip("| ").split(" | ")[1:]
    others = "(other answers: 1 without slides, 1 without digits)"
    assert together == f"over slides: holds: 1<br>over ROIs: undecided: 1 {others}"
    assert of_slides == "over slides: holds: 1<br>over ROIs: the opposite holds: 1"
    assert of_digits == "holds: 1"


def test_the_whole_pool_is_compared_with_slides_over_rois_only(sources):
    views = views_of(sources)
    by_slides, by_rois = outcomes_of(views)[-1]
    assert by_slides.claim.name == "new-rivals"
    assert by_slides.answers["slides"] == ()
    assert [each.name for each in by_rois.answers["slides"]] == ["decomp – clasp"]


def test_without_slides_there_is_one_measure(sources):
    (view,) = views_of(sources[1:])
    assert (view.over, view.own) == ("", ())
    assert all(len(outcomes) == 1 for outcomes in outcomes_of([view]))


def test_curves_of_slides_are_drawn_over_both_measures_and_what_is_spent_is_told(sources):
    views = views_of(sources)
    assert [d.name for d in curves_of("slides", views)] == ["curves-slides", "curves-slides-over-rois"]
    assert [d.name for d in curves_of("digits", views)] == ["curves-digits"]
    slides, digits = views[1].pooled.experiments
    (sentence,) = spent_sentences(slides)
    assert "last cycle: 75.00 % of the slides are processed. Annotated ROIs, on average: " in sentence
    assert sentence.endswith("rand 6 and decomp 6.")
    assert spent_sentences(digits) == []


def test_heights_over_fewer_repeats_stand_apart(sources, tmp_path):
    late = fake_run(
        tmp_path / "digits", [0.2, 0.9, 0.9], sampler="bald", fingerprint="digits", start=Start(budget=IMAGES)
    )
    digits = replace(sources[1], histories=(*sources[1].histories, *read_histories([late])))
    (experiment,) = views_of([digits])[0].pooled.experiments
    section = "\n".join(experiment_section(experiment, (), tmp_path))
    ranked, apart = section.split(
        "Samplers that have finished fewer repeats of budget 1x2-4x4, so that their heights are"
    )
    assert "| decomp |" in ranked
    assert "| bald |" in apart
    assert "| bald |" not in ranked
