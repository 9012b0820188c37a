import pytest
from helpers.toy_runs import run_locally

from decomp.experiments.plan import make_plan
from decomp.experiments.schema import load_experiment
from decomp.platform.errors import UserError
from decomp.platform.samplers import Choice, ImageSelector, RegionSelector


def plan_of(file, *overrides):
    return make_plan(load_experiment(file, overrides))


def test_the_grid_shares_first_cycles_and_references(toy_file):
    plan = plan_of(toy_file)
    assert (len(plan.firsts), len(plan.references), len(plan.runs)) == (2, 2, 4)
    assert plan.trainings() == 2 + 2 + 4 * 4
    assert plan.trainings_done() == 0


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
    assert plan.trainings_done() == 5


def test_a_change_of_a_result_relevant_key_is_named(toy_file):
    plan = plan_of(toy_file)
    run_locally(plan.experiment.root, *plan.runs)
    assert plan.changes() == []
    assert plan_of(toy_file, "seeds=3").changes() == []
    assert plan_of(toy_file, "budgets[0].cycles=9").changes() == []
    assert plan_of(toy_file, "resources.workers=2").changes() == []
    (change,) = plan_of(toy_file, "learner.jitter=0.2").changes()
    assert "learner.jitter changed from unset to 0.2: 6 run(s) start anew" in change


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("budgets[0].region=[40,4]", "a region of 40 x 4 does not fit into image 'train-000' of 24 x 32"),
        ("budgets[0].n_image=20", "20 images per cycle, but the pool has only 9"),
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


def test_a_test_split_without_images_is_told_before_anything_is_trained(toy_file, monkeypatch):
    plan = plan_of(toy_file)
    assert plan.data_problems() == []
    ids = type(plan.dataset).ids
    monkeypatch.setattr(
        type(plan.dataset), "ids", lambda self, split, fold: () if split == "test" else ids(self, split, fold)
    )
    assert plan.data_problems() == ["dataset: the test split has no images, so there is nothing to score; add some."]
