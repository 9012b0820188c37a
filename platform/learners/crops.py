"""Training crops of 2-D images around annotated regions."""

import numpy as np
import numpy.typing as npt

from decomp.platform.datasets.base import IGNORE, Dataset
from decomp.platform.ledger import Ledger
from decomp.platform.regions import Region
from decomp.platform.registry import UserError


class Crops:
    """Draws training crops around annotated pixels; holds only the images that have any.

    Pixels are addressed as "the k-th annotated pixel of class c" through a table of class counts per region, so no
    list of pixel positions is kept.

    Args:
        dataset: the data set.
        ledger: the annotated regions; everything outside them is `IGNORE`.
        size: side of a crop in pixels.
        batch: crops per batch.
        balanced: share of the crops that are drawn by class.
        jitter: standard deviation of a crop's random gain and offset, in standard deviations of the pixels.
    """

    def __init__(self, dataset: Dataset, ledger: Ledger, size: int, batch: int, balanced: float, jitter: float) -> None:
        self._size, self._batch, self._balanced, self._jitter = size, batch, balanced, jitter
        self._images: list[npt.NDArray[np.generic]] = []
        self._labels: list[npt.NDArray[np.uint8]] = []
        self._regions: list[tuple[int, Region]] = []
        n_classes = len(dataset.classes)
        counts = []
        for name, regions in ledger.by_image.items():
            pixels, oracle = dataset.image(name), dataset.labels(name)
            labels = np.full(oracle.shape, IGNORE, np.uint8)
            for region in regions:
                revealed = region.of(oracle)
                region.mark(labels, revealed)
                found = np.bincount(revealed, minlength=IGNORE + 1)
                if found[n_classes:IGNORE].any():
                    raise UserError(f"Image {name!r} has labels beyond the {n_classes} classes of its data set.")
                self._regions.append((len(self._images), region))
                counts.append(found[:n_classes])
            # Images smaller than a crop are enlarged; the ignored border does not train.
            room = [(0, max(0, size - extent)) for extent in oracle.shape]
            self._labels.append(np.pad(labels, room, constant_values=IGNORE))
            self._images.append(np.pad(pixels, [*room, (0, 0)], mode="edge"))
        if not counts or not np.any(counts):
            raise UserError("There is nothing to train on: no annotated pixel has a class.")
        by_class = np.array(counts)  # (regions, C)
        self._counts = by_class.sum(axis=0)
        self._annotated = np.flatnonzero(self._counts)
        # Last column: any class.
        self._cumulated = np.cumsum(np.column_stack([by_class, by_class.sum(axis=1)]), axis=0)
        self.channels = self._images[0].shape[2]
        self.mean, self.std = self._statistics()

    def class_weights(self, power: float) -> npt.NDArray[np.float32]:
        """Weight of each label in the loss, shape (256,), float32; 0 for `IGNORE` and labels without a pixel."""
        weights = np.zeros(IGNORE + 1, np.float32)
        weights[self._annotated] = (self._counts[self._annotated] / self._counts.sum()) ** -power
        return weights

    def _statistics(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Mean and standard deviation of each channel over the held images, each of shape (channels,)."""
        means = np.array([image.mean(axis=(0, 1), dtype=np.float64) for image in self._images])
        variances = np.array([image.var(axis=(0, 1), dtype=np.float64) for image in self._images])
        std = np.sqrt(variances.mean(axis=0) + means.var(axis=0))
        return means.mean(axis=0).astype(np.float32), np.where(std > 0, std, 1).astype(np.float32)

    def draw(self, rng: np.random.Generator) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        """One batch: jittered pixels (batch, crop, crop, channels), labels (batch, crop, crop)."""
        size, batch = self._size, self._batch
        pixels = np.empty((batch, size, size, self.channels), np.float32)
        labels = np.empty((batch, size, size), np.int64)
        n_balanced = round(self._balanced * batch)
        columns = np.full(batch, len(self._counts))
        columns[:n_balanced] = rng.choice(self._annotated, n_balanced)
        ordinals = rng.integers(self._cumulated[-1, columns])
        shifts = rng.integers(size // 4, size - size // 4, size=(batch, 2))
        for k, (column, ordinal, shift) in enumerate(zip(columns, ordinals, shifts, strict=True)):
            index, window = self._window(int(column), int(ordinal), shift)
            pixels[k] = self._images[index][window]
            labels[k] = self._labels[index][window]
        return self._jittered(pixels, rng), labels

    def _window(self, column: int, ordinal: int, shift: npt.NDArray[np.int64]) -> tuple[int, tuple[slice, ...]]:
        """Image and crop whose pixel `shift` is the `ordinal`-th annotated one of the class `column`."""
        cumulated = self._cumulated[:, column]
        row = int(np.searchsorted(cumulated, ordinal, side="right"))
        index, region = self._regions[row]
        inside = region.of(self._labels[index])
        matches = inside == column if column < len(self._counts) else inside != IGNORE
        position = np.flatnonzero(matches)[ordinal - (cumulated[row - 1] if row else 0)]
        size = self._size
        starts = [
            min(max(0, at - int(back)), extent - size)
            for at, back, extent in zip(region.pixel(int(position)), shift, self._labels[index].shape, strict=True)
        ]
        return index, tuple(slice(start, start + size) for start in starts)

    def _jittered(self, pixels: npt.NDArray[np.float32], rng: np.random.Generator) -> npt.NDArray[np.float32]:
        gain, offset = self._jitter * rng.standard_normal((2, len(pixels), 1, 1, 1), np.float32)
        return np.asarray((pixels - self.mean) * (1 + gain) + self.mean + offset * self.std, np.float32)
