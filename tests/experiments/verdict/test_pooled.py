from dataclasses import replace

import numpy as np
import pytest

from decomp.experiments.report.pairs import Verdict
from decomp.experiments.report.statistics import holm, sign_flip_test
from decomp.experiments.verdict.pooled import pool

from .conftest import with_design


def by_name(pooled):
    return {(each.pair.first, each.pair.second): each for each in pooled.pairs}


def test_differences_are_gains_between_the_first_cycle_and_full_annotation(two):
    pair = by_name(pool(two))["rand", "decomp"]
    # Areas are half of what is reached in cycle 2; digits rise by 0.8 to full annotation, slides by 0.4.
    assert pair.by_data_set["digits"].difference.mean == pytest.approx(-(0.4 / 2) / 0.8)
    assert pair.by_data_set["slides"].difference.mean == pytest.approx(-(0.1 / 2) / 0.4)
    assert pair.pair.paired.difference.n == 7
    assert pair.pair.paired.difference.mean == pytest.approx((4 * -0.25 + 3 * -0.125) / 7)


def test_the_test_runs_over_all_blocks_and_is_corrected_over_all_pairs(two):
    pooled = pool(two)
    assert pooled.blocks == 7
    raw = [sign_flip_test(np.array([-0.25] * 4 + [-0.125] * 3)), sign_flip_test(np.array([-0.125] * 4 + [-0.25] * 3))]
    pairs = by_name(pooled)
    assert pairs["rand", "decomp"].pair.paired.p == raw[0] == 2**-6
    assert pairs["rand", "uncert"].pair.p_holm == holm([2**-6, 2**-6, 1.0])[0] == 3 * 2**-6
    assert {name for name, each in pairs.items() if each.pair.verdict is Verdict.SIGNIFICANT} == {
        ("rand", "decomp"),
        ("rand", "uncert"),
    }
    undecided = pairs["decomp", "uncert"]
    assert undecided.pair.verdict is Verdict.NOT_SIGNIFICANT
    assert undecided.blocks_for_least_p == 0
    assert undecided.blocks_for_effect > 100


def test_what_a_data_set_adds_is_seen_without_it(two):
    pair = by_name(pool(two))["rand", "decomp"]
    assert pair.without["digits"].difference.n == 3
    assert pair.without["slides"].p == sign_flip_test(np.full(4, -0.25)) == 2**-3
    (alone,) = (each for each in pool(two[:1]).pairs if each.pair.second == "decomp")
    assert alone.without == {}


def test_pairs_come_in_the_order_in_which_they_are_declared_first(two):
    both = [
        with_design(two[0], contrasts=(("decomp", "rand"), ("decomp", "uncert"))),
        with_design(two[1], contrasts=(("uncert", "decomp"),)),
    ]
    assert [(p.pair.first, p.pair.second) for p in pool(both).pairs] == [("decomp", "rand"), ("decomp", "uncert")]


def test_only_declared_pairs_are_tested_and_each_once(two):
    declared = [
        with_design(two[0], contrasts=(("decomp", "rand"),)),
        with_design(two[1], contrasts=(("rand", "decomp"),)),
    ]
    pooled = pool(declared)
    assert list(by_name(pooled)) == [("decomp", "rand")]
    assert pooled.declared
    assert pooled.pairs[0].pair.p_holm == 2**-6


def test_oracle_baselines_have_no_part_in_the_verdict(two):
    pooled = pool([with_design(two[0], oracles=("decomp",)), two[1]])
    assert pooled.oracles == ("decomp",)
    assert pooled.samplers == ("rand", "uncert")
    assert list(by_name(pooled)) == [("rand", "uncert")]


def test_folds_that_share_images_are_one_block(source):
    made = source("kits", {"rand": [[0.1, 0.2]] * 2, "decomp": [[0.1, 0.4]] * 2})
    runs = tuple(
        replace(h, store=replace(h.store, spec=replace(h.store.spec, seed=0, fold=h.spec.seed))) for h in made.histories
    )
    both = pool([with_design(replace(made, histories=runs), fold_groups={0: 0, 1: 0})])
    assert both.pairs[0].pair.paired.difference.n == both.blocks == 1
    apart = pool([with_design(replace(made, histories=runs), fold_groups={0: 0, 1: 1})])
    assert apart.pairs[0].pair.paired.difference.n == 2


def test_experiments_on_the_same_data_are_one_data_set(source):
    one = source("digits", {"rand": [[0.2, 0.2]] * 3, "decomp": [[0.2, 0.6]] * 3}, data="d0g1")
    other = source("digits-images", {"rand": [[0.2, 0.2]] * 3, "badge": [[0.2, 0.4]] * 3}, data="d0g1")
    pooled = pool([one, other])
    assert [data_set.name for data_set in pooled.data_sets] == ["digits"]
    assert pooled.blocks == 3
    pairs = by_name(pooled)
    assert set(pairs) == {("rand", "decomp"), ("rand", "badge")}  # decomp and badge have no setting in common
    assert {each.pair.paired.difference.n for each in pairs.values()} == {3}


def test_experiments_of_one_name_are_told_apart(source):
    curves = {"rand": [[0.2, 0.2]], "decomp": [[0.2, 0.6]]}
    pooled = pool([source("digits", curves, data="a"), source("digits", curves, data="b")])
    assert [experiment.name for experiment in pooled.experiments] == ["digits", "digits (2)"]


def test_what_cannot_be_pooled_is_left_out_and_said(source):
    curves = {"rand": [[0.2, 0.3]] * 2, "decomp": [[0.2, 0.6]] * 2}
    sources = [
        source("good", curves),
        source("without", curves, full=None),
        source("hopeless", curves, full=0.1),
        source("unstarted", {"rand": [], "decomp": []}),
    ]
    pooled = pool(sources)
    assert [data_set.name for data_set in pooled.data_sets] == ["good"]
    faults = {experiment.name: experiment.fault for experiment in pooled.experiments}
    assert faults["good"] is None
    assert "no full annotation is finished" in faults["without"]
    assert "is no better than the first cycle" in faults["hopeless"]
    assert "no run is finished" in faults["unstarted"]


def test_a_sampler_that_one_data_set_lacks_is_tested_where_it_is(source, two):
    third = source("brain", {"rand": [[0.1, 0.2]] * 2, "badge": [[0.1, 0.3]] * 2})
    pairs = by_name(pool([*two, third]))
    assert pairs["rand", "badge"].pair.paired.difference.n == 2
    assert list(pairs["rand", "badge"].by_data_set) == ["brain"]
    assert ("decomp", "badge") not in pairs
