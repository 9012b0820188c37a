"""The annotated pixels of 2-D images, without a list of them."""

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from decomp.platform.datasets.base import IGNORE, Dataset
from decomp.platform.errors import UserError
from decomp.platform.regions import Region


def revealed(dataset: Dataset, image: str, regions: Sequence[Region]) -> npt.NDArray[np.uint8]:
    """Labels of an image, shape (*axes), uint8, in its annotated regions, and `IGNORE` everywhere else."""
    oracle = dataset.labels(image)
    labels = np.full(oracle.shape, IGNORE, np.uint8)
    for region in regions:
        region.mark(labels, region.of(oracle))
    return labels


def channel_statistics(
    images: Iterable[npt.NDArray[np.generic]],
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Mean and standard deviation of each channel over images of equal weight, each of shape (channels,), float32.

    A constant channel has the standard deviation 1.
    """
    axes = (0, 1)
    moments = [(image.mean(axes, dtype=np.float64), image.var(axes, dtype=np.float64)) for image in images]
    means, variances = (np.array(values) for values in zip(*moments, strict=True))
    std = np.sqrt(variances.mean(axis=0) + means.var(axis=0))
    return means.mean(axis=0).astype(np.float32), np.where(std > 0, std, 1).astype(np.float32)


class AnnotatedPixels:
    """Draws annotated pixels, uniformly or class by class.

    Pixels are addressed as "the k-th annotated pixel of class c" through a table of class counts per region, so no
    list of pixel positions is kept.

    Args:
        images: annotated regions of each image and what `revealed` gives for them; images are numbered in this order.
        n_classes: number of classes C.

    Raises:
        UserError: if no pixel is annotated with a class, or a label is beyond the classes.
    """

    def __init__(self, images: Iterable[tuple[Sequence[Region], npt.NDArray[np.uint8]]], n_classes: int) -> None:
        self._regions: list[tuple[int, Region]] = []
        counts = []
        for index, (regions, labels) in enumerate(images):
            for region in regions:
                by_label = np.bincount(region.of(labels), minlength=IGNORE + 1)
                if by_label[n_classes:IGNORE].any():
                    raise UserError(
                        f"Image {region.image!r} has labels beyond the {n_classes} classes of its data set."
                    )
                self._regions.append((index, region))
                counts.append(by_label[:n_classes])
        if not counts or not np.any(counts):
            raise UserError("There is nothing to train on: no annotated pixel has a class.")
        by_class = np.array(counts)  # (regions, C)
        self._counts = by_class.sum(axis=0)
        self._annotated = np.flatnonzero(self._counts)
        # Last column: any class.
        self._cumulated = np.cumsum(np.column_stack([by_class, by_class.sum(axis=1)]), axis=0)

    def class_weights(self, power: float) -> npt.NDArray[np.float32]:
        """Weight of each label in the loss, shape (256,), float32; 0 for `IGNORE` and labels without a pixel."""
        weights = np.zeros(IGNORE + 1, np.float32)
        weights[self._annotated] = (self._counts[self._annotated] / self._counts.sum()) ** -power
        return weights

    def draw(self, rng: np.random.Generator, n: int, balanced: float) -> list[tuple[int, int]]:
        """Draw n pixels.

        Args:
            rng: where randomness comes from.
            n: number of pixels.
            balanced: share of the pixels that are drawn by class first, uniformly over the annotated classes; the
                others are drawn uniformly over the annotated area.

        Returns:
            Class and number of each pixel, which `image` and `position` understand.
        """
        n_balanced = round(balanced * n)
        columns = np.full(n, len(self._counts))
        columns[:n_balanced] = rng.choice(self._annotated, n_balanced)
        ordinals = rng.integers(self._cumulated[-1, columns])
        return list(zip(columns.tolist(), ordinals.tolist(), strict=True))

    def image(self, pixel: tuple[int, int]) -> int:
        """Number of the image in which a drawn pixel lies."""
        return self._regions[self._row(pixel)][0]

    def position(self, pixel: tuple[int, int], labels: npt.NDArray[np.uint8]) -> tuple[int, ...]:
        """Where a drawn pixel lies in its image, for which `revealed` gives `labels`."""
        column, ordinal = pixel
        row = self._row(pixel)
        region = self._regions[row][1]
        inside = region.of(labels)
        matches = inside == column if column < len(self._counts) else inside != IGNORE
        before = self._cumulated[row - 1, column] if row else 0
        return region.pixel(int(np.flatnonzero(matches)[ordinal - before]))

    def _row(self, pixel: tuple[int, int]) -> int:
        column, ordinal = pixel
        return int(np.searchsorted(self._cumulated[:, column], ordinal, side="right"))
