"""What pictures of regions are drawn with: colours of classes, outlines, captions and a legend, on arrays of pixels."""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from decomp.platform.datasets.base import IGNORE
from decomp.platform.regions import Region

GAP = 14
TITLE_HEIGHT = 26
LEGEND_ROW = 26
FONT = cv2.FONT_HERSHEY_SIMPLEX
INK = (40, 40, 40)
EARLIER = (215, 215, 215)
CHOSEN = (255, 214, 0)  # the one colour of regions for which no class was drawn
UNKNOWN = (90, 90, 90)

# For enlarged pixels the files are as small as with the default settings, and written three times as fast.
PNG = (cv2.IMWRITE_PNG_COMPRESSION, 2, cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_UP)

# Colours that differ from their neighbours in hue and lightness, RGB; class c has colour c.
PALETTE = np.array(
    [
        (236, 196, 92), (128, 178, 222), (148, 196, 112), (230, 60, 60), (70, 90, 220), (0, 170, 130), (190, 70, 200),
        (250, 130, 30), (0, 200, 230), (250, 120, 180), (120, 70, 30), (200, 230, 40), (110, 110, 180), (255, 180, 160),
        (0, 110, 60), (150, 20, 80), (170, 140, 255), (110, 130, 20), (0, 60, 120), (240, 220, 190),
    ],
    np.uint8,
)  # fmt: skip

Pixels = npt.NDArray[np.uint8]
Colour = tuple[int, int, int]


class LegendRow(NamedTuple):
    """What a colour means.

    Attributes:
        name: what is written beside it.
        colour: RGB.
        hollow: whether it is drawn as a frame only.
    """

    name: str
    colour: Colour
    hollow: bool = False


def colour_of(class_: int) -> Colour:
    """Colour of a class, RGB."""
    red, green, blue = (int(value) for value in PALETTE[class_ % len(PALETTE)])
    return red, green, blue


def to_rgb(image: npt.NDArray[np.generic]) -> Pixels:
    """Any image as RGB.

    Args:
        image: shape (height, width, channels). One or two channels become grey; of more channels the first three are
            used. Unless uint8, the values between the 1st and 99th percentile are spread over the range of grey values.

    Returns:
        Shape (height, width, 3), uint8.
    """
    channels = image[..., :3] if image.shape[-1] >= 3 else np.repeat(image[..., :1], 3, axis=-1)
    if channels.dtype == np.uint8:
        return np.ascontiguousarray(channels, np.uint8)
    values = np.nan_to_num(channels.astype(np.float32), posinf=0.0, neginf=0.0)
    low, high = np.percentile(values, [1, 99])
    return np.asarray(np.clip(255 * (values - low) / max(high - low, 1e-12), 0, 255), np.uint8)


def revealed(image: Pixels, labels: npt.NDArray[np.uint8], regions: Sequence[Region]) -> Pixels:
    """True classes within regions in their colours, the image pale and grey around them.

    Args:
        image: shape (height, width, 3), uint8, RGB.
        labels: true classes, shape (height, width).
        regions: annotated regions, in two dimensions.

    Returns:
        Shape (height, width, 3), uint8.
    """
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    pale = np.repeat((200 + 0.2 * grey.astype(np.float32)).astype(np.uint8)[..., None], 3, axis=-1)
    inside = np.zeros(labels.shape, bool)
    for region in regions:
        region.mark(inside, True)
    colours = PALETTE[labels % len(PALETTE)]
    colours[labels == IGNORE] = UNKNOWN
    pale[inside] = colours[inside]
    return pale


def resized(panel: Pixels, scale: float, *, smooth: bool) -> Pixels:
    """A panel at another size; shrunk by averaging if smooth, else by the nearest pixel, which keeps colours pure."""
    height, width = panel.shape[:2]
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    nearest = scale >= 1 or not smooth
    return np.asarray(cv2.resize(panel, size, interpolation=cv2.INTER_NEAREST if nearest else cv2.INTER_AREA), np.uint8)


def outline(panel: Pixels, region: Region, scale: float, colour: Colour, thickness: int) -> None:
    """Draw a frame just inside the region, with a dark inner edge so that it stands out from any background."""
    frame(panel, region, scale, colour, range(thickness))
    frame(panel, region, scale, INK, range(thickness, thickness + 1))


def frame(panel: Pixels, region: Region, scale: float, colour: Colour, insets: range) -> None:
    """Draw the region's outline as many pixels inside it as each of the insets says."""
    top, left = (round(a * scale) for a in region.start)
    bottom, right = (round((a + n) * scale) - 1 for a, n in zip(region.start, region.size, strict=True))
    if region.mask is not None:
        _contour(panel[top : bottom + 1, left : right + 1], region, colour, insets)
        return
    for inset in insets:
        if bottom - inset > top + inset and right - inset > left + inset:
            cv2.rectangle(panel, (left + inset, top + inset), (right - inset, bottom - inset), colour, 1)


def titled(panel: Pixels, title: str) -> Pixels:
    """A panel with a line of text above it, as much of the text as fits."""
    head = np.full((TITLE_HEIGHT, panel.shape[1], 3), 255, np.uint8)
    cv2.putText(head, _ascii(title), (1, TITLE_HEIGHT - 9), FONT, 0.5, INK, 1, cv2.LINE_AA)
    return np.concatenate([head, panel])


def class_legend(present: set[int], classes: Sequence[str]) -> list[LegendRow]:
    """Rows of a legend for classes."""
    rows = [LegendRow(classes[class_], colour_of(class_)) for class_ in sorted(present) if class_ < len(classes)]
    return [*rows, LegendRow("no label", UNKNOWN)] if IGNORE in present else rows


def legend(rows: Sequence[LegendRow], width: int) -> Pixels:
    """A legend as wide as the picture, in as many columns as fit."""
    cell = 44 + max((text_width(row.name) for row in rows), default=0)
    per_line = max(1, (width - 2 * GAP) // cell)
    drawn = np.full((-(-len(rows) // per_line) * LEGEND_ROW + GAP, width, 3), 255, np.uint8)
    for number, (name, colour, hollow) in enumerate(rows):
        left, top = GAP + number % per_line * cell, 6 + number // per_line * LEGEND_ROW
        if hollow:
            outline(drawn, Region("", (top, left), (17, 17)), 1, colour, 3 if colour == CHOSEN else 1)
        else:
            cv2.rectangle(drawn, (left, top), (left + 16, top + 16), colour, cv2.FILLED)
        cv2.putText(drawn, _ascii(name), (left + 23, top + 13), FONT, 0.5, INK, 1, cv2.LINE_AA)
    return drawn


def text_width(text: str) -> int:
    """Width of a line of text, in pixels."""
    return int(cv2.getTextSize(_ascii(text), FONT, 0.5, 1)[0][0])


def padded(panel: Pixels, *, top: int = 0, bottom: int = 0, left: int = 0, right: int = 0) -> Pixels:
    """A panel with a white margin."""
    return np.pad(panel, ((top, bottom), (left, right), (0, 0)), constant_values=255)


def stacked(rows: Sequence[Pixels]) -> Pixels:
    """Panels below each other, the narrower ones filled up with white."""
    width = max(row.shape[1] for row in rows)
    return np.concatenate([padded(row, right=width - row.shape[1]) for row in rows])


def png(picture: Pixels) -> bytes:
    """A picture as a PNG file."""
    _, encoded = cv2.imencode(".png", picture[..., ::-1], PNG)
    return bytes(encoded)


def _contour(window: Pixels, region: Region, colour: Colour, insets: range) -> None:
    """Draw the outline of an irregular region into its window of a panel."""
    inside = np.pad(cv2.resize(region.inside.view(np.uint8), window.shape[1::-1], interpolation=cv2.INTER_NEAREST), 1)
    for inset in insets:
        inner = cv2.erode(inside, np.ones((3, 3), np.uint8), iterations=inset)
        edge = inner - cv2.erode(inner, np.ones((3, 3), np.uint8))
        window[edge[1:-1, 1:-1] > 0] = colour


def _ascii(text: str) -> str:
    # OpenCV's own font has no other characters.
    return text.encode("ascii", "replace").decode()
