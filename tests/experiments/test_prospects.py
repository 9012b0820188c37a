import pytest
from helpers.fake_runs import commit

from decomp.experiments.plan import make_plan
from decomp.experiments.prospects import EFFECT, prospects
from decomp.experiments.report.power import power
from decomp.experiments.schema import load_experiment


def plan_of(file, *overrides):
    return make_plan(load_experiment(file, list(overrides)))


def said(plan):
    return prospects(plan, plan.histories())


def test_a_plan_with_too_few_repeats_says_how_many_would_do(toy_file):
    (sentence,) = said(plan_of(toy_file, "seeds=5", "samplers=[rand,uncert,decomp]"))
    assert sentence == (
        "No difference can be significant: with 5 repeat(s) the least corrected p of the 3 pair(s) of samplers that "
        "are tested is 0.19; 7 would do (seeds=7)."
    )


def test_declared_pairs_need_fewer_repeats(toy_file):
    samplers = "samplers=[rand,uncert,badge,divers-cluster,divers-core-set,decomp]"
    (every,) = said(plan_of(toy_file, "seeds=8", samplers))
    assert "10 would do (seeds=10), or 8 where contrasts={against: SAMPLER} declares" in every
    (declared,) = said(plan_of(toy_file, "seeds=8", samplers, "contrasts={against: decomp}"))
    assert declared.startswith(
        "Differences can be significant: with 8 repeat(s) the least corrected p of the 5 pair(s)"
    )
    assert "is 0.039" in declared


def test_one_sampler_has_nothing_to_be_compared_with(toy_file):
    assert said(plan_of(toy_file, "samplers=[decomp]", "contrasts={against: decomp}")) == []


def test_folds_that_share_training_images_are_no_further_repeats(toy_file, monkeypatch):
    from helpers.toys import Blobs

    monkeypatch.setattr(Blobs, "folds", 5, raising=False)
    (sentence,) = said(plan_of(toy_file, "seeds=2"))
    assert "with 2 independent repeat(s) (folds of a seed share training images)" in sentence
    assert "6 would do (seeds=6)" in sentence


def plan_with_runs(toy_file, spread):
    """Eight repeats of two samplers are planned, four are there."""
    plan = plan_of(toy_file, "seeds=8", "budgets.0.cycles=2")
    for store in plan.stores(plan.runs)[:8]:
        seed, better = store.spec.seed, store.spec.sampler.name == "decomp"
        commit(store, 1, 0.3, 0.1)
        commit(store, 2, 0.5 + (2 * spread * (seed % 2 - 0.5) if better else 0.0), 0.2)
    return plan


def test_a_damaged_cycle_keeps_no_plan_from_being_told(toy_file):
    plan = plan_with_runs(toy_file, 0.1)
    (plan.stores(plan.runs)[0].path / "cycle-0002" / "record.json").write_bytes(b"{}")
    assert len(said(plan)) == 1


@pytest.mark.parametrize("spread", [0.002, 0.1])
def test_runs_that_exist_tell_what_would_be_found(toy_file, spread):
    _, sentence = said(plan_with_runs(toy_file, spread))
    sd = spread / 2 / 3**0.5 * 2  # of areas, which are half the difference at cycle 2
    assert f"a chance of {power(EFFECT / sd, 8, 1):.0%} (rand – decomp)" in sentence
    assert "a difference of 0.01 in the mean height of the learning curve" in sentence
