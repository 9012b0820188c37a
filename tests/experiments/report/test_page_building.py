from collections import Counter
from dataclasses import dataclass
from types import MappingProxyType, SimpleNamespace
from xml.etree import ElementTree

import pytest
import yaml
from helpers.fake_runs import Tiny, fake_reference, fake_run, spec
from helpers.toy_runs import run_locally
from typer.testing import CliRunner

from decomp.experiments.cli import app
from decomp.experiments.lock import sole_driver
from decomp.experiments.plan import make_plan
from decomp.experiments.report.comparison import compare
from decomp.experiments.report.page_building import about, analysis_sections, result_section, with_page
from decomp.experiments.report.report import compile_report
from decomp.experiments.report.run_history import read_histories
from decomp.experiments.schema import load_experiment
from decomp.platform.grid import Budget, Component, Start
from decomp.platform.passes import Passes
from decomp.platform.storage.runs import CycleFolder, RunStore

SAMPLERS = ("rand", "decomp")


@pytest.fixture
def runs(tmp_path):
    return [
        *(fake_run(tmp_path, [0.2, 0.4, 0.6], sampler=name, seed=seed) for name in SAMPLERS for seed in (0, 1)),
        fake_reference(tmp_path, 0.72),
    ]


def analysed(runs, dataset):
    histories = read_histories(runs)
    return analysis_sections(histories, dataset, compare(histories, "miou"))


def compared(runs):
    return compare(read_histories(runs), "miou")


def by_title(sections):
    return {section.title: section for section in sections}


def test_a_computed_experiment_makes_a_whole_page(toy_file, tmp_path):
    experiment = yaml.safe_load(toy_file.read_text())
    experiment["samplers"] += [{"images": "uncertainty", "regions": "decomposition"}, {"sampler": "decomp", "tau": 0.3}]
    experiment["budgets"][0]["cycles"] = 3
    toy_file.write_text(yaml.safe_dump(experiment))
    plan = make_plan(load_experiment(toy_file))
    run_locally(plan.experiment.root, *plan.references, *plan.runs)
    report = with_page(compile_report(read_histories(plan.compared), tmp_path / "report", plan.metric), plan).write()
    names = [each.name for each in (*report.tables, *report.drawings)]
    drawings = [drawing.name for drawing in report.drawings]
    assert drawings[0] == "learning_curves"
    assert {"class_scores", "class_confidence", "annotated_classes", "chosen_regions", "ablation_1"} <= set(drawings)
    assert len(set(drawings)) == len(drawings)
    assert {"summary", "class_scores", "class_confidence", "annotated_classes", "ablations", "wall_time"} <= set(names)
    html = report.page.read_text()
    tree = ElementTree.fromstring(html.removeprefix("<!DOCTYPE html>"))
    links = [link.get("href") for link in tree.iter() if link.tag.rsplit("}")[-1] == "a"]
    assert "chosen_regions.png" in links
    assert all((report.folder / link).is_file() for link in links if not link.startswith("#"))
    assert html == with_page(compile_report(read_histories(plan.compared), tmp_path / "again", plan.metric), plan).html
    assert "10 of 10 runs" in html


def test_one_report_reads_every_record_and_timing_once_and_lists_every_folder_once(toy_file, monkeypatch):
    plan = make_plan(load_experiment(toy_file, ["budgets.0.cycles=3"]))
    run_locally(plan.experiment.root, *plan.references, *plan.runs)
    reads, listings = Counter(), Counter()

    def count_reads(name, read):
        def counted(folder):
            reads[name, folder.path] += 1
            return read(folder)

        monkeypatch.setattr(CycleFolder, name, property(counted))

    def counted_listing(run, after):
        listings[run.path] += 1
        return own_cycles(run, after)

    own_cycles = RunStore.own_cycles
    monkeypatch.setattr(RunStore, "own_cycles", counted_listing)
    for name in ("record", "timing"):
        count_reads(name, vars(CycleFolder)[name].fget)
    with sole_driver(plan.experiment.root):  # so the report is not logged to MLflow, which reads what it does not have
        outcome = CliRunner().invoke(app, ["report", str(toy_file), "budgets.0.cycles=3"])
    assert outcome.exit_code == 0, outcome.output
    cycles = {file.parent for file in plan.experiment.root.rglob("record.json")}
    assert len(cycles) == 2 + 2 + 4 * 2  # first cycles, references, two further cycles of two samplers and seeds
    assert reads == Counter((name, cycle) for name in ("record", "timing") for cycle in cycles)
    assert listings == Counter(cycle.parent for cycle in cycles if cycle.name == "cycle-0001") + Counter(
        {run.path for run in plan.stores(plan.runs)}
    )


def test_the_head_is_words_without_the_way_to_files():
    dataset = Component("mine:Scans", {"root": "/home/me/scans", "window": {"low": -200, "high": 500}})
    learner = Component("unet", {"iterations": 200, "crop": [64, 64], "cache": None, "amp": True})
    unset = {"samplers": (), "budgets": (), "passes": None, "start": None}
    experiment = SimpleNamespace(name="x", dataset=dataset, learner=learner, seeds=(0,), warm_start=False, **unset)
    head = about(SimpleNamespace(experiment=experiment, dataset=Tiny(), runs=()), [])
    assert head["Data set"] == "mine:Scans (root scans, window (low -200, high 500)), 3 classes"
    assert (
        head["Learner"] == "unet (iterations 200, crop (64, 64), cache none, amp yes); every cycle starts from scratch"
    )
    assert not {"Passes", "Start"} & set(head)
    experiment.passes, experiment.start = Passes("ensemble", 3), Start("all-classes", Budget(3, 4, (8, 8)))
    head = about(SimpleNamespace(experiment=experiment, dataset=Tiny(), runs=()), [])
    assert head["Start"] == "with all classes (reads the truth), 3x4-8x8"
    assert head["Passes"] == "each image is predicted 3 times, by ensemble; the first model is scored, in one pass"


def test_what_is_missing_is_said_at_the_top(tmp_path, runs):
    result = result_section(compared([*runs, RunStore(tmp_path, spec("decomp", seed=7))]), [], [])
    assert "decomp: seed 7 fold 0 has 0 cycle(s) and is not finished." in result.text
    assert "Not complete" not in result_section(compared(runs), [], []).text


def test_a_long_list_of_what_is_missing_is_cut(tmp_path, runs):
    planned = [RunStore(tmp_path, spec(f"own-{seed}", seed=seed)) for seed in range(7, 27)]
    lines = result_section(compared([*runs, *planned]), [], []).text.splitlines()
    assert sum(": seed" in line or " repeats, seed" in line for line in lines) == 12
    assert lines[-1] == "- and 29 more."


def test_without_a_reference_the_page_says_what_it_lacks(runs):
    sections = by_title(analysed(runs[:-1], Tiny()))
    assert "share of the pool is not known" in sections["Scores by class"].text
    assert "share of the pool is not known" in sections["Annotated classes"].text
    assert [table.name for table in sections["Scores by class"].tables] == ["class_scores"]
    assert {row[3] for row in sections["Scores by class"].tables[0].rows} == {None}


def test_who_is_too_far_behind_for_the_analyses_is_said(tmp_path, runs):
    sections = by_title(analysed([*runs, fake_run(tmp_path, [0.2], sampler="badge")], Tiny()))
    assert sections["Left out"].text.endswith("badge.")
    assert {row[5] for row in sections["Scores by class"].tables[-1].rows} == set(SAMPLERS)
    assert "Left out" not in by_title(analysed(runs, Tiny()))


def test_nothing_computed_gives_no_analysis(tmp_path):
    assert analysed([RunStore(tmp_path, spec())], Tiny()) == []


def test_after_the_first_cycle_alone_there_is_no_choice_to_show(tmp_path):
    sections = by_title(analysed([fake_run(tmp_path, [0.2], sampler=name) for name in SAMPLERS], Tiny()))
    assert "common to all samplers" in sections["Chosen regions"].text
    assert "no sampler here computes" in sections["Class confidence"].text
    assert not sections["Time"].drawings


def test_of_several_budgets_each_has_its_figures(tmp_path, runs):
    more = [fake_run(tmp_path, [0.2, 0.4, 0.6], sampler=name, budget=Budget(2, 2, (4, 4))) for name in SAMPLERS]
    sections = by_title(analysed([*runs, *more], Tiny()))
    names = [drawing.name for drawing in sections["Scores by class"].drawings]
    assert names == ["class_scores_1x2-4x4", "class_scores_2x2-4x4"]
    assert all("budget" in drawing.title for drawing in sections["Chosen regions"].drawings)
    assert len({row[0] for row in sections["Annotated classes"].tables[0].rows}) == 2


def test_confidence_of_single_classes_is_not_set_against_scores_of_nested_ones(runs):
    @dataclass(frozen=True)
    class Nested(Tiny):
        nested = MappingProxyType({"road (wet)": (1, 2), "tree": (2,), "ground": (0,)})

    section = by_title(analysed(runs, Nested()))["Class confidence"]
    assert section.text.startswith("Left out")
    assert not section.tables


def test_slides_have_no_picture(runs):
    @dataclass(frozen=True)
    class Slides(Tiny):
        task = "roi"

    assert by_title(analysed(runs, Slides()))["Chosen regions"].text.startswith("Left out")
