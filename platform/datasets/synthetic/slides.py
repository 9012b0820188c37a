"""Slides: the embedded ROI data set, whose structure follows the breast cancer slides of BRACS.

A slide is drawn in two steps. First come its lesions: one dominates, others of the disease spectrum lie beside it, the
nearer on the spectrum the likelier. Then come the features of its ROIs, which stand for the output of a pretrained
encoder: subtypes of a class lie around its place on the spectrum and overlap with those of neighbouring classes; all
ROIs of a slide share its stain, and its ROIs of one class mostly share a subtype, so they resemble one another.

Reference: Brancati et al., "BRACS: a dataset for breast carcinoma subtyping in H&E histology images", Database 2022.
"""

import dataclasses
import functools
import hashlib
import json
from dataclasses import dataclass
from typing import Annotated, Literal, TypeVar, get_args

import numpy as np
import numpy.typing as npt
from pydantic import Field
from typing_extensions import override

from decomp.platform.datasets.base import Dataset, Split
from decomp.platform.datasets.bracs import GROUPS as MEMBERS
from decomp.platform.datasets.bracs import SUBTYPES as LESIONS
from decomp.platform.randomness import stream

VERSION = 1
"""Part of the fingerprint; to be raised with every change of the generator that changes a byte."""

GROUPS = tuple(MEMBERS)
GROUP_OF_LESION = np.array(
    [group for group, members in enumerate(MEMBERS.values()) for _ in members], np.uint8
)  # the spectrum's order is that of the groups

# The model of the lesions was fitted to the published numbers of ROIs per slide and class. Real slides and the model:
# ROIs per slide: median 8 and 8, quartiles 4, 15 and 4, 15, 90 % quantile 33 and 29, 99 % 98 and 82, mean 14 and 13;
# classes per slide: mean 1.98 and 1.95; slides of one class 41 and 44 %, of two 35 and 32 %, of three 14 and 15 %;
# ROIs per class in %, from N to IC: 12, 17, 11, 13, 18, 17, 13 and 14, 19, 12, 12, 17, 15, 12;
# how much more often than by chance two classes meet, mean over pairs 1, 2, 3 and 4 steps apart: 1.4, 1.1, 0.9, 0.6 and
# 1.2, 1.0, 0.9, 0.8. All splits follow one model, though the real training slides are the largest (mean 16.4).
DOMINANT = (0.17, 0.26, 0.14, 0.085, 0.135, 0.10, 0.11)  # how often a lesion is the slide's main one
TYPICAL_ROIS = (5.0, 6.5, 5.5, 9.0, 12.5, 14.0, 9.0)  # median number of ROIs by the slide's main lesion
ROIS_SPREAD = 0.97  # standard deviation of the logarithm of the number of ROIs
MAX_ROIS = 119
COMPANIONS, COMPANIONS_GROWTH = 0.32, 0.5  # a slide of n ROIs has about 0.32 n ** 0.5 lesions beside the main one
REACH = 2.4  # steps on the spectrum by which the odds of a companion fall to 1 / e
NORMAL_ODDS = 0.55  # normal tissue lies beside every lesion alike
FEA_ODDS = 0.5  # relative to what its place on the spectrum suggests
MAIN_WEIGHT = 4.0  # share of the main lesion, relative to a companion's

# The features were calibrated with a multilayer perceptron that trains on all training ROIs; its regularisation and
# duration are chosen on the validation slides. Its weighted F1 on the test slides, mean over 16 seeds, is 0.55 for 7
# classes (0.554 was published for the real slides; a linear model reaches 0.47) and 0.74 for 3 (0.732; linear 0.70),
# with a standard deviation of 0.04 between seeds. Per class from N to IC: 0.81, 0.58, 0.32, 0.31, 0.46, 0.51, 0.78.
FEATURES = 32
SPECTRUM = (0.0, 2.3, 3.5, 4.0, 4.8, 5.6, 8.0)  # place of each lesion; the nearer two are, the harder to tell apart
BEND = 2.5  # radius of the helix into which the spectrum is curled, so that the borders between lesions are curved
GRADE_SPREAD = 0.6  # shift along the spectrum that a slide's ROIs of one class share
ROI_GRADE_SPREAD, ROI_GRADE_TAIL = 0.5, 3  # shift per ROI: scale and degrees of freedom of Student's t; some mislead
SUBTYPES = 3
SUBTYPE_SPREAD = 0.5  # how far the subtypes of a class lie from its place, per feature
SUBTYPE_LOYALTY = 0.85  # how often an ROI has its slide's favourite subtype; else it is any of them
LOOK_SPREAD = 0.7  # shift that a slide's ROIs of one class share, per feature
STAIN_SPREAD = 0.35  # shift that all ROIs of a slide share, per feature
NOISE = 0.5  # per ROI and feature

MAX_SLIDES = 10_000  # ids have four digits
CACHED_SLIDES = 1024  # 2 kB each, at most 15 kB

Floats = npt.NDArray[np.float64]
Number = TypeVar("Number", bound=np.generic)
Slide = tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8]]


@dataclass(frozen=True)
class Slides(Dataset):
    """Slides of 1 to 119 ROIs, each of 32 features and of one of 7 lesions or 3 groups of lesions.

    Every slide is drawn from a random stream of its own, so it can be made alone, in any process, in any order.
    A slide depends on `seed` and its id only, not on the number of slides; its features do not depend on `n_classes`.
    """

    seed: int = 0
    """Seed of the data; another seed gives other slides of the same kind."""

    n_classes: Literal[7, 3] = 7
    """Number of classes: 7 for `LESIONS`, 3 for `GROUPS`."""

    train_slides: Annotated[int, Field(ge=1, le=MAX_SLIDES)] = 193
    """Number of training slides (the pool)."""

    validation_slides: Annotated[int, Field(ge=1, le=MAX_SLIDES)] = 68
    """Number of validation slides, for choices."""

    test_slides: Annotated[int, Field(ge=1, le=MAX_SLIDES)] = 59
    """Number of test slides, for the report alone."""

    task = "roi"

    def __post_init__(self) -> None:
        # Not a field, which would be an option.
        object.__setattr__(self, "classes", LESIONS if self.n_classes == 7 else GROUPS)

    @override
    def ids(self, split: Split, fold: int) -> tuple[str, ...]:
        """Ids such as ``train-0007``; the split is fixed, so `fold` has no effect."""
        return tuple(f"{split}-{index:04d}" for index in range(self._count(split)))

    @override
    def shape(self, image: str) -> tuple[int, ...]:
        """Number of ROIs of a slide, (n,)."""
        return self._slide(image)[1].shape

    @override
    def image(self, image: str) -> npt.NDArray[np.float32]:
        """Features of the ROIs of a slide, shape (n, 32), float32, read-only.

        Raises:
            KeyError: if there is no such slide.
        """
        return self._slide(image)[0]

    @override
    def labels(self, image: str) -> npt.NDArray[np.uint8]:
        """True class of every ROI of a slide, shape (n,), uint8, read-only; no ROI is ignored.

        Raises:
            KeyError: if there is no such slide.
        """
        lesions = self._slide(image)[1]
        return lesions if self.n_classes == 7 else _read_only(GROUP_OF_LESION[lesions])

    @override
    def fingerprint(self) -> str:
        """Digest of the options and of the generator's version."""
        options = json.dumps([VERSION, dataclasses.asdict(self)], sort_keys=True).encode()
        return hashlib.blake2b(options, digest_size=16).hexdigest()

    def _count(self, split: Split) -> int:
        return {"train": self.train_slides, "validation": self.validation_slides, "test": self.test_slides}[split]

    def _slide(self, image: str) -> Slide:
        split, _, index = image.rpartition("-")
        if split not in get_args(Split) or not index.isdecimal() or image != f"{split}-{int(index):04d}":
            raise KeyError(f"There is no slide {image!r}; ids look like train-0007.")
        if int(index) >= self._count(split):  # type: ignore[arg-type]
            raise KeyError(f"There is no slide {image!r}; the {split} slides are {split}-0000 and so on.")
        return _slide(self.seed, split, image)


# The cache is the module's, not the instances', so that a pickled data set stays small and both tasks share it.
@functools.lru_cache(maxsize=CACHED_SLIDES)
def _slide(seed: int, split: str, image: str) -> Slide:
    rng = stream(seed, f"slides-{split}", image=image)
    lesions = _draw_lesions(rng)
    return _read_only(_draw_features(rng, lesions)), _read_only(lesions)


def _draw_lesions(rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Lesions of the ROIs of a new slide in random order, shape (n,)."""
    main = rng.choice(len(LESIONS), p=DOMINANT)
    rois = int(np.clip(np.rint(TYPICAL_ROIS[main] * np.exp(ROIS_SPREAD * rng.standard_normal())), 1, MAX_ROIS))
    companions = min(rng.poisson(COMPANIONS * rois**COMPANIONS_GROWTH), rois - 1, len(LESIONS) - 1)
    present = np.append(rng.choice(len(LESIONS), companions, replace=False, p=_companion_odds()[main]), main)
    weights = rng.gamma([1.0] * companions + [MAIN_WEIGHT])
    counts = 1 + rng.multinomial(rois - len(present), weights / weights.sum())
    return rng.permutation(np.repeat(present, counts)).astype(np.uint8)


def _draw_features(rng: np.random.Generator, lesions: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Features of ROIs of the given lesions on one slide, shape (n, 32)."""
    axes, subtypes = _atlas()
    favourite = rng.integers(SUBTYPES, size=len(LESIONS))[lesions]
    loyal = rng.random(len(lesions)) < SUBTYPE_LOYALTY
    subtype = np.where(loyal, favourite, rng.integers(SUBTYPES, size=len(lesions)))
    grade = np.take(SPECTRUM, lesions) + GRADE_SPREAD * rng.standard_normal(len(LESIONS))[lesions]
    grade += ROI_GRADE_SPREAD * rng.standard_t(ROI_GRADE_TAIL, len(lesions))
    look = LOOK_SPREAD * rng.standard_normal((len(LESIONS), FEATURES))[lesions]
    stain = STAIN_SPREAD * rng.standard_normal(FEATURES)
    noise = NOISE * rng.standard_normal((len(lesions), FEATURES))
    curve = np.stack([grade, BEND * np.cos(grade), BEND * np.sin(grade)], axis=1)
    return (curve @ axes + subtypes[lesions, subtype] + look + stain + noise).astype(np.float32)


@functools.lru_cache(maxsize=1)
def _companion_odds() -> Floats:
    """Probability that a companion of the lesion of the row is that of the column, shape (7, 7)."""
    place = np.arange(len(LESIONS))
    odds = np.exp(-np.abs(place[:, None] - place) / REACH)
    odds[:, LESIONS.index("N")] = NORMAL_ODDS
    odds[:, LESIONS.index("FEA")] *= FEA_ODDS
    np.fill_diagonal(odds, 0)
    return np.asarray(odds / odds.sum(axis=1, keepdims=True))


@functools.lru_cache(maxsize=1)
def _atlas() -> tuple[Floats, Floats]:
    """What the slides of all seeds have in common, so that all are equally hard.

    Returns:
        Orthonormal directions along which the spectrum runs, shape (3, 32), and the places of the subtypes relative
        to the spectrum, shape (7, 3, 32).
    """
    rng = stream(0, "slides-atlas")
    axes = np.linalg.qr(rng.standard_normal((FEATURES, 3)))[0].T
    subtypes = SUBTYPE_SPREAD * rng.standard_normal((len(LESIONS), SUBTYPES, FEATURES))
    return axes, subtypes - subtypes.mean(axis=1, keepdims=True)


def _read_only(array: npt.NDArray[Number]) -> npt.NDArray[Number]:
    array.flags.writeable = False  # every caller gets the same cached arrays
    return array
