import pytest
from helpers.toys import Blobs

from decomp.experiments.description import Description
from decomp.experiments.plan import make_plan
from decomp.experiments.schema import load_experiment


@pytest.mark.parametrize(
    ("samplers", "background"),
    [("[rand, decomp]", None), ("[rand, {sampler: decomp, background: ground}]", "ground")],
)
def test_background_is_what_a_sampler_never_draws(toy_file, samplers, background):
    overrides = [f"samplers={samplers}", "annotation_seconds.click=3"]
    description = Description.of(make_plan(load_experiment(toy_file, overrides)))
    assert (description.name, description.metric, description.background) == ("toy", "miou", background)
    assert description.classes == ("ground", "house", "tree", "dog")
    assert description.seconds.click == 3
    assert description.design.contrasts is None
    assert description.design.fold_groups == {0: 0}


def test_sets_of_classes_that_are_scored_belong_to_it(toy_file, monkeypatch):
    plan = make_plan(load_experiment(toy_file))
    assert Description.of(plan).scored == {}
    monkeypatch.setattr(Blobs, "scored", {"animals": (2, 3)})
    assert Description.of(plan).scored == {"animals": (2, 3)}
