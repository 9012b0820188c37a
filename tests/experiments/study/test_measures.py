from dataclasses import replace

import pytest
from helpers.fake_runs import CLASSES, fake_reference, fake_run

from decomp.experiments.description import Description
from decomp.experiments.report.design import Design
from decomp.experiments.report.run_history import read_histories
from decomp.experiments.results import open_results
from decomp.experiments.sources import Source, open_source
from decomp.experiments.study.measures import (
    FIRST,
    LAST,
    UNRELATED,
    confidence,
    dense_and_sparse,
    rare_annotated,
    rare_names,
    rare_scores,
)
from decomp.experiments.verdict.pooled import pool
from decomp.platform.grid import Budget, Start

DENSE, SPARSE = Budget(2, 4, (4, 4)), Budget(4, 2, (4, 4))
START = Start(budget=DENSE)


@pytest.fixture
def data_set(toy):
    _, folder = toy
    (data_set,) = pool([open_source(folder / "study-toy.zip")]).data_sets
    return data_set


@pytest.fixture
def classes(toy):
    """Scores by class of finished runs, by what says which run and cycle it is."""
    _, folder = toy
    frame = open_results(folder / "study-toy.zip").class_scores()
    return frame.set_index(["sampler", "budget", "seed", "cycle"]).sort_index()


def source_of(tmp_path, name, budgets, full=1.0):
    """An experiment of known scores on data of one fingerprint: by budget, the scores of each seed of decomp."""
    root = tmp_path / name
    stores = [
        fake_run(root, scores, sampler="decomp", seed=seed, cycles=len(scores), budget=budget, start=START)
        for budget, of_seeds in budgets
        for seed, scores in enumerate(of_seeds)
    ]
    stores.append(fake_reference(root, full))
    return Source(Description(name, "miou", CLASSES, None, Design(fold_groups={0: 0})), name, read_histories(stores))


@pytest.mark.parametrize("apart", [False, True], ids=["one experiment", "an experiment each"])
def test_dense_and_sparse_budgets_of_the_same_data_are_compared_over_what_both_annotate(apart, tmp_path):
    dense, sparse = (DENSE, [[0.0, 0.4, 0.4], [0.0, 0.2, 0.2]]), (SPARSE, [[0.0, 0.2, 0.2], [0.0, 0.2, 0.2]])
    parts = [[dense], [sparse]] if apart else [[dense, sparse]]
    sources = [source_of(tmp_path, f"part-{k}", budgets, full=0.5) for k, budgets in enumerate(parts)]
    (data_set,) = pool(sources).data_sets
    differences = dense_and_sparse("share")(data_set).differences("decomp, dense", "decomp, sparse")
    # Heights are 0.3 and 0.15 of 0 to 0.5: the first of two equal steps rises, the second does not.
    assert differences == pytest.approx({(0, 0): (0.3 - 0.15) / 0.5, (1, 0): 0.0})


def test_a_sampler_under_a_single_budget_of_images_has_no_dense_and_sparse_one(data_set):
    measured = dense_and_sparse("share")(data_set).gains
    assert {name.partition(",")[0] for name in measured} == {"rand", "uncert", "decomp", "uncert_decomp"}


@pytest.mark.parametrize(("which", "cycle"), [(FIRST, 2), (LAST, 3)])
def test_confidence_is_set_against_the_score_of_the_model_that_had_it(which, cycle, data_set, classes):
    measured = confidence(data_set)
    found = measured.differences(which, UNRELATED)
    assert found
    for (seed, _), value in found.items():
        correlations = []
        for budget in classes.loc["decomp"].index.get_level_values("budget").unique():
            if ("decomp", budget, seed, cycle) in classes.index:
                now, before = (classes.loc[("decomp", budget, seed, c)].set_index("class") for c in (cycle, cycle - 1))
                both = now["confidence"].to_frame().join(before["iou"]).dropna()
                correlations.append(both["confidence"].corr(both["iou"], method="spearman"))
        assert value == pytest.approx(sum(correlations) / len(correlations))


def test_sets_of_classes_have_no_confidence(toy):
    source = open_source(toy[1] / "study-toy.zip")
    nested = replace(source, description=replace(source.description, scored={"all": (0, 1)}))
    (data_set,) = pool([nested]).data_sets
    assert confidence(data_set).differences(FIRST, UNRELATED) == {}


def test_rare_classes_are_measured_by_their_scores_and_by_the_share_that_is_annotated(data_set, classes):
    source = data_set.experiments[0].source
    rare = rare_names(source)
    assert 0 < len(rare) < len(source.description.classes)
    pool_of_rare = classes.loc["full annotation"].query("`class` in @rare").groupby("seed")["annotated_pixels"].sum()
    scores, annotated = rare_scores(data_set).gains["decomp"], rare_annotated(data_set).gains["decomp"]
    assert len(scores) == len(annotated) == 2
    for (_, budget), by_block in scores.items():
        for (seed, fold), value in by_block.items():
            rows = classes.loc[("decomp", budget, seed, 3)].query("`class` in @rare")
            assert value == pytest.approx(rows["iou"].mean())
            share = rows["annotated_pixels"].sum() / pool_of_rare[seed]
            assert annotated[0, budget][seed, fold] == pytest.approx(share)
