"""A small data set of ROIs and ledgers of it."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from decomp.platform.datasets import Dataset, Split
from decomp.platform.datasets.base import Task
from decomp.platform.ledger import Ledger


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
