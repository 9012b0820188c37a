"""A data set and a learner that cost next to nothing but whose results depend on everything, for the soak."""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from decomp.platform.datasets import Dataset, Split
from decomp.platform.learners import Learner, Predictor, Training
from decomp.platform.learners.inference.bottleneck import Bottleneck
from decomp.platform.learners.inference.decode import decode
from decomp.platform.predictions import Prediction, Wanted
from decomp.platform.randomness import stream


@dataclass(frozen=True)
class Tiles(Dataset):
    """Noisy images of coloured rectangles."""

    images: int = 12

    classes = ("ground", "house", "tree")

    def ids(self, split: Split, fold: int) -> tuple[str, ...]:
        """As many training images as wanted, and three of each other split."""
        return tuple(f"{split}-{k:02d}" for k in range(self.images if split == "train" else 3))

    def shape(self, image: str) -> tuple[int, ...]:
        """The same for all."""
        return 32, 48

    def image(self, image: str) -> npt.NDArray[np.uint8]:
        """A grey that hints at the class, in three channels."""
        noise = stream(0, "soak-noise", image=image).normal(0, 30, (32, 48, 3))
        return np.clip(60 + 60 * self.labels(image)[..., None] + noise, 0, 255).astype(np.uint8)

    def labels(self, image: str) -> npt.NDArray[np.uint8]:
        """Five rectangles."""
        rng, labels = stream(0, "soak-labels", image=image), np.zeros((32, 48), np.uint8)
        for _ in range(5):
            row, column, height, width = (int(n) for n in rng.integers((0, 0, 4, 4), (28, 44, 16, 16)))
            labels[row : row + height, column : column + width] = rng.integers(3)
        return labels

    def fingerprint(self) -> str:
        """Says how many there are."""
        return f"tiles-{self.images}"


@dataclass(frozen=True)
class Means(Learner):
    """The nearest class mean, with a jitter that makes the training's random stream matter.

    Attributes:
        seconds: how long a training takes at least; a prediction takes a tenth of it.
    """

    seconds: float = 0.5

    def fit(self, dataset: Dataset, training: Training, checkpoint: Path) -> None:
        """Average the annotated pixels of each class."""
        time.sleep(self.seconds)
        sums, counts = np.zeros((len(dataset.classes), 3)), np.zeros((len(dataset.classes), 1))
        for image, regions in training.ledger.by_image.items():
            pixels, labels = dataset.image(image), dataset.labels(image)
            for region in regions:
                for c in range(len(counts)):
                    inside = pixels[region.slices][labels[region.slices] == c]
                    sums[c], counts[c] = sums[c] + inside.sum(0), counts[c] + len(inside)
        means = sums / np.maximum(counts, 1) + training.rng.normal(0, 3, sums.shape)
        checkpoint.write_bytes(means.astype(np.float32).tobytes())

    def load(self, checkpoint: Path, dataset: Dataset, device: str) -> Predictor:
        """Read the means."""
        means = np.frombuffer(checkpoint.read_bytes(), np.float32).reshape(-1, 3, 1, 1)
        return Nearest(torch.from_numpy(means.copy()), self.seconds / 10)


@dataclass(frozen=True)
class Nearest(Predictor):
    """Softmax over negative squared distances; the image itself is the bottleneck."""

    means: torch.Tensor
    seconds: float

    def predict(self, image: npt.NDArray[np.uint8], wanted: Wanted) -> Prediction:
        """Decode the distances to the class means."""
        time.sleep(self.seconds)
        pixels = torch.from_numpy(np.moveaxis(image, -1, 0).astype(np.float32))
        cells = torch.nn.functional.avg_pool2d(pixels, 4) / 255
        return decode(-((pixels - self.means) ** 2).sum(1) / 2000, wanted, Bottleneck(cells, (4, 4)))
