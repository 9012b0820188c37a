"""What a model is: something that is trained on annotated regions and predicts whole images."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from decomp.platform.datasets.base import Dataset
from decomp.platform.ledger import Ledger
from decomp.platform.metrics import confusion_matrix
from decomp.platform.predictions import Measure, Prediction, Wanted


@dataclass(frozen=True)
class Processes:
    """The processes that train one model together, and which of them this one is; by default it is alone.

    Attributes:
        rank: number of this process, from 0; process 0 writes the checkpoint.
        count: how many they are.
        address: ``host:port`` where they meet, see `decomp.platform.learners.training.distributed.open_rendezvous`; not
            needed alone.
    """

    rank: int = 0
    count: int = 1
    address: str = ""


@dataclass(frozen=True)
class Training:
    """One training: what `Learner.fit` is given besides the data.

    Attributes:
        ledger: the annotated regions, of the ROI task in the validation split too. Nothing else may be read from the
            oracle but, of other tasks, the labels of the validation split, which is no part of the pool.
        fold: cross-validation fold, which says what is train and what is validation.
        rng: the training's own random stream (Sec. 8 of the method notes); all randomness derives from it.
        warm_start: checkpoint whose weights are kept (the optimiser starts anew), or None to train from scratch.
        device: torch device, e.g. ``"cpu"`` or ``"cuda"``.
        progress: to be called now and then with the finished fraction in [0, 1].
        processes: who trains together, at most `Learner.most_processes`; all are given the same but for their rank,
            device and `progress`.
    """

    ledger: Ledger
    rng: np.random.Generator
    fold: int = 0
    warm_start: Path | None = None
    device: str = "cpu"
    progress: Callable[[float], None] = lambda fraction: None
    processes: Processes = field(default_factory=Processes)


class Predictor(ABC):
    """A trained model, ready to predict."""

    @abstractmethod
    def predict(self, image: Any, wanted: Wanted) -> Prediction:
        """Predict one image in one forward pass; `decomp.platform.learners.inference.decode` makes it from logits.

        Args:
            image: what `Dataset.image` gives: pixels, shape (*axes, channels), or ROIs.
            wanted: what is wanted besides the labels.

        Raises:
            FloatingPointError: if the model's output is not finite.
        """

    def evaluate(self, dataset: Dataset, image: str, pixels: Any) -> npt.NDArray[np.int64]:
        """Confusion matrix of one test image, shape (C, C), true classes in rows.

        Args:
            dataset: its data set.
            image: id of the image.
            pixels: what `Dataset.image` gives of it.
        """
        labels = self.predict(pixels, Wanted()).labels
        return confusion_matrix(dataset.labels(image), labels, len(dataset.classes))


class Learner(ABC):
    """A way to train a model.

    A learner is named in the experiment file (`learner: {name: ..., option: ...}`), its options are the fields of the
    (data)class. The same arguments give the same checkpoint, byte for byte, on the same kind of machine.

    Attributes:
        uncertainty: the measure that samplers use by default: entropy for softmax models, least confidence for models
            of nested sigmoids (Sec. 6 of the method notes).
    """

    uncertainty: ClassVar[Measure] = Measure.ENTROPY

    @property
    def most_processes(self) -> int:
        """How many processes can train one model together at most; 1 where `fit` does not heed `Training.processes`."""
        return 1

    def prepare(self, dataset: Dataset) -> Dataset:
        """The data set as this learner reads it, in whose pixels regions are chosen; by default the data set itself.

        Called in every process before anything else, so it must be cheap; what takes long (resampling, statistics) is
        done when it is first needed, once for all processes of a machine.
        """
        return dataset

    def training_epochs(self, n_regions: int) -> int | None:
        """Training epochs for so many annotated regions, to estimate device time; None where that is not known."""
        return None

    @abstractmethod
    def fit(self, dataset: Dataset, training: Training, checkpoint: Path) -> None:
        """Train on the annotated regions and write the model to the file `checkpoint`.

        Of processes that train together each is called, and the first alone writes.
        """

    @abstractmethod
    def load(self, checkpoint: Path, dataset: Dataset, device: str) -> Predictor:
        """Read a checkpoint written by `fit`, without unpickling anything."""
