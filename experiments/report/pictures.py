"""Pictures of what was chosen: the regions on the images, and the true labels within them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from decomp.experiments.report.canvas import (
    CHOSEN,
    EARLIER,
    GAP,
    INK,
    TITLE_HEIGHT,
    LegendRow,
    Pixels,
    class_legend,
    colour_of,
    frame,
    legend,
    outline,
    padded,
    png,
    resized,
    revealed,
    stacked,
    text_width,
    titled,
    to_rgb,
)
from decomp.platform.datasets.base import Dataset
from decomp.platform.ledger import Annotation, Ledger
from decomp.platform.regions import Region

PANEL_WIDTH = (500, 1000)
"""Least and greatest width of one image on a picture of a cycle, in pixels, as far as whole-number scaling allows."""

CONTRAST_WIDTH = 1760
"""Width of a picture of several samplers, in pixels, as far as whole-number scaling allows."""


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

    On the left is the image, with this cycle's regions in the colour of the class drawn for them (yellow for samplers
    that draw none) and earlier ones in grey; on the right are the true labels of all annotated regions.

    Args:
        dataset: where images and labels are read. A volume is shown by the slice with most of the cycle's regions.
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
    scenes = [_scene(dataset, name, rows, cycle) for name in names]
    picture = stacked([_row(scene) for scene in scenes])
    return png(stacked([picture, legend(_legend_rows(scenes, dataset.classes), picture.shape[1])]))


def picture_of_samplers(dataset: Dataset, ledgers: Mapping[str, Ledger], limit: int = 4) -> bytes | None:
    """The annotated regions of several samplers on the same images, as PNG: a row per image, a column per sampler.

    The images are those that most samplers have opened after the first cycle, whose images and regions are common to
    all; ties are broken by id. The true classes are shown within all annotated regions.

    Args:
        dataset: where images and labels are read. A volume is shown by the slice with most regions of all samplers
            after the first cycle.
        ledgers: regions of each sampler by its name, of the same repeat and up to the same cycle.
        limit: images to show at most.

    Returns:
        PNG; None where no sampler has annotated anything after cycle 1, and for sets of ROIs, which have no picture.
    """
    if dataset.task == "roi":
        return None
    names = opened_by_most(ledgers)[:limit]
    if not names:
        return None
    present: set[int] = set()
    rows = [_contrast(dataset, name, ledgers, present) for name in names]
    widths = [max(panel.shape[1] for panel in column) for column in zip(*rows, strict=True)]
    aligned = [
        [
            padded(panel, top=4, bottom=4, left=GAP, right=width - panel.shape[1])
            for panel, width in zip(row, widths, strict=True)
        ]
        for row in rows
    ]
    picture = padded(stacked([np.concatenate(row, axis=1) for row in aligned]), right=GAP)
    return png(stacked([picture, legend(class_legend(present, dataset.classes), picture.shape[1])]))


def opened_by_most(ledgers: Mapping[str, Ledger]) -> list[str]:
    """Images annotated after cycle 1, those of most samplers first; ties by id."""
    openers: dict[str, int] = {}
    for ledger in ledgers.values():
        for image in {row.region.image for row in ledger.annotations() if row.cycle > 1}:
            openers[image] = openers.get(image, 0) + 1
    return sorted(openers, key=lambda image: (-openers[image], image))


def _contrast(dataset: Dataset, image: str, ledgers: Mapping[str, Ledger], present: set[int]) -> list[Pixels]:
    """The image's panels: itself, then one per sampler. The classes that they show are added to `present`."""
    regions = {name: ledger.regions(image) for name, ledger in ledgers.items()}
    pixels, labels, title = dataset.image(image), dataset.labels(image), image
    if labels.ndim == 3:
        later = [row.region for ledger in ledgers.values() for row in ledger.annotations() if row.cycle > 1]
        plane = _plane([region for region in later if region.image == image])
        pixels, labels, title = pixels[plane], labels[plane], f"{image}, slice {plane}"
        regions = {
            name: tuple(_flat(region, plane) for region in annotated if _crosses(region, plane))
            for name, annotated in regions.items()
        }
    rgb = to_rgb(pixels)
    least = max(text_width(text) for text in (title, *(_caption(*each) for each in regions.items()))) + 4
    width = max(least, CONTRAST_WIDTH // (len(regions) + 1) - GAP)
    scale = width / labels.shape[1] if labels.shape[1] > width else width // labels.shape[1]
    panels = [(title, resized(rgb, scale, smooth=True))]
    for name, annotated in regions.items():
        truth = resized(revealed(rgb, labels, annotated), scale, smooth=False)
        for region in annotated:
            frame(truth, region, scale, INK, range(1))
            present |= set(np.unique(region.of(labels)).tolist())
        panels.append((_caption(name, annotated), truth))
    # The text may need more room than the image.
    return [titled(padded(panel, right=max(0, least - panel.shape[1])), text) for text, panel in panels]


def _caption(sampler: str, regions: Sequence[Region]) -> str:
    return f"{sampler}: {len(regions)} region{'s' * (len(regions) != 1)}"


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
    scale = _scale(scene.labels.shape[1])
    image = resized(scene.image, scale, smooth=True)
    truth = resized(revealed(scene.image, scene.labels, (*scene.earlier, *scene.chosen)), scale, smooth=False)
    for region in scene.earlier:
        outline(image, region, scale, EARLIER, 1)
        outline(truth, region, scale, EARLIER, 1)
    for region, class_ in zip(scene.chosen, scene.drawn, strict=True):
        outline(image, region, scale, CHOSEN if class_ is None else colour_of(class_), 3)
        frame(truth, region, scale, INK, range(2))
    drawn = ", frame: class drawn" if any(class_ is not None for class_ in scene.drawn) else ""
    panels = [
        titled(image, f"{scene.title}: {len(scene.chosen)} regions chosen{drawn}"),
        np.full((image.shape[0] + TITLE_HEIGHT, GAP, 3), 255, np.uint8),
        titled(truth, "true labels within annotated regions"),
    ]
    return padded(np.concatenate(panels, axis=1), top=4, bottom=4, left=GAP, right=GAP)


def _scale(width: int) -> float:
    least, greatest = PANEL_WIDTH
    return greatest / width if width > greatest else max(1, -(-least // width))


def _legend_rows(scenes: Sequence[Scene], classes: Sequence[str]) -> list[LegendRow]:
    """Everything that the scenes show."""
    present: set[int] = set()
    for scene in scenes:
        present |= {class_ for class_ in scene.drawn if class_ is not None}
        for region in (*scene.earlier, *scene.chosen):
            present |= set(np.unique(region.of(scene.labels)).tolist())
    rows: list[LegendRow] = []
    if any(class_ is None for scene in scenes for class_ in scene.drawn):
        rows.append(LegendRow("chosen now", CHOSEN, hollow=True))
    if any(scene.earlier for scene in scenes):
        rows.append(LegendRow("earlier", EARLIER, hollow=True))
    return rows + class_legend(present, classes)
