"""Queries at random places, and annotators that know the truth, for tests of annotation formats."""

import itertools
import json
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import nibabel
import numpy as np
from helpers.annotators import CODES
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from decomp.platform.annotation.brush import encode
from decomp.platform.annotation.geojson import GeoJson
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


def answer_label_studio(queries, truth, opened, only=None):
    """Put an export of Label Studio, with brush masks of the true labels, beside the tasks `opened`."""
    tasks, classes = json.loads(opened.read_text()), classes_of(opened.with_suffix(".xml"))
    exported = []
    for number, (task, one) in enumerate(zip(tasks, queries, strict=True)):
        result = task["predictions"][0]["result"][:1]
        for label, name in enumerate(classes):
            painted = np.zeros(one.shape, np.bool_)
            painted[one.slices] = truth(one.image)[one.slices] == label
            value = {"format": "rle", "rle": encode(painted), "brushlabels": [name]}
            size = {"original_height": one.shape[0], "original_width": one.shape[1], "image_rotation": 0}
            result += [{"type": "brushlabels", "from_name": "brush", "value": value, **size}]
        done = only is None or number in only
        exported.append({"data": task["data"], "annotations": [{"result": result}] if done else []})
    (opened.parent / "answers" / "export.json").write_text(json.dumps(exported))


def classes_of(config):
    """The names of the classes in a labelling configuration, without that of pixels of none."""
    (brush,) = ElementTree.fromstring(config.read_text()).findall("./BrushLabels")
    return [label.get("value") for label in brush][:-1]


def answer_geojson(queries, truth, opened, only=None, names=tuple(CODES)):
    """Put GeoJSON with outlines of the true labels, and classes of ROIs, into a folder of the format `geojson`."""
    with tempfile.TemporaryDirectory() as scratch:
        answered = [one for number, one in enumerate(queries) if only is None or number in only]
        drawn = [replace(one, prediction=truth(one.image)[one.slices]) for one in answered]
        GeoJson().write(drawn, Classes(tuple(names), 255), Path(scratch))
        for file in Path(scratch).glob("*.geojson"):
            shutil.copy(file, opened / "answers" / file.name)


def answer_nifti(queries, truth, opened, only=None):
    """Put label volumes with the true labels into a folder of the format `nifti`."""
    for file in opened.glob("*.nii.gz"):
        volume = nibabel.load(file)
        labels = np.asanyarray(volume.dataobj).copy()
        for number, one in enumerate(queries):
            if one.image == file.name.removesuffix(".nii.gz") and (only is None or number in only):
                labels[one.slices] = truth(one.image)[one.slices]
        nibabel.save(nibabel.Nifti1Image(labels, volume.affine, volume.header), opened / "answers" / file.name)


def spoiled(draw, value):
    """A JSON value with one part of it replaced, or dropped, at random."""
    if isinstance(value, dict | list) and value and draw(st.integers(0, 9)):
        key = draw(st.sampled_from(sorted(value) if isinstance(value, dict) else range(len(value))))
        changed = value.copy()
        if draw(st.integers(0, 9)):
            changed[key] = spoiled(draw, value[key])
        else:
            del changed[key]
        return changed
    others = [None, True, -1, 0, 3, 2.5, 1e300, "", "road", "x", [], {}, [1, 2], [[0, 0], [1, 1]], {"a": 1}, [None]]
    return draw(st.sampled_from(others))
