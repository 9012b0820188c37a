from dataclasses import dataclass

import cv2
import numpy as np
import pytest
from helpers.fake_runs import Tiny, fake_run

from decomp.experiments.report.canvas import CHOSEN, colour_of, to_rgb
from decomp.experiments.report.pictures import PANEL_WIDTH, opened_by_most, picture_of_cycle, picture_of_samplers
from decomp.platform.datasets.base import Dataset
from decomp.platform.ledger import Annotation, Ledger
from decomp.platform.regions import Region


@pytest.fixture
def ledger(tmp_path):
    run = fake_run(tmp_path, [0.1, 0.2, 0.3])
    return run.ledger(run.committed())


def decoded(png):
    return cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]


def test_picture_shows_regions_and_labels(ledger):
    picture = decoded(picture_of_cycle(Tiny(), ledger, 2))
    assert picture.shape[1] >= 2 * PANEL_WIDTH[0]
    for colour in (CHOSEN, colour_of(0), colour_of(1), colour_of(2)):
        assert (picture == colour).all(axis=-1).sum() > 50


def test_picture_is_deterministic(ledger):
    assert picture_of_cycle(Tiny(), ledger, 2) == picture_of_cycle(Tiny(), ledger, 2)


def test_later_cycles_are_not_shown(tmp_path, ledger):
    rows = ledger.annotations()
    shorter = Ledger.of(row for row in rows if row.cycle <= 2)
    assert picture_of_cycle(Tiny(), ledger, 2) == picture_of_cycle(Tiny(), shorter, 2)


def test_a_cycle_without_regions_has_no_picture(ledger):
    assert picture_of_cycle(Tiny(), ledger, 9) is None


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
@pytest.mark.parametrize("dtype", ["uint8", "float32", "int16"])
def test_any_image_can_be_shown(ledger, channels, dtype):
    assert picture_of_cycle(Tiny(channels, dtype), ledger, 1) is not None


def test_at_most_so_many_images_are_shown():
    ledger = Ledger.of(Annotation(Region(f"train-{k}", (0, 0), (4, 4)), 1, 0) for k in range(4))
    heights = [decoded(picture_of_cycle(Tiny(), ledger, 1, limit=n)).shape[0] for n in (1, 2, 9)]
    assert heights[0] < heights[1] < heights[2]


def test_large_images_are_shrunk():
    @dataclass(frozen=True)
    class Large(Tiny):
        def image(self, image):
            return np.zeros((300, 3000, 3), np.uint8)

        def labels(self, image):
            return np.zeros((300, 3000), np.uint8)

    ledger = Ledger.of([Annotation(Region("train-0", (0, 0), (100, 100)), 1, 0)])
    assert decoded(picture_of_cycle(Large(), ledger, 1)).shape[1] < 2 * PANEL_WIDTH[1] + 100


class Volume(Dataset):
    classes = ("a", "b")

    def ids(self, split, fold):
        return ("v",)

    def shape(self, image):
        return 5, 16, 24

    def image(self, image):
        return np.zeros((5, 16, 24, 1), np.float32)

    def labels(self, image):
        labels = np.zeros((5, 16, 24), np.uint8)
        labels[3] = 1
        return labels

    def fingerprint(self):
        return ""


def test_of_a_volume_the_slice_with_most_regions_is_shown():
    regions = [Region("v", (1, 0, 0), (1, 4, 4)), Region("v", (3, 0, 0), (1, 4, 4)), Region("v", (3, 8, 8), (1, 4, 4))]
    picture = decoded(picture_of_cycle(Volume(), Ledger.of(Annotation(r, 1, 0) for r in regions), 1))
    assert (picture == colour_of(1)).all(axis=-1).sum() > 1000
    assert not (picture == colour_of(0)).all(axis=-1).any()


def test_an_irregular_region_is_outlined_and_nothing_beside_it_revealed():
    triangle = np.tril(np.ones((8, 8), bool))
    region = Region.of_mask("train-0", (4, 4), triangle)
    square = Region("train-0", (4, 4), (8, 8))
    pictures = [decoded(picture_of_cycle(Tiny(), Ledger.of([Annotation(r, 1, 0)]), 1)) for r in (region, square)]
    frames = [(picture == CHOSEN).all(axis=-1).sum() for picture in pictures]
    assert 50 < frames[0] < 1.2 * frames[1]
    labelled = [sum((picture == colour_of(c)).all(axis=-1).sum() for c in range(3)) for picture in pictures]
    assert 0 < labelled[0] < 0.75 * labelled[1]


def test_float_images_are_stretched_over_the_grey_values():
    rgb = to_rgb(np.linspace(-3.0, 5.0, 1000, dtype=np.float32).reshape(10, 100, 1))
    assert rgb.dtype == np.uint8
    assert (rgb.min(), rgb.max()) == (0, 255)
    assert to_rgb(np.full((2, 2, 1), np.nan, np.float32)).shape == (2, 2, 3)


def windows(cycle, *images):
    return Ledger.of(Annotation(Region(image, (4, 4), (4, 4)), cycle, 0) for image in images)


def test_images_opened_by_most_samplers_come_first_and_those_of_the_common_first_cycle_do_not_count():
    first = windows(1, "train-0")
    ledgers = {"a": first.extend(windows(2, "train-3", "train-1")), "b": first.extend(windows(3, "train-3", "train-2"))}
    assert opened_by_most(ledgers) == ["train-3", "train-1", "train-2"]


def test_samplers_are_shown_side_by_side_with_the_classes_of_their_own_regions_only():
    ledgers = {"a": windows(2, "train-0"), "b": Ledger(), "c": windows(2, "train-0").extend(windows(3, "train-1"))}
    picture = decoded(picture_of_samplers(Tiny(), ledgers, limit=1))[:-60]  # without the legend
    colours = [(picture == colour_of(c)).all(axis=-1) for c in range(3)]
    columns = np.add.reduce(colours).sum(axis=0)
    each = [part.sum() for part in np.array_split(columns, 4)]  # the image and three samplers
    assert each[1] == each[3] > 1000
    assert each[0] == each[2] == 0
    two = decoded(picture_of_samplers(Tiny(), ledgers, limit=2))
    assert two.shape[0] > picture.shape[0] + 100
    assert picture_of_samplers(Tiny(), ledgers) == picture_of_samplers(Tiny(), ledgers)


def test_of_a_volume_samplers_are_compared_in_the_slice_with_most_regions_of_all():
    def slices(*planes):
        regions = [Region("v", (plane, 0, 8 * k), (1, 4, 4)) for k, plane in enumerate(planes)]
        return Ledger.of(Annotation(region, 2, 0) for region in regions)

    picture = decoded(picture_of_samplers(Volume(), {"a": slices(1, 1), "b": slices(3, 1), "c": slices(3, 3)}))[:-60]
    # Of slice 3, whose label is 1, three regions are shown; of slice 1 as many, and it comes first.
    assert not (picture == colour_of(1)).all(axis=-1).any()
    first = Ledger.of(Annotation(Region("v", (1, 0, 8 * k), (1, 4, 4)), 1, 0) for k in range(3))  # common to all
    ledgers = {"a": first.extend(slices(3)), "b": first.extend(slices(3, 4))}
    picture = decoded(picture_of_samplers(Volume(), ledgers))[:-60]
    assert (picture == colour_of(1)).all(axis=-1).any()
    assert not (picture == colour_of(0)).all(axis=-1).any()


def test_without_a_region_after_the_first_cycle_there_is_nothing_to_compare():
    assert picture_of_samplers(Tiny(), {"a": windows(1, "train-0"), "b": windows(1, "train-0")}) is None
