"""Foreground-aware random regions (Sec. 13 of the method notes): a baseline that few samplers beat in volumes.

References:
    Lüth et al., "nnActive: A Framework for Evaluation of Active Learning in 3D Biomedical Segmentation", TMLR 2025.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import Field
from typing_extensions import override

from decomp.platform.datasets.base import IGNORE
from decomp.platform.samplers.base import CandidateRegions, Choice, ImageView, JointRegionSelector, RegionSelector
from decomp.platform.samplers.needs import Need
from decomp.platform.samplers.places import Place, Places
from decomp.platform.samplers.random import anywhere

TRIES = 20
"""Pixels that are drawn blindly, before those are looked for around which a place is free."""

Labels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class _AroundForeground(RegionSelector):
    share: Annotated[float, Field(ge=0, le=1)] = 1 / 3
    """Probability that a region is drawn around the foreground, rather than anywhere."""

    def choose_by(self, labels: Labels, view: ImageView, n_region: int, rng: np.random.Generator) -> list[Choice]:
        """Choose regions around the foreground of a label map of shape (*axes)."""
        foreground, everywhere = Foreground(labels, view.background), view.places.uniform(view.body())
        classes, chosen = foreground.classes.tolist(), list[Choice]()
        while len(chosen) < n_region:
            class_ = place = None
            around = rng.random() < self.share
            while around and classes and place is None:
                class_ = int(rng.choice(classes))
                place = place_around(view.places, foreground, class_, rng)
                if place is None:
                    classes.remove(class_)
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
    those that hold the pixel. Where none of these is free, another pixel of the class is drawn, and where the class has
    no such pixel left, another class.
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
                place = place_around(view.places, foreground, class_, rng)
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
        self._pixels: dict[int, tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]] = {}
        present = np.unique(labels)
        self.classes = present[(present != IGNORE) & (present != (-1 if background is None else background))]

    def pixel(self, class_: int, rng: np.random.Generator) -> Place:
        """A pixel of the class, half the time one at its border."""
        anywhere, at_border = self._pixels_of(class_)
        return self._place(rng.choice(at_border if rng.random() < 0.5 else anywhere))

    def pixel_within(self, mask: npt.NDArray[np.bool_], class_: int, rng: np.random.Generator) -> Place | None:
        """A pixel of the class in a mask of shape (*axes), as if `pixel` drew until one is in it; None if none is."""
        within = [pixels[mask.ravel()[pixels]] for pixels in self._pixels_of(class_)]
        shares = [len(left) / len(pixels) for left, pixels in zip(within, self._pixels_of(class_), strict=True)]
        if not any(shares):
            return None
        return self._place(rng.choice(within[rng.choice(2, p=np.array(shares) / sum(shares))]))

    def _pixels_of(self, class_: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """The class's pixels, and those at its border, or all again if it has none."""
        if class_ not in self._pixels:
            inside = np.flatnonzero(self._labels == class_)
            at_border = inside[self._border.ravel()[inside]]
            self._pixels[class_] = inside, at_border if len(at_border) else inside
        return self._pixels[class_]

    def _place(self, pixel: np.int64) -> Place:
        return tuple(int(k) for k in np.unravel_index(pixel, self._labels.shape))

    @cached_property
    def _border(self) -> npt.NDArray[np.bool_]:
        """Pixels with a neighbour of another class along an axis, shape (*axes); none among ROIs, in whatever order."""
        border = np.zeros(self._labels.shape, np.bool_)
        if border.ndim == 1:
            return border
        for axis in range(border.ndim):
            labels, mark = np.moveaxis(self._labels, axis, 0), np.moveaxis(border, axis, 0)
            differs = labels[1:] != labels[:-1]
            mark[1:] |= differs
            mark[:-1] |= differs
        return border


def place_around(places: Places, foreground: Foreground, class_: int, rng: np.random.Generator) -> Place | None:
    """A free place drawn among those that hold a pixel of a class; None if none holds any."""
    for _ in range(TRIES):
        place = places.holding(foreground.pixel(class_, rng)).best(rng)
        if place is not None:
            return place
    pixel = foreground.pixel_within(places.reach(), class_, rng)
    return None if pixel is None else places.holding(pixel).best(rng)
