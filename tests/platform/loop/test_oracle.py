import numpy as np
from helpers.toys import Blobs
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from decomp.platform.datasets.base import IGNORE
from decomp.platform.loop.oracle import Revealed, clicks, reveal
from decomp.platform.regions import Region


def scene(*boxes, size=(20, 20)):
    """Class 0 with boxes (class, rows, columns) drawn into it."""
    labels = np.zeros(size, np.uint8)
    for class_, rows, columns in boxes:
        labels[rows, columns] = class_
    return labels


WHOLE = Region("i", (0, 0), (20, 20))


def test_one_class_is_one_click():
    assert clicks(scene(), WHOLE) == 1


def test_a_rectangle_on_ground_takes_four_vertices_and_two_names():
    assert clicks(scene((1, slice(5, 12), slice(6, 15))), WHOLE) == 6


def test_what_lies_in_a_hole_is_outlined_once_and_the_largest_part_never():
    ring = scene((1, slice(2, 18), slice(2, 18)), (0, slice(6, 14), slice(6, 14)))
    assert clicks(ring, WHOLE) == 3 + 4 + 4  # three parts; of them the inner rectangle and the ring are outlined


def test_only_what_lies_in_the_region_counts():
    labels = scene((1, slice(5, 12), slice(6, 15)))
    assert clicks(labels, Region("i", (0, 0), (4, 20))) == 1
    assert clicks(labels, Region("i", (6, 7), (4, 4))) == 1


def test_pixels_without_a_label_cost_nothing():
    assert clicks(scene((IGNORE, slice(5, 12), slice(6, 15))), WHOLE) == 1
    assert clicks(np.full((20, 20), IGNORE, np.uint8), WHOLE) == 0


def test_of_an_irregular_region_only_its_pixels_count():
    inside = np.zeros((20, 20), bool)
    inside[:, :5] = True
    labels = scene((1, slice(5, 12), slice(6, 15)))
    assert clicks(labels, Region.of_mask("i", (0, 0), inside)) == 1
    assert clicks(labels, Region.of_mask("i", (0, 0), ~inside)) == 6


def test_a_roi_is_one_click_and_a_box_is_annotated_slice_by_slice():
    assert clicks(np.array([3, 1, IGNORE], np.uint8), Region("slide", (0,), (2,))) == 2
    volume = np.stack([scene(), scene((1, slice(5, 12), slice(6, 15)))])
    assert clicks(volume, Region("v", (0, 0, 0), (2, 20, 20))) == 1 + 6
    assert clicks(volume, Region("v", (1, 0, 0), (1, 20, 20))) == 6


@given(arrays(np.uint8, (9, 9), elements=st.integers(0, 2)))
def test_every_part_is_named_and_all_but_one_are_outlined(labels):
    region = Region("i", (0, 0), (9, 9))
    n_parts = sum(count_parts(labels == class_) for class_ in range(3))
    # A part has one vertex at least, and at most as many as its border has pixels, each passed twice.
    assert 2 * n_parts - 1 <= clicks(labels, region) <= n_parts + 2 * 81 * n_parts


def count_parts(mask):
    """Connected parts (8 neighbours), by flooding."""
    left, n_parts = {tuple(p) for p in np.argwhere(mask)}, 0
    while left:
        n_parts += 1
        front = [left.pop()]
        while front:
            y, x = front.pop()
            near = {(y + a, x + b) for a in (-1, 0, 1) for b in (-1, 0, 1)} & left
            left -= near
            front += near
    return n_parts


def test_what_is_revealed_of_regions():
    dataset = Blobs()
    image, other = dataset.ids("train", 0)[:2]
    regions = [Region(image, (0, 0), (4, 6)), Region(image, (8, 8), (4, 6)), Region(other, (3, 5), (4, 6))]
    labels = [region.of(dataset.labels(region.image)) for region in regions]
    revealed = reveal(dataset, regions)
    assert revealed.class_pixels.tolist() == np.bincount(np.concatenate(labels), minlength=256)[:4].tolist()
    assert revealed.class_pixels.sum() == 3 * 24 - 2  # two pixels have no label
    assert revealed.clicks == sum(clicks(dataset.labels(region.image), region) for region in regions)


def test_totals_add_up():
    total = Revealed.total([Revealed(np.array([1, 2]), 3), Revealed(np.array([4, 0]), 5)])
    assert total.class_pixels.tolist() == [5, 2]
    assert total.clicks == 8


def test_the_record_counts_openings_and_clicks(tmp_path):
    from helpers.toy_runs import RUNS, run_locally

    from decomp.platform.components import build_dataset
    from decomp.platform.storage.runs import RunStore

    run = RUNS[0]
    run_locally(tmp_path, run)
    store, dataset = RunStore(tmp_path, run), build_dataset(run.dataset)
    opened = taken = 0
    for folder in store.committed():
        rows = folder.ledger.annotations()
        opened += len({row.region.image for row in rows})
        taken += sum(clicks(dataset.labels(row.region.image), row.region) for row in rows)
        assert (folder.record.annotated.openings, folder.record.annotated.clicks) == (opened, taken)
    assert opened == sum(len(folder.record.selected) for folder in store.committed())
