from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from helpers.annotators import CODES, answer_folders, write_scenes
from PIL import Image
from typer.testing import CliRunner

from decomp.experiments.cli import app
from decomp.experiments.console import clear_mistakes
from decomp.experiments.plan import make_plan
from decomp.experiments.schema import load_experiment
from decomp.experiments.status import driving
from decomp.platform.components import build_dataset, build_learner
from decomp.platform.datasets.synthetic.digits import Digits
from decomp.platform.loop.asked import read_asked
from decomp.platform.loop.loop import Loop
from decomp.platform.loop.shard import PoolShard
from decomp.platform.loop.workers import LocalWorkers
from decomp.platform.storage.runs import RunStore

BUDGET = {"n_image": 2, "n_region": 3, "region": [16, 16], "cycles": 3}


def write_digits(root):
    """A few of the digits' scenes as pictures, with masks; returns the names of the classes."""
    digits = Digits()
    for split, count in (("train", 6), ("test", 2)):
        for number, image in enumerate(digits.ids(split, 0)[:count]):
            for kind, pixels in (("images", digits.image(image)), ("masks", digits.labels(image))):
                (root / split / kind).mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(root / split / kind / f"{number}.png")
    return digits.classes


def write_experiment(folder, name="mine", **changes):
    """An experiment file; the keys of its data set may be changed too."""
    dataset = {"name": "folder", "root": str(folder / "data"), "labelled": False, **changes.pop("dataset", {})}
    values = {
        "name": name,
        "dataset": dataset,
        "learner": {"name": "unet", "iterations": 3},
        "samplers": ["decomp"],
        "budgets": [BUDGET],
        "seeds": 1,
        "warm_start": True,
        "storage": str(folder / "runs"),
        **changes,
    }
    file = folder / f"{name}.yaml"
    file.write_text(yaml.safe_dump(values, sort_keys=False))
    return file


def decomp(*arguments):
    answer = CliRunner().invoke(app, [*map(str, arguments)])
    return answer.exit_code, answer.output + (str(answer.exception) if answer.exception else "")


def queries_of(file, cycle, *overrides):
    plan = make_plan(load_experiment(file, overrides))
    (run,) = plan.runs
    store = RunStore(plan.experiment.root, run.first if cycle == 1 else run)
    return read_asked(store, cycle, plan.dataset.original_files).queries


def annotate_all(file, truth, cycles=3):
    """Type the command and answer from the truth until the end; returns what was printed each time."""
    printed = []
    for cycle in range(1, cycles + 1):
        printed.append(decomp("annotate", file)[1])
        asked = file.parent / "runs" / file.stem / "annotation"
        (folder,) = asked.glob(f"*/cycle-{cycle:04d}")
        answer_folders(queries_of(file, cycle), truth, folder)
    return [*printed, decomp("annotate", file)[1]]


@pytest.fixture
def scenes(tmp_path):
    write_scenes(tmp_path / "data")
    return tmp_path


def test_digits_annotated_with_their_true_masks_give_the_results_of_the_simulation(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    codes = {name: label for label, name in enumerate(write_digits(tmp_path / "data"))}
    file = write_experiment(tmp_path, dataset={"codes": codes})
    true = write_experiment(tmp_path, "true", dataset={"codes": codes, "labelled": True})
    simulated = make_plan(load_experiment(true))
    (run,) = simulated.runs
    learner, dataset = build_learner(run.learner), build_dataset(run.dataset)
    for spec in (run.first, run):
        store = RunStore(simulated.experiment.root, spec)
        Loop(store, dataset, LocalWorkers(PoolShard(dataset, learner, "cpu"))).run()
    printed = annotate_all(file, dataset.labels)
    assert "mine, cycle 1: 0 of 6 regions are annotated." in printed[0]
    assert "all cycles are annotated" in printed[-1]
    annotated = make_plan(load_experiment(file))
    mine = RunStore(annotated.experiment.root, annotated.runs[0])
    assert len(mine.committed()) == 3
    for ours, theirs in zip(mine.committed(), store.committed(), strict=True):
        assert ours.record == theirs.record
        assert ours.regions_file.read_bytes() == theirs.regions_file.read_bytes()


def test_an_annotated_run_is_an_ordinary_one_in_reports_archives_and_verdicts(scenes, monkeypatch):
    monkeypatch.chdir(scenes)
    file = write_experiment(scenes, dataset={"codes": CODES})
    truth = build_dataset(make_plan(load_experiment(file)).experiment.dataset.with_options({"labelled": True})).labels
    page = annotate_all(file, truth)[-1].split("When to stop: ")[1].split()[0]
    assert "No number here says that the model is good enough" in Path(page).read_text()
    assert "miou" in Path(page).read_text()
    status, out = decomp("report", file)
    assert status == 0, out
    assert "Test mIoU by cycle" in out
    assert (scenes / "runs" / "mine" / "report" / "chosen_regions.png").is_file()
    plan = make_plan(load_experiment(file))
    for query in queries_of(file, 3):
        assert np.array_equal(plan.dataset.labels(query.image)[query.slices], truth(query.image)[query.slices])
    assert decomp("export", file, "mine.zip")[0] == 0
    status, out = decomp("compare", file, "mine.zip")
    assert (status, "Verdict: verdict/verdict.html" in out) == (0, True), out


def test_what_people_annotated_by_two_samplers_is_compared_and_the_first_cycle_is_annotated_once(scenes, monkeypatch):
    monkeypatch.chdir(scenes)
    file = write_experiment(scenes, dataset={"codes": CODES}, budgets=[{**BUDGET, "cycles": 2}])
    truth = build_dataset(make_plan(load_experiment(file)).experiment.dataset.with_options({"labelled": True})).labels
    annotate_all(file, truth, cycles=2)
    assert "cycle 2: 0 of 6 regions" in decomp("annotate", file, "samplers=[rand]")[1]
    (folder,) = (scenes / "runs" / "mine" / "annotation").glob("rand-*/cycle-0002")
    answer_folders(queries_of(file, 2, "samplers=[rand]"), truth, folder)
    assert "all cycles are annotated" in decomp("annotate", file, "samplers=[rand]")[1]
    status, out = decomp("report", file, "samplers=[decomp,rand]")
    assert status == 0, out
    assert {"decomp", "rand"} <= {*out.split()}


def test_without_test_masks_no_score_is_claimed_anywhere(scenes, monkeypatch):
    monkeypatch.chdir(scenes)
    masks = {f"train-{file.stem}": np.array(Image.open(file)) for file in (scenes / "data/train/masks").iterdir()}
    for mask in (scenes / "data" / "test" / "masks").iterdir():
        mask.unlink()
    file = write_experiment(scenes, dataset={"codes": CODES}, budgets=[{**BUDGET, "cycles": 2}])
    printed = annotate_all(file, masks.__getitem__, cycles=2)
    page = Path(printed[-1].split("When to stop: ")[1].split()[0])
    assert "no score is claimed" in page.read_text()
    assert "miou" not in page.read_text().lower()
    plan = make_plan(load_experiment(file))
    assert [cycle.record.metrics for cycle in plan.stores(plan.runs)[0].committed()] == [{}, {}]
    status, out = decomp("report", file)
    assert status == 0
    assert "mIoU" not in out
    assert "warning" not in out
    assert "no score is claimed" in (scenes / "runs" / "mine" / "report" / "report.html").read_text()
    assert "no test image has labels" in decomp("compare", file)[1]
    assert decomp("check", file)[0] == 0


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"samplers": ["decomp", "rand"]},
            "samplers: people annotate one run at a time, but there are 2; add samplers=",
        ),
        ({"seeds": 2}, "seeds: people annotate one run at a time, but there are 2; add seeds=[0]."),
        ({"budgets": [BUDGET, {**BUDGET, "n_region": 2}]}, "budgets: people annotate one run at a time"),
        ({"dataset": {"codes": CODES, "labelled": True}}, "write labelled: false"),
        ({"samplers": ["rand-fg-33"]}, "reads the truth, which nobody has told yet"),
        ({"start": {"choice": "all-classes"}}, "all-classes reads the truth"),
        ({"annotation": {"format": "foldres"}}, "Unknown annotation format 'foldres' (did you mean 'folders'?)"),
        ({"annotation": {"format": "folders", "size": 3}}, "annotation.size: folders has no such option"),
        ({"annotation": {"tool": "folders"}}, "annotation: give the format that your tool reads and writes"),
    ],
)
def test_what_people_cannot_annotate_is_told_in_a_sentence(scenes, changes, sentence):
    file = write_experiment(scenes, **{"dataset": {"codes": CODES}, **changes})
    status, out = decomp("annotate", file)
    assert status != 0
    assert sentence in out
    assert not (scenes / "runs" / "mine" / "annotation").exists()


def test_a_mistake_in_what_comes_back_is_told_and_nothing_is_lost(scenes):
    file = write_experiment(scenes, dataset={"codes": CODES})
    decomp("annotate", file)
    (folder,) = (scenes / "runs" / "mine" / "annotation").glob("*/cycle-0001")
    first, second, *_ = queries_of(file, 1)
    Image.fromarray(np.zeros(first.size, np.uint8)).save(folder / "masks" / f"{first.id}.png")
    Image.fromarray(np.zeros((3, 3), np.uint8)).save(folder / "masks" / f"{second.id}.png")
    assert f"{second.id}.png: it has 3 x 3 pixels" in decomp("annotate", file)[1]
    (folder / "masks" / f"{second.id}.png").unlink()
    assert "1 of 6 regions are annotated" in decomp("annotate", file)[1]


def test_run_refuses_a_pool_that_people_label(scenes, monkeypatch):
    monkeypatch.chdir(scenes)
    file = write_experiment(scenes, dataset={"codes": CODES})
    assert "type 'decomp annotate' instead" in decomp("run", file)[1]


def test_the_format_may_be_given_on_the_command_line_and_changes_no_run(scenes):
    file = write_experiment(scenes, dataset={"codes": CODES})
    plans = [make_plan(load_experiment(file, overrides)) for overrides in ([], ["annotation={format: folders}"])]
    assert plans[0].runs == plans[1].runs
    assert plans[0].references == ()
    assert replace(plans[0].runs[0], seed=1).key != plans[0].runs[0].key


def test_a_training_that_fails_is_told_in_a_sentence_with_its_traceback(scenes):
    learner = {"name": "helpers.toys:Centroids", "fail_at_cycle": 1}
    file = write_experiment(scenes, dataset={"name": "helpers.annotators:Scenes", "codes": CODES}, learner=learner)
    decomp("annotate", file)
    (folder,) = (scenes / "runs" / "mine" / "annotation").glob("*/cycle-0001")
    (scenes / "data" / "train" / "masks").rename(scenes / "truth")
    truth = {f"train-{mask.stem}": np.array(Image.open(mask)) for mask in (scenes / "truth").iterdir()}
    answer_folders(queries_of(file, 1), truth.__getitem__, folder)
    status, out = decomp("annotate", file)
    assert status != 0
    assert "RuntimeError: the learner has had enough (traceback: " in out
    assert "had enough" in Path(out.split("(traceback: ")[1].split(")")[0]).read_text()


def test_a_pool_that_has_changed_starts_anew_and_that_is_told(scenes):
    file = write_experiment(scenes, dataset={"codes": CODES})
    decomp("annotate", file)
    Image.fromarray(np.zeros((48, 64, 3), np.uint8)).save(scenes / "data" / "train" / "images" / "more.png")
    out = decomp("annotate", file)[1]
    assert "cycle 1: 0 of 6 regions" in out
    assert "the data changed: 1 run(s) start anew" in out
    assert len(list((scenes / "runs" / "mine" / "annotation").glob("*/cycle-0001"))) == 2


def test_a_run_that_begins_beside_others_is_told_once(scenes):
    file = write_experiment(scenes, dataset={"codes": CODES})
    sentence = "this is another run than those annotated before, so it begins with its first cycle"
    other = "budgets=[{n_image: 1, n_region: 2, region: [16, 16], cycles: 3}]"
    printed = [decomp("annotate", file, *changed)[1] for changed in ([], [other], [other], ["samplers=[rand]"])]
    assert [sentence in out for out in printed] == [False, True, False, False]


def test_a_pool_in_which_nothing_is_left_to_select_ends_the_run(scenes):
    file = write_experiment(
        scenes, dataset={"codes": CODES}, budgets=[{"n_image": 6, "n_region": 9, "region": [32, 32], "cycles": 3}]
    )
    truth = build_dataset(make_plan(load_experiment(file)).experiment.dataset.with_options({"labelled": True})).labels
    printed = annotate_all(file, truth, cycles=1)
    assert "no region of the pool is left to select after cycle 1 of 3, so the run is finished" in printed[-1]


def test_a_cycle_of_which_nothing_has_come_back_waits_and_says_why(scenes):
    file = write_experiment(scenes, dataset={"codes": CODES})
    assert decomp("annotate", file)[0] == 0
    code, said = decomp("annotate", file, "--continue")
    assert code == 0
    assert "nothing of this cycle has come back yet" in said
    assert "cycle 1: 0 of 6 regions are annotated" in said


def test_other_commands_name_annotate(scenes):
    file = write_experiment(scenes, dataset={"codes": CODES})
    assert " annotate' first." in decomp("report", file)[1]
    assert "type 'decomp annotate' instead" in decomp("submit", file, "--dry-run")[1]


def test_status_tells_who_is_at_work_and_what_waits_for_people(scenes):
    file = write_experiment(scenes, dataset={"codes": CODES})
    assert "waits" not in decomp("status", file)[1]
    decomp("annotate", file)
    told = decomp("status", file)[1]
    assert "nobody works on it" in told
    assert "cycle 1 waits for people; when 'decomp annotate' last looked, 0 of 6 regions had come back." in told
    with driving(make_plan(load_experiment(file)).experiment.root):
        assert "another command works on it" in decomp("status", file)[1]


def test_a_folder_that_cannot_be_written_is_told_by_its_name(scenes, capsys):
    file = write_experiment(scenes, dataset={"codes": CODES})
    place = scenes / "runs" / "mine" / "annotation"
    place.parent.mkdir(parents=True)
    place.write_text("a file in the way")
    with pytest.raises(SystemExit), clear_mistakes():
        app(["annotate", str(file)], standalone_mode=False)
    out = capsys.readouterr().err
    assert f"{place}/first-cycle-" in out
    assert "Not a directory; mend that, then type the same command again." in out
