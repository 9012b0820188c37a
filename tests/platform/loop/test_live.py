from dataclasses import replace

import numpy as np
import pytest
from helpers.annotators import (
    LiveRun,
    answer_folders,
    answer_rois,
    fill_in,
    of_scenes,
    of_volumes,
    results,
    write_phantoms,
)
from helpers.nnunet_raw import LAYOUTS, write_layout
from helpers.toy_runs import ROI, SLIDES

from decomp.platform.annotation.answered import with_answers
from decomp.platform.components import build_dataset
from decomp.platform.errors import UserError
from decomp.platform.grid import Budget, Component, Sampler
from decomp.platform.loop.asked import read_answers
from decomp.platform.loop.live import annotators_folder, answers_of

CYCLES = 4


@pytest.fixture
def annotation(tmp_path):
    return of_scenes(tmp_path, CYCLES)


def test_true_answers_give_the_results_of_the_simulation_byte_for_byte(annotation):
    store = annotation.answer_all()
    assert len(store.committed()) == CYCLES
    assert results(store) == results(annotation.simulate())


@pytest.mark.parametrize(
    "budget",
    [Budget(2, 3, Component("slic", {"segments": 12})), Budget(None, 2, (8, 8), total=5)],
    ids=["slic", "total"],
)
def test_regions_of_any_kind_are_asked_for(annotation, budget):
    images = "all" if budget.total else "uncertainty"
    sampler = Sampler("own", Component(images), Component("uncertainty"))
    for name in ("spec", "simulated"):
        setattr(annotation, name, replace(getattr(annotation, name), budget=budget, sampler=sampler, cycles=3))
    assert results(annotation.answer_all()) == results(annotation.simulate())


def test_rois_are_answered_by_their_classes(tmp_path):
    dataset = Component("helpers.annotators:OpenSlides", SLIDES)
    live = LiveRun(tmp_path, dataset, ROI.learner, ROI.budget, cycles=3, write=answer_rois)
    assert results(live.answer_all()) == results(live.simulate())


@pytest.mark.parametrize(("layout", "region"), [("hippocampus", (1, 8, 8)), ("acdc", (2, 6, 6))])
def test_true_answers_about_volumes_give_the_results_of_the_simulation_byte_for_byte(tmp_path, layout, region):
    live = of_volumes(tmp_path, write_layout(tmp_path, replace(LAYOUTS[layout], test=1), cases=3), region)
    store = live.answer_all()
    assert len(store.committed()) == 2
    assert results(store) == results(live.simulate())


def test_true_answers_about_the_phantom_give_the_results_of_the_simulation_byte_for_byte(tmp_path):
    live = of_volumes(tmp_path, write_phantoms(tmp_path), (9, 20, 20))
    store = live.answer_all()
    assert max(store.committed()[-1].record.annotated.class_pixels[1:]) > 0
    assert results(store) == results(live.simulate())


def test_a_cycle_is_pending_until_all_its_regions_are_answered(annotation):
    pending = annotation.annotate()
    assert (pending.cycle, pending.answered, pending.total) == (1, 0, 6)
    annotation.answer(pending, only=range(4))
    assert (annotation.annotate().answered, len(annotation.store.committed())) == (4, 0)
    annotation.answer(pending, only=range(4, 6))
    assert annotation.annotate().cycle == 2


def test_answers_are_kept_as_soon_as_they_have_come(annotation):
    pending = annotation.annotate()
    annotation.answer(pending, only=[0, 1])
    annotation.annotate()
    for mask in (pending.opened / "masks").iterdir():
        mask.unlink()
    assert annotation.annotate().answered == 2


def test_regions_may_be_skipped_with_a_reason_and_are_not_offered_again(annotation):
    pending = annotation.annotate()
    annotation.answer(pending, only=range(5))
    skipped = annotation.queries(1)[5]
    fill_in(pending.opened, skipped, skipped="blurred", annotator="ada", seconds="12.5")
    assert annotation.annotate().cycle == 2
    answer = read_answers(annotation.store.first, 1).by_query[skipped.id]
    assert (answer.labels, answer.reason, answer.annotator, answer.seconds) == (None, "blurred", "ada", 12.5)
    record = annotation.store.first.committed()[0].record
    assert record.annotated.regions == 6
    assert sum(record.annotated.class_pixels) == 5 * 64


def test_what_is_left_out_is_skipped_in_the_pending_cycle_alone(annotation):
    pending = annotation.annotate()
    assert annotation.annotate(leave_out=True).cycle == 1  # nothing has come back yet
    annotation.answer(pending, only=[2])
    after = annotation.annotate(leave_out=True)
    assert (after.cycle, after.skipped) == (2, 0)
    answers = read_answers(annotation.store.first, 1).by_query.values()
    assert sorted(str(answer.reason) for answer in answers) == ["None"] + 5 * ["left out"]


def test_a_cycle_without_a_labelled_pixel_is_refused_in_one_sentence(annotation):
    pending = annotation.annotate()
    for query in annotation.queries(1):
        fill_in(pending.opened, query, skipped="no idea")
    with pytest.raises(UserError, match="no region is labelled yet"):
        annotation.annotate()
    annotation.answer(pending)
    with pytest.raises(UserError, match=r"is skipped, but there is .* as well"):
        annotation.annotate()
    assert len(annotation.store.first.committed()) == 0


def test_a_correction_counts_from_the_next_cycle_on(annotation):
    first = annotation.annotate()
    annotation.answer(first)
    second = annotation.annotate()
    annotation.answer(second)
    corrected = annotation.queries(1)[0]
    wrong = annotation.truth(corrected.image)[corrected.slices]
    answer_folders([corrected], lambda image: (annotation.truth(image) + 1) % 3, first.opened)
    assert annotation.annotate().cycle == 3
    assert corrected.id in read_answers(annotation.store, 2).by_query
    before, after = (cycle.record.annotated.class_pixels for cycle in annotation.store.committed())
    query_ids = [query.id for query in annotation.queries(2)]
    second_pixels = sum(
        np.bincount(annotation.truth(q.image)[q.slices].ravel(), minlength=3)
        for q in annotation.queries(2)
        if q.id in query_ids
    )
    change = np.bincount(((wrong + 1) % 3).ravel(), minlength=3) - np.bincount(wrong.ravel(), minlength=3)
    assert after == tuple(before + second_pixels + change)


def test_a_damaged_file_of_answers_is_told(annotation):
    annotation.answer(annotation.annotate())
    annotation.annotate()
    file = annotation.store.first.path / "answers-0001.json"
    file.write_bytes(file.read_bytes().replace(b'"labels"', b'"Labels"', 1))
    with pytest.raises(UserError, match=r"answers-0001.json is damaged"):
        annotation.annotate()


def test_the_query_shows_what_the_model_predicts(annotation):
    annotation.answer(annotation.annotate())
    second = annotation.annotate()
    assert all(query.prediction.shape == (8, 8) for query in annotation.queries(2))
    assert all(query.prediction is None for query in annotation.queries(1))
    assert len(list((second.opened / "predictions").iterdir())) == second.total


def test_the_answers_of_a_run_are_found_afterwards(annotation):
    store = annotation.answer_all()
    dataset = build_dataset(annotation.spec.dataset)
    answered = with_answers(dataset, answers_of([store], dataset))
    for image, regions in store.ledger(store.committed()).by_image.items():
        for region in regions:
            assert np.array_equal(region.of(answered.labels(image)), region.of(annotation.truth(image)))


def test_the_folder_of_a_cycle_names_its_run(annotation):
    pending = annotation.annotate()
    assert pending.opened == annotators_folder(annotation.root / "asked", annotation.spec.first, 1)
    assert pending.opened.parent.name.startswith("first-cycle-")


def test_a_damaged_cycle_is_computed_again_from_its_answers_without_asking(annotation):
    store = annotation.answer_all()
    before = results(store)
    record = store.committed()[2].path / "record.json"
    record.write_bytes(record.read_bytes().replace(b"miou", b"mIoU"))
    for mask in (annotation.root / "asked").rglob("masks/*.png"):
        mask.unlink()
    assert annotation.annotate() is None
    assert results(store) == before
