"""Training crops of large 2-D images around annotated regions, read from the disk while the model trains."""

from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from functools import partial
from itertools import islice
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from decomp.platform.datasets.base import Dataset
from decomp.platform.learners.training.annotated import AnnotatedPixels, channel_statistics, revealed
from decomp.platform.learners.training.augmentation import cut, distorted, jittered
from decomp.platform.learners.training.lru import Arrays, LRUCache
from decomp.platform.ledger import Ledger
from decomp.platform.prefetch import prefetch

IMAGENET_MEAN, IMAGENET_STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
"""Those of RGB pixels from 0 to 255; released weights were trained with them."""

BATCHES_AHEAD = 2


class Batch(NamedTuple):
    """Crops of one training step.

    Attributes:
        pixels: shape (N, H, W, channels), uint8 if the images are, otherwise float32.
        labels: shape (N, H, W), uint8, `IGNORE` outside the annotated regions.
    """

    pixels: npt.NDArray[np.generic]
    labels: npt.NDArray[np.uint8]


class StreamedCrops:
    """Draws training crops around annotated pixels and reads their images when they are needed, ahead of time.

    A crop is a window around an annotated pixel at a random scale, which may be mirrored and whose colours are changed
    at random: `augmentation.distorted` for RGB images of 8 bits, `augmentation.jittered` for others. All random
    numbers come from the training's stream, one seed per crop, so the number of threads does not matter.

    Args:
        dataset: the data set.
        ledger: the annotated regions; everything outside them is `IGNORE`.
        size: rows and columns of a crop.
        scales: least and greatest scale; a scale of 2 shows half as many pixels of the image per side.
        batch: crops per batch.
        balanced: share of the crops that are drawn by class, as in `AnnotatedPixels.draw`.
        workers: threads that read images and cut crops.
        cache: bytes of images and labels kept at most.
        augment: whether crops are mirrored and their colours changed.

    Attributes:
        channels: of the images.
        mean: of each channel, shape (channels,), float32: ImageNet's for RGB images of 8 bits, as released weights
            expect, and those of the annotated images for others.
        std: standard deviations likewise.
    """

    def __init__(
        self,
        dataset: Dataset,
        ledger: Ledger,
        size: tuple[int, int],
        scales: tuple[float, float],
        batch: int,
        balanced: float,
        workers: int,
        cache: float,
        augment: bool = True,
    ) -> None:
        self._dataset, self._size, self._scales, self._augment = dataset, size, scales, augment
        self._batch, self._balanced, self._workers = batch, balanced, workers
        self._images = list(ledger.by_image.items())
        jobs = (partial(revealed, dataset, name, regions) for name, regions in self._images)
        with closing(prefetch(jobs, workers, 2 * workers)) as labels:
            pairs = zip((regions for _, regions in self._images), labels, strict=True)
            self._pixels = AnnotatedPixels(pairs, len(dataset.classes))
        first = dataset.image(self._images[0][0])
        self._cache = LRUCache(self._read, cache)
        self.channels = first.shape[2]
        self._colours = first.dtype == np.uint8 and self.channels == 3
        if self._colours:
            self.mean, self.std = np.array(IMAGENET_MEAN, np.float32), np.array(IMAGENET_STD, np.float32)
        else:
            self.mean, self.std = channel_statistics(dataset.image(name) for name, _ in self._images)

    def class_weights(self, power: float) -> npt.NDArray[np.float32]:
        """As `AnnotatedPixels.class_weights`."""
        return self._pixels.class_weights(power)

    def batches(self, rng: np.random.Generator, n: int, part: slice | None = None) -> Generator[Batch, None, None]:
        """The n batches of a training, or the same part of each; what is in a crop does not depend on the part."""
        crops_of_part = range(self._batch)[part or slice(None)]
        jobs = (job for _ in range(n) for job in self._jobs(rng, crops_of_part))
        with closing(prefetch(jobs, self._workers, BATCHES_AHEAD * len(crops_of_part))) as crops:
            while batch := list(islice(crops, len(crops_of_part))):
                pixels, labels = zip(*batch, strict=True)
                yield Batch(np.stack(pixels), np.stack(labels))

    def _jobs(self, rng: np.random.Generator, crops: range) -> Iterator[Callable[[], Batch]]:
        drawn = self._pixels.draw(rng, self._batch, self._balanced)
        seeds = rng.integers(2**63, size=self._batch).tolist()
        for k in crops:
            yield partial(self._crop, drawn[k], seeds[k])

    def _crop(self, pixel: tuple[int, int], seed: int) -> Batch:
        rng = np.random.Generator(np.random.Philox(seed))
        image, labels = self._cache[self._pixels.image(pixel)]
        scale = rng.uniform(*self._scales)
        window = [
            _around(at, max(1, round(side / scale)), extent, rng.uniform(0.25, 0.75))
            for at, side, extent in zip(self._pixels.position(pixel, labels), self._size, labels.shape, strict=True)
        ]
        pixels, marks = cut(image, labels, (window[0], window[1]), scale, self._size)
        if self._augment:
            if rng.random() < 0.5:
                pixels, marks = np.ascontiguousarray(pixels[:, ::-1]), marks[:, ::-1]
            if self._colours:
                pixels = distorted(pixels.astype(np.uint8, copy=False), rng)
            else:
                pixels = jittered(pixels.astype(np.float32, copy=False), self.mean, self.std, rng)
        return Batch(pixels, marks)

    def _read(self, index: int) -> Arrays:
        name, regions = self._images[index]
        return self._dataset.image(name), revealed(self._dataset, name, regions)


def _around(at: int, length: int, extent: int, share: float) -> slice:
    """The window of an axis of `extent` pixels in which pixel `at` lies at `share` of `length`, moved inside."""
    start = min(max(0, at - int(share * length)), max(0, extent - length))
    return slice(start, min(start + length, extent))
