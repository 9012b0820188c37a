"""Queries at random places, and annotators that know the truth, for tests of annotation formats."""

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from decomp.platform.annotation.query import Classes, Query

CLASSES = Classes(("road", "sky", "car"))
WITH_NONE = Classes(("road", "sky", "car"), ignore=255)


def query(shape, window, number=0, image="train-a", files=(), **fields) -> Query:
    return Query(f"cycle-0003-{number:03d}", image, tuple(files), shape, window, **fields)


@st.composite
def asked(draw, classes=CLASSES, axes=2, longest=12):
    """Queries of one image whose windows do not overlap, each with its true labels, of the window's shape."""
    shape = tuple(draw(st.integers(1, longest)) for _ in range(axes))
    rows = sorted(draw(st.sets(st.integers(0, shape[0]), min_size=2, max_size=min(4, shape[0] + 1))))
    pairs = []
    for number, (top, bottom) in enumerate(itertools.pairwise(rows)):
        others = [sorted(draw(st.sets(st.integers(0, n), min_size=2, max_size=2))) for n in shape[1:]]
        window = ((top, bottom), *((a, b) for a, b in others))
        size = tuple(b - a for a, b in window)
        labels = arrays.arrays(np.uint8, size, elements=st.sampled_from([*classes.labels]))
        mask = draw(st.none() | arrays.arrays(np.bool_, size))
        if mask is not None:
            mask.flat[draw(st.integers(0, mask.size - 1))] = True
        pairs.append(
            (query(shape, window, number, mask=mask, prediction=draw(st.none() | labels)), draw(labels)),
        )
    return pairs


def with_files(pairs, *files: Path):
    return [(replace(query, files=files), truth) for query, truth in pairs]


def check(answers, pairs):
    """That all queries were answered with the truth, in their order."""
    assert [answer.query for answer in answers] == [query.id for query, _ in pairs]
    for answer, (query, truth) in zip(answers, pairs, strict=True):
        assert answer.labels.dtype == np.uint8
        np.testing.assert_array_equal(answer.labels[query.inside], truth[query.inside])
