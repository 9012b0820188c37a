from dataclasses import dataclass
from io import StringIO

import pytest
from helpers.fake_runs import Tiny, fake_run
from rich.console import Console

from decomp.experiments.report.comparison import compare
from decomp.experiments.report.comparison_tables import comparison_tables
from decomp.experiments.report.conclusions import conclusions
from decomp.experiments.report.console_tables import console_tables
from decomp.experiments.report.design import Design, fold_groups
from decomp.experiments.report.learning_curve_figure import learning_curve_drawing
from decomp.experiments.report.pairs import family_notes, pairs_by_cycle, pairs_overall, wins
from decomp.experiments.report.run_history import read_histories


@dataclass(frozen=True)
class Folded(Tiny):
    """Pools by fold."""

    pools: tuple[str, ...] = ()

    def ids(self, split, fold):
        return tuple(self.pools[fold])


@pytest.mark.parametrize(
    ("pools", "groups"),
    [
        (("abc",), {0: 0}),
        (("ab", "cd"), {0: 0, 1: 1}),
        (("ab", "bc", "ca"), {0: 0, 1: 0, 2: 0}),
        (("ab", "cd", "bc"), {0: 0, 1: 0, 2: 0}),
        (("ab", "cd", "de"), {0: 0, 1: 1, 2: 1}),
    ],
)
def test_folds_that_share_images_directly_or_through_others_are_one_group(pools, groups):
    assert fold_groups(Folded(pools=pools), range(len(pools))) == groups


def test_folds_that_are_not_known_to_be_apart_count_once():
    values = {(0, 0): 0.1, (0, 1): 0.3, (1, 0): 0.5}
    assert Design().by_block(values) == {(0, 0): pytest.approx(0.2), (1, 0): 0.5}
    assert Design(fold_groups={0: 0, 1: 1}).by_block(values) == values


@pytest.fixture
def runs(tmp_path):
    return [
        fake_run(tmp_path, [0.2, 0.4, 0.5 + 0.05 * number + 0.01 * fold], sampler=name, seed=seed, fold=fold)
        for number, name in enumerate(("rand", "uncert", "decomp"))
        for seed in range(6)
        for fold in range(2)
    ]


def compared(runs, **design):
    return compare(read_histories(runs), "miou", design=Design(**design))


def test_only_declared_pairs_are_tested_and_corrected_for(runs):
    declared = (("decomp", "rand"),)
    everything, one = (compared(runs, contrasts=c, fold_groups={0: 0, 1: 1}) for c in (None, declared))
    assert len(pairs_overall(everything)) == 3
    (pair,) = pairs_overall(one)
    assert (pair.first, pair.second, pair.family) == ("decomp", "rand", 1)
    assert pair.paired.difference.mean > 0
    assert pair.p_holm == pair.paired.p == 2**-11
    assert {(pair.first, pair.second) for pair in pairs_by_cycle(one)} == set(declared)


def test_folds_of_a_seed_are_averaged_and_counted_once_in_every_test(runs):
    comparison = compared(runs)
    assert {pair.paired.difference.n for pair in (*pairs_overall(comparison), *pairs_by_cycle(comparison))} == {6}
    assert all(note.startswith("Budget 1x2-4x4: 6 repeat(s)") for note in family_notes(pairs_overall(comparison)))
    assert "count it once" in " ".join(comparison.caveats)
    assert compared(runs, fold_groups={0: 0, 1: 1}).caveats == ()


def test_samplers_that_read_the_truth_are_neither_tested_nor_ranked(runs):
    comparison = compared(runs, oracles=("decomp",))
    assert [(pair.first, pair.second) for pair in pairs_overall(comparison)] == [("rand", "uncert")]
    sentences = " ".join(conclusions(comparison)["1x2-4x4"])
    assert "greatest for uncert" in sentences
    assert "decomp is an oracle baseline, which reads the truth: shown, but neither ranked nor tested." in sentences
    assert [sampler.sampler for sampler in comparison.budgets[0].samplers] == ["rand", "uncert", "decomp"]
    assert wins(comparison)[0].samplers == ("rand", "uncert")
    tables = comparison_tables([comparison])
    assert all("Oracle baselines, which read the truth: decomp." in table.note for table in tables)
    console = Console(width=100, record=True, file=StringIO())
    console.print(console_tables(comparison))
    assert "Oracle baselines, which read the truth: decomp." in console.export_text()
    assert "decomp (reads the truth)" in learning_curve_drawing(comparison).svg
