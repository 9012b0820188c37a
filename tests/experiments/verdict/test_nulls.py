"""Samplers that are as good as each other, through all that a pooled verdict is made of."""

import numpy as np

from decomp.experiments.description import Description
from decomp.experiments.report.axes import axes_of
from decomp.experiments.report.comparison import Comparison, compare_over
from decomp.experiments.report.design import Design
from decomp.experiments.report.learning_curves import LearningCurve
from decomp.experiments.report.statistics import LEVEL, Spread
from decomp.experiments.sources import Source
from decomp.experiments.verdict.pooled import Compared, DataSet, pooled_pairs
from decomp.platform.storage.records import Annotated

AXIS = axes_of("miou")[0]
ANNOTATED = tuple(Annotated(1, 0.1, 1, 1, 0.01 * (t + 1), (1,), 1, 1) for t in range(3))
SAMPLERS = ("rand", "uncert", "decomp")
CONTRASTS = (("decomp", "rand"), ("decomp", "uncert"), ("uncert", "rand"))
NULLS = 300


def data_set(rng, name, seeds, folds, lacking):
    """Scores of equal samplers: a seed and a fold are hard or easy for all of them; some may lack the hard folds."""
    level = 0.4 + 0.05 * rng.normal(size=(seeds, 1)) - 0.1 * np.arange(folds)
    curves = []
    for sampler in SAMPLERS:
        for seed in range(seeds):
            shared = rng.normal()  # by the images that the folds of a seed share
            for fold in range(folds):
                noise = 0.02 * (shared + rng.exponential(1.0, 2))
                if (sampler, seed % 2, fold) not in lacking:
                    scores = (0.2, *(level[seed, fold] + noise))
                    curves.append(LearningCurve(sampler, "1x1", (seed, fold), ANNOTATED, scores, True))
    design = Design(CONTRASTS, dict.fromkeys(range(folds), 0))
    comparison = compare_over(AXIS, Comparison("miou", AXIS, Spread(0.8, None, 1), None, (), tuple(curves), (), design))
    source = Source(Description(name, "miou", ("all",), None, design), name, ())
    return DataSet.of([Compared(source, comparison, 0.2, name)])


def significant(rng, lacking):
    """Whether any pair of one simulated study is called significant, and in how many blocks each pair is compared."""
    data_sets = [data_set(rng, "volumes", 8, 3, lacking), data_set(rng, "images", 6, 1, ())]
    pairs = [each.pair for each in pooled_pairs(data_sets, CONTRASTS)]
    return any(pair.p_holm <= LEVEL for pair in pairs), [pair.paired.difference.n for pair in pairs]


def test_equal_samplers_differ_in_at_most_one_of_twenty_pooled_verdicts():
    rng = np.random.default_rng(4)
    found = [significant(rng, ()) for _ in range(NULLS)]
    assert found[0][1] == [14, 14, 14]
    assert 0 < sum(any_ for any_, _ in found) <= LEVEL * NULLS


def test_so_they_do_where_one_lacks_the_hard_folds_and_some_seeds():
    rng = np.random.default_rng(5)
    lacking = {("decomp", 0, fold) for fold in range(3)} | {("decomp", 1, 2), ("uncert", 0, 2)}
    found = [significant(rng, lacking) for _ in range(NULLS)]
    assert found[0][1] == [10, 10, 14]
    assert 0 < sum(any_ for any_, _ in found) <= LEVEL * NULLS
