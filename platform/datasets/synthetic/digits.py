"""Digit scenes: the embedded data set, composed from scikit-learn's handwritten digits, so nothing is downloaded.

A scene shows three textured surfaces with blended borders, on which digits of ten very unequally frequent classes lie.
Digit d and digit d + 5 share an ink, hence a frequent and a rare class are confusable, and strokes in the same inks
belong to the surface beneath them. The digits of the training, validation and test scenes are disjoint.
"""

import dataclasses
import functools
import hashlib
import importlib.util
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, get_args

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import Field
from typing_extensions import override

from decomp.platform.datasets.base import Dataset, Split
from decomp.platform.randomness import stream

VERSION = 1
"""Part of the fingerprint; to be raised with every change of the generator that changes a byte."""

SHAPE = (96, 192)
STUFF = ("sand", "water", "gravel")
STUFF_BIAS = (0.6, 0.0, -0.3)  # gives shares of about 60, 25 and 15 %
STUFF_COLOURS = np.array([[186, 170, 140], [140, 164, 168], [158, 150, 156]], np.float32)
BORDER_SHARPNESS = 9.0

RATES = (1.6, 1.4, 1.1, 0.9, 0.7, 0.5, 0.38, 0.28, 0.2, 0.15)  # digits per scene and class
SIZES = tuple(np.linspace(29, 20, len(RATES)))  # pixels; the rarer, the smaller
MAX_ANGLE = 10.0  # degrees
INKS = np.array([[150, 44, 40], [36, 66, 140], [34, 100, 58], [104, 48, 118], [112, 82, 24]], np.float32)
STROKES = 3
LABEL_DILATION = 5  # diameter in pixels of the disc that widens a digit's stroke to its label
PLACEMENT_TRIES = 30
TRAIN_SHARE, VALIDATION_SHARE = 0.55, 0.10  # of the digits; the rest is for the test scenes

MAX_SCENES = 10_000  # ids have four digits
CACHED_SCENES = 512  # 74 kB each

Floats = npt.NDArray[np.float32]
Scene = tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]


@dataclass(frozen=True)
class Digits(Dataset):
    """Scenes of 96 x 192 RGB pixels and 13 classes: `STUFF`, then ``digit_0`` to ``digit_9`` from frequent to rare.

    Every scene is drawn from a random stream of its own, so it can be made alone, in any process, in any order.
    A scene depends on `seed` and its id only, not on the number of scenes.
    """

    seed: int = 0
    """Seed of the data; another seed gives other scenes and another division of the digits."""

    train_scenes: Annotated[int, Field(ge=1, le=MAX_SCENES)] = 200
    """Number of training scenes (the pool)."""

    validation_scenes: Annotated[int, Field(ge=1, le=MAX_SCENES)] = 40
    """Number of validation scenes, for choices."""

    test_scenes: Annotated[int, Field(ge=1, le=MAX_SCENES)] = 120
    """Number of test scenes, for the report alone."""

    classes = (*STUFF, *(f"digit_{digit}" for digit in range(10)))

    @override
    def ids(self, split: Split, fold: int) -> tuple[str, ...]:
        """Ids such as ``train-0007``; the split is fixed, so `fold` has no effect."""
        return tuple(f"{split}-{index:04d}" for index in range(self._count(split)))

    @override
    def shape(self, image: str) -> tuple[int, ...]:
        """Always `SHAPE`."""
        return SHAPE

    @override
    def image(self, image: str) -> npt.NDArray[np.generic]:
        """Pixels of a scene, shape (96, 192, 3), uint8, read-only."""
        return self._scene(image)[0]

    @override
    def labels(self, image: str) -> npt.NDArray[np.uint8]:
        """True class of every pixel of a scene, shape (96, 192), uint8, read-only; no pixel is ignored."""
        return self._scene(image)[1]

    @override
    def fingerprint(self) -> str:
        """Digest of the options, of scikit-learn's digits and of the generator's version."""
        options = json.dumps([VERSION, dataclasses.asdict(self)], sort_keys=True).encode()
        pixels, targets = _handwriting()
        return hashlib.blake2b(options + pixels.tobytes() + targets.tobytes(), digest_size=16).hexdigest()

    def _count(self, split: Split) -> int:
        return {"train": self.train_scenes, "validation": self.validation_scenes, "test": self.test_scenes}[split]

    def _scene(self, image: str) -> Scene:
        split = _split_of(image)
        if image not in _id_set(self, split):
            raise KeyError(f"There is no scene {image!r}; the {split} scenes are {split}-0000 and so on.")
        return _scene(self.seed, split, image)


def digit_indices(seed: int, split: Split) -> tuple[npt.NDArray[np.int64], ...]:
    """Which of scikit-learn's digits the scenes of a split use: per class 0 to 9, indices into `load_digits`."""
    _, targets = _handwriting()
    chosen = []
    for digit in range(10):
        order = stream(seed, f"digits-division-{digit}").permutation(np.flatnonzero(targets == digit))
        bounds = np.rint(np.cumsum([TRAIN_SHARE, VALIDATION_SHARE]) * len(order)).astype(int)
        chosen.append(np.split(order, bounds)[get_args(Split).index(split)])
    return tuple(chosen)


# The caches are the module's, not the instances', so that a pickled data set stays small.
_digit_indices = functools.lru_cache(maxsize=12)(digit_indices)


@functools.lru_cache(maxsize=1)
def _handwriting() -> tuple[Floats, npt.NDArray[np.int64]]:
    """Ink of the 1797 digits in [0, 1], shape (1797, 8, 8), and which digit each is, shape (1797,)."""
    package = importlib.util.find_spec("sklearn")
    assert package is not None
    assert package.submodule_search_locations is not None
    # Read as its `load_digits` reads them, since importing that takes a second.
    table = np.loadtxt(Path(package.submodule_search_locations[0]) / "datasets/data/digits.csv.gz", delimiter=",")
    return (table[:, :-1] / 16).astype(np.float32).reshape(-1, 8, 8), table[:, -1].astype(np.int64)


@functools.lru_cache(maxsize=12)
def _id_set(digits: Digits, split: Split) -> frozenset[str]:
    return frozenset(digits.ids(split, fold=0))


def _split_of(image: str) -> Split:
    for split in get_args(Split):
        if image.startswith(f"{split}-"):
            return split  # type: ignore[no-any-return]
    raise KeyError(f"There is no scene {image!r}; ids look like train-0007.")


@functools.lru_cache(maxsize=CACHED_SCENES)
def _scene(seed: int, split: Split, image: str) -> Scene:
    rng = stream(seed, f"digits-{split}", image=image)
    canvas, labels = _draw_stuff(rng)
    _draw_strokes(rng, canvas)
    _draw_digits(rng, canvas, labels, _digit_indices(seed, split))
    pixels = np.clip(np.rint(_expose(rng, canvas)), 0, 255).astype(np.uint8)
    for array in (pixels, labels):
        array.flags.writeable = False  # every caller gets the same cached arrays
    return pixels, labels


def _draw_stuff(rng: np.random.Generator) -> tuple[Floats, npt.NDArray[np.uint8]]:
    """Textured surfaces, shape (96, 192, 3), and which surface each pixel belongs to, shape (96, 192)."""
    fields = np.stack([_clouds(rng, cell=32) + bias for bias in STUFF_BIAS])
    weights = np.exp(BORDER_SHARPNESS * (fields - fields.max(axis=0)))
    weights /= weights.sum(axis=0)
    textures = np.stack([_grain(rng), _ripples(rng), _pebbles(rng)])
    surfaces = STUFF_COLOURS[:, None, None, :] + textures[..., None]
    canvas = (weights[..., None] * surfaces).sum(axis=0)
    return canvas.astype(np.float32), fields.argmax(axis=0).astype(np.uint8)


def _draw_strokes(rng: np.random.Generator, canvas: Floats) -> None:
    """Distractors: they look like parts of digits but are labelled as the surface beneath."""
    for _ in range(STROKES):
        centre = rng.uniform((0, 0), SHAPE[::-1])
        angle, length = rng.uniform(0, np.pi), rng.uniform(10, 22)
        half = 0.5 * length * np.array([np.cos(angle), np.sin(angle)])
        ends = [tuple(int(value) for value in np.rint(centre + sign * half)) for sign in (-1, 1)]
        mask = np.zeros(SHAPE, np.uint8)
        cv2.line(mask, ends[0], ends[1], 255, thickness=int(rng.integers(3, 6)), lineType=cv2.LINE_AA)
        _ink(canvas, mask.astype(np.float32) / np.float32(255), int(rng.integers(len(INKS))), rng)


def _draw_digits(
    rng: np.random.Generator,
    canvas: Floats,
    labels: npt.NDArray[np.uint8],
    available: tuple[npt.NDArray[np.int64], ...],
) -> None:
    """Digits in random order where there is room; each is labelled by its widened stroke."""
    handwriting, _ = _handwriting()
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (LABEL_DILATION, LABEL_DILATION))
    placed: list[tuple[float, float, float]] = []
    for digit in rng.permutation(np.repeat(np.arange(10), rng.poisson(RATES))):
        glyph = handwriting[rng.choice(available[digit])]
        size, angle = SIZES[digit] * rng.uniform(0.93, 1.07), rng.uniform(-MAX_ANGLE, MAX_ANGLE)
        place = _find_room(rng, size, placed)
        if place is None:
            continue
        placed.append((*place, size))
        ink = _rendered(glyph, size, angle, place)
        _ink(canvas, ink, digit % 5, rng)
        labels[cv2.dilate((ink > 0.4).astype(np.uint8), kernel) > 0] = len(STUFF) + digit


def _find_room(
    rng: np.random.Generator, size: float, placed: list[tuple[float, float, float]]
) -> tuple[float, float] | None:
    """A centre (x, y) that keeps clear of the digits placed so far; None if none is found."""
    height, width = SHAPE
    for _ in range(PLACEMENT_TRIES):
        x, y = rng.uniform((size / 2, size / 2), (width - size / 2, height - size / 2))
        if all((x - u) ** 2 + (y - v) ** 2 > (0.5 * (size + other)) ** 2 for u, v, other in placed):
            return float(x), float(y)
    return None


def _rendered(glyph: Floats, size: float, angle: float, place: tuple[float, float]) -> Floats:
    """Ink of one digit on an empty canvas, in [0, 1], shape (96, 192)."""
    matrix = cv2.getRotationMatrix2D((3.5, 3.5), angle, size / 8)
    matrix[:, 2] += np.array(place) - 3.5
    ink = cv2.warpAffine(glyph, matrix, SHAPE[::-1], flags=cv2.INTER_CUBIC)
    return np.asarray(np.clip(1.2 * ink, 0, 1), np.float32)


def _ink(canvas: Floats, ink: Floats, colour: int, rng: np.random.Generator) -> None:
    opacity = (rng.uniform(0.75, 0.95) * ink)[..., None].astype(np.float32)
    canvas += opacity * (INKS[colour] + np.float32(8) * rng.standard_normal(3, np.float32) - canvas)


def _expose(rng: np.random.Generator, canvas: Floats) -> Floats:
    """Uneven light, then pixel noise."""
    light = 1 + 0.08 * rng.standard_normal() + 0.08 * _clouds(rng, cell=64)
    noise = rng.standard_normal(canvas.shape, np.float32) * np.float32(9)
    return np.asarray(canvas * light[..., None] + noise, np.float32)


def _clouds(rng: np.random.Generator, cell: int) -> Floats:
    """Smooth noise with features of about `cell` pixels, shape (96, 192)."""
    height, width = SHAPE
    # Two cells more than needed and a random cut, so that the grid has no fixed place in the image.
    grid = rng.standard_normal((height // cell + 2, width // cell + 2), np.float32)
    smooth = cv2.resize(grid, (grid.shape[1] * cell, grid.shape[0] * cell), interpolation=cv2.INTER_CUBIC)
    y, x = rng.integers(cell, size=2)
    return np.ascontiguousarray(smooth[y : y + height, x : x + width])


def _grain(rng: np.random.Generator) -> Floats:
    noise = rng.standard_normal(SHAPE, np.float32)
    return np.asarray(22 * cv2.GaussianBlur(noise, (0, 0), 0.8), np.float32)


def _ripples(rng: np.random.Generator) -> Floats:
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]].astype(np.float32)
    angle, phase, wavelength = rng.uniform(-0.5, 0.5), rng.uniform(0, 2 * np.pi), rng.uniform(6, 9)
    along = (y * np.cos(angle) + x * np.sin(angle)) / wavelength
    return np.asarray(14 * np.sin(2 * np.pi * along + phase + _clouds(rng, cell=16)), np.float32)


def _pebbles(rng: np.random.Generator) -> Floats:
    noise = cv2.GaussianBlur(rng.standard_normal(SHAPE, np.float32), (0, 0), 1.8)
    return np.asarray(18 * np.sign(noise) * np.minimum(1, np.abs(noise) * 12), np.float32)
