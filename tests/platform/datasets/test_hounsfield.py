import numpy as np
import pytest

from decomp.platform.datasets.hounsfield import clipped, misfit


def scan(noise=15.0, air=-1000.0, seed=0):
    """A body of fat, tissue and bone in air, HU."""
    rng = np.random.default_rng(seed)
    _, y, x = np.indices((12, 40, 40))
    radius = np.hypot(y - 20, x - 20)
    hu = np.select([radius < 4, radius < 13, radius < 16], [600.0, 40.0, -100.0], air)
    return (hu + rng.normal(0, noise, hu.shape)).astype(np.float32)


def padded(hu, value):
    y, x = np.indices(hu.shape[1:])
    return np.where(np.hypot(y - 20, x - 20) > 19, np.float32(value), hu)


CT = {
    "plain": scan(),
    "without noise": scan(noise=0),
    "air cut off": np.maximum(scan(), -1000),
    "padding": padded(scan(), -2000),
    "other padding": padded(scan(), -3024),
    "cut out of the body": scan()[:, 10:30, 10:30],
    "metal": np.where(np.random.default_rng(1).random((12, 40, 40)) < 0.01, -1600, scan()),
    "clipped": scan().clip(-200, 300),
    "integers": scan().astype(np.int16),
    "brain alone": np.where(scan() < 0, 0, np.random.default_rng(2).normal(30, 15, (12, 40, 40))),
    "air alone": np.full((3, 12, 10), -903, np.int16),
}


@pytest.mark.parametrize("name", CT)
def test_ct_is_taken_as_it_is(name):
    assert misfit(CT[name]) is None


OTHERS = {
    "offset of 1024": scan() + 1024,
    "offset of 1024, unsigned": (scan() + 1024).clip(0, 4095).astype(np.uint16),
    "offset of 1024, padded": padded(scan() + 1024, -2000),
    "offset taken off twice": scan() - 1024,
    "offset taken off twice, without noise": scan(noise=0) - 1024,
    "offset taken off twice, padded": padded(scan() - 1024, -3024),
    "offset of 1024, noisy": scan(noise=30) + 1024,
    "0 to 1": (scan().clip(-1000, 1000) + 1000) / 2000,
    "-1 to 1": scan().clip(-1000, 1000) / 1000,
    "standardised": (scan() - scan().mean()) / scan().std(),
    "magnetic resonance": np.abs(np.random.default_rng(3).normal(np.where(scan() > -500, 700, 0), 30)),
    "8 bits": ((scan().clip(-200, 300) + 200) / 2).astype(np.uint8),
    "16 times as much": scan() * 16,
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_units_are_told(name):
    assert misfit(OTHERS[name]).startswith("is not in Hounsfield units (")


def test_share_of_the_body_beyond_a_window():
    assert clipped(scan(), (-200, 500)) < 0.2
    assert clipped(OTHERS["magnetic resonance"], (-200, 500)) > 0.9
    assert clipped(np.zeros((2, 3, 4)), (-200, 500)) == 0
