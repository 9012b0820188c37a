"""Asks selectors, shows them what they declare and nothing else, and checks what they answer.

The loop asks through these functions, and so do the checks of `decomp.platform.testing`; both report a
selector that breaks its contract in the same words.
"""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from decomp.platform.errors import UserError
from decomp.platform.predictions import PoolCounts
from decomp.platform.regions import Region
from decomp.platform.samplers.base import (
    CandidateRegions,
    Choice,
    ImageSelector,
    ImageView,
    JointImageSelector,
    JointRegionSelector,
    PoolView,
    RegionSelector,
)
from decomp.platform.samplers.needs import Need, UndeclaredNeed, declared


def scores_of(
    selector: ImageSelector,
    pool: PoolCounts,
    weights: npt.NDArray[np.float64] | None,
    background: int | None = None,
    cycle: int = 2,
) -> npt.NDArray[np.float64]:
    """Scores of N candidate images.

    Args:
        selector: the image selector.
        pool: what is known of the candidates.
        weights: class weights, shape (C,), or None; withheld from a selector that does not declare `Need.COUNTS`.
        background: class that is not sampled, or None.
        cycle: whose images are selected.

    Returns:
        Shape (N,), float64.

    Raises:
        UserError: if the selector reads what it does not declare, or gives a wrong number of scores, or NaN.
    """
    name = type(selector).__name__
    with _named(selector):
        view = PoolView.of(pool, selector.needs, background, cycle)
        answer = selector.scores(view, weights if Need.COUNTS in selector.needs else None)
    scores = np.asarray(answer, np.float64)
    if scores.shape != (len(pool.images),):
        raise UserError(
            f"{name}.scores gave the shape {scores.shape} for {len(pool.images)} images; give one score per image."
        )
    unknown = np.flatnonzero(np.isnan(scores))
    if len(unknown):
        raise UserError(f"{name}.scores gave NaN for image {pool.images[unknown[0]]!r}; give a number.")
    return scores


@dataclass(frozen=True)
class Site:
    """Where a region selector may choose.

    Attributes:
        shape: spatial shape of the image.
        region_shape: shape of a window, or None for irregular regions.
        annotated: regions of the image that are annotated.
        again: those of them that may be annotated again.
    """

    shape: Sequence[int]
    region_shape: tuple[int, ...] | None
    annotated: Sequence[Region]
    again: Collection[Region] = ()


def choices_of(
    selector: RegionSelector, view: ImageView, n_region: int, rng: np.random.Generator, site: Site
) -> list[Choice]:
    """Regions chosen in one image, `n_region` at most.

    Args:
        selector: the region selector.
        view: the image; what the selector does not declare is withheld from it.
        n_region: how many regions are wanted.
        rng: the stream of this decision.
        site: where the regions may lie.

    Raises:
        UserError: if the selector reads what it does not declare, or chooses too many regions, one of another image,
            shape or type, one that is not inside the image, or one that overlaps another or an annotated one, unless
            it is that one and may be annotated again.
    """
    with _named(selector):
        choices = list(selector.choose(declared(view, selector.needs), n_region, rng))
    name, image = type(selector).__name__, view.places.image
    if len(choices) > n_region:
        raise UserError(f"{name} chose {len(choices)} regions in image {image!r}, but {n_region} were wanted.")
    regions: list[Region] = []
    for choice in choices:
        if not isinstance(choice, Choice):
            raise UserError(f"{name}.choose must give a list of Choice, but gave a {type(choice).__name__}.")
        fault = _fault(choice.region, image, site, regions)
        if fault is not None:
            raise UserError(f"{name} chose {fault}; give what view.places.take gives.")
        regions.append(choice.region)
    return choices


def selected_images_of(
    selector: JointImageSelector,
    pool: PoolCounts,
    n_image: int,
    rng: np.random.Generator,
    background: int | None = None,
    cycle: int = 2,
) -> list[int]:
    """Numbers of the `n_image` images that are selected among the candidates, of which there are at least as many.

    Raises:
        UserError: if the selector reads what it does not declare, or does not give as many distinct numbers of images.
    """
    with _named(selector):
        view = PoolView.of(pool, selector.needs, background, cycle)
        numbers = [int(k) for k in selector.select(view, n_image, rng)]
    return _distinct(selector, numbers, n_image, len(pool.images))


def selected_of(
    selector: JointRegionSelector, candidates: CandidateRegions, n: int, rng: np.random.Generator
) -> list[int]:
    """Numbers of the `n` candidate regions that are selected among more than `n`.

    Raises:
        UserError: if the selector reads what it does not declare, or does not give `n` distinct numbers of candidates.
    """
    with _named(selector):
        numbers = [int(k) for k in selector.select(declared(candidates, selector.needs), n, rng)]
    return _distinct(selector, numbers, n, len(candidates.image))


def _distinct(selector: ImageSelector | RegionSelector, numbers: list[int], n: int, limit: int) -> list[int]:
    if len(numbers) != n or len(set(numbers)) != n or not all(0 <= k < limit for k in numbers):
        raise UserError(
            f"{type(selector).__name__}.select must give {n} distinct numbers below {limit}, but gave {numbers[:20]}."
        )
    return numbers


def _fault(region: Region, image: str, site: Site, others: Sequence[Region]) -> str | None:
    """What is wrong with a region, if anything."""
    if region.image != image:
        return f"a region of image {region.image!r} when asked about {image!r}"
    if len(region.start) != len(site.shape) or any(
        a < 0 or a + n > k for a, n, k in zip(region.start, region.size, site.shape, strict=True)
    ):
        return f"a region at {region.start} of size {region.size}, outside of image {image!r} of shape {site.shape}"
    if site.region_shape is not None and region.size != site.region_shape:
        return f"a region of size {region.size} in image {image!r}, not {site.region_shape}"
    annotated = [other for other in site.annotated if other != region or region not in site.again]
    if any(region.overlaps(other) for other in (*annotated, *others)):
        return f"a region at {region.start} of image {image!r} that overlaps another one"
    return None


@contextmanager
def _named(selector: ImageSelector | RegionSelector) -> Iterator[None]:
    """Name the selector that reads what it did not declare."""
    try:
        yield
    except UndeclaredNeed as error:
        raise UserError(
            f"{type(selector).__name__} reads {error.field} without declaring it; "
            f"declare needs = {selector.needs | error.need}."
        ) from error
