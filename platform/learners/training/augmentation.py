"""Random changes of training crops: scale, mirroring and colours.

The photometric distortion is that of SSD (Liu et al., ECCV 2016), with the strengths that are usual for Cityscapes.
"""

from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt

from decomp.platform.datasets.base import IGNORE

BRIGHTNESS = 32.0  # of 255
CONTRAST = (0.5, 1.5)
SATURATION = (0.5, 1.5)
HUE = 18.0  # of the 180 steps that OpenCV has in 8 bits
HALF = 0.5  # probability of each change


def cut(
    pixels: npt.NDArray[np.generic],
    labels: npt.NDArray[np.uint8],
    window: tuple[slice, slice],
    scale: float,
    size: tuple[int, int],
) -> tuple[npt.NDArray[np.generic], npt.NDArray[np.uint8]]:
    """A window of an image, resized; where that is smaller than the crop, it is extended at its lower right.

    Args:
        pixels: shape (H, W, channels).
        labels: shape (H, W).
        window: rows and columns of the image.
        scale: pixels of the crop per pixel of the image.
        size: rows and columns of the crop.

    Returns:
        Pixels, shape (*size, channels), uint8 if they were and float32 otherwise, interpolated linearly and extended
        by repeating the border; labels, shape (*size), uint8, of the nearest pixels, `IGNORE` in the extension.
    """
    extent = [part.stop - part.start for part in window]
    # Rounding the window has changed the scale by less than a pixel; a window that fills the crop must still fill it.
    rows, columns = (
        most if abs(n * scale - most) <= scale else min(most, max(1, round(n * scale)))
        for n, most in zip(extent, size, strict=True)
    )
    kind = np.uint8 if pixels.dtype == np.uint8 else np.float32
    part = np.ascontiguousarray(pixels[window], kind)
    part = cv2.resize(part, (columns, rows), interpolation=cv2.INTER_LINEAR).reshape(rows, columns, -1)
    # The inexact nearest pixel is half a pixel off.
    marks = cv2.resize(np.ascontiguousarray(labels[window]), (columns, rows), interpolation=cv2.INTER_NEAREST_EXACT)
    room = [(0, size[0] - rows), (0, size[1] - columns)]
    return np.pad(part, [*room, (0, 0)], mode="edge"), np.pad(marks, room, constant_values=IGNORE)


def distorted(pixels: npt.NDArray[np.uint8], rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Random brightness, contrast, saturation and hue of an RGB image, shape (H, W, 3), each with probability 1/2.

    Contrast changes before or after the other colours, at random.
    """
    # Always drawn, so that one change does not depend on whether another happens.
    happens = rng.random(4) < HALF
    contrast_last = rng.random() < HALF
    brightness, contrast = rng.uniform(-BRIGHTNESS, BRIGHTNESS), rng.uniform(*CONTRAST)
    saturation, hue = rng.uniform(*SATURATION), rng.uniform(-HUE, HUE)
    if happens[0]:
        pixels = _mapped(pixels, lambda levels: levels + brightness)
    if happens[1] and not contrast_last:
        pixels = _mapped(pixels, lambda levels: levels * contrast)
    if happens[2] or happens[3]:
        hsv = cv2.cvtColor(pixels, cv2.COLOR_RGB2HSV)
        if happens[2]:
            hsv[..., 1] = _mapped(hsv[..., 1], lambda levels: levels * saturation)
        if happens[3]:
            hsv[..., 0] = _mapped(hsv[..., 0], lambda levels: (levels + round(hue)) % 180)
        pixels = np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB), np.uint8)
    if happens[1] and contrast_last:
        pixels = _mapped(pixels, lambda levels: levels * contrast)
    return pixels


def _mapped(
    values: npt.NDArray[np.uint8], function: Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]]
) -> npt.NDArray[np.uint8]:
    """Levels 0 to 255 put through a function, clipped and truncated; one look-up instead of arithmetic per pixel."""
    table = np.clip(function(np.arange(256.0)), 0, 255).astype(np.uint8)
    return np.asarray(cv2.LUT(np.ascontiguousarray(values), table), np.uint8).reshape(values.shape)


def jittered(
    pixels: npt.NDArray[np.float32],
    mean: npt.NDArray[np.float32],
    std: npt.NDArray[np.float32],
    rng: np.random.Generator,
) -> npt.NDArray[np.float32]:
    """Random contrast about the mean of each channel, and brightness, for images of any kind, (H, W, channels)."""
    gain, offset = rng.uniform(-0.1, 0.1, 2).astype(np.float32)
    return np.asarray((pixels - mean) * (1 + gain) + mean + offset * std, np.float32)
