from decomp.experiments.report.figures import Drawing, by_budget, style_of, styles


def test_a_sampler_has_the_same_style_in_any_company():
    assert styles(["decomp", "rand"])["decomp"] == styles(["x", "y", "decomp"])["decomp"] == style_of("decomp")


def test_samplers_of_one_figure_differ_in_style():
    names = ["rand", "uncert", "decomp", *"abcdef"]
    assert len(set(styles(names).values())) == len(names)


def test_drawings_are_told_apart_by_their_budgets_where_there_are_several():
    drawing = Drawing("curves", "Curves", b"", "")
    assert by_budget({"1x2": drawing}) == (drawing,)
    assert [(each.name, each.title) for each in by_budget({"1x2": drawing, "3x4": None, "5x6": drawing})] == [
        ("curves_1x2", "Curves, budget 1x2"),
        ("curves_5x6", "Curves, budget 5x6"),
    ]
