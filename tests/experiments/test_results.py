import json
from pathlib import Path

import matplotlib
import pytest

from decomp.experiments.archives.exporting import export
from decomp.experiments.description import Description
from decomp.experiments.plan import make_plan
from decomp.experiments.report.axes import axes_of
from decomp.experiments.results import open_results
from decomp.experiments.schema import load_experiment
from decomp.platform.errors import UserError

NOTEBOOK = Path(__file__).parents[2] / "docs" / "results.ipynb"


@pytest.fixture
def plan(toy_file, compute):
    """The toy experiment, computed."""
    return compute(make_plan(load_experiment(toy_file, ["budgets.0.cycles=3"])))


@pytest.fixture
def archive(plan, tmp_path):
    return export(Description.of(plan), plan.histories(), tmp_path / "digits.zip").archive.path


@pytest.fixture
def results(plan, toy_file):
    return open_results(toy_file, **{"budgets.0.cycles": 3})


def test_cycles_hold_what_is_in_the_records(results, plan):
    frame = results.cycles()
    assert len(frame) == 4 * 3 + 2
    assert set(frame["experiment"]) == {"toy"}
    assert {axis.name for axis in axes_of("miou")} <= set(frame)
    for store in plan.stores(plan.runs):
        of_run = frame[(frame["sampler"] == store.spec.sampler.name) & (frame["seed"] == store.spec.seed)]
        records = [folder.record for folder in store.committed()]
        assert list(of_run["cycle"]) == [1, 2, 3]
        assert list(of_run["miou"]) == [record.metrics["miou"] for record in records]
        assert list(of_run["share"]) == [record.annotated.share for record in records]
    assert frame[frame["sampler"] == "full annotation"]["budget"].isna().all()


def test_class_scores_hold_every_class_of_every_cycle(results, plan):
    frame = results.class_scores()
    assert len(frame) == (4 * 3 + 2) * len(plan.dataset.classes)
    store = next(store for store in plan.stores(plan.runs) if store.spec.sampler.name == "decomp")
    record = store.committed()[2].record
    rows = frame[(frame["sampler"] == "decomp") & (frame["seed"] == store.spec.seed) & (frame["cycle"] == 3)]
    by_class = rows.set_index("class")
    assert {name: by_class["iou"][name] for name in plan.dataset.classes} == record.class_metrics["iou"]
    assert tuple(by_class["annotated_pixels"]) == record.annotated.class_pixels
    assert tuple(by_class["confidence"]) == record.class_confidence
    assert tuple(by_class["weight"]) == record.class_weights


def test_regions_are_those_of_the_ledger(results, plan):
    frame = results.regions()
    store = plan.stores(plan.runs)[0]
    rows = frame[(frame["sampler"] == store.spec.sampler.name) & (frame["seed"] == store.spec.seed)]
    annotations = store.ledger(store.committed()).annotations()
    assert list(zip(rows["image"], rows["cycle"], map(tuple, rows["start"]), strict=True)) == [
        (a.region.image, a.cycle, a.region.start) for a in annotations
    ]
    drawn = frame[(frame["sampler"] == "decomp") & (frame["cycle"] > 1)]["drawn_class"]
    assert set(drawn) <= set(plan.dataset.classes)
    assert "full annotation" not in set(frame["sampler"])


def test_timings_say_which_code_computed_the_cycle(results, plan):
    frame = results.timings()
    assert {"train", "evaluate", "committed_at", "version", "imported_from"} <= set(frame)
    timing = plan.stores(plan.runs)[0].committed()[1].timing
    assert timing.committed_at in set(frame["committed_at"])


def test_an_archive_gives_the_same_tables(results, archive):
    read = open_results(archive)
    assert read.cycles().sort_values(["sampler", "seed", "cycle"]).to_csv(index=False) == (
        results.cycles().sort_values(["sampler", "seed", "cycle"]).to_csv(index=False)
    )
    assert len(read.regions()) == len(results.regions())


def test_verdicts_are_over_all_experiments_together(results, archive, toy_file):
    assert results.verdicts()[["first", "second", "blocks"]].to_dict("records") == [
        {"first": "rand", "second": "decomp", "blocks": 2}
    ]
    # The same data twice are the same blocks.
    both = open_results(toy_file, archive, **{"budgets.0.cycles": 3})
    assert list(both.verdicts()["blocks"]) == [2]
    assert len(both.cycles()) == 2 * len(results.cycles())
    assert set(both.cycles()["experiment"]) == {"toy", "toy (2)"}


def test_nothing_computed_is_an_empty_table(toy_file):
    results = open_results(toy_file, seeds=1)
    for table in (results.cycles(), results.class_scores(), results.regions(), results.timings()):
        assert len(table) == 0
        assert list(table)[:4] == ["experiment", "budget", "sampler", "seed"]
    assert len(results.verdicts()) == 0


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"none\.yaml: there is no such file"):
        open_results(tmp_path / "none.yaml")


def test_the_notebook_runs(archive, monkeypatch):
    monkeypatch.chdir(archive.parent)
    monkeypatch.setitem(matplotlib.rcParams, "backend", "agg")
    cells = [cell for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] for cell in cells)
    names = {}
    for cell in cells:
        exec(compile("".join(cell["source"]), NOTEBOOK.name, "exec"), names)
    assert set(names["curves"].index.get_level_values("sampler")) == {"rand", "decomp"}
    assert 0 < names["full"] <= 1
    assert names["panel"].lines
