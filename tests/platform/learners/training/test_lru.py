from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from decomp.platform.learners.training.lru import LRUCache


def cache(limit):
    reads = Counter()

    def read(key):
        reads[key] += 1
        return np.full(60, key, np.uint8), np.full(40, key, np.uint8)

    return LRUCache(read, limit), reads


def test_the_least_recently_used_goes_first():
    kept, reads = cache(250)
    for key in (1, 2, 1, 3, 1, 2):
        assert (kept[key][0] == key).all()
    assert reads == {1: 1, 2: 2, 3: 1}


def test_what_is_larger_than_the_limit_is_read_each_time():
    kept, reads = cache(99)
    for _ in range(3):
        assert (kept[7][1] == 7).all()
    assert reads == {7: 3}


def test_threads_get_the_right_arrays():
    kept, _ = cache(450)
    keys = np.random.default_rng(0).integers(0, 12, 2000).tolist()
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda key: int(kept[key][0][0]), keys)) == keys
    assert kept._bytes == 100 * len(kept._kept) <= 450
