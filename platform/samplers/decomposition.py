"""DECOMP: decomposition sampling (Sec. 3.2 of the paper, Sec. 4 and 5 of the method notes).

An image is decomposed into its predicted classes; classes of which the model is unsure are sampled more often, and a
sampled class is represented by the region that holds most of it.

References:
    Qiu, Wilm, Öttl, Utz, Schlereth, Schillinger, Aubreville and Breininger, "Decomposition Sampling for Efficient
    Region Annotations in Active Learning", 2025, https://arxiv.org/abs/2512.07606; their code:
    https://github.com/JingnaQiu/DECOMP.
"""

from dataclasses import dataclass, field
from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import Field
from typing_extensions import override

from decomp.platform.samplers.base import Choice, ImageSelector, ImageView, PoolView, RegionSelector
from decomp.platform.samplers.needs import Need
from decomp.platform.samplers.places import MapPeaks, Peaks, Place


@dataclass(frozen=True)
class DecompositionImages(ImageSelector):
    """Images rich in classes of high weight (Eq. 3), S_i = sum_c w_c min(#{j : Y_i(j) = c}, cap)."""

    cap: Annotated[float, Field(gt=0)] | None = None
    """The most that a class counts in an image's score: below 1 a share of the image's pixels, else a number of
    pixels (ROIs); by default 0.1, and 1 for images that are sets of ROIs."""

    needs = Need.COUNTS
    local = False

    @override
    def scores(self, pool: PoolView, weights: npt.NDArray[np.float64] | None) -> npt.NDArray[np.float64]:
        """S_i, in pixels (ROIs), shape (N,); 0 for all sets of ROIs where all classes have the same weight (Sec. 4)."""
        assert weights is not None
        if pool.axes == 1 and _equal(weights, pool.background):
            return np.zeros(len(pool.images))
        cap = self.cap if self.cap is not None else 1.0 if pool.axes == 1 else 0.1
        most = cap * pool.pixels if cap < 1 else np.full(len(pool.images), cap)
        # Class by class rather than as a matrix product, whose rounding may depend on the number of rows and threads.
        total = np.zeros(len(pool.images))
        for weight, column in zip(weights, pool.predicted.T, strict=True):
            total += weight * np.minimum(column, most)
        return total


@dataclass(frozen=True)
class DecompositionRegions(RegionSelector):
    """For each region: draw a class by its weight, then take the free place with most of that class.

    In volumes whose regions lie in slices, a slice that has such a place is drawn before it. Among ROIs, the one
    predicted as the class with the highest probability is taken.
    """

    needs = Need.COUNTS | Need.LABELS
    comparable = False

    @override
    def choose(self, view: ImageView, n_region: int, rng: np.random.Generator) -> list[Choice]:
        """Draw a class and take its best place, region by region; the score of a choice is its pixels of the class.

        That the free places of a class all have count 0 is found out only when it is drawn; it is then dropped for this
        image, and another one is drawn. The same holds for slices. The distribution is that of drawing among those with
        a place that counts, at the cost of one box filter per drawn class (and slice) whatever the number of classes.
        """
        present = view.predicted > 0
        if view.background is not None:
            present[view.background] = False
        best = _Best(view)
        chosen: list[Choice] = []
        while len(chosen) < n_region and present.any():
            drawn = _draw(view.weights, present, rng)
            best_place = best.place(drawn, rng)
            if best_place is None:
                present[drawn] = False
                continue
            place, score = best_place
            chosen.append(Choice(view.places.take(place), drawn, score))
        return chosen


@dataclass
class _Best:
    """The best places of the classes drawn so far; maps are made when they are first needed."""

    view: ImageView
    maps: dict[tuple[int, int], Peaks] = field(default_factory=dict)
    layers: dict[int, npt.NDArray[np.int64]] = field(default_factory=dict)

    def place(self, class_: int, rng: np.random.Generator) -> tuple[Place, float] | None:
        """A free place with most of the class in a layer drawn among those that have any, and its score."""
        layers = self.layers.setdefault(class_, np.arange(self.view.places.layers))
        while len(layers):
            number = rng.integers(len(layers))
            peaks = self._map(class_, int(layers[number]))
            place = peaks.best(rng)
            if place is not None and (score := peaks.score(place)) > 0:
                return place, score
            del self.maps[class_, int(layers[number])]
            layers = self.layers[class_] = np.delete(layers, number)
        return None

    def _map(self, class_: int, layer: int) -> Peaks:
        if (class_, layer) not in self.maps:
            self.maps[class_, layer] = self._new_map(class_, layer)
        return self.maps[class_, layer]

    def _new_map(self, class_: int, layer: int) -> Peaks:
        labels, confidence, places = self.view.labels, self.view.confidence, self.view.places
        if confidence is None:
            return places.of_class(labels, class_, layer)
        return MapPeaks(np.where(labels == class_, confidence, np.float32(0))[None], places.taken)


def _equal(weights: npt.NDArray[np.float64], background: int | None) -> bool:
    """Whether all sampled classes have the same weight, up to rounding."""
    sampled = weights if background is None else np.delete(weights, background)
    return np.allclose(sampled, sampled[:1], rtol=1e-9, atol=0)


def _draw(weights: npt.NDArray[np.float64], present: npt.NDArray[np.bool_], rng: np.random.Generator) -> int:
    """Draw one of the classes still present by weight, uniformly if all of them have weight 0."""
    masked = np.where(present, weights, 0.0)
    total = masked.sum()
    probabilities = masked / total if total > 0 else present / present.sum()
    return int(rng.choice(len(weights), p=probabilities))
