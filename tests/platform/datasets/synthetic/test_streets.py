import hashlib
import subprocess
import sys

import cv2
import numpy as np
import pytest
from sklearn.naive_bayes import GaussianNB

from decomp.platform.datasets import IGNORE
from decomp.platform.datasets.cityscapes import LABEL_IDS, VOID_IDS, Cityscapes
from decomp.platform.datasets.synthetic.streets import CITIES, street, write_streets

DIGEST = """
import hashlib
from decomp.platform.datasets.synthetic.streets import street
pixels, ids = street("ulm", "ulm_000002_000019", (64, 128), 7)
print(hashlib.sha256(pixels.tobytes() + ids.tobytes()).hexdigest())
"""


@pytest.fixture(scope="module")
def scenes():
    frames = [(city, f"{city}_{k:06d}_000019") for k in range(8) for city in CITIES["train"]]
    return [street(city, frame, (96, 192), 1) for city, frame in frames]


def shares_of(scenes) -> dict[str, float]:
    counts = sum(np.bincount(ids.ravel(), minlength=34) for _, ids in scenes)
    known = sum(counts[id] for id in LABEL_IDS.values())
    return {name: counts[id] / known for name, id in LABEL_IDS.items()}


def test_scene_has_the_documented_form():
    pixels, ids = street("ulm", "ulm_000002_000019", (60, 150), 0)
    assert (pixels.shape, pixels.dtype) == ((60, 150, 3), np.uint8)
    assert (ids.shape, ids.dtype) == ((60, 150), np.uint8)


def test_scene_is_the_same_in_another_process():
    pixels, ids = street("ulm", "ulm_000002_000019", (64, 128), 7)
    here = hashlib.sha256(pixels.tobytes() + ids.tobytes()).hexdigest()
    answer = subprocess.run([sys.executable, "-c", DIGEST], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == here


def test_seeds_frames_and_cities_differ():
    scenes = [
        street(city, frame, (32, 64), seed)[0]
        for city, frame, seed in [("ulm", "a", 0), ("ulm", "a", 1), ("ulm", "b", 0), ("aachen", "a", 0)]
    ]
    assert len({scene.tobytes() for scene in scenes}) == 4


def test_every_class_occurs_and_the_shares_are_as_unequal_as_in_cityscapes(scenes):
    shares = shares_of(scenes)
    assert all(share > 0 for share in shares.values())
    assert sum(shares[name] for name in ("road", "building", "vegetation")) > 0.6
    rare = ("traffic light", "rider", "motorcycle", "train", "bicycle", "wall", "fence")
    assert all(shares[name] < 0.01 for name in rare)
    assert shares["motorcycle"] < shares["road"] / 200


def test_void_areas_occur_under_their_own_ids(scenes):
    present = set(np.unique(np.stack([ids for _, ids in scenes])).tolist())
    assert present <= {*LABEL_IDS.values(), *VOID_IDS.values()}
    for name in ("ego vehicle", "rectification border", "out of roi", "static", "dynamic", "parking"):
        assert VOID_IDS[name] in present
    for _, ids in scenes:
        assert ids[-3, 96] == VOID_IDS["ego vehicle"]
        assert (ids[2:, 0] == VOID_IDS["rectification border"]).all()


def test_classes_can_be_told_from_colour_and_place_but_not_perfectly(scenes):
    """Gaussians of five numbers per pixel beat the largest class, hence labels and pixels fit together."""
    down, right = np.mgrid[:96, :192] / 96

    def samples(some):
        features, labels = [], []
        for pixels, ids in some:
            known = np.isin(ids, list(LABEL_IDS.values()))
            columns = np.dstack([cv2.blur(pixels, (3, 3)) / 255, down, np.abs(right - 1)])
            features.append(columns[known][::37])
            labels.append(ids[known][::37])
        return np.concatenate(features), np.concatenate(labels)

    model = GaussianNB().fit(*samples(scenes[:30]))
    x, y = samples(scenes[30:45])
    chance = np.bincount(y).max() / len(y)
    assert chance + 0.15 < model.score(x, y) < 0.95


def test_tree_is_read_as_cityscapes(tmp_path):
    write_streets(tmp_path, {"train": 7, "val": 2}, shape=(32, 64), seed=3, threads=2)
    data = Cityscapes(str(tmp_path))
    assert data.problems() == []
    assert data.ids("validation", 0) == ("darmstadt_000000_000019", "ulm_000000_000019")
    assert data.ids("test", 0) == ("frankfurt_000000_000019", "lindau_000000_000019")
    assert "aachen_000001_000019" in data.ids("train", 0)
    pixels, ids = street("bremen", "bremen_000000_000019", (32, 64), 3)
    assert np.array_equal(data.image("bremen_000000_000019"), pixels)
    labels = data.labels("bremen_000000_000019")
    for label, id in enumerate(LABEL_IDS.values()):
        assert np.array_equal(labels == label, ids == id)
    assert np.array_equal(labels == IGNORE, np.isin(ids, list(VOID_IDS.values())))


def test_tree_does_not_depend_on_the_threads(tmp_path):
    for threads in (1, 3):
        write_streets(tmp_path / str(threads), {"train": 4, "val": 1}, shape=(16, 32), threads=threads)
    assert Cityscapes(str(tmp_path / "1")).fingerprint() == Cityscapes(str(tmp_path / "3")).fingerprint()
