import re
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import pytest
from helpers.toy_runs import run_locally
from helpers.toys import Blobs

import decomp.experiments
from decomp.experiments.plan import make_plan
from decomp.experiments.schema import load_experiment
from decomp.platform.errors import UserError
from decomp.platform.marks import ByContent, NotIdentity
from decomp.platform.samplers import Choice, ImageSelector, RegionSelector
from decomp.platform.storage.runs import RunStore


def plan_of(file, *overrides):
    return make_plan(load_experiment(file, overrides))


def test_the_grid_shares_first_cycles_and_references(toy_file):
    plan = plan_of(toy_file)
    assert (len(plan.firsts), len(plan.references), len(plan.runs)) == (2, 2, 4)
    assert plan.trainings() == 2 + 2 + 4 * 4
    assert plan.trainings_done(plan.histories()) == 0


def test_budgets_have_first_cycles_of_their_own(toy_file):
    one = "{n_image: 2, n_region: 3, region: [4, 4], cycles: 5}"
    other = "{n_image: 1, n_region: 3, region: [4, 4], cycles: 2}"
    plan = plan_of(toy_file, f"budgets=[{one}, {other}]")
    assert (len(plan.firsts), len(plan.references), len(plan.runs)) == (4, 2, 8)
    assert plan.trainings() == 4 + 2 + 4 * 4 + 4 * 1


def test_epochs_of_all_trainings_are_added_up(toy_file):
    plan = plan_of(toy_file, "learner=helpers.toys:Epochal", "seeds=1")
    per_cycle = [2, 4, 6, 8, 10]  # of 6, 12, 18, 24, 30 regions
    assert plan.epochs() == per_cycle[0] + 2 * sum(per_cycle[1:]) + 3  # the reference has 9 regions
    assert plan_of(toy_file).epochs() is None


ENSEMBLE = "passes={method: ensemble, n: 3}"
DROPPERS = "learner=helpers.toys:Droppers"


def test_an_ensemble_takes_as_many_trainings_as_it_has_models(toy_file):
    plan = plan_of(toy_file, DROPPERS, ENSEMBLE)
    assert plan.trainings() == 3 * (2 + 4 * 4) + 2
    plan = plan_of(toy_file, DROPPERS, "passes={method: ensemble, n: 3, evaluate: mean}")
    assert plan.trainings() == 3 * (2 + 2 + 4 * 4)
    assert plan_of(toy_file, DROPPERS, "passes={method: mc-dropout, n: 3}").trainings() == 2 + 2 + 4 * 4


def test_passes_begin_runs_of_their_own_and_leave_others_as_they_are(toy_file):
    keys = {spec.key for spec in plan_of(toy_file, DROPPERS).runs}
    assert {spec.key for spec in plan_of(toy_file, DROPPERS, "passes=null").runs} == keys
    assert keys.isdisjoint(spec.key for spec in plan_of(toy_file, DROPPERS, ENSEMBLE).runs)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ([ENSEMBLE], "passes: Centroids predicts an image in one pass; remove 'passes'."),
        (
            ["learner={name: helpers.toys:Droppers, dropout: 0}", "passes={method: mc-dropout}"],
            "learner.dropout: is 0, so that the passes of mc-dropout would be equal; give e.g. 0.2.",
        ),
        (
            [DROPPERS, "passes={method: test-time-augmentation}"],
            "passes.n: these images have 4 flips, not 5; give at most 4.",
        ),
        (
            ["samplers=[{sampler: uncert, uncertainty: mutual_information}]"],
            "samplers[0]: uncert_mutual_information reads mutual_information, which compares several predictions of an "
            "image, but there is one; add passes, like {method: ensemble, n: 5}.",
        ),
    ],
)
def test_passes_that_cannot_work_are_refused_before_any_compute(toy_file, overrides, message):
    with pytest.raises(UserError) as caught:
        plan_of(toy_file, *overrides)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("learner", "methods"),
    [
        ("{name: unet}", [("ensemble", 5), ("test-time-augmentation", 4)]),
        ("{name: unet, dropout: 0.2}", [("ensemble", 5), ("mc-dropout", 5), ("test-time-augmentation", 4)]),
        ("{name: smp, dropout: 0.2}", [("ensemble", 5), ("mc-dropout", 5), ("test-time-augmentation", 4)]),
        ("{name: upernet}", [("ensemble", 5), ("mc-dropout", 5), ("test-time-augmentation", 4)]),
    ],
)
def test_learners_of_images_predict_in_passes(toy_file, learner, methods):
    for method, n in methods:
        plan = plan_of(toy_file, f"learner={learner}", f"passes={{method: {method}, n: {n}}}")
        assert {spec.passes.method for spec in plan.runs} == {method}


def test_training_workers_that_the_learner_cannot_use_are_refused(toy_file):
    two = ["resources.workers=9", "resources.training_workers=9"]
    with pytest.raises(UserError) as caught:
        plan_of(toy_file, *two)
    assert str(caught.value) == (
        "resources.training_workers: helpers.toys:Centroids trains a model in one process, not 9; set it to 1."
    )
    with pytest.raises(UserError, match="unet trains a model in at most 4 processes, not 9; set it to 4"):
        plan_of(toy_file, "learner={name: unet, batch: 24}", "reference={batch: 4}", *two)
    plan_of(toy_file, "learner=unet", *two)


def test_all_damage_of_the_data_is_named_at_once(toy_file):
    with pytest.raises(UserError) as caught:
        plan_of(toy_file, "dataset=helpers.toys:Damaged")
    assert str(caught.value) == "train-000.png is missing.\ntrain-001.png is missing."


def test_no_reference(toy_file):
    assert plan_of(toy_file, "reference=null").references == ()


def test_a_reference_may_have_a_schedule_of_its_own(toy_file):
    plan = plan_of(toy_file, "reference={jitter: 0.5}")
    assert plan.references[0].learner.options == {"jitter": 0.5}
    assert plan.runs[0].learner.options == {}


def test_done_work_is_counted(toy_file):
    plan = plan_of(toy_file)
    run_locally(plan.experiment.root, plan.runs[0])
    assert plan.trainings_done(plan.histories()) == 5


def test_a_change_of_a_result_relevant_key_is_named(toy_file):
    plan = plan_of(toy_file)
    run_locally(plan.experiment.root, *plan.runs)
    for same in ([], ["seeds=3"], ["budgets[0].cycles=9"], ["resources.workers=2"]):
        plan = plan_of(toy_file, *same)
        assert plan.changes(plan.histories()) == []
    plan = plan_of(toy_file, "learner.jitter=0.2")
    (change,) = plan.changes(plan.histories())
    assert "learner.jitter changed from unset to 0.2: 6 run(s) start anew" in change


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("budgets[0].region=[40,4]", "a region of 40 x 4 does not fit into image 'train-000' of 24 x 32"),
        ("budgets[0].n_image=20", "20 images per cycle, but the pool has only 9"),
        ("resources.workers=10", "resources.workers: 10 workers .*only 9; lower it to 9"),
        ("folds=[1]", "no fold 1; give 0 to 0"),
        ("dataset={name: helpers.toys:Blobs, size: 3}", "dataset.size: helpers.toys:Blobs has no such option"),
        ("dataset=helpers.toys:Blops", "Cannot import dataset 'helpers.toys:Blops'"),
        ("dataset=digit", "did you mean 'digits'"),
        ("dataset=helpers.toys:Centroids", "is no subclass of decomp.platform.datasets.base.Dataset"),
        ("learner.jiter=3", r"learner.jiter: helpers.toys:Centroids has no such option \(did you mean 'jitter'\?\)"),
        ("learner.jitter=much", "learner.jitter: input should be a valid number"),
        ("reference={jiter: 3}", "reference.jiter"),
        ("reference={jiter: 3, jitter: much}", r"reference.jiter: .*\nreference.jitter: input should be"),
        ("budgets[0].region={name: slic, sigma: a}", r"budgets\[0\].region.sigma: .*\nbudgets\[0\].region: slic needs"),
        ("samplers=[{images: randm, regions: random}]", r"samplers\[0\]: Unknown image selector 'randm'"),
        ("samplers=[{images: {name: random, cap: 3}, regions: random}]", r"samplers\[0\].images.cap: .*no such option"),
        (
            "samplers=[{images: {name: decomposition, cap: -1}, regions: random}]",
            r"samplers\[0\].images.cap: .*greater than 0",
        ),
        ("samplers=[{images: random, regions: {name: badge, seeding: x}}]", r"samplers\[0\].regions.seeding: "),
        (
            "samplers=[{sampler: rand, reselect_below: 0.5}]",
            r"samplers\[0\].reselect_below: random reads no predictions",
        ),
        (
            "samplers=[{sampler: decomp, emphasis: {tee: 2}}]",
            r"\[0\].emphasis: .* no class 'tee' \(did you mean 'tree'",
        ),
        ("samplers=[{sampler: decomp, background: sky}]", r"\[0\].background: .* no class 'sky'"),
        ("budgets[0].region=[1,4,4]", "has 3 axes, but image 'train-000' of 24 x 32 has 2"),
        ("budgets[0].region=slick", r"budgets\[0\].region: Unknown partition 'slick' \(did you mean 'slic'\?\)"),
        ("budgets[0].region=slic", r"budgets\[0\].region: slic needs the option 'segments'"),
    ],
)
def test_what_cannot_work_is_refused_before_any_compute(toy_file, override, message):
    with pytest.raises(UserError, match=message):
        plan_of(toy_file, override)


class Undeclared(RegionSelector):
    """Reads labels that it does not declare."""

    def choose(self, view, n_region, rng):
        return [Choice(view.places.take(view.places.of_class(view.labels, 0, layer=0).best(rng)))]


class Short(ImageSelector):
    """Forgets the last image."""

    def scores(self, pool, weights):
        return pool.pixels[:-1]


@pytest.mark.parametrize("region", ["[4,4]", "{name: slic, segments: 9}"])
def test_selectors_that_break_their_contract_are_refused_before_any_compute(toy_file, region):
    with pytest.raises(UserError) as caught:
        plan_of(
            toy_file,
            f"samplers=[rand, {{images: '{__name__}:Short', regions: '{__name__}:Undeclared'}}]",
            f"budgets[0].region={region}",
        )
    assert str(caught.value).splitlines() == [
        "samplers[1].images: Short.scores gave the shape (6,) for 7 images; give one score per image.",
        "samplers[1].regions: Undeclared reads ImageView.labels without declaring it; declare needs = Need.LABELS.",
    ]


def test_mistakes_of_the_learner_hide_no_others(toy_file):
    with pytest.raises(UserError) as caught:
        plan_of(
            toy_file,
            "learner.no_such_option=1",
            "samplers=[{sampler: decomp, background: sea}]",
            "budgets[0].n_image=20",
        )
    assert [line.split(":")[0] for line in str(caught.value).splitlines()] == [
        "learner.no_such_option",
        "samplers[0].background",
        "budgets[0].n_image",
    ]


BODY = "rarest = int(present[np.argmin(view.predicted[present])])"


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Folder of the tutorial's module and experiment, which is where `decomp` is typed."""
    text = (Path(__file__).parents[2] / "docs" / "own.md").read_text()
    blocks = re.findall(r"^```(python|yaml)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    parts = [content for kind, content in blocks if kind == "python" and not content.startswith("# test_mine.py")]
    (tmp_path / "mine.py").write_text("\n\n".join(parts))
    (experiment,) = (content for kind, content in blocks if kind == "yaml")
    (tmp_path / "mine.yaml").write_text(f"{experiment}storage: {tmp_path}/runs\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    sys.modules.pop("mine", None)  # that of another folder
    yield tmp_path
    del sys.modules["mine"]


def edit(file, old, new):
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def changes_of(plan):
    return plan.changes(plan.histories())


def begin(plan):
    for store in plan.stores(plan.specs):
        store.create()


def test_a_changed_body_of_an_own_sampler_starts_its_runs_anew_and_no_others(own):
    plan = plan_of(own / "mine.yaml")
    begin(plan)
    edit(own / "mine.py", BODY, BODY.replace("argmin", "argmax"))
    changed = plan_of(own / "mine.yaml")
    anew = {spec.label for spec, old in zip(changed.specs, plan.specs, strict=True) if spec.key != old.key}
    assert anew == {spec.label for spec in plan.runs if spec.sampler.name == "rarest"}
    assert changes_of(changed) == [
        f"the code of mine:RarestClass changed: 4 run(s) start anew; the old ones stay in {own}/runs/mine and are not "
        f"mixed in."
    ]
    edit(own / "mine.py", "argmax", "argmin")
    edit(own / "mine.py", "needs = Need.LABELS\n", "needs = Need.LABELS  # and a remark\n\n")
    assert plan_of(own / "mine.yaml").specs == plan.specs


def test_a_changed_network_of_an_own_learner_starts_everything_anew(own):
    plan = plan_of(own / "mine.yaml")
    begin(plan)
    edit(own / "mine.py", "Conv2d(1, 12, 5, padding=2), ReLU()", "Conv2d(1, 12, 5, padding=2)")
    (change,) = changes_of(plan_of(own / "mine.yaml"))
    assert change.startswith(f"the code of mine:Small changed: {len(plan.specs)} run(s) start anew")


def test_runs_of_before_the_code_counted_are_named(own):
    plan = plan_of(own / "mine.yaml")
    for store in plan.stores(plan.specs):
        spec = replace(store.spec, learner=replace(store.spec.learner, code=""))
        RunStore(store.root, spec).create()
    (change,) = changes_of(plan_of(own / "mine.yaml"))
    assert "the code of mine:Small is a part of what identifies a run now" in change


@dataclass(frozen=True)
class Placed(Blobs):
    """Blobs that say where they lie."""

    root: Annotated[str, NotIdentity("data/blobs")] = ""
    scale: float = 1.0
    weights: Annotated[Path | None, ByContent()] = None

    def fingerprint(self):
        return "blobs"


def placed(file, *options):
    return plan_of(file, f"dataset={{name: '{__name__}:Placed', {', '.join(options)}}}")


def keys(plan):
    return [spec.key for spec in plan.specs]


def test_where_data_lie_is_no_part_of_the_identity(toy_file):
    here = placed(toy_file, "root: /data/here")
    assert here.dataset.root == "/data/here"
    assert keys(here) == keys(placed(toy_file, "root: there")) == keys(placed(toy_file, "root: data/blobs"))
    assert here.runs[0].identity()["dataset"]["options"] == {"root": "data/blobs"}


def test_a_number_is_one_number_however_it_is_written(toy_file):
    one, two, three = (keys(placed(toy_file, f"scale: {number}")) for number in ("1", "1.0", "10e-1"))
    assert one == two == three
    assert one != keys(placed(toy_file, "scale: 2"))
    assert keys(plan_of(toy_file, "learner.jitter=1e-3")) == keys(plan_of(toy_file, "learner.jitter=0.001"))


def test_a_file_counts_by_its_content_wherever_it_lies(toy_file, tmp_path):
    (tmp_path / "a").write_text("weights")
    (tmp_path / "b").write_text("weights")
    (tmp_path / "c").write_text("others!")
    a, b, c = (keys(placed(toy_file, f"weights: {tmp_path / name}")) for name in "abc")
    assert a == b
    assert a != c
    with pytest.raises(UserError, match=r"dataset.weights: .*/d cannot be read: No such file"):
        placed(toy_file, f"weights: {tmp_path}/d")


def test_runs_that_began_when_places_and_spelling_counted_go_on(toy_file):
    written = ["root: /data/here", "scale: 1.0"]
    plan = placed(toy_file, *written)
    former = [
        replace(spec, dataset=replace(spec.dataset, identifying={"root": "/data/here", "scale": 1.0}))
        for spec in plan.specs
    ]
    for spec in former:
        RunStore(plan.experiment.root, spec).create()
    again = placed(toy_file, *written)
    assert keys(again) == [spec.key for spec in former] != keys(plan)
    assert changes_of(again) == []
    (change,) = changes_of(placed(toy_file, "root: /data/there", "scale: 1.0"))
    assert "dataset.root changed from /data/here to /data/there: 8 run(s) start anew" in change


def test_changed_data_are_told_in_words(toy_file, monkeypatch):
    begin(placed(toy_file))
    monkeypatch.setattr(Placed, "fingerprint", lambda self: "others")
    (change,) = changes_of(placed(toy_file))
    assert change.startswith("the data changed: 8 run(s) start anew")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["learner=mlp"], "learner: mlp is for sets of ROIs, but the images of .*Blobs are images of two axes; choose"),
        (
            ["dataset=slides", "learner=unet", "budgets[0].region=[1]"],
            "unet is for images of two axes, .* of ROIs",
        ),
        (["learner=:x"], "learner ':x' has no module before the colon"),
        (["learner=..a:x"], "Cannot import learner '..a:x'"),
        (["learner=decomp.platform.learners.base:Learner"], "is no complete class; it lacks fit, load"),
        (["learner={name: unet, jitter: .inf}"], "learner.jitter: input should be a finite number"),
        ([f"dataset={{name: '{__name__}:Placed', scale: .inf}}"], "dataset.scale: input should be a finite number"),
        (
            [f"dataset={{name: '{__name__}:Failing', size: 3}}"],
            r"made: ZeroDivisionError: .* \(test_plan.py, ",
        ),
        ([f"dataset={{name: '{__name__}:Failing', size: .nan}}"], "dataset.size: input should be a finite number"),
    ],
)
def test_classes_that_cannot_work_are_refused_in_a_sentence(toy_file, overrides, message):
    with pytest.raises(UserError, match=message):
        plan_of(toy_file, *overrides)


class Failing(Blobs):
    """Fails in its constructor."""

    def __init__(self, size):
        super().__init__(size // 0)


def test_a_module_that_fails_is_told_with_the_line(toy_file, tmp_path, monkeypatch):
    (tmp_path / "broken.py").write_text("import os\nsize = 1\nundefined\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(UserError, match=r"Cannot import learner 'broken:X': NameError: .* \(broken.py, line 3\)"):
        plan_of(toy_file, "learner=broken:X")


def test_a_default_that_has_changed_is_part_of_the_identity_also_where_it_is_left_out():
    data = Path(__file__).parents[1] / "data" / "bracs" / "portable"
    preset = Path(decomp.experiments.__file__).with_name("bracs.yaml")
    budget = "budgets=[{n_image: 1, n_region: 2, region: [1], cycles: 2}]"
    plans = [
        plan_of(preset, f"dataset.folder={data}", budget, *learner)
        for learner in ([], ["learner=hactnet"], ["learner=decomp.platform.learners.hactnet:HactNet"])
    ]
    for plan in plans:
        for spec in plan.specs:
            assert spec.learner.options == {"residual": True}
            assert spec.key != replace(spec, learner=replace(spec.learner, options={}, identifying={})).key
    assert [spec.key for spec in plans[0].specs] == [spec.key for spec in plans[1].specs]
    without = plan_of(preset, f"dataset.folder={data}", budget, "learner={name: hactnet, residual: false}")
    assert without.runs[0].learner.options == {"residual": False}


def test_a_test_split_without_images_is_told_before_anything_is_trained(toy_file, monkeypatch):
    plan = plan_of(toy_file)
    assert plan.data_problems() == []
    ids = type(plan.dataset).ids
    monkeypatch.setattr(
        type(plan.dataset), "ids", lambda self, split, fold: () if split == "test" else ids(self, split, fold)
    )
    assert plan.data_problems() == ["dataset: the test split has no images, so there is nothing to score; add some."]
