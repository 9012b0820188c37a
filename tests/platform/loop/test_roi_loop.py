"""The loop on ROIs: slides are images of one axis, the validation split is annotated too."""

from dataclasses import replace

import pytest
from helpers.toy_runs import REFERENCE, ROI, ROI_RUNS, SLIDES, run_locally

from decomp.platform.components import build_dataset
from decomp.platform.grid import Budget, Component
from decomp.platform.loop.selection import SelectionStep
from decomp.platform.storage.runs import RunStore

DATASET = build_dataset(ROI.dataset)
TRAIN, VALIDATION = (DATASET.ids(split, 0) for split in ("train", "validation"))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    root = tmp_path_factory.mktemp("rois")
    run_locally(root, *ROI_RUNS)
    return [RunStore(root, spec) for spec in ROI_RUNS]


def test_the_validation_split_is_annotated_with_a_third_of_the_images(finished):
    for run in finished:
        selected = [folder.record.selected for folder in run.committed()]
        # 10 training slides, 3 per cycle: the fourth cycle takes the one that is left.
        assert [sum(slide in TRAIN for slide in slides) for slides in selected] == [3, 3, 3, 1, 3]
        assert [sum(slide in VALIDATION for slide in slides) for slides in selected] == [1, 1, 1, 1, 1]


def test_a_third_is_rounded_down_but_is_one_slide_at_least(tmp_path):
    taken = {}
    for n_image in (2, 5, 6, 8):
        spec = replace(ROI, budget=Budget(n_image, 1, (1,)), cycles=1).first
        run_locally(tmp_path, spec)
        (folder,) = RunStore(tmp_path, spec).committed()
        taken[n_image] = sum(slide in VALIDATION for slide in folder.record.selected)
    assert taken == {2: 1, 5: 1, 6: 2, 8: 2}


def test_no_slide_gives_more_rois_than_the_budget_and_none_is_annotated_twice(finished):
    for run in finished:
        for folder in run.committed():
            for image, regions in folder.ledger.by_image.items():
                assert len(regions) <= min(ROI.budget.n_region, DATASET.shape(image)[0])
        for regions in run.ledger(run.committed()).by_image.values():
            assert len({region.start for region in regions}) == len(regions)
            assert all(region.size == (1,) for region in regions)


def test_every_slide_is_processed_before_any_is_processed_again(finished):
    for run in finished:
        visited = [image for folder in run.committed() for image in folder.record.selected]
        train = [image for image in visited if image in TRAIN]
        validation = [image for image in visited if image in VALIDATION]
        assert set(train[: len(TRAIN)]) == set(TRAIN)
        assert set(validation[: len(VALIDATION)]) == set(VALIDATION)
        assert len(train) > len(TRAIN)  # slides with ROIs left are processed a second time


def test_records_count_slides_and_rois_of_both_splits(finished):
    for run in finished:
        folders = run.committed()
        ledger, annotated = run.ledger(folders), folders[-1].record.annotated
        total = sum(DATASET.shape(slide)[0] for slide in (*TRAIN, *VALIDATION))
        assert annotated.pixels == annotated.regions == len(ledger)
        assert annotated.share == pytest.approx(len(ledger) / total)
        assert annotated.image_share == pytest.approx(len(ledger.by_image) / (len(TRAIN) + len(VALIDATION)))
        assert sum(annotated.class_pixels) == len(ledger)


@pytest.mark.parametrize("budget", [Budget(6, 40, (1,)), Budget(2, 119, (1,))])
def test_a_run_ends_when_no_roi_of_either_split_is_left(tmp_path, budget):
    untrained = Component("helpers.toy_rois:Untrained")
    dataset = Component("slides", {**SLIDES, "train_slides": 8, "validation_slides": 6})
    spec = replace(ROI_RUNS[-1], dataset=dataset, learner=untrained, budget=budget, cycles=50)
    run_locally(tmp_path, replace(spec, cycles=5))
    run_locally(tmp_path, spec)  # goes on
    folders = RunStore(tmp_path, spec).committed()
    assert [folder.record.exhausted for folder in folders] == [False] * (len(folders) - 1) + [True]
    assert len(folders) < 50
    data = build_dataset(dataset)
    by_image = RunStore(tmp_path, spec).ledger(folders).by_image
    assert {image: len(regions) for image, regions in by_image.items()} == {
        image: data.shape(image)[0] for split in ("train", "validation") for image in data.ids(split, 0)
    }
    last = {split: max(cycle_of(folders, data.ids(split, 0))) for split in ("train", "validation")}
    assert last["train"] != last["validation"]
    for folder in folders[last["train"] :]:
        assert folder.record.class_weights == (1 / 7,) * 7  # nothing of the training pool is predicted any more


def cycle_of(folders, images):
    """Cycles in which any of the images was selected."""
    return [folder.record.cycle for folder in folders if set(images) & set(folder.record.selected)]


def test_the_validation_split_is_scored_with_the_class_weights_of_the_training_pool(tmp_path, monkeypatch):
    weights = {"train": [], "validation": []}
    run = SelectionStep.run

    def spied(step, *arguments):
        selection = run(step, *arguments)
        weights[step.split].append((step.weights, selection.class_weights))
        return selection

    monkeypatch.setattr(SelectionStep, "run", spied)
    spec = replace(ROI_RUNS[-1], learner=Component("helpers.toy_rois:Untrained"))
    run_locally(tmp_path, spec)
    of_training = [followed for given, followed in weights["train"]]
    assert of_training[0] is None  # the first cycle
    assert len({tuple(followed) for followed in of_training[1:]}) == spec.cycles - 1
    assert [given is followed for given, followed in weights["validation"]] == [True] * spec.cycles
    assert all(given is followed for (given, _), followed in zip(weights["validation"], of_training, strict=True))


def test_a_run_goes_on_when_the_validation_split_is_wholly_annotated(tmp_path):
    few = Component("slides", {"train_slides": 12, "validation_slides": 1, "test_slides": 2})
    learner = Component("helpers.toy_rois:Untrained")
    spec = replace(ROI_RUNS[0], dataset=few, learner=learner, budget=Budget(1, 119, (1,)), cycles=6)
    run_locally(tmp_path, replace(spec, cycles=3))
    run_locally(tmp_path, spec)  # goes on
    folders = RunStore(tmp_path, spec).committed()
    validation = build_dataset(few).ids("validation", 0)
    assert folders[0].record.selected[1:] == validation
    assert all(len(folder.record.selected) == 1 for folder in folders[1:])
    assert len({image for folder in folders for image in folder.record.selected}) == 6 + 1
    assert [folder.record.exhausted for folder in folders] == [False] * 6


def test_the_reference_sees_both_splits(tmp_path):
    spec = replace(REFERENCE, dataset=ROI.dataset, learner=ROI.learner, fingerprint=ROI.fingerprint)
    run_locally(tmp_path, spec)
    (folder,) = RunStore(tmp_path, spec).committed()
    assert folder.record.annotated.share == 1.0
    assert set(folder.ledger.by_image) == {*TRAIN, *VALIDATION}
