"""Annotated regions of which the model stays uncertain are offered again, where a sampler says so."""

import shutil
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from helpers.annotators import answer_folders, fill_in, of_scenes
from helpers.annotators import results as live_results
from helpers.toy_runs import BASE, DECOMP, OF_POOL, ROI, in_three_ways, run_locally
from helpers.toys import Blobs

from decomp.platform.annotation.answered import with_answers
from decomp.platform.components import build_dataset, build_learner
from decomp.platform.datasets.base import IGNORE
from decomp.platform.grid import Budget, Component, Sampler
from decomp.platform.learners.training.annotated import AnnotatedPixels
from decomp.platform.loop.live import annotators_folder, answers_of
from decomp.platform.predictions import Wanted
from decomp.platform.regions import Region
from decomp.platform.storage.runs import RunStore


def sampler(images, regions, below):
    return Sampler("", Component(images), Component(regions), reselect_below=below)


OF_IMAGES = replace(DECOMP, cycles=8)
RUNS = {
    "decomp": OF_IMAGES,  # maps are kept, and regions chosen when the class weights are known
    "uncert": replace(OF_IMAGES, sampler=Sampler("uncert", Component("uncertainty"), Component("uncertainty"))),
    "pool": replace(BASE, budget=OF_POOL, sampler=Sampler("all", Component("all"), Component("uncertainty"))),
    "segments": replace(OF_IMAGES, budget=Budget(3, 3, Component("slic", {"segments": 9}))),
    "rois": replace(ROI, cycles=8, sampler=DECOMP.sampler),
}


def below(spec, threshold):
    return replace(spec, sampler=replace(spec.sampler, reselect_below=threshold))


def regions_of(root, spec):
    store = RunStore(root, spec)
    return [row.region for row in store.ledger(store.committed()).annotations()]


def test_it_is_no_part_of_the_identity_of_runs_without_it_and_of_the_name_of_samplers_with_it():
    assert "reselect_below" not in DECOMP.identity()["sampler"]
    assert below(DECOMP, 0.5).identity()["sampler"]["reselect_below"] == 0.5
    assert sampler("decomposition", "decomposition", 0.5).name == "decomp_reselect-below-0.5"


@pytest.mark.parametrize("name", RUNS)
def test_what_is_annotated_again_is_an_annotated_region_as_a_whole(name, tmp_path):
    always, never = below(RUNS[name], 1.0), below(RUNS[name], 1e-9)
    run_locally(tmp_path, RUNS[name], always, never)
    assert regions_of(tmp_path, never) == regions_of(tmp_path, RUNS[name])
    regions = regions_of(tmp_path, always)
    assert len(set(regions)) < len(regions)
    distinct = list(dict.fromkeys(regions))
    assert not any(a.overlaps(b) for k, a in enumerate(distinct) for b in distinct[:k])
    for folder in RunStore(tmp_path, always).committed():
        of_cycle = [row.region for row in folder.ledger.annotations()]
        assert len(set(of_cycle)) == len(of_cycle)  # once in a cycle
    # What is paid for twice is counted twice.
    annotated = folder.record.annotated
    assert (annotated.regions, annotated.pixels) == (len(regions), sum(region.area for region in regions))


@pytest.mark.parametrize("name", ["decomp", "uncert", "pool", "segments"])
def test_neither_interruptions_nor_shards_change_anything(name, tmp_path):
    spec = below(RUNS[name], 0.8)
    in_one_go, others = in_three_ways(tmp_path, spec, interrupted_after=4)
    assert others == [in_one_go] * 2


def test_only_regions_whose_labelled_pixels_are_uncertain_are_offered(tmp_path):
    spec = below(RUNS["uncert"], 0.8)
    learner = build_learner(spec.learner)
    dataset = learner.prepare(build_dataset(spec.dataset))
    predictor, earlier, again = None, set(), 0
    for cycle in range(1, spec.cycles + 1):
        run_locally(tmp_path, replace(spec, cycles=cycle))
        folder = RunStore(tmp_path, spec).committed()[-1]
        selected = {row.region for row in folder.ledger.annotations()}
        for region in earlier & selected:
            confidence = predictor.predict(dataset.image(region.image), Wanted(confidence=True)).confidence
            assert region.of(confidence)[region.of(dataset.labels(region.image)) != IGNORE].mean() < 0.8
            again += 1
        earlier |= selected
        predictor = learner.load(folder.checkpoint, dataset, "cpu")
    assert again


class Unlabelled(Blobs):
    """Blobs of which nobody knows a label in the upper half."""

    def labels(self, image):
        labels = super().labels(image)
        if image in self.ids("train", 0):
            labels[: self.height // 2] = IGNORE
        return labels


def test_regions_without_a_label_are_not_offered_again(tmp_path):
    spec = replace(below(RUNS["uncert"], 1.0), dataset=Component(f"{__name__}:Unlabelled"))
    run_locally(tmp_path, spec)
    regions = regions_of(tmp_path, spec)
    again = [region for region in regions if regions.count(region) > 1]
    assert again
    assert all(region.start[0] + region.size[0] > Unlabelled.height // 2 for region in again)


def test_regions_that_were_annotated_twice_are_drawn_twice_as_often():
    regions = [Region("a", (0, 0), (2, 2)), Region("a", (4, 4), (2, 2)), Region("a", (4, 4), (2, 2))]
    labels = np.full((6, 6), IGNORE, np.uint8)
    labels[:2, :2], labels[4:, 4:] = 0, 1
    pixels = AnnotatedPixels([(regions, labels)], 2)
    drawn = pixels.draw(np.random.default_rng(0), 3000, 0.0)
    share = np.mean([labels[pixels.position(pixel, labels)] for pixel in drawn])
    assert share == pytest.approx(2 / 3, abs=0.03)


@pytest.fixture
def annotation(tmp_path):
    live = of_scenes(tmp_path, cycles=6)
    live.spec, live.simulated = below(live.spec, 1.0), below(live.simulated, 1.0)
    return live


def test_people_who_answer_the_same_again_give_the_results_of_the_simulation_byte_for_byte(annotation):
    store = annotation.answer_all()
    assert live_results(store) == live_results(annotation.simulate())
    regions = [row.region for row in store.ledger(store.committed()).annotations()]
    assert len(set(regions)) < len(regions)


def asked_again(annotation):
    """Annotate until a region is asked for again; returns what is pending, the first query about it and the second."""
    queries = []
    while pending := annotation.annotate():
        of_cycle = annotation.queries(pending.cycle)
        for query in of_cycle:
            for earlier in queries:
                if (earlier.image, earlier.window) == (query.image, query.window):
                    return pending, earlier, query
        queries += of_cycle
        annotation.answer(pending)
    raise AssertionError("no region was asked for again")


def labels_of(annotation, query):
    """The labels that the run knows of a query's window."""
    dataset = with_answers(build_dataset(annotation.spec.dataset), answers_of([annotation.store], annotation.true))
    return dataset.to_original(query.image, dataset.labels(query.image))[query.slices]


def folder_of(annotation, query):
    """Where the annotator finds a query."""
    cycle = int(query.id.split("-")[1])
    spec = annotation.spec.first if cycle == 1 else annotation.spec
    return annotators_folder(annotation.root / "asked", spec, cycle)


def test_the_second_answer_counts_until_the_first_is_corrected(annotation):
    pending, first, second = asked_again(annotation)
    true = annotation.truth(first.image)[first.slices]
    annotation.answer(pending)
    answer_folders([second], lambda image: (annotation.truth(image) + 1) % 3, pending.opened)
    later = annotation.annotate()
    assert np.array_equal(labels_of(annotation, first), (true + 1) % 3)
    record = annotation.store.committed()[-1].record.annotated
    assert sum(record.class_pixels) == record.pixels  # counted anew, as labels have changed
    annotation.answer(later)
    answer_folders([first], lambda image: (annotation.truth(image) + 2) % 3, folder_of(annotation, first))
    annotation.annotate()
    assert np.array_equal(labels_of(annotation, first), (true + 2) % 3)
    in_memory = annotation.store.committed()[-1].checkpoint.read_bytes()
    shutil.rmtree(str(annotation.store.committed()[-1].path))
    annotation.annotate()
    assert annotation.store.committed()[-1].checkpoint.read_bytes() == in_memory


def test_within_a_cycle_the_answer_that_changed_last_counts(annotation):
    pending, first, second = asked_again(annotation)
    own = [number for number, query in enumerate(annotation.queries(pending.cycle)) if query.id == second.id]
    correct = partial(answer_folders, [first], folder=folder_of(annotation, first))
    correct(lambda image: (annotation.truth(image) + 1) % 3)
    assert annotation.annotate().cycle == pending.cycle  # the correction is kept
    annotation.answer(pending, only=own)
    assert annotation.annotate().cycle == pending.cycle
    correct(lambda image: (annotation.truth(image) + 2) % 3)
    annotation.answer(pending)
    annotation.annotate()
    assert np.array_equal(labels_of(annotation, first), (annotation.truth(first.image)[first.slices] + 2) % 3)


def test_a_region_that_is_skipped_the_second_time_keeps_its_labels(annotation):
    pending, first, second = asked_again(annotation)
    annotation.answer(pending)
    (pending.opened / "masks" / f"{second.id}.png").unlink()
    fill_in(pending.opened, second, skipped="seen already")
    annotation.annotate()
    assert np.array_equal(labels_of(annotation, first), annotation.truth(first.image)[first.slices])
