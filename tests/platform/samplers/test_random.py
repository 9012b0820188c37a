from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from helpers.toys import random_counts

from decomp.platform.samplers import select_images
from decomp.platform.samplers.random import RandomImages, RandomRegions
from decomp.platform.samplers.tiny import TinyImage


def test_images_are_drawn_uniformly():
    counts = random_counts(6)
    hits = dict.fromkeys(counts.images, 0)
    for seed in range(3000):
        for image in select_images(counts.images, RandomImages().scores(counts, None), 2, np.random.default_rng(seed)):
            hits[image] += 1
    assert all(900 < hit < 1100 for hit in hits.values())


def choose(image, body, n_region, seed):
    rng = np.random.default_rng(seed)
    return [
        choice.region for choice in RandomRegions().choose(replace(image.view(rng), body=lambda: body), n_region, rng)
    ]


def body_of(*shape, box):
    body = np.zeros(shape, np.bool_)
    body[box] = True
    return body


@pytest.mark.parametrize("size", [(1, 2, 3), (2, 2, 3)], ids=["slice", "box"])
def test_regions_lie_inside_the_body_uniformly(size):
    body = body_of(4, 9, 8, box=np.s_[1:4, 2:6, 1:6])
    hits = Counter(choose(TinyImage((4, 9, 8), size), body, 1, seed)[0].start for seed in range(1800))
    inside = [(3 if size[0] == 1 else 2), 3, 3]
    assert len(hits) == np.prod(inside)
    assert min(hits.values()) > 0.6 * 1800 / np.prod(inside)
    assert all(body[z : z + size[0], y : y + 2, x : x + 3].all() for z, y, x in hits)


def test_regions_at_the_rim_of_the_body_come_last_and_none_lies_in_the_air():
    body = body_of(1, 4, 7, box=np.s_[0, :, 1:6])
    regions = choose(TinyImage((1, 4, 7), (1, 2, 2)), body, 9, 3)
    covered = [int(body[region.slices].sum()) for region in regions]
    assert covered == sorted(covered, reverse=True)
    assert covered[0] == 4
    assert min(covered) >= 1
    assert choose(TinyImage((1, 4, 7), (1, 2, 2)), np.zeros((1, 4, 7), np.bool_), 9, 3) == []


def test_segments_count_as_inside_by_half_their_area():
    partition = np.repeat(np.arange(3), 4)[None].repeat(2, axis=0).astype(np.int32)
    image = TinyImage((2, 12), partition=partition)
    body = np.arange(24).reshape(2, 12) % 12 < 6
    assert {region.start for region in choose(image, body, 9, 0)} == {(0, 0), (0, 4)}
