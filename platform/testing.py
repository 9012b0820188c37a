"""Checks of the contracts, for this project's own parts and for yours.

Each takes an object and raises an `AssertionError` that says what was expected, what came and, where it is known, the
remedy. Selectors are tried on tiny images and pools that are made for the purpose; a learner and a partition on a data
set that you give, which may be small. `decomp check` tries the selectors of an experiment in the same way.
"""

import copy
import pickle
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import numpy.typing as npt

from decomp.platform.datasets.base import IGNORE, Dataset, Split, Task, annotated_splits
from decomp.platform.errors import UserError
from decomp.platform.learners.base import Learner, Predictor, Training
from decomp.platform.ledger import Annotation, Ledger
from decomp.platform.partitions import Partition
from decomp.platform.passes import Method, Passes
from decomp.platform.predictions import LEVELS, Measure, Prediction, Wanted
from decomp.platform.randomness import stream
from decomp.platform.regions import Region
from decomp.platform.samplers.trial import (
    asking,
    check_image_selector,
    check_measure,
    check_region_selector,
    expect,
    expect_array,
)
from decomp.platform.samplers.windows import Windows

__all__ = [
    "check_dataset",
    "check_image_selector",
    "check_learner",
    "check_measure",
    "check_partition",
    "check_region_selector",
]

PICKLED = 1_000_000
"""Greatest size of a pickled data set, bytes: it travels to every process."""

IMAGES = 3
"""Images of a split that are looked at."""

REGIONS = 6
"""Regions that are annotated in an image for the trial of a learner."""


def check_dataset(dataset: Dataset) -> None:
    """Check that a data set gives the same every time and in every process, and that all of it fits together.

    It is asked for all ids; a few images of every split are read.

    Args:
        dataset: the data set.

    Raises:
        AssertionError: naming the data set, what it did, and the remedy.
    """
    name = type(dataset).__name__
    expect(dataset.task in get_args(Task), f"{name}.task must be one of {get_args(Task)}, not {dataset.task!r}.")
    classes = dataset.classes
    expect(
        isinstance(classes, tuple) and 0 < len(classes) == len(set(classes)) <= IGNORE,
        f"{name}.classes must be a tuple of 1 to {IGNORE} different names, not {classes!r}.",
    )
    with asking(f"{name}.problems"):
        problems = dataset.problems()
    expect(problems == [], f"{name}.problems must be an empty list, but tells {problems!r}; mend the data first.")
    for fold in range(dataset.folds):
        _check_ids(dataset, name, fold)
    for split in get_args(Split):
        for image in dataset.ids(split, 0)[:IMAGES]:
            _check_image(dataset, name, image)
    data = pickle.dumps(dataset)
    expect(
        len(data) <= PICKLED,
        f"{name} pickles to {len(data)} bytes, but travels to every process; read data in image and labels, and keep "
        f"none of it in the object.",
    )
    there = pickle.loads(data)
    for what, one, other in (
        ("fingerprint", dataset.fingerprint(), there.fingerprint()),
        ("ids", dataset.ids("train", 0), there.ids("train", 0)),
    ):
        expect(one == other, f"{name}.{what} must be the same in every process: {one!r} here, {other!r} in a copy.")
    fingerprint = dataset.fingerprint()
    expect(
        isinstance(fingerprint, str) and fingerprint != "",
        f"{name}.fingerprint must give text that changes with the data, but gave {fingerprint!r}.",
    )


def check_learner(learner: Learner, dataset: Dataset, features: bool = True) -> None:
    """Check that a learner trains reproducibly, on what is revealed alone, and that its model predicts what is wanted.

    Three small trainings are run: two that must give the same checkpoint, and one in which all labels differ outside
    the annotated regions, which must make no difference.

    Args:
        learner: the learner; with few steps, for the sake of time.
        dataset: a small data set that it can learn.
        features: whether its model describes regions, as DIVERS and BADGE need.

    Raises:
        AssertionError: naming the learner, what it did, and the remedy.
    """
    name = type(learner).__name__
    with asking(f"{name}.prepare"):
        dataset = learner.prepare(dataset)
    ledger = _small_ledger(dataset)
    false = _with_labels(dataset, lambda image: _false_labels(dataset, image, ledger))
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / file for file in ("first", "second", "third")]
        for file, data in zip(files, (dataset, dataset, false), strict=True):
            _fit(learner, name, data, ledger, file)
        contents = [file.read_bytes() for file in files]
        expect(
            contents[0] == contents[1],
            f"{name}.fit must write the same checkpoint for the same arguments; take all randomness from training.rng "
            f"and train inside `reproducible`.",
        )
        expect(
            contents[0] == contents[2],
            f"{name}.fit must learn from annotated regions alone, but its checkpoint changes with labels outside of "
            f"them; mask the labels with `revealed`.",
        )
        with asking(f"{name}.load"):
            predictor = learner.load(files[0], dataset, "cpu")
        expect(isinstance(predictor, Predictor), f"{name}.load must give a Predictor, but gave {predictor!r}.")
        image = dataset.ids("test", 0)[0]
        _check_predictions(predictor, dataset, image, learner.measure(dataset), features)
        _check_passes(learner, predictor, dataset, image, features)


def check_partition(partition: Partition, dataset: Dataset) -> None:
    """Check that a partition divides images into numbered regions, the same every time and from the images alone.

    Args:
        partition: the partition.
        dataset: a data set of a segmentation task, of which a few training images are divided.

    Raises:
        AssertionError: naming the partition, what it did, and the remedy.
    """
    name = type(partition).__name__

    def refuse(image: str) -> npt.NDArray[np.uint8]:
        raise UserError(f"{name}.of must depend on the image alone, but reads its labels.")

    for image in dataset.ids("train", 0)[:IMAGES]:
        where = f"{name}.of, tried on image {image!r},"
        with asking(where):
            numbers, again = (partition.of(_with_labels(dataset, refuse), image) for _ in range(2))
        expect_array(numbers, where, dataset.shape(image), np.integer)
        expect(int(numbers.min()) >= 0, f"{where} must number regions from 0, but gave {numbers.min()}.")
        expect(np.array_equal(numbers, again), f"{where} must divide an image the same way every time.")


def _check_ids(dataset: Dataset, name: str, fold: int) -> None:
    seen: set[str] = set()
    for split in get_args(Split):
        where = f"{name}.ids({split!r}, {fold})"
        with asking(where):
            ids = dataset.ids(split, fold)
        expect(
            isinstance(ids, tuple) and all(isinstance(image, str) for image in ids) and ids == tuple(sorted(set(ids))),
            f"{where} must give a sorted tuple of different texts, but gave {ids[:5]!r} ...",
        )
        expect(bool(ids) or split == "validation", f"{where} gave no images.")
        both = sorted(seen & set(ids))
        expect(not both, f"{where} gave {both[:5]}, which another split of the fold has too; keep each in one.")
        seen |= set(ids)


def _check_image(dataset: Dataset, name: str, image: str) -> None:
    with asking(f"{name}.shape({image!r})"):
        shape = dataset.shape(image)
    axes = (1,) if dataset.task == "roi" else (2, 3)
    expect(
        isinstance(shape, tuple) and len(shape) in axes and all(isinstance(n, int) and n > 0 for n in shape),
        f"{name}.shape({image!r}) must give a tuple of {' or '.join(map(str, axes))} numbers of pixels, not {shape!r}.",
    )
    with asking(f"{name}.image({image!r})"):
        pixels, again = dataset.image(image), dataset.image(image)
    if isinstance(pixels, np.ndarray):
        expect(
            pixels.ndim == len(shape) + 1 and pixels.shape[:-1] == shape,
            f"{name}.image({image!r}) must have the shape {shape} with channels last, but has {pixels.shape}.",
        )
        expect(np.array_equal(pixels, again), f"{name}.image({image!r}) must give the same every time.")
    else:
        expect(len(pixels) == shape[0], f"{name}.image({image!r}) must give {shape[0]} ROIs, but gave {len(pixels)}.")
    where = f"{name}.labels({image!r})"
    with asking(where):
        labels, labels_again = dataset.labels(image), dataset.labels(image)
    expect_array(labels, where, shape, np.uint8)
    unknown = np.setdiff1d(labels, [*range(len(dataset.classes)), IGNORE])
    expect(not len(unknown), f"{where} must hold 0 to {len(dataset.classes) - 1} or IGNORE, but holds {unknown[:5]}.")
    expect(np.array_equal(labels, labels_again), f"{where} must give the same every time.")
    with asking(f"{name}.body({image!r})"):
        body = dataset.body(image)
    if body is not None:
        expect_array(body, f"{name}.body({image!r})", shape, np.bool_)


def _small_ledger(dataset: Dataset) -> Ledger:
    """Regions of a third of the image's extents, one slice thick in volumes, in two images of each annotated split."""
    rows: list[Annotation] = []
    for split in annotated_splits(dataset):
        for image in dataset.ids(split, 0)[:2]:
            shape, rng = dataset.shape(image), stream(0, "trial: regions", image=image)
            window = [max(1, n // 3) for n in shape] if len(shape) > 1 else [1]
            window[0] = 1 if len(shape) == 3 else window[0]
            windows = Windows(image, shape, window, ())
            peaks = windows.uniform(dataset.body(image))
            places = (peaks.best(rng) for _ in range(REGIONS))
            for rank, place in enumerate(place for place in places if place is not None):
                rows.append(Annotation(windows.take(place), 1, rank))
    return Ledger.of(rows)


def _false_labels(dataset: Dataset, image: str, ledger: Ledger) -> npt.NDArray[np.uint8]:
    """Labels that are all wrong outside the annotated regions; those of splits that are not annotated are right."""
    labels = dataset.labels(image)
    if not any(image in dataset.ids(split, 0) for split in annotated_splits(dataset)):
        return labels
    false = np.where(labels == IGNORE, IGNORE, (labels + 1) % len(dataset.classes)).astype(np.uint8)
    for region in ledger.regions(image):
        region.mark(false, region.of(labels))
    return false


def _fit(learner: Learner, name: str, dataset: Dataset, ledger: Ledger, file: Path) -> None:
    told: list[float] = []
    training = Training(ledger, stream(0, "training"), progress=told.append)
    with asking(f"{name}.fit"):
        learner.fit(dataset, training, file)
    expect(file.is_file(), f"{name}.fit must write the checkpoint, but there is no file.")
    expect(
        all(0 <= fraction <= 1 for fraction in told) and told == sorted(told),
        f"{name}.fit must tell training.progress growing fractions from 0 to 1, but told {told[:5]} ...",
    )


def _check_predictions(predictor: Predictor, dataset: Dataset, image: str, measure: Measure, features: bool) -> Any:
    name = f"{type(predictor).__name__}.predict"
    pixels, shape = dataset.image(image), dataset.shape(image)
    region = Region(image, (0,) * len(shape), tuple(max(1, n // 4) for n in shape))
    whole = Wanted(0.5, (region,), measure, confidence=True, regions=features)
    with asking(name):
        plain, full = predictor.predict(pixels, Wanted()), predictor.predict(pixels, whole)
    for prediction in (plain, full):
        expect(isinstance(prediction, Prediction), f"{name} must give a Prediction; make it with `decode`.")
        expect_array(prediction.labels, f"{name}(...).labels", shape, np.uint8)
    classes = len(dataset.classes)
    expect(int(full.labels.max()) < classes, f"{name} must predict classes below {classes}, not {full.labels.max()}.")
    expect(np.array_equal(plain.labels, full.labels), f"{name} must predict the same labels whatever else is wanted.")
    expect_array(full.counts, f"{name}(...).counts", (3, classes), np.integer)
    assert full.counts is not None
    for sums, expected, what in (
        (full.counts.sum(axis=0), np.bincount(full.labels.ravel(), minlength=classes), "pixels of each class"),
        (full.counts[0], np.bincount(region.of(full.labels), minlength=classes), "annotated ones in row 0"),
    ):
        expect(np.array_equal(sums, expected), f"{name}(...).counts must be {what}, {expected}, but gave {sums}.")
    expect_array(full.confidence, f"{name}(...).confidence", shape, np.floating)
    expect(full.uncertainty is not None, f"{name} must give the uncertainty where it is wanted.")
    assert full.uncertainty is not None
    levels = full.uncertainty.levels
    levels = levels if isinstance(levels, np.ndarray) else levels.cpu().numpy()
    expect_array(levels, f"{name}(...).uncertainty.levels", shape, np.integer)
    expect(0 <= int(levels.min()) <= int(levels.max()) <= LEVELS, f"{name} must give levels from 0 to {LEVELS}.")
    if features:
        expect(
            full.regions is not None,
            f"{name} must describe regions where that is wanted; give `decode` a Bottleneck, or check with "
            f"features=False a model that serves neither DIVERS nor BADGE.",
        )
        assert full.regions is not None
        with asking(f"{name}(...).regions"):
            averaged, (pooled, residuals) = full.regions.features([region]), full.regions.gradients([region])
        expect(
            averaged.shape == pooled.shape and len(averaged) == 1 and residuals.shape == (1, classes),
            f"{name}(...).regions must give features (1, D), and (1, D) with (1, {classes}) of gradients, but gave "
            f"{averaged.shape}, {pooled.shape} and {residuals.shape}.",
        )
    return np.asarray(full.confidence)


def _check_passes(learner: Learner, predictor: Predictor, dataset: Dataset, image: str, features: bool) -> None:
    from decomp.platform.learners.inference.passes import FoldedPredictor, ForwardPredictor  # imports torch

    name = type(learner).__name__
    for method in get_args(Method):
        try:
            learner.check_passes(passes := Passes(method, 2))
        except UserError:
            continue
        expect(isinstance(predictor, ForwardPredictor), f"{name} takes {method}, so load must give a ForwardPredictor.")
        pair = [FoldedPredictor([predictor] * passes.members, method, seeds) for seeds in ((1, 2), (3, 4))]
        one, other = (_check_predictions(each, dataset, image, Measure.MUTUAL_INFORMATION, features) for each in pair)
        drops = bool((one != other).any())
        expect(drops or method != "mc-dropout", f"{name} takes {method}, but drops nothing; use torch.nn.Dropout.")


def _with_labels(dataset: Dataset, labels: Callable[[str], npt.NDArray[np.uint8]]) -> Dataset:
    """The data set with other labels; images that are drawn from the labels stay as they are."""
    double = copy.copy(dataset)
    told = {name: getattr(dataset, name) for name in ("ids", "shape", "image", "body", "original", "fingerprint")}
    for name, method in (told | {"labels": labels}).items():
        object.__setattr__(double, name, method)  # it may be frozen
    return double
