"""Foreground-aware random regions (Sec. 13 of the method notes): a baseline that few samplers beat in volumes.

References:
    Lüth et al., "nnActive: A Framework for Evaluation of Active Learning in 3D Biomedical Segmentation", TMLR 2025.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import Field
from typing_extensions import override

from decomp.platform.datasets.base import IGNORE
from decomp.platform.samplers.base import CandidateRegions, Choice, ImageView, JointRegionSelector, RegionSelector
from decomp.platform.samplers.needs import Need
from decomp.platform.samplers.places import Place
from decomp.platform.samplers.random import anywhere

TRIES = 20
"""Pixels that are drawn around which no place is free, before a region is drawn anywhere."""

Labels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class _AroundForeground(RegionSelector):
    share: Annotated[float, Field(ge=0, le=1)] = 1 / 3
    """Probability that a region is drawn around the foreground, rather than anywhere."""

    def choose_by(self, labels: Labels, view: ImageView, n_region: int, rng: np.random.Generator) -> list[Choice]:
        """Choose regions around the foreground of a label map of shape (*axes)."""
        foreground, everywhere = Foreground(labels, view.background), view.places.uniform(view.body())
        chosen: list[Choice] = []
        while len(chosen) < n_region:
            around = rng.random() < self.share
            class_ = foreground.draw(rng) if around else None
            place = None if class_ is None else place_around(view, partial(foreground.pixel, class_, rng), rng)
            drawn = class_ if place is not None else None
            place = everywhere.best(rng) if place is None else place
            if place is None:
                break
            chosen.append(Choice(view.places.take(place), drawn))
        return chosen


@dataclass(frozen=True)
class ForegroundRegions(_AroundForeground):
    """Regions at random, a share of them around the foreground of the truth: an oracle baseline (Lüth et al.).

    Around the foreground: a pixel is drawn, half the time among those of a class drawn uniformly among the classes of
    the image but the background, half the time among those at that class's border; the region is drawn uniformly among
    those that hold the pixel.
    """

    needs = Need.TRUTH

    @override
    def choose(self, view: ImageView, n_region: int, rng: np.random.Generator) -> list[Choice]:
        return self.choose_by(view.truth(), view, n_region, rng)


@dataclass(frozen=True)
class PredictedForegroundRegions(_AroundForeground):
    """Regions at random, a share of them around the predicted foreground; like `foreground`, but without the truth."""

    needs = Need.LABELS

    @override
    def choose(self, view: ImageView, n_region: int, rng: np.random.Generator) -> list[Choice]:
        return self.choose_by(view.labels, view, n_region, rng)


@dataclass(frozen=True)
class ClassRegions(JointRegionSelector):
    """Regions around the true foreground, each of a class drawn uniformly: an oracle baseline (RAND-CLASS).

    The classes are those of the whole pool but the background. Every image proposes regions around the classes that it
    has, in turn; for each region of the budget a class is drawn, and the next image, in seeded turn, that still has a
    proposal of it gives one.
    """

    factor: Annotated[int, Field(ge=1)] = 3
    """Candidate regions per region of the budget."""

    needs = Need.TRUTH

    @override
    def choose(self, view: ImageView, n_region: int, rng: np.random.Generator) -> list[Choice]:
        foreground, chosen = Foreground(view.truth(), view.background), list[Choice]()
        classes = [int(class_) for class_ in rng.permutation(foreground.classes)]
        while classes and len(chosen) < n_region:
            for class_ in classes[:]:
                place = place_around(view, partial(foreground.pixel, class_, rng), rng)
                if place is None:
                    classes.remove(class_)
                elif len(chosen) < n_region:
                    chosen.append(Choice(view.places.take(place), class_))
        return chosen + anywhere(view, n_region - len(chosen), rng)

    @override
    def select(self, candidates: CandidateRegions, n: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
        turn = rng.permutation(candidates.image.max() + 1)
        left = np.full(len(turn), candidates.n_region)
        nth = np.arange(len(candidates.image)) - np.searchsorted(candidates.image, candidates.image)
        order = np.lexsort((turn[candidates.image], nth)).tolist()
        of_class: dict[int, list[int]] = {}
        for number in order:
            of_class.setdefault(int(candidates.drawn_class[number]), []).append(number)
        others, chosen = of_class.pop(-1, []), list[int]()
        while of_class and len(chosen) < n:
            class_ = list(of_class)[rng.integers(len(of_class))]
            while of_class[class_] and left[candidates.image[of_class[class_][0]]] == 0:
                of_class[class_].pop(0)
            if of_class[class_]:
                chosen.append(of_class[class_].pop(0))
                left[candidates.image[chosen[-1]]] -= 1
            else:
                del of_class[class_]
        rest = sorted(dict.fromkeys((*others, *order)), key=lambda number: left[candidates.image[number]] == 0)
        return np.array(list(dict.fromkeys((*chosen, *rest)))[:n], np.int64)


class Foreground:
    """The pixels of each class of a label map but the background's, and those at its border.

    Args:
        labels: shape (*axes), uint8; `IGNORE` belongs to no class.
        background: the class that is no foreground, or None.
    """

    def __init__(self, labels: Labels, background: int | None) -> None:
        self._labels = labels
        self._pixels: dict[tuple[int, bool], npt.NDArray[np.int64]] = {}
        present = np.unique(labels)
        self.classes = present[(present != IGNORE) & (present != (-1 if background is None else background))]

    def draw(self, rng: np.random.Generator) -> int | None:
        """A class drawn uniformly among those of the image; None if there is none."""
        return int(rng.choice(self.classes)) if len(self.classes) else None

    def pixel(self, class_: int, rng: np.random.Generator) -> Place:
        """A pixel of the class, half the time one at its border."""
        at_border = bool(rng.random() < 0.5)
        if (class_, at_border) not in self._pixels:
            inside = self._labels == class_
            at = inside & self._border if at_border else inside
            self._pixels[class_, at_border] = np.flatnonzero(at if at.any() else inside)
        pixel = rng.choice(self._pixels[class_, at_border])
        return tuple(int(k) for k in np.unravel_index(pixel, self._labels.shape))

    @cached_property
    def _border(self) -> npt.NDArray[np.bool_]:
        """Pixels with a neighbour of another class along an axis, shape (*axes)."""
        border = np.zeros(self._labels.shape, np.bool_)
        for axis in range(border.ndim):
            labels, mark = np.moveaxis(self._labels, axis, 0), np.moveaxis(border, axis, 0)
            differs = labels[1:] != labels[:-1]
            mark[1:] |= differs
            mark[:-1] |= differs
        return border


def place_around(view: ImageView, pixel: Callable[[], Place], rng: np.random.Generator) -> Place | None:
    """A free place drawn among those that hold a pixel; other pixels are drawn where none is free, but not for ever."""
    for _ in range(TRIES):
        place = view.places.holding(pixel()).best(rng)
        if place is not None:
            return place
    return None
