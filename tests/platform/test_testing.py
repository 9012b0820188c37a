"""This project's own data sets, learners and partitions keep their contracts, and those that don't are told."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.nnunet_raw import LAYOUTS, write_layout
from helpers.toy_volumes import Ellipsoids
from helpers.toys import Blobs, Centroids, Droppers, NearestMean

from decomp.platform.components import build_dataset, build_learner, build_partition
from decomp.platform.datasets.cityscapes import Cityscapes
from decomp.platform.datasets.synthetic.streets import write_streets
from decomp.platform.grid import Component
from decomp.platform.partitions import PARTITIONS, Partition
from decomp.platform.testing import check_dataset, check_learner, check_partition

BRACS = Path(__file__).parents[1] / "data" / "bracs" / "portable"
DIGITS = Component("digits", {"train_scenes": 3, "validation_scenes": 1, "test_scenes": 1})
SLIDES = Component("slides", {"train_slides": 4, "validation_slides": 2, "test_slides": 2})


def phantom(folder):
    return Component("phantom", {"cases": 4, "size": (16, 24, 24), "root": str(folder)})


@pytest.mark.parametrize(
    "component", [DIGITS, SLIDES, Component("bracs", {"folder": str(BRACS)})], ids=lambda c: c.name
)
def test_data_sets_keep_their_contract(component):
    check_dataset(build_dataset(component))


def test_data_sets_of_files_keep_their_contract(tmp_path):
    write_streets(tmp_path / "streets", {"train": 4, "val": 1}, (32, 64))
    check_dataset(Cityscapes(str(tmp_path / "streets"), validation=("ulm",)))
    check_dataset(build_dataset(phantom(tmp_path)))
    folder = next((tmp_path).glob("phantom-*"))
    check_dataset(build_dataset(Component("kits23", {"root": str(folder), "folds": 2})))
    for name in ("acdc", "brats"):
        raw = write_layout(tmp_path / name, LAYOUTS[name], 2)
        check_dataset(build_dataset(Component("nnunet", {"root": str(raw), "folds": 2})))


def changed(**members):
    """A data set in which some members differ."""
    return type("Mine", (Blobs,), members)(images=3)


@pytest.mark.parametrize(
    ("dataset", "told"),
    [
        (changed(task="pixels"), r"Mine.task must be one of \('segmentation', 'roi'\), not 'pixels'"),
        (changed(classes=("a", "a")), "Mine.classes must be a tuple of 1 to 255 different names"),
        (changed(problems=lambda self: ["x is lost."]), r"Mine.problems must be an empty list, but tells \['x is lost"),
        (changed(ids=lambda self, split, fold: ("b", "a")), "must give a sorted tuple of different texts"),
        (changed(ids=lambda self, split, fold: ("a",)), r"gave \['a'\], which another split of the fold has too"),
        (changed(ids=lambda self, split, fold: ()), r"Mine.ids\('train', 0\) gave no images"),
        (changed(shape=lambda self, image: [24, 32]), "must give a tuple of 2 or 3 numbers of pixels"),
        (changed(image=lambda self, image: np.zeros((24, 32))), r"must have the shape \(24, 32\) with channels last"),
        (changed(image=lambda self, image: np.random.random((24, 32, 1))), "image.* must give the same every time"),
        (changed(labels=lambda self, image: np.zeros((24, 32))), "must give an array of uint8 of shape"),
        (changed(labels=lambda self, image: np.full((24, 32), 4, np.uint8)), r"must hold 0 to 3 or IGNORE.*\[4\]"),
        (changed(labels=lambda self, image: 1 // 0), "raised ZeroDivisionError"),
        (changed(body=lambda self, image: np.zeros(3, np.bool_)), r"body.* must give an array of bool_? of shape"),
    ],
)
def test_what_breaks_the_contract_of_a_data_set_is_told(dataset, told):
    with pytest.raises(AssertionError, match=told):
        check_dataset(dataset)


@dataclass(frozen=True)
class Heavy(Blobs):
    pixels: bytes = b""


@dataclass(frozen=True)
class Restless(Blobs):
    def fingerprint(self):
        return str(np.random.random())


def test_a_data_set_that_travels_badly_is_told():
    with pytest.raises(AssertionError, match=r"Heavy pickles to \d+ bytes.*keep none of it in the object"):
        check_dataset(Heavy(images=3, pixels=bytes(2_000_000)))
    with pytest.raises(AssertionError, match=r"Restless.fingerprint must be the same in every process"):
        check_dataset(Restless(images=3))


@pytest.mark.parametrize(
    ("learner", "dataset"),
    [
        (Component("unet", {"iterations": 3, "batch": 2, "dropout": 0.2}), DIGITS),
        (Component("mlp", {"epochs": 2}), SLIDES),
        (Component("hactnet", {"epochs": 1}), Component("bracs", {"folder": str(BRACS)})),
    ],
    ids=lambda component: component.name,
)
def test_learners_keep_their_contract(learner, dataset):
    check_learner(build_learner(learner), build_dataset(dataset))


def test_the_learner_of_volumes_keeps_its_contract(tmp_path):
    options = {
        "spacing": (5.0, 3.0, 3.0),
        "patch": (16, 24, 24),
        "features": (8, 16),
        "convolutions": 1,
        "min_epochs": 1,
        "epochs_per_region": 0,
        "iterations_per_epoch": 2,
        "mirroring": False,
        "cache": str(tmp_path),
    }
    check_learner(build_learner(Component("nnunet", options)), Ellipsoids())


@dataclass(frozen=True)
class Unseeded(Centroids):
    def fit(self, dataset, training, checkpoint):
        super().fit(dataset, replace(training, rng=np.random.default_rng()), checkpoint)


@dataclass(frozen=True)
class Peeking(Centroids):
    def fit(self, dataset, training, checkpoint):
        super().fit(dataset, training, checkpoint)
        hidden = sum(dataset.labels(image).sum(dtype=int) for image in training.ledger.by_image)
        checkpoint.write_bytes(checkpoint.read_bytes() + str(hidden).encode())


@dataclass(frozen=True)
class Forgetful(Centroids):
    def fit(self, dataset, training, checkpoint):
        training.progress(2.0)


@dataclass(frozen=True)
class Backwards(Centroids):
    def fit(self, dataset, training, checkpoint):
        super().fit(dataset, training, checkpoint)
        training.progress(0.1)


@dataclass(frozen=True)
class Plain(NearestMean):
    """Describes no regions."""

    def predict(self, image, wanted):
        return super().predict(image, replace(wanted, regions=False))


@dataclass(frozen=True)
class Whim(NearestMean):
    """Predicts otherwise where only labels are wanted."""

    def predict(self, image, wanted):
        return super().predict(image if wanted.tau is not None else image[::-1].copy(), wanted)


@dataclass(frozen=True)
class Careless(NearestMean):
    """Counts no annotated pixels."""

    def predict(self, image, wanted):
        return super().predict(image, replace(wanted, annotated=()))


@dataclass(frozen=True)
class Promising(Centroids):
    """Whose model gives no logits."""

    def check_passes(self, passes):
        passes.check(dropout=0.1, flips=4)


class Undropped(Droppers):
    """Whose dropout is none of torch's."""

    def load(self, checkpoint, dataset, device):
        predictor = super().load(checkpoint, dataset, device)
        predictor.network = torch.nn.Identity()
        return predictor


def predicting(predictor):
    def load(self, checkpoint, dataset, device):
        return predictor(Centroids.load(self, checkpoint, dataset, device).means)

    return type("Mine", (Centroids,), {"load": load})()


@pytest.mark.parametrize(
    ("learner", "told"),
    [
        (Unseeded(), "Unseeded.fit must write the same checkpoint for the same arguments"),
        (Peeking(), "Peeking.fit must learn from annotated regions alone"),
        (Forgetful(), "Forgetful.fit must write the checkpoint"),
        (Backwards(), "Backwards.fit must tell training.progress growing fractions"),
        (predicting(Plain), "Plain.predict must describe regions .* features=False"),
        (predicting(Whim), "Whim.predict must predict the same labels whatever else is wanted"),
        (predicting(Careless), "counts must be annotated ones in row 0"),
        (Promising(), "Promising takes ensemble, so load must give a ForwardPredictor"),
        (Undropped(), "Undropped takes mc-dropout, but drops nothing; use torch.nn.Dropout"),
        (predicting(lambda means: None), "Mine.load must give a Predictor, but gave None"),
    ],
)
def test_what_breaks_the_contract_of_a_learner_is_told(learner, told):
    with pytest.raises(AssertionError, match=told):
        check_learner(learner, Blobs(images=3))


def test_a_learner_of_several_passes_keeps_its_contract():
    check_learner(Droppers(), Blobs(images=3))


def test_a_learner_for_no_feature_samplers_passes_when_it_says_so():
    check_learner(predicting(Plain), Blobs(images=3), features=False)


@pytest.mark.parametrize("name", PARTITIONS)
def test_partitions_keep_their_contract(name):
    options = {"segments": 20} if name == "slic" else {}
    check_partition(build_partition(Component(name, options)), build_dataset(DIGITS))


def dividing(of):
    return type("Mine", (Partition,), {"of": of})()


@pytest.mark.parametrize(
    ("partition", "told"),
    [
        (dividing(lambda self, dataset, image: dataset.labels(image)), "must depend on the image alone, but reads its"),
        (dividing(lambda self, dataset, image: np.zeros(3, int)), r"must give an array of integer of shape \(24, 32\)"),
        (dividing(lambda self, dataset, image: np.full((24, 32), -1)), "must number regions from 0, but gave -1"),
        (
            dividing(lambda self, dataset, image: np.random.default_rng().integers(9, size=(24, 32))),
            "must divide an image the same way every time",
        ),
    ],
)
def test_what_breaks_the_contract_of_a_partition_is_told(partition, told):
    with pytest.raises(AssertionError, match=told):
        check_partition(partition, Blobs(images=3))
