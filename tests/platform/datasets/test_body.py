import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decomp.platform.datasets.body import detect_body, detect_bright
from decomp.platform.datasets.synthetic.abdomen import PADDINGS, draw_scan

VOXEL = (5.0, 2.0, 2.0)


def overlap(first, second) -> float:
    return np.count_nonzero(first & second) / np.count_nonzero(first | second)


def ellipse(shape, centre, radii):
    y, x = np.ogrid[: shape[1], : shape[2]]
    inside = ((y - centre[0]) / radii[0]) ** 2 + ((x - centre[1]) / radii[1]) ** 2 <= 1
    return np.broadcast_to(inside, shape).copy()


def patient(shape=(12, 150, 180)):
    """HU of a trunk with lungs above and gas below, and its body."""
    rng = np.random.default_rng(0)
    hu = rng.normal(-1000, 12, shape)
    body = ellipse(shape, (75, 90), (50, 75))
    hu[body] = rng.normal(30, 15, np.count_nonzero(body))
    for x in (55, 125):
        lung = ellipse(shape, (75, x), (36, 28))
        lung[6:] = False
        hu[lung] = -850
    gas = ellipse(shape, (60, 100), (8, 12))
    gas[:6] = False
    hu[gas] = -950
    return hu.astype(np.float32), body


@pytest.mark.parametrize("size", [(48, 64, 64), (40, 130, 110), (60, 220, 220)])
def test_body_of_generated_scans(size):
    for case in ("a", "b", "c"):
        scan = draw_scan(3, case, size)
        assert overlap(detect_body(scan.hu, scan.voxel), scan.body) > 0.975


def test_lungs_and_gas_belong_to_the_body_and_air_does_not():
    hu, body = patient()
    found = detect_body(hu, VOXEL)
    assert overlap(found, body) > 0.99
    assert found[2, 75, 55]
    assert found[9, 60, 100]
    assert not found[hu < -900][:100].any()


def test_thin_wall_keeps_the_lungs_in_the_body():
    hu, body = patient()
    lung = ellipse(hu.shape, (75, 90), (47, 72))  # leaves a wall of 6 mm, 20 mm long
    lung[:, :, 80:] = False
    lung[:, :70] = False
    lung[:, 80:] = False
    hu[lung] = -850
    assert overlap(detect_body(hu, VOXEL), body) > 0.99


def test_couch_that_touches_the_back_is_cut_off():
    hu, body = patient()
    y, x = np.ogrid[: hu.shape[1], : hu.shape[2]]
    surface = 126 - 0.006 * (x - 90) ** 2
    couch = np.zeros(hu.shape[1:], bool)
    for depth in (0, 16):  # shells of 3 pixels with foam between them, closed at the sides
        couch |= (y - surface >= depth) & (y - surface < depth + 3)
    couch |= (y - surface >= 0) & (y - surface < 19) & ((abs(x - 22) < 2) | (abs(x - 158) < 2))
    couch &= (x > 19) & (x < 161)
    hu[:, couch & ~body[0]] = 100
    assert (couch & ~body[0] & np.roll(body[0], 1, 0)).any()  # it does touch
    found = detect_body(hu, VOXEL)
    assert overlap(found, body) > 0.965
    assert not found[:, 130:].any()
    assert np.count_nonzero(found & ~body) < 0.035 * np.count_nonzero(body)


@pytest.mark.parametrize("padding", [*PADDINGS, 0, 3000])
def test_padding_outside_the_field_of_view_is_no_body(padding):
    for radius in (90, 70):  # the smaller circle cuts the body's sides off
        hu, body = patient((12, 180, 180))
        outside = ~ellipse(hu.shape, (80, 89.5), (radius, radius))
        hu[outside] = padding
        assert overlap(detect_body(hu, VOXEL), body & ~outside) > 0.98


def test_body_that_leaves_the_field_of_view_reaches_the_border():
    hu, body = patient()
    found = detect_body(hu[:, 30:120, 20:160], VOXEL)
    assert overlap(found, body[:, 30:120, 20:160]) > 0.99
    assert found[:, 45, [0, -1]].all()


def test_arms_apart_from_the_trunk_are_left_out():
    hu, body = patient((12, 150, 240))
    arm = ellipse(hu.shape, (75, 210), (15, 15))
    hu[arm] = 40
    found = detect_body(hu, VOXEL)
    assert overlap(found, body) > 0.99
    assert not (found & arm).any()


def test_air_alone_has_no_body():
    assert not detect_body(np.full((3, 20, 20), -1000, np.int16), VOXEL).any()


def test_integers_and_floats_give_the_same():
    scan = draw_scan(0, "x", (48, 64, 64))
    assert np.array_equal(detect_body(scan.hu, scan.voxel), detect_body(scan.hu.astype(np.float32), scan.voxel))


def test_fine_volume_gives_the_body_of_the_coarse_one():
    hu, body = patient()
    fine, truth = (array.repeat(4, 0).repeat(3, 1).repeat(3, 2) for array in (hu, body))
    found = detect_body(fine, (1.25, 2 / 3, 2 / 3))
    assert found.shape == fine.shape
    assert overlap(found, truth) > 0.975


@settings(max_examples=25)
@given(
    shape=st.tuples(st.integers(1, 9), st.integers(30, 60), st.integers(30, 60)),
    steps=st.tuples(st.floats(0.4, 6), st.floats(0.4, 6), st.floats(0.4, 6)),
    value=st.integers(-350, 200),
)
def test_box_of_tissue_is_found_on_any_grid(shape, steps, value):
    hu = np.full(shape, -1000, np.int16)
    box = (slice(None), slice(6, 24), slice(5, 23))
    hu[box] = value
    found = detect_body(hu, steps)
    assert (found.shape, found.dtype) == (shape, np.bool_)
    # Corners are rounded by 5 mm, edges are as exact as the working grid of at most 3 mm.
    loss = [int(np.ceil(8 / step)) for step in steps[1:]]
    inner = (slice(None), slice(6 + loss[0], 24 - loss[0]), slice(5 + loss[1], 23 - loss[1]))
    far = [int(np.ceil(3 / step)) for step in steps[1:]]
    outer = np.zeros(shape, np.bool_)
    outer[:, max(0, 6 - far[0]) : 24 + far[0], max(0, 5 - far[1]) : 23 + far[1]] = True
    if min(18 * step for step in steps[1:]) > 16:
        assert found[inner].all()
    assert not found[~outer].any()


def test_volume_of_the_papers_resolution_takes_a_second():
    scan = draw_scan(0, "case_00000", (48, 64, 64))
    fine = np.kron(scan.hu[:40], np.ones((4, 3, 3), np.int16))
    detect_body(scan.hu, scan.voxel)
    start = time.process_time()
    detect_body(fine, (1.84, 1.84, 1.84))
    assert time.process_time() - start < 5  # about 0.3 s on an idle core


def test_without_hu_the_body_is_what_is_brighter_than_the_dark_around_it():
    rng = np.random.default_rng(0)
    volume = rng.uniform(0, 15, (4, 40, 40, 2))  # air
    inside = np.zeros((4, 40, 40), np.bool_)
    inside[:, 8:32, 10:30] = True
    volume[inside] = rng.uniform(100, 140, (inside.sum(), 2))  # dark tissue
    volume[:, 20:30, 12:20] = 900  # bright tissue
    volume[:, 12:16, 14:18] = 5  # fluid, dark in both channels
    volume[:, 26:32, 24:30, 0] = 3  # seen in the second channel alone
    volume[1, 2:5, 2:5] = 900  # a thing beside the body
    assert np.array_equal(detect_bright(volume), inside)
    assert np.array_equal(detect_bright(volume / 1e6 + 3), inside)


def test_a_constant_volume_is_body_as_a_whole():
    assert detect_bright(np.zeros((2, 5, 5, 1), np.float32)).all()
