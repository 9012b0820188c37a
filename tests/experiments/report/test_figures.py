from pathlib import Path

from decomp.experiments.report.figures import KNOWN, Drawing, by_budget, style_of, styles
from decomp.experiments.schema import load_experiment

ROOT = Path(__file__).parents[3]


def test_a_sampler_has_the_same_style_in_any_company():
    assert styles(["decomp", "rand"])["decomp"] == styles(["x", "y", "decomp"])["decomp"] == style_of("decomp")


def test_samplers_of_one_figure_differ_in_style():
    names = ["rand", "uncert", "decomp", *"abcdef"]
    assert len(set(styles(names).values())) == len(names)


def test_all_samplers_of_the_study_differ_and_those_with_a_name_keep_their_look():
    samplers = [sampler.name for sampler in load_experiment(ROOT / "experiments" / "study-slides.yaml").samplers]
    chosen = styles(samplers)
    assert list(chosen) == samplers
    assert len(set(chosen.values())) == len(samplers) == 25
    assert all(style == style_of(name) for name, style in chosen.items() if name in KNOWN)


def test_drawings_are_told_apart_by_their_budgets_where_there_are_several():
    drawing = Drawing("curves", "Curves", b"", "")
    assert by_budget({"1x2": drawing}) == (drawing,)
    assert [(each.name, each.title) for each in by_budget({"1x2": drawing, "3x4": None, "5x6": drawing})] == [
        ("curves_1x2", "Curves, budget 1x2"),
        ("curves_5x6", "Curves, budget 5x6"),
    ]
