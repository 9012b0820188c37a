from dataclasses import dataclass

import cv2
import numpy as np
import pytest
from fake_runs import Tiny, fake_run

from decomp.experiments.pictures import CHOSEN, PANEL_WIDTH, colour_of, picture_of_cycle, to_rgb
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


def test_of_a_volume_the_slice_with_most_regions_is_shown():
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
