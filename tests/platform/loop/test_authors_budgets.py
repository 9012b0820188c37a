"""The paper's budgets on slides like those of BRACS (Sec. 1 and 7): no run ends before its last cycle or last ROI."""

from dataclasses import replace
from math import ceil

import pytest
from helpers.toy_runs import ROI_RUNS, run_locally

from decomp.platform.components import build_dataset
from decomp.platform.grid import Budget, Component
from decomp.platform.storage.runs import RunStore


def computed(root, base, slides, budget, cycles):
    """The committed cycles of a run whose model is never trained, and the slides of its splits."""
    dataset = Component("slides", {"test_slides": 1, **slides})
    learner = Component("helpers.toy_rois:Untrained")
    spec = replace(base, dataset=dataset, learner=learner, budget=Budget(*budget, (1,)), cycles=cycles)
    run_locally(root, spec)
    data = build_dataset(dataset)
    sizes = {split: {slide: data.shape(slide)[0] for slide in data.ids(split, 0)} for split in ("train", "validation")}
    return RunStore(root, spec).committed(), sizes


def last_visits(folders, sizes):
    """For each split the cycle in which it was last selected from; it must have been in all cycles before."""
    lasts = {}
    for split, slides in sizes.items():
        visited = [bool(slides.keys() & set(folder.record.selected)) for folder in folders]
        lasts[split] = sum(visited)
        assert all(visited[: lasts[split]])
    return lasts


def loops(sizes, n_image, n_region):
    """Cycles until a split is wholly annotated, if every visit takes all that the budget allows."""
    rounds = range(ceil(max(sizes.values()) / n_region))
    return sum(ceil(sum(size > k * n_region for size in sizes.values()) / n_image) for k in rounds)


@pytest.mark.parametrize(
    ("n_classes", "n_image", "n_region", "cycles"),
    [
        pytest.param(7, 1, 15, 160, marks=pytest.mark.slow),
        pytest.param(3, 1, 30, 90, marks=pytest.mark.slow),
        (3, 5, 15, 30),
        pytest.param(7, 5, 30, 50, marks=pytest.mark.slow),
    ],
)
def test_every_split_is_selected_from_until_it_is_wholly_annotated(tmp_path, n_classes, n_image, n_region, cycles):
    folders, sizes = computed(tmp_path, ROI_RUNS[0], {"n_classes": n_classes}, (n_image, n_region), cycles)
    lengths = {
        "train": loops(sizes["train"], n_image, n_region),
        "validation": loops(sizes["validation"], max(1, n_image // 3), n_region),
    }
    assert len(folders) == min(cycles, max(lengths.values()))
    assert last_visits(folders, sizes) == {split: min(len(folders), length) for split, length in lengths.items()}
    assert folders[-1].record.exhausted == (len(folders) == max(lengths.values()))
    assert not any(folder.record.exhausted for folder in folders[:-1])


@pytest.mark.parametrize("base", ROI_RUNS, ids=lambda base: base.sampler.name)
@pytest.mark.parametrize(("n_image", "n_region", "cycles"), [(1, 30, 35), (5, 30, 20)])
def test_samplers_go_on_with_one_split_when_the_other_is_wholly_annotated(tmp_path, base, n_image, n_region, cycles):
    few = {"train_slides": 30, "validation_slides": 11}
    folders, sizes = computed(tmp_path, base, few, (n_image, n_region), cycles)
    lasts = last_visits(folders, sizes)
    assert lasts["train"] != lasts["validation"]
    last = folders[-1]
    left = sum(sum(slides.values()) for slides in sizes.values()) - last.record.annotated.regions
    assert last.record.exhausted == (left == 0)
    assert len(folders) == cycles or last.record.exhausted
