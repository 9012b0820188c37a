"""Training crops of small 2-D images around annotated regions."""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from decomp.platform.datasets.base import IGNORE, Dataset
from decomp.platform.learners.training.annotated import AnnotatedPixels, channel_statistics, revealed
from decomp.platform.ledger import Ledger
from decomp.platform.regions import Region


class Crops:
    """Draws training crops around annotated pixels; holds only the images that have any.

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
        self._pixels = AnnotatedPixels(self._read(dataset, ledger), len(dataset.classes))
        self.channels = self._images[0].shape[2]
        self.mean, self.std = channel_statistics(self._images)

    def _read(self, dataset: Dataset, ledger: Ledger) -> Iterator[tuple[Sequence[Region], npt.NDArray[np.uint8]]]:
        for name, regions in ledger.by_image.items():
            pixels, labels = dataset.image(name), revealed(dataset, name, regions)
            # Images smaller than a crop are enlarged; the added border is ignored.
            room = [(0, max(0, self._size - extent)) for extent in labels.shape]
            self._labels.append(np.pad(labels, room, constant_values=IGNORE))
            self._images.append(np.pad(pixels, [*room, (0, 0)], mode="edge"))
            yield regions, labels

    def class_weights(self, power: float) -> npt.NDArray[np.float32]:
        """Weight of each label in the loss, shape (256,), float32; 0 for `IGNORE` and labels without a pixel."""
        return self._pixels.class_weights(power)

    def draw(self, rng: np.random.Generator) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        """One batch: jittered pixels (batch, crop, crop, channels), labels (batch, crop, crop)."""
        size, batch = self._size, self._batch
        pixels = np.empty((batch, size, size, self.channels), np.float32)
        labels = np.empty((batch, size, size), np.int64)
        drawn = self._pixels.draw(rng, batch, self._balanced)
        shifts = rng.integers(size // 4, size - size // 4, size=(batch, 2))
        for k, (pixel, shift) in enumerate(zip(drawn, shifts, strict=True)):
            index = self._pixels.image(pixel)
            window = self._window(self._labels[index], pixel, shift)
            pixels[k] = self._images[index][window]
            labels[k] = self._labels[index][window]
        return self._jittered(pixels, rng), labels

    def _window(
        self, labels: npt.NDArray[np.uint8], pixel: tuple[int, int], shift: npt.NDArray[np.int64]
    ) -> tuple[slice, ...]:
        """The crop whose pixel `shift` is the drawn one, or the nearest crop to it that lies in the image."""
        starts = [
            min(max(0, at - int(back)), extent - self._size)
            for at, back, extent in zip(self._pixels.position(pixel, labels), shift, labels.shape, strict=True)
        ]
        return tuple(slice(start, start + self._size) for start in starts)

    def _jittered(self, pixels: npt.NDArray[np.float32], rng: np.random.Generator) -> npt.NDArray[np.float32]:
        gain, offset = self._jitter * rng.standard_normal((2, len(pixels), 1, 1, 1), np.float32)
        return np.asarray((pixels - self.mean) * (1 + gain) + self.mean + offset * self.std, np.float32)
