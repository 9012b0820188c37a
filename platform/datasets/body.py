"""The body in a volume: where windows that are drawn at random lie (Sec. 6 and 7 of the method notes)."""

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

AIR = -400.0
"""HU between air, or the foam of a mattress, and tissue."""

COUCH = 5.0
"""Millimetres: whatever is thinner than twice this within a slice, such as a couch's shells, is not body."""

REGROWTH = 3
"""How many times thin parts grow back by `COUCH`."""

WORKING = 3.0
"""Finest grid that is worked on, millimetres; finer volumes are subsampled."""

LEVELS = 256
"""Levels of intensity from the 1st to the 99th percentile, whose logarithm is taken where intensities are not HU."""

SMALLEST = 1e-30  # keeps a constant channel from being divided by 0

Mask = npt.NDArray[np.bool_]


def detect_body(hu: npt.NDArray[Any], voxel: tuple[float, float, float]) -> Mask:
    """Voxels of the body, gas within it included, without couch and air.

    Everything denser than air is opened within the slices, which cuts off the couch and its shells, blankets and tubes;
    the largest connected part is the body. Its holes in every slice, lungs and bowel gas, belong to it. Arms that
    do not touch the trunk are dropped. A volume without anything denser than air gives an empty mask.

    Volumes finer than `WORKING` are worked on at every n-th voxel per axis, so that time and memory hardly grow with
    the resolution; the border of the body is then as exact as that grid.

    Args:
        hu: Hounsfield units, shape (z, y, x), of any numeric type. The padding outside the field of view may have any
            constant value.
        voxel: size of a voxel along z, y and x in millimetres.

    Returns:
        Shape (z, y, x), bool.
    """
    steps = [max(1, int(WORKING // length)) for length in voxel]
    coarse = np.ascontiguousarray(hu[:: steps[0], :: steps[1], :: steps[2]])
    tissue = (coarse > AIR) & ~_padding(coarse)
    disc = _disc(*(COUCH / (step * length) for step, length in zip(steps[1:], voxel[1:], strict=True)))
    body = _largest(_sliced(cv2.MORPH_OPEN, tissue, disc))
    # Thin parts come back as far as they lie near, so that the lungs' wall is closed; the couch leaves a stub,
    # which the second opening takes off again, while the wall is then backed by the lung.
    for _ in range(REGROWTH):
        body = _sliced(cv2.MORPH_DILATE, body, disc) & tissue
    body = _largest(_sliced(cv2.MORPH_OPEN, _filled(body), disc))
    if steps == [1, 1, 1]:
        return body
    z, y, x = (
        np.minimum((np.arange(n) + step // 2) // step, m - 1)
        for n, step, m in zip(hu.shape, steps, body.shape, strict=True)
    )
    return np.asarray(body[z][:, y][:, :, x])


def detect_bright(volume: npt.NDArray[Any]) -> Mask:
    """The body where intensities are not HU, as in MR: the largest part that is brighter than the dark around it.

    What counts as bright is Otsu's threshold ("A threshold selection method from gray-level histograms", IEEE
    Transactions on Systems, Man, and Cybernetics 9, 1979) in any of the channels, on the logarithm of `LEVELS` levels,
    so that dark tissue is nearer to bright tissue than to the noise of air. Everything that the largest connected part
    encloses within a slice belongs to it. A constant volume is body as a whole.

    Args:
        volume: finite intensities, shape (z, y, x, channels).

    Returns:
        Shape (z, y, x), bool.
    """
    from skimage.filters import threshold_otsu  # takes a while to import

    bright = np.zeros(volume.shape[:-1], np.bool_)
    for channel in np.moveaxis(volume, -1, 0):
        low, high = map(float, np.percentile(channel, (1, 99)))
        levels = np.log1p(np.clip((channel - low) / max(high - low, SMALLEST), 0, 1) * (LEVELS - 1))
        above = levels > threshold_otsu(levels)
        if above.any():
            # Otsu's threshold lies halfway between the two means; in a gap of the histogram all values do, and
            # scikit-image takes the least, which noise exceeds.
            bright |= levels > (levels[above].mean() + levels[~above].mean()) / 2
    return _filled(_largest(bright)) if bright.any() else np.ones_like(bright)


def _padding(hu: npt.NDArray[Any]) -> Mask:
    """Voxels of the constant that fills the slices' corners, where it would pass for tissue."""
    corners = hu[:, [0, 0, -1, -1], [0, -1, 0, -1]]
    value = corners.flat[0]
    if not (corners == value).all() or value <= AIR:
        return np.zeros(hu.shape, np.bool_)
    from scipy import ndimage  # takes a while to import

    parts, _ = ndimage.label(hu == value)
    touching = np.unique(parts[:, [0, 0, -1, -1], [0, -1, 0, -1]])
    return np.isin(parts, touching)


def _disc(y: float, x: float) -> npt.NDArray[np.uint8]:
    """An ellipse of these half axes in pixels; the pixel itself and its neighbours at least."""
    y, x = max(y, 1.0), max(x, 1.0)
    rows, columns = np.arange(-int(y), int(y) + 1)[:, None], np.arange(-int(x), int(x) + 1)
    return ((rows / y) ** 2 + (columns / x) ** 2 <= 1).astype(np.uint8)


def _sliced(operation: int, mask: Mask, disc: npt.NDArray[np.uint8]) -> Mask:
    """A morphological operation in every slice; a body that is cut off by the slice's border goes on beyond it."""
    result = np.empty_like(mask)
    for section, out in zip(mask.view(np.uint8), result.view(np.uint8), strict=True):
        out[:] = cv2.morphologyEx(section, operation, disc)
    return result


def _largest(mask: Mask) -> Mask:
    """The largest connected part in three dimensions."""
    from scipy import ndimage  # takes a while to import

    parts, count = ndimage.label(mask)
    if count == 0:
        return mask
    sizes = np.bincount(parts.ravel())
    return np.asarray(parts == 1 + np.argmax(sizes[1:]))


def _filled(mask: Mask) -> Mask:
    """The mask with everything that it encloses within a slice."""
    result = np.empty_like(mask)
    for section, out in zip(mask, result, strict=True):
        free = np.pad((~section).astype(np.uint8), 1, constant_values=1)
        cv2.floodFill(free, None, (0, 0), 0)  # what remains is enclosed
        out[:] = section | (free[1:-1, 1:-1] > 0)
    return result
