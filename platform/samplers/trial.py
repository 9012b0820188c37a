"""Tries selectors on tiny images and pools: one that would fail in the middle of a run fails here."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from decomp.platform.errors import UserError
from decomp.platform.measures import OwnMeasure
from decomp.platform.predictions import PoolCounts
from decomp.platform.randomness import stream
from decomp.platform.samplers.base import (
    Choice,
    ImageSelector,
    JointImageSelector,
    JointRegionSelector,
    PoolView,
    RegionSelector,
)
from decomp.platform.samplers.contract import choices_of, scores_of, selected_images_of, selected_of
from decomp.platform.samplers.needs import Need
from decomp.platform.samplers.tiny import (
    KINDS,
    N_CLASSES,
    Kind,
    TinyImage,
    axes_of,
    tiny_candidates,
    tiny_image,
    tiny_pool,
)

PIXELS = 64
"""Pixels on which a measure is tried."""

TRIES = 5
"""Tiny images per kind of region."""

CANDIDATES, SELECTED = 12, 5
"""Candidate regions among which a `JointRegionSelector` selects, and how many it selects."""


def check_image_selector(selector: ImageSelector, axes: Sequence[int] = (1, 2, 3), n_classes: int = N_CLASSES) -> None:
    """Check that an image selector reads what it declares and gives one number per image, the same every time.

    Where it says that it is local, an image alone must have the score that it has in the pool.

    Args:
        selector: the image selector.
        axes: numbers of spatial axes of the images for which it is tried; 1 for sets of ROIs.
        n_classes: number of classes of the tiny pools.

    Raises:
        AssertionError: naming the selector, what it did, and the remedy.
    """
    for n_axes in axes:
        rng = stream(0, f"trial of images of {n_axes} axes")
        pool, weights = tiny_pool(rng, n_axes, n_classes=n_classes), rng.dirichlet(np.ones(n_classes))
        if isinstance(selector, JointImageSelector):
            _check_joint_images(selector, pool, n_axes)
            continue
        where = f"{type(selector).__name__}.scores, tried on a tiny pool of images of {n_axes} axes,"
        scores, again = (_scores(selector, pool, weights, where) for _ in range(2))
        expect(np.array_equal(scores, again), f"{where} must score a pool the same every time: {scores}, {again}.")
        for k in range(len(scores) if selector.local else 0):
            alone = f"{where} one image alone and without weights, as `local` promises,"
            mend = "set local = False if the score depends on the class weights or on other images"
            try:
                (score,) = _scores(selector, pool.rows([k]), None, alone)
            except AssertionError as error:
                raise AssertionError(f"{error} ({mend})") from error
            expect(
                bool(np.isclose(score, scores[k], rtol=1e-9)),
                f"{alone} must give the score that the image has in the pool, {scores[k]}, but gave {score}; {mend}.",
            )


def check_region_selector(selector: RegionSelector, kinds: Sequence[Kind] = KINDS, n_classes: int = N_CLASSES) -> None:
    """Check that a region selector reads what it declares and chooses regions that can be annotated.

    They must be regions of the image, overlap neither each other nor annotated ones, be no more than are wanted, and be
    the same for the same stream. A `JointRegionSelector` must also select the right number of candidate regions.

    Args:
        selector: the region selector.
        kinds: shapes of regions for which it is tried.
        n_classes: number of classes of the tiny images.

    Raises:
        AssertionError: naming the selector, what it did, and the remedy.
    """
    name, needs = type(selector).__name__, selector.needs
    for need in (Need.MAPS, Need.FEATURES, Need.GRADIENTS):
        expect(
            need not in needs or Need.COUNTS not in needs,
            f"{name} declares {need} and Need.COUNTS; leave out one of them, since maps and features are made while an "
            f"image's prediction is in memory, and class weights are known when all are made.",
        )
    expect(
        Need.FEATURES not in needs or Need.GRADIENTS not in needs,
        f"{name} declares Need.FEATURES and Need.GRADIENTS; leave out one of them, since the features of a region "
        f"are its mean for the one and its maximum for the other.",
    )
    expect(
        Need.ANNOTATED not in needs or Need.FEATURES in needs,
        f"{name} declares Need.ANNOTATED without Need.FEATURES; declare both, since features of annotated regions are "
        f"compared with those of candidate regions.",
    )
    for kind in kinds:
        where = f"{type(selector).__name__}.choose, tried on a tiny image with regions of the kind {kind},"
        for number in range(TRIES):
            image = tiny_image(kind, stream(number, f"trial of {kind}"))
            choices, again = (_choices(selector, image, 1 + number, n_classes, where) for _ in range(2))
            expect(choices == again, f"{where} must choose the same from the same stream; draw from rng alone.")
            possible = image.regions()
            for choice in choices:
                expect(
                    choice.region in possible,
                    f"{where} chose {choice.region}, which is none of the image; give what view.places.take gives.",
                )
                expect(
                    choice.score is not None or selector.reads_truth or not isinstance(selector, JointRegionSelector),
                    f"{where} must score every candidate region; give Choice(..., score=...).",
                )
    if isinstance(selector, JointRegionSelector):
        where = f"{type(selector).__name__}.select, tried on {CANDIDATES} candidate regions,"
        chosen, again_chosen = (_selected(selector, n_classes, where) for _ in range(2))
        expect(chosen == again_chosen, f"{where} must select the same from the same stream; draw from rng alone.")


def check_measure(measure: OwnMeasure, n_classes: int = N_CLASSES) -> None:
    """Check that a measure of uncertainty gives one number for each pixel, from 0 to its `greatest`.

    Args:
        measure: made for this trial.
        n_classes: number of classes.

    Raises:
        AssertionError: naming the measure, what it did, and the remedy.
    """
    import torch  # takes a second to load, and nothing else here needs it

    where = f"{type(measure).__name__}, tried on {PIXELS} pixels in two passes,"
    drawn = stream(0, "trial of a measure").dirichlet(np.ones(n_classes), (2, PIXELS))
    passes = [torch.from_numpy(each.T.astype(np.float32)) for each in drawn]
    with asking(where):
        for probabilities in passes:
            measure.add(probabilities.clone())
        values = np.asarray(measure.values(torch.stack(passes).mean(0)), np.float64)
    expect(values.shape == (PIXELS,), f"{where} must give a value for each pixel, but gave the shape {values.shape}.")
    expect(
        bool((np.isfinite(values) & (values >= 0) & (values <= measure.greatest * (1 + 1e-6))).all()),
        f"{where} must give values from 0 to its `greatest`, {measure.greatest:g}, but gave {values.min():.3g} to "
        f"{values.max():.3g}; set `greatest` to an upper bound.",
    )


def try_selectors(images: ImageSelector, regions: RegionSelector, kinds: Sequence[Kind], n_classes: int) -> list[str]:
    """What is wrong with those of a pair of selectors that are the user's own, a sentence each, beginning with which.

    Those that come along keep their contracts, and some of them import libraries that take seconds to load.

    Args:
        images: the image selector.
        regions: the region selector.
        kinds: shapes of the regions that it will choose.
        n_classes: number of classes.
    """

    def fault_of(selector: ImageSelector | RegionSelector, check: Callable[[], None]) -> str | None:
        if type(selector).__module__.startswith("decomp."):
            return None
        try:
            check()
        except AssertionError as error:
            return str(error)
        return None

    axes = sorted({axes_of(kind) for kind in kinds})
    faults = {
        "images": fault_of(images, lambda: check_image_selector(images, axes, n_classes)),
        "regions": fault_of(regions, lambda: check_region_selector(regions, kinds, n_classes)),
    }
    return [f"{key}: {fault}" for key, fault in faults.items() if fault]


def expect(fulfilled: bool, message: str) -> None:
    """Raise an `AssertionError` unless something is fulfilled; unlike `assert`, also under ``python -O``."""
    if not fulfilled:
        raise AssertionError(message)


def expect_array(values: Any, where: str, shape: tuple[int, ...], dtype: type[Any]) -> None:
    """Raise an `AssertionError` unless something is such an array; `dtype` may be a kind, like `np.integer`."""
    if not isinstance(values, np.ndarray):
        raise AssertionError(f"{where} must give an array, but gave {values!r}.")
    expect(
        values.shape == shape and np.issubdtype(values.dtype, dtype),
        f"{where} must give an array of {dtype.__name__} of shape {shape}, but gave {values.dtype} of {values.shape}.",
    )


@contextmanager
def asking(where: str) -> Iterator[None]:
    """Whatever a part raises becomes an `AssertionError` that tells where.

    Args:
        where: what is asked of which part, the beginning of a sentence that ends in what it did.
    """
    try:
        yield
    except UserError as error:
        raise AssertionError(str(error)) from error
    except Exception as error:
        raise AssertionError(f"{where} raised {type(error).__name__}: {error}") from error


def _scores(
    selector: ImageSelector, pool: PoolCounts, weights: npt.NDArray[np.float64] | None, where: str
) -> npt.NDArray[np.float64]:
    try:
        with asking(where):
            return scores_of(selector, pool, weights)
    except AssertionError as error:
        told = isinstance(error.__cause__, UserError)
        if weights is not None and not told and Need.COUNTS not in selector.needs and _works(selector, pool, weights):
            raise AssertionError(
                f"{type(selector).__name__} reads weights without declaring it; "
                f"declare needs = {selector.needs | Need.COUNTS}."
            ) from error
        raise


def _works(selector: ImageSelector, pool: PoolCounts, weights: npt.NDArray[np.float64]) -> bool:
    try:
        selector.scores(PoolView.of(pool, selector.needs), weights)
    except Exception:
        return False
    return True


def _check_joint_images(selector: JointImageSelector, pool: PoolCounts, axes: int) -> None:
    def selected() -> list[int]:
        with asking(where):
            return selected_images_of(selector, pool, 3, stream(0, "trial: images"))

    where = f"{type(selector).__name__}.select, tried on a tiny pool of images of {axes} axes,"
    expect(selected() == selected(), f"{where} must select the same from the same stream; draw from rng alone.")


def _choices(selector: RegionSelector, image: TinyImage, n_region: int, n_classes: int, where: str) -> list[Choice]:
    view = replace(image.view(stream(0, "trial: predictions"), n_classes), n_region=n_region)
    n = selector.n_candidates(n_region, n_classes) if isinstance(selector, JointRegionSelector) else n_region
    with asking(where):
        return choices_of(selector, view, n, stream(0, "trial: regions"), image.site)


def _selected(selector: JointRegionSelector, n_classes: int, where: str) -> list[int]:
    candidates = tiny_candidates(stream(0, "trial: candidates"), CANDIDATES, n_classes)
    with asking(where):
        return selected_of(selector, candidates, SELECTED, stream(0, "trial: selection"))
