"""Window kernels: sums over sliding windows, the windows that are still free, seeded choice of the best one.

All maps of windows are indexed by the window's start, so a map over windows of `size` (h, w) in an image of `shape`
(H, W) has shape (H - h + 1, W - w + 1).
"""

from collections.abc import Iterable, Sequence

import cv2
import numpy as np
import numpy.typing as npt

from decomp.platform.regions import Region

WindowMap = npt.NDArray[np.int32]
FreeMap = npt.NDArray[np.bool_]


def window_sums(values: npt.NDArray[np.uint8] | npt.NDArray[np.int32], size: Sequence[int]) -> WindowMap:
    """Sum of `values` over every window.

    Args:
        values: shape (H, W), uint8 or int32; the caller sees to it that no sum exceeds the range of int32.
        size: window size (h, w).

    Returns:
        Exact sums, shape (H - h + 1, W - w + 1), int32. Cost: linear in pixels, whatever the window's size.
    """
    height, width = size
    sums = cv2.boxFilter(values, cv2.CV_32S, (width, height), anchor=(0, 0), normalize=False)
    rows, columns = values.shape
    return np.asarray(sums[: rows - height + 1, : columns - width + 1])


def fixed_point(values: npt.NDArray[np.float32], size: Sequence[int]) -> tuple[npt.NDArray[np.int32], float]:
    """Round non-negative values to integers whose window sums are exact in int32.

    Sums of floats depend on the order of summation, so that equal windows would differ by position and ties would be
    broken by rounding errors; sums of integers don't.

    Returns:
        The integers, shape as `values`, and the factor that turns a window's sum back into a mean of `values`.
    """
    area = int(np.prod(size))
    peak = float(values.max(initial=0.0))
    if peak <= 0.0:
        return np.zeros(values.shape, np.int32), 0.0
    levels = np.iinfo(np.int32).max // area
    scaled = np.rint(values * np.float64(levels / peak)).astype(np.int32)
    return scaled, peak / levels / area


def free_windows(shape: Sequence[int], size: Sequence[int], annotated: Iterable[Region]) -> FreeMap:
    """Windows that share no pixel with an annotated region, shape (H - h + 1, W - w + 1), bool."""
    free = np.ones([n - k + 1 for n, k in zip(shape, size, strict=True)], np.bool_)
    for region in annotated:
        block(free, region, size)
    return free


def block(free: FreeMap, region: Region, size: Sequence[int]) -> None:
    """Mark, in place, every window that overlaps `region` as not free."""
    free[tuple(slice(max(0, a - k + 1), a + n) for a, n, k in zip(region.start, region.size, size, strict=True))] = (
        False
    )


def best_window(values: WindowMap, free: FreeMap, rng: np.random.Generator) -> tuple[int, ...] | None:
    """Start of a free window of greatest value, or None if no window is free.

    Ties are broken uniformly at random: by scan order, a class that fills many windows would always give the top-left
    one (Sec. 5 of the method notes).
    """
    masked = np.where(free, values, np.int32(-1))
    best = masked.max(initial=-1)
    if best < 0:
        return None
    return _pick(masked == best, rng)


def random_window(free: FreeMap, rng: np.random.Generator) -> tuple[int, ...] | None:
    """Start of a free window drawn uniformly, or None if no window is free."""
    return _pick(free, rng) if free.any() else None


def _pick(choices: FreeMap, rng: np.random.Generator) -> tuple[int, ...]:
    places = np.flatnonzero(choices)
    place = places[rng.integers(len(places))]
    return tuple(int(i) for i in np.unravel_index(place, choices.shape))
