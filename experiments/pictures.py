"""Pictures of what a cycle chose: the regions on the images, and the true labels within them."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from decomp.platform.datasets.base import IGNORE, Dataset
from decomp.platform.ledger import Annotation, Ledger
from decomp.platform.regions import Region

PANEL_WIDTH = (500, 1000)
"""Least and greatest width of one image on a picture, in pixels, as far as whole-number scaling allows."""

GAP = 14
TITLE_HEIGHT = 26
LEGEND_ROW = 26
FONT = cv2.FONT_HERSHEY_SIMPLEX
INK = (40, 40, 40)
EARLIER = (215, 215, 215)
CHOSEN = (255, 214, 0)  # the one colour of regions for which no class was drawn
UNKNOWN = (90, 90, 90)

# On enlarged pixels as small as the default settings, and three times as fast.
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


@dataclass(frozen=True)
class Scene:
    """One image and its regions, in two dimensions.

    Attributes:
        title: written above it.
        image: shape (height, width, 3), uint8, RGB.
        labels: true classes, shape (height, width).
        earlier: regions of earlier cycles, in two dimensions.
        chosen: regions of this cycle.
        drawn: the class drawn for each region of this cycle, or None.
    """

    title: str
    image: Pixels
    labels: Pixels
    earlier: tuple[Region, ...]
    chosen: tuple[Region, ...]
    drawn: tuple[int | None, ...]


def picture_of_cycle(dataset: Dataset, ledger: Ledger, cycle: int, limit: int = 4) -> bytes | None:
    """The regions of a cycle on the first of its images, as PNG; None if it has no region.

    Left the image with this cycle's regions in the colour of the class drawn for them (yellow for samplers that draw
    none) and earlier ones in grey, right the true labels of all annotated regions.

    Args:
        dataset: where images and labels are read. Of a volume, the slice with most of the cycle's regions is shown.
        ledger: regions up to this cycle, at least.
        cycle: the cycle.
        limit: images to show at most.

    Returns:
        PNG; None for a cycle without regions and for sets of ROIs, which have no picture.
    """
    if dataset.task == "roi":
        return None
    rows = ledger.annotations()
    names = list(dict.fromkeys(row.region.image for row in rows if row.cycle == cycle))[:limit]
    if not names:
        return None
    return draw([_scene(dataset, name, rows, cycle) for name in names], dataset.classes)


def draw(scenes: Sequence[Scene], classes: Sequence[str]) -> bytes:
    """Draw scenes below each other and a legend below them, as PNG."""
    rows = [_row(scene) for scene in scenes]
    width = max(row.shape[1] for row in rows)
    rows.append(_legend(_legend_entries(scenes, classes), width))
    canvas = np.concatenate([_padded(row, right=width - row.shape[1]) for row in rows])
    _, encoded = cv2.imencode(".png", canvas[..., ::-1], PNG)
    return bytes(encoded)


def to_rgb(image: npt.NDArray[np.generic]) -> Pixels:
    """Any image as RGB.

    Args:
        image: shape (height, width, channels). One or two channels give grey, of more the first three are taken. Unless
            uint8, the values between the 1st and 99th percentile are spread over the range of grey values.

    Returns:
        Shape (height, width, 3), uint8.
    """
    channels = image[..., :3] if image.shape[-1] >= 3 else np.repeat(image[..., :1], 3, axis=-1)
    if channels.dtype == np.uint8:
        return np.ascontiguousarray(channels, np.uint8)
    values = np.nan_to_num(channels.astype(np.float32), posinf=0.0, neginf=0.0)
    low, high = np.percentile(values, [1, 99])
    return np.asarray(np.clip(255 * (values - low) / max(high - low, 1e-12), 0, 255), np.uint8)


def colour_of(class_: int) -> tuple[int, int, int]:
    """Colour of a class, RGB."""
    red, green, blue = (int(value) for value in PALETTE[class_ % len(PALETTE)])
    return red, green, blue


def _scene(dataset: Dataset, image: str, rows: Sequence[Annotation], cycle: int) -> Scene:
    chosen = [row for row in rows if row.region.image == image and row.cycle == cycle]
    earlier = [row for row in rows if row.region.image == image and row.cycle < cycle]
    pixels, labels, title = dataset.image(image), dataset.labels(image), image
    plane = _plane([row.region for row in chosen]) if labels.ndim == 3 else None
    if plane is not None:
        pixels, labels, title = pixels[plane], labels[plane], f"{image}, slice {plane}"
    shown = [row for row in chosen if _crosses(row.region, plane)]
    return Scene(
        title,
        to_rgb(pixels),
        labels,
        tuple(_flat(row.region, plane) for row in earlier if _crosses(row.region, plane)),
        tuple(_flat(row.region, plane) for row in shown),
        tuple(row.drawn_class for row in shown),
    )


def _plane(regions: Sequence[Region]) -> int:
    """Slice along the first axis that most regions cross; the first such slice."""
    starts = sorted({region.start[0] for region in regions})
    return max(starts, key=lambda plane: sum(_crosses(region, plane) for region in regions))


def _crosses(region: Region, plane: int | None) -> bool:
    return plane is None or region.start[0] <= plane < region.start[0] + region.size[0]


def _flat(region: Region, plane: int | None) -> Region:
    """The region's cut through a slice of the volume."""
    if plane is None:
        return region
    if region.mask is None:
        return Region(region.image, region.start[1:], region.size[1:])
    return Region.of_mask(region.image, region.start[1:], region.inside[plane - region.start[0]])


def _row(scene: Scene) -> Pixels:
    height, width = scene.labels.shape
    scale = _scale(width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    shrink = cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST
    image = cv2.resize(scene.image, size, interpolation=shrink)
    truth = cv2.resize(_truth(scene), size, interpolation=cv2.INTER_NEAREST)
    for region in scene.earlier:
        _outline(image, region, scale, EARLIER, 1)
        _outline(truth, region, scale, EARLIER, 1)
    for region, class_ in zip(scene.chosen, scene.drawn, strict=True):
        _outline(image, region, scale, CHOSEN if class_ is None else colour_of(class_), 3)
        _frame(truth, region, scale, INK, range(2))
    drawn = ", frame: class drawn" if any(class_ is not None for class_ in scene.drawn) else ""
    titled = [
        _titled(image, f"{scene.title}: {len(scene.chosen)} regions chosen{drawn}"),
        np.full((size[1] + TITLE_HEIGHT, GAP, 3), 255, np.uint8),
        _titled(truth, "true labels within annotated regions"),
    ]
    row = np.concatenate(titled, axis=1)
    return _padded(row, top=4, bottom=4, left=GAP, right=GAP)


def _scale(width: int) -> float:
    least, greatest = PANEL_WIDTH
    if width > greatest:
        return greatest / width
    return max(1, -(-least // width))


def _truth(scene: Scene) -> Pixels:
    """Colour-coded labels within the regions, the image pale and grey around them."""
    grey = cv2.cvtColor(scene.image, cv2.COLOR_RGB2GRAY)
    pale = np.repeat((200 + 0.2 * grey.astype(np.float32)).astype(np.uint8)[..., None], 3, axis=-1)
    inside = np.zeros(scene.labels.shape, bool)
    for region in (*scene.earlier, *scene.chosen):
        region.mark(inside, True)
    colours = PALETTE[scene.labels % len(PALETTE)]
    colours[scene.labels == IGNORE] = UNKNOWN
    pale[inside] = colours[inside]
    return pale


def _outline(panel: Pixels, region: Region, scale: float, colour: tuple[int, int, int], thickness: int) -> None:
    """Draw a frame just inside the region, with a dark inner edge so that it stands out from any background."""
    _frame(panel, region, scale, colour, range(thickness))
    _frame(panel, region, scale, INK, range(thickness, thickness + 1))


def _frame(panel: Pixels, region: Region, scale: float, colour: tuple[int, int, int], insets: range) -> None:
    top, left = (round(a * scale) for a in region.start)
    bottom, right = (round((a + n) * scale) - 1 for a, n in zip(region.start, region.size, strict=True))
    if region.mask is not None:
        _contour(panel[top : bottom + 1, left : right + 1], region, colour, insets)
        return
    for inset in insets:
        if bottom - inset > top + inset and right - inset > left + inset:
            cv2.rectangle(panel, (left + inset, top + inset), (right - inset, bottom - inset), colour, 1)


def _contour(window: Pixels, region: Region, colour: tuple[int, int, int], insets: range) -> None:
    """Draw the outline of an irregular region into its window of a panel."""
    inside = np.pad(cv2.resize(region.inside.view(np.uint8), window.shape[1::-1], interpolation=cv2.INTER_NEAREST), 1)
    for inset in insets:
        inner = cv2.erode(inside, np.ones((3, 3), np.uint8), iterations=inset)
        edge = inner - cv2.erode(inner, np.ones((3, 3), np.uint8))
        window[edge[1:-1, 1:-1] > 0] = colour


def _titled(panel: Pixels, title: str) -> Pixels:
    head = np.full((TITLE_HEIGHT, panel.shape[1], 3), 255, np.uint8)
    cv2.putText(head, _ascii(title), (1, TITLE_HEIGHT - 9), FONT, 0.5, INK, 1, cv2.LINE_AA)
    return np.concatenate([head, panel])


def _legend_entries(scenes: Sequence[Scene], classes: Sequence[str]) -> list[tuple[str, tuple[int, int, int], bool]]:
    """Name, colour and whether it is a frame only, of everything that the scenes show."""
    present: set[int] = set()
    for scene in scenes:
        present |= {class_ for class_ in scene.drawn if class_ is not None}
        for region in (*scene.earlier, *scene.chosen):
            present |= set(np.unique(region.of(scene.labels)).tolist())
    entries = []
    if any(class_ is None for scene in scenes for class_ in scene.drawn):
        entries.append(("chosen now", CHOSEN, True))
    if any(scene.earlier for scene in scenes):
        entries.append(("earlier", EARLIER, True))
    entries += [(classes[class_], colour_of(class_), False) for class_ in sorted(present) if class_ < len(classes)]
    if IGNORE in present:
        entries.append(("no label", UNKNOWN, False))
    return entries


def _legend(entries: Sequence[tuple[str, tuple[int, int, int], bool]], width: int) -> Pixels:
    cell = 44 + max((cv2.getTextSize(_ascii(name), FONT, 0.5, 1)[0][0] for name, _, _ in entries), default=0)
    per_row = max(1, (width - 2 * GAP) // cell)
    legend = np.full((-(-len(entries) // per_row) * LEGEND_ROW + GAP, width, 3), 255, np.uint8)
    for number, (name, colour, frame) in enumerate(entries):
        left, top = GAP + number % per_row * cell, 6 + number // per_row * LEGEND_ROW
        if frame:
            _outline(legend, Region("", (top, left), (17, 17)), 1, colour, 3 if colour == CHOSEN else 1)
        else:
            cv2.rectangle(legend, (left, top), (left + 16, top + 16), colour, cv2.FILLED)
        cv2.putText(legend, _ascii(name), (left + 23, top + 13), FONT, 0.5, INK, 1, cv2.LINE_AA)
    return legend


def _padded(panel: Pixels, *, top: int = 0, bottom: int = 0, left: int = 0, right: int = 0) -> Pixels:
    return np.pad(panel, ((top, bottom), (left, right), (0, 0)), constant_values=255)


def _ascii(text: str) -> str:
    # OpenCV's own font has no other characters.
    return text.encode("ascii", "replace").decode()
