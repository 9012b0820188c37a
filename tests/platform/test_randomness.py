import itertools
import subprocess
import sys

import numpy as np

from decomp.platform.randomness import stream


def test_same_key_gives_the_same_numbers_in_another_process():
    code = "from decomp.platform.randomness import stream; print(stream(3, 'x', cycle=2, image='a').integers(2**62))"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(other.stdout) == stream(3, "x", cycle=2, image="a").integers(2**62)


def test_every_part_of_the_key_matters():
    keys = itertools.product([0, 1], ["images", "regions"], [0, 1], [0, 1], ["", "a"])
    draws = [stream(s, p, fold=f, cycle=c, image=i).integers(2**62) for s, p, f, c, i in keys]
    assert len(set(draws)) == len(draws)


def test_neighbouring_seeds_are_uncorrelated():
    a, b = (stream(seed, "training").standard_normal(20_000) for seed in (0, 1))
    assert abs(np.corrcoef(a, b)[0, 1]) < 4 / np.sqrt(20_000)
