"""Images as a browser shows them."""

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from decomp.platform.datasets.formats.header import BrokenFile
from decomp.platform.datasets.formats.rasters import Pixels, inspect, read_image
from decomp.platform.errors import UserError, sized

DARKEST, BRIGHTEST = 0.1, 99.9
"""Percentiles of the pixels of an image of 16 bits that are shown black and white."""

CONTAINERS = {"PNG": "image/png", "JPEG": "image/jpeg"}


def browser_picture(file: Path, shape: tuple[int, ...]) -> tuple[str, bytes]:
    """The media type and the contents of a file with the same pixels that every browser shows upright.

    PNG and JPEG of 8 bits are taken as they are; others become PNG: 16 bits are spread from the darkest to the
    brightest pixels, and of more than three channels the first three are shown.

    Args:
        file: an image of two axes.
        shape: the height and width that it is to have.

    Raises:
        UserError: if the file cannot be read or has another size.
    """
    try:
        header = inspect(file)
        if header.shape != shape:
            here, there = map(sized, (header.shape, shape))
            raise BrokenFile(f"has {here} pixels, and had {there} when its regions were selected", "restore it")
        if header.container in CONTAINERS and header.bits <= 8 and header.orientation == 1 and header.colours != "many":
            return CONTAINERS[header.container], file.read_bytes()
        coded = cv2.imencode(".png", _of_8_bits(read_image(file))[..., ::-1])[1]
    except BrokenFile as error:
        raise UserError(f"{file}: it {error.what}; {error.mend}.") from error
    return CONTAINERS["PNG"], coded.tobytes()


def _of_8_bits(pixels: Pixels) -> npt.NDArray[np.uint8]:
    """Three channels of 8 bits, shape (H, W, 3)."""
    shown = pixels[..., :3] if pixels.shape[2] > 2 else np.repeat(pixels[..., :1], 3, axis=2)
    if shown.dtype == np.uint8:
        return np.asarray(shown, np.uint8)
    black, white = np.percentile(shown, (DARKEST, BRIGHTEST))
    spread = (shown.astype(np.float32) - black) * (255 / max(white - black, 1))
    return np.asarray(np.clip(np.rint(spread), 0, 255), np.uint8)
