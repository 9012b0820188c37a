import numpy as np
from toys import random_counts

from decomp.platform.samplers import select_images
from decomp.platform.samplers.random import RandomImages


def test_images_are_drawn_uniformly():
    counts = random_counts(6)
    hits = dict.fromkeys(counts.images, 0)
    for seed in range(3000):
        for image in select_images(counts.images, RandomImages().scores(counts, None), 2, np.random.default_rng(seed)):
            hits[image] += 1
    assert all(900 < hit < 1100 for hit in hits.values())
