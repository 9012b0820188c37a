"""People who know the truth give, in every format, what the simulation reveals."""

import functools
from dataclasses import replace

import numpy as np
import pytest
from helpers.annotating import answer_geojson, answer_label_studio, answer_nifti
from helpers.annotators import LiveRun, OpenSlides, answer_folders, of_scenes, of_volumes, results, write_phantoms
from helpers.nnunet_raw import LAYOUTS, write_layout
from helpers.toy_runs import ROI, SLIDES
from PIL import Image

from decomp.platform.datasets.synthetic.digits import Digits
from decomp.platform.grid import Budget, Component
from decomp.platform.loop.asked import read_answers

CYCLES = 3
OF_PICTURES = {
    "label-studio": (Component("label-studio"), answer_label_studio),
    "geojson": (Component("geojson"), answer_geojson),
}

of_pictures = pytest.mark.parametrize(("annotation_format", "write"), OF_PICTURES.values(), ids=OF_PICTURES)


@of_pictures
@pytest.mark.parametrize("region", [(8, 8), Component("slic", {"segments": 12})], ids=["windows", "slic"])
def test_true_answers_about_pictures_give_the_results_of_the_simulation_byte_for_byte(
    tmp_path, annotation_format, write, region
):
    live = of_scenes(tmp_path, CYCLES)
    live.annotation_format, live.write = annotation_format, write
    budget = Budget(2, 3, region)
    live.spec, live.simulated = (replace(spec, budget=budget) for spec in (live.spec, live.simulated))
    store = live.answer_all()
    assert len(store.committed()) == CYCLES
    assert results(store) == results(live.simulate())


@of_pictures
def test_answers_may_come_one_by_one(tmp_path, annotation_format, write):
    live = of_scenes(tmp_path, CYCLES)
    live.annotation_format, live.write = annotation_format, write
    pending = live.annotate()
    for number in range(1, pending.total):
        live.answer(pending, only=range(number))
        assert live.annotate().answered == number
    live.answer(pending)
    assert live.annotate().cycle == 2


def test_after_a_change_of_the_format_corrections_of_earlier_cycles_are_read_in_theirs(tmp_path):
    live = of_scenes(tmp_path, CYCLES)
    live.annotation_format, live.write = OF_PICTURES["label-studio"]
    first = live.annotate()
    live.answer(first)
    live.annotate()
    live.annotation_format, live.write = Component("folders"), answer_folders
    second = live.annotate()
    assert second.cycle == 2
    answer_label_studio(live.queries(1), lambda image: (live.truth(image) + 1) % 3, first.opened)
    live.answer(second)
    assert live.annotate().cycle == 3
    corrections = read_answers(live.store, 2).by_query
    for query in live.queries(1):
        assert np.array_equal(corrections[query.id].labels, (live.truth(query.image)[query.slices] + 1) % 3)


def test_true_answers_about_digits_in_every_format_give_the_results_of_the_simulation_byte_for_byte(tmp_path):
    digits = Digits()
    for split, count in (("train", 6), ("test", 2)):
        for kind, read in (("images", digits.image), ("masks", digits.labels)):
            (tmp_path / "digits" / split / kind).mkdir(parents=True)
            for image in digits.ids(split, 0)[:count]:
                Image.fromarray(read(image)).save(tmp_path / "digits" / split / kind / f"{image}.png")
    codes = {name: label for label, name in enumerate(digits.classes)}
    dataset = Component("folder", {"root": str(tmp_path / "digits"), "codes": codes})
    learner = Component("unet", {"iterations": 2})
    outlining = functools.partial(answer_geojson, names=digits.classes)
    for name, annotation_format, write in (
        ("folders", Component("folders"), answer_folders),
        ("label-studio", Component("label-studio"), answer_label_studio),
        ("geojson", Component("geojson"), outlining),
    ):
        (tmp_path / name).mkdir()
        live = LiveRun(tmp_path / name, dataset, learner, Budget(2, 3, (16, 16)), 2, annotation_format, write)
        found = results(live.answer_all())
        assert len(found) == 2
        assert found == results(live.simulate())


def test_true_classes_of_rois_give_the_results_of_the_simulation_byte_for_byte(tmp_path):
    dataset = Component("helpers.annotators:OpenSlides", SLIDES)
    write = functools.partial(answer_geojson, names=OpenSlides().classes)
    live = LiveRun(tmp_path, dataset, ROI.learner, ROI.budget, 3, Component("geojson"), write)
    assert results(live.answer_all()) == results(live.simulate())


@pytest.mark.parametrize(("layout", "region"), [("hippocampus", (1, 8, 8)), ("acdc", (2, 6, 6))])
def test_true_answers_about_volumes_give_the_results_of_the_simulation_byte_for_byte(tmp_path, layout, region):
    live = of_volumes(tmp_path, write_layout(tmp_path, replace(LAYOUTS[layout], test=1), cases=3), region)
    live.annotation_format, live.write = Component("nifti"), answer_nifti
    store = live.answer_all()
    assert len(store.committed()) == 2
    assert results(store) == results(live.simulate())


def test_true_answers_about_the_phantom_give_the_results_of_the_simulation_byte_for_byte(tmp_path):
    live = of_volumes(tmp_path, write_phantoms(tmp_path), (9, 20, 20))
    live.annotation_format, live.write = Component("nifti"), answer_nifti
    store = live.answer_all()
    assert max(store.committed()[-1].record.annotated.class_pixels[1:]) > 0
    assert results(store) == results(live.simulate())
