"""A start with all classes: at least two regions of every class in the first cycle (Sec. 14 of the method notes)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from typing_extensions import override

from decomp.platform.grid import Budget
from decomp.platform.loop.oracle import Selection
from decomp.platform.loop.tasks import ChooseTask, RegionRequest
from decomp.platform.loop.workers import Workers
from decomp.platform.randomness import stream
from decomp.platform.samplers import Choice, ImageView, Need, RegionSelector
from decomp.platform.samplers.foreground import Foreground, place_around
from decomp.platform.samplers.random import anywhere

EACH = 2
"""Regions of every class."""


def start_with_all_classes(workers: Workers, images: Sequence[str], budget: Budget, seed: int, fold: int) -> Selection:
    """Select the first regions at random, but so that every class is in two of them; this reads the truth.

    The rarest class comes first. A region for a class is drawn around one of its pixels, in an image that has no region
    for it yet: one that is selected already if there is such a one, else a new one. Fewer than two are of a class only
    where the images that have it, or the budget, do not suffice.

    Args:
        workers: the run's workers.
        images: ids of the pool, sorted.
        budget: the start's budget, by images.
        seed: key of the random streams, with
        fold: the cross-validation fold.
    """
    assert budget.n_image is not None
    rng = stream(seed, "start", fold=fold, cycle=1)
    counts = workers.count_classes(images)
    slots = deal_out(counts, min(budget.n_image, len(images)), budget.n_region, rng)
    selected = tuple(images[k] for k in slots)
    request = RegionRequest(
        selector=_OfClasses({images[k]: tuple(classes) for k, classes in slots.items()}),
        region_shape=budget.region,
        n_region=budget.n_region,
        background=None,
        seed=seed,
        fold=fold,
        cycle=1,
    )
    proposals = workers.choose(ChooseTask(None, selected, {}, None, request))
    return Selection(selected, proposals.ledger)


def deal_out(
    counts: npt.NDArray[np.int64], n_image: int, n_region: int, rng: np.random.Generator
) -> dict[int, list[int]]:
    """The classes for which a region is drawn in each selected image, at most `n_region` of them, by image number.

    Args:
        counts: pixels of each class in each image, shape (N, C).
        n_image: images to select, at most N.
        n_region: regions per image.
        rng: the stream of this decision.
    """
    slots: dict[int, list[int]] = {}
    totals = counts.sum(axis=0)
    for class_ in np.lexsort((rng.permutation(len(totals)), totals)).tolist():
        for _ in range(EACH if totals[class_] else 0):
            having = np.flatnonzero(counts[:, class_] > 0).tolist()
            old = [k for k in having if k in slots and len(slots[k]) < n_region]
            new = [k for k in having if k not in slots] if len(slots) < n_image else []
            options = [k for k in old if class_ not in slots[k]] or new or old
            if options:
                slots.setdefault(int(rng.choice(options)), []).append(class_)
    others = [k for k in rng.permutation(len(counts)).tolist() if k not in slots]
    return slots | {k: [] for k in others[: n_image - len(slots)]}


@dataclass(frozen=True)
class _OfClasses(RegionSelector):
    """Regions around pixels of given classes, then any."""

    classes: Mapping[str, tuple[int, ...]]
    needs = Need.TRUTH

    @override
    def choose(self, view: ImageView, n_region: int, rng: np.random.Generator) -> list[Choice]:
        foreground, chosen = Foreground(view.truth(), None), list[Choice]()
        for class_ in self.classes[view.places.image]:
            place = place_around(view.places, foreground, class_, rng)
            if place is not None:
                chosen.append(Choice(view.places.take(place), class_))
        return chosen + anywhere(view, n_region - len(chosen), rng)
