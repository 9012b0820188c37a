from dataclasses import replace

import numpy as np
import pytest
from helpers.fake_runs import CLASSES, fake_reference, fake_run

from decomp.experiments.description import Description
from decomp.experiments.report.axes import find_axis
from decomp.experiments.report.design import Design
from decomp.experiments.report.pairs import Verdict, pairs_overall
from decomp.experiments.report.run_history import read_histories
from decomp.experiments.report.statistics import Spread, holm, sign_flip_test
from decomp.experiments.sources import Source
from decomp.experiments.verdict.pooled import pool
from decomp.experiments.verdict.ranking import mean_ranks
from decomp.experiments.verdict.sentences import verdict_sentences
from decomp.platform.grid import Budget

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
    assert pair.without["digits"].paired.difference.n == 3
    assert pair.without["slides"].paired.p == sign_flip_test(np.full(4, -0.25)) == 2**-3
    assert pair.without["slides"].p_holm == 3 * 2**-3  # corrected over the pairs that are left
    (alone,) = (each for each in pool(two[:1]).pairs if each.pair.second == "decomp")
    assert alone.without == {}


def test_what_only_one_data_set_has_is_told(source):
    wide = source("wide", {"rand": [[0.2, 0.3]] * 8, "decomp": [[0.2, 0.6]] * 8, "badge": [[0.2, 0.3]] * 8})
    narrow = source("narrow", {"rand": [[0.2, 0.3]] * 8, "decomp": [[0.2, 0.6]] * 8})
    pooled = pool([wide, narrow])
    alone = {name: each.alone for name, each in by_name(pooled).items()}
    assert alone == {("rand", "decomp"): None, ("rand", "badge"): "wide", ("decomp", "badge"): "wide"}
    told = [sentence for sentence in verdict_sentences(pooled) if "alone" in sentence]
    assert told == [
        "Significant in wide alone, since no other data set compares them: decomp – badge (+0.188, p 0.016)."
    ]
    assert not any("alone" in sentence for sentence in verdict_sentences(pool([wide])))


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


def test_a_fold_that_one_sampler_lacks_is_left_out_for_the_other_too(tmp_path):
    """As good as each other wherever both ran; decomp lacks two folds of every seed, the harder ones."""
    stores = [fake_reference(tmp_path, 1.0)]
    for seed in range(8):
        for fold, last in enumerate([0.6, 0.3, 0.3]):
            names = ("rand", "decomp") if fold == 0 else ("rand",)
            stores += [fake_run(tmp_path, [0.2, last], sampler=n, seed=seed, fold=fold, cycles=2) for n in names]
    description = Description("kits", "miou", CLASSES, None, Design(fold_groups={0: 0, 1: 0, 2: 0}))
    pooled = pool([Source(description, "kits.zip", read_histories(stores))])
    (pair,) = (each.pair for each in pooled.pairs)
    (of_report,) = pairs_overall(pooled.experiments[0].comparison)
    assert pair.paired.difference == Spread(0.0, 0.0, 8) == of_report.paired.difference
    assert pair.p_holm == 1.0
    assert [each.rank for each in mean_ranks(pooled)] == [1.5, 1.5]
    assert pooled.blocks == 8


def test_folds_of_a_block_count_alike_under_every_budget(tmp_path):
    budgets = [Budget(2, 4, (4, 4)), Budget(4, 2, (4, 4))]
    stores = [fake_reference(tmp_path, 1.0)]
    for budget, of_folds in zip(budgets, [[0.4, 0.6], [0.8]], strict=True):
        for fold, last in enumerate(of_folds):
            for name, score in (("rand", 0.2), ("decomp", last)):
                scores = [0.2, score]
                stores.append(fake_run(tmp_path, scores, sampler=name, fold=fold, cycles=2, budget=budget))
    description = Description("kits", "miou", CLASSES, None, Design(fold_groups={0: 0, 1: 0}))
    (pair,) = pool([Source(description, "kits.zip", read_histories(stores))]).pairs
    # Differences of areas are 0.1 and 0.2 under one budget, 0.3 under the other; 0.8 lie before full annotation.
    assert pair.pair.paired.difference.mean == pytest.approx(-(0.15 + 0.3) / 2 / 0.8)


def test_below_three_blocks_no_deviation_is_known_and_no_number_follows_from_the_effect(source):
    (pair,) = pool([source("d", {"rand": [[0.1, 0.2]] * 2, "decomp": [[0.1, 0.4], [0.1, 0.5]]})]).pairs
    assert pair.pair.paired.d_z is not None
    assert pair.blocks_for_effect is None
    (more,) = pool([source("e", {"rand": [[0.1, 0.2]] * 3, "decomp": [[0.1, 0.4], [0.1, 0.5], [0.1, 0.7]]})]).pairs
    assert more.blocks_for_effect > 0


def test_what_differs_by_the_same_in_every_block_needs_no_more_than_the_least_p(source):
    (pair,) = pool([source("d", {"rand": [[0.1, 0.2]] * 4, "decomp": [[0.1, 0.4]] * 4})]).pairs
    assert pair.blocks_for_effect == pair.blocks_for_least_p == 2


def test_gains_are_over_the_axis_that_is_asked_for(source):
    made = source("d", {"rand": [[0.1, 0.2]] * 2, "decomp": [[0.1, 0.4]] * 2})
    clicks = find_axis(made.axes, "clicks")
    assert [each.comparison.axis.name for each in pool([made], [clicks]).experiments] == ["clicks"]
    assert [each.comparison.axis.name for each in pool([made]).experiments] == ["share"]
