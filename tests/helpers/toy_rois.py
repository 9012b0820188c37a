"""A small data set of ROIs, ledgers of it, and a learner that is never trained."""

import hashlib
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import safetensors.numpy
import torch

from decomp.platform.datasets import Dataset, Split
from decomp.platform.datasets.base import Task
from decomp.platform.learners import Learner, Predictor
from decomp.platform.learners.inference.bottleneck import Bottleneck
from decomp.platform.learners.inference.decode import decode
from decomp.platform.ledger import Ledger
from decomp.platform.randomness import stream


@dataclass(frozen=True)
class Slides(Dataset):
    """Slides of 5 ROIs, whose two features are their number in the data set and their class."""

    task: ClassVar[Task] = "roi"
    classes = ("a", "b", "c")
    folds: int = 2

    def ids(self, split: Split, fold: int) -> tuple[str, ...]:
        return tuple(f"{split}-{fold}-{index}" for index in range(3))

    def shape(self, image: str) -> tuple[int, ...]:
        return (5,)

    def image(self, image: str) -> npt.NDArray[np.float32]:
        numbers = 5 * int(image[-1]) + np.arange(5)
        return np.column_stack([numbers, self.truth(image)]).astype(np.float32)

    def labels(self, image: str) -> npt.NDArray[np.uint8]:
        return self.truth(image)

    def truth(self, image: str) -> npt.NDArray[np.uint8]:
        return ((np.arange(5) + int(image[-1])) % 3).astype(np.uint8)

    def fingerprint(self) -> str:
        return "0"


def whole(*splits: Split, fold: int = 0) -> Ledger:
    return Ledger.whole({slide: (5,) for split in splits for slide in Slides().ids(split, fold)})


class Untrained(Learner):
    """Predicts ROIs at random, keyed by the training's stream and the slide; a training costs nothing."""

    def fit(self, dataset, training, checkpoint):
        checkpoint.write_bytes(safetensors.numpy.save({"key": training.rng.integers(2**63, size=1)}))

    def load(self, checkpoint, dataset, device):
        return KeyedPredictor(int(safetensors.numpy.load_file(checkpoint)["key"][0]), len(dataset.classes))


@dataclass(frozen=True)
class KeyedPredictor(Predictor):
    """Random logits and features of the ROIs of a slide."""

    key: int
    n_classes: int

    def predict(self, image, wanted):
        rng = stream(self.key, "prediction", image=hashlib.blake2b(np.ascontiguousarray(image)).hexdigest())
        logits, features = rng.normal(0, 2, (self.n_classes, len(image))), rng.normal(size=(8, len(image)))
        logits, features = (torch.from_numpy(values.astype(np.float32)) for values in (logits, features))
        return decode(logits, wanted, Bottleneck(features, (1.0,)))
