"""What a model is: something that is trained on annotated regions and predicts whole images."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from decomp.platform.datasets.base import Dataset
from decomp.platform.errors import UserError
from decomp.platform.ledger import Ledger
from decomp.platform.metrics import confusion_matrix
from decomp.platform.passes import Passes
from decomp.platform.predictions import Measure, Prediction, Wanted


@dataclass(frozen=True)
class Processes:
    """The processes that train one model together, and which of them this one is; by default it is alone.

    Attributes:
        rank: number of this process, from 0; process 0 writes the checkpoint.
        count: how many there are.
        address: ``host:port`` where they meet, see `decomp.platform.learners.training.distributed.open_rendezvous`; not
            needed by a process that is alone.
    """

    rank: int = 0
    count: int = 1
    address: str = ""


@dataclass(frozen=True)
class Training:
    """One training: what `Learner.fit` is given besides the data; made by the worker that trains.

    Attributes:
        ledger: the annotated regions; in the ROI task, those of the validation split too. Nothing else may be read from
            the oracle, except that the other tasks may read the labels of the validation split, which is not part of
            the pool.
        fold: cross-validation fold, which decides what is in the train split and what in the validation split.
        rng: the training's own random stream (Sec. 8 of the method notes); all randomness derives from it.
        warm_start: checkpoint whose weights are kept (the optimiser starts anew), or None to train from scratch.
        device: torch device, e.g. ``"cpu"`` or ``"cuda"``.
        progress: to be called now and then with the finished fraction in [0, 1].
        processes: those that train together, at most `Learner.most_processes`; all are given the same training but for
            their rank, device and `progress`.
    """

    ledger: Ledger
    rng: np.random.Generator
    fold: int = 0
    warm_start: Path | None = None
    device: str = "cpu"
    progress: Callable[[float], None] = lambda fraction: None
    processes: Processes = field(default_factory=Processes)


class Predictor(ABC):
    """A trained model, ready to predict.

    `Learner.load` makes it in every process that predicts; it stays there until the next cycle's model replaces it, and
    its methods are called from one thread.

    Example:
        >>> class Trained(Predictor):
        ...     def predict(self, image, wanted):
        ...         return decode(self.network(image), wanted)
    """

    @abstractmethod
    def predict(self, image: Any, wanted: Wanted) -> Prediction:
        """Predict one image in one forward pass; `decomp.platform.learners.inference.decode` makes one from logits.

        Called in the workers: in each cycle from the second on, once for every candidate image from which a
        selector reads something; and once for every test image, with nothing wanted but the labels, by `evaluate`.

        Args:
            image: what `Dataset.image` gives: pixels, shape (*axes, channels), or n ROIs.
            wanted: what is wanted besides the labels.

        Raises:
            FloatingPointError: if the model's output is not finite.
        """

    def evaluate(self, dataset: Dataset, image: str, pixels: Any) -> npt.NDArray[np.int64]:
        """Confusion matrix of one test image, shape (C, C), int64, true classes in rows.

        Called in the workers, once for every test image and cycle. Overridden only where a prediction is compared on
        a grid other than the one on which it was made.

        Args:
            dataset: the image's data set.
            image: id of the image.
            pixels: what `Dataset.image` gives for it.
        """
        labels = self.predict(pixels, Wanted()).labels
        return confusion_matrix(dataset.labels(image), labels, len(dataset.classes))


class Learner(ABC):
    """A way to train a model.

    A learner is named in the experiment file (`learner: {name: ..., option: ...}`); its options are the fields of the
    (data)class. It is built anew in every process that trains, predicts or plans, and holds options and nothing else.
    The same arguments give the same checkpoint, byte for byte, on the same kind of machine.

    Attributes:
        uncertainty: the measure that samplers use by default: entropy for softmax models, least confidence for models
            of nested sigmoids (Sec. 6 of the method notes); see `measure` where it depends on the data.
        axes: numbers of axes that its images may have; sets of ROIs have one.

    Example:
        >>> class Small(Learner):
        ...     def fit(self, dataset, training, checkpoint): checkpoint.write_bytes(train(dataset, training))
        ...     def load(self, checkpoint, dataset, device): return Trained(read(checkpoint))
    """

    uncertainty: ClassVar[Measure] = Measure.ENTROPY
    axes: ClassVar[tuple[int, ...]] = (1, 2, 3)

    @property
    def most_processes(self) -> int:
        """Greatest number of processes that can train one model together; 1 where `fit` ignores `Training.processes`.

        Asked before a run, when its workers are planned.
        """
        return 1

    def check_passes(self, passes: Passes) -> None:
        """Check that its models can predict an image in these passes (Sec. 10 of the method notes).

        Called by `decomp check` and before a run that has passes. Overridden by learners whose `load` gives a
        `decomp.platform.learners.inference.passes.ForwardPredictor`; see `Passes.check`.

        Raises:
            UserError: if they cannot, naming the key and the remedy.
        """
        raise UserError(f"passes: {type(self).__name__} predicts an image in one pass; remove 'passes'.")

    def prepare(self, dataset: Dataset) -> Dataset:
        """The data set as this learner reads it, in whose pixels regions are chosen; by default the data set itself.

        Called once in every process, before anything else, so it must be cheap; what takes long (resampling,
        statistics) is done when it is first needed, once for all processes of a machine.
        """
        return dataset

    def measure(self, dataset: Dataset) -> Measure:
        """The measure that samplers use by default with these data, called in the workers in each cycle."""
        return self.uncertainty

    def problems(self, dataset: Dataset) -> list[str]:
        """Why this learner cannot train on these data, a sentence each; none if it can.

        Called by `decomp check` and before a sweep, once the data themselves are found to be in order. What can be
        told from the options alone is refused when the learner is built.

        Args:
            dataset: the data set, prepared.
        """
        return []

    def training_epochs(self, n_regions: int) -> int | None:
        """Training epochs for `n_regions` annotated regions, or for as many whole images in a full annotation.

        Called by `decomp check` and before a sweep, to estimate device time; None where that is not known.
        """
        return None

    @abstractmethod
    def fit(self, dataset: Dataset, training: Training, checkpoint: Path) -> None:
        """Train on the annotated regions and write the model to the file `checkpoint`.

        Called once per cycle, in a worker, after the cycle's regions are revealed; once for a full annotation. In
        data-parallel training every process calls it at the same time, and only the first writes.

        Args:
            dataset: the data set, prepared.
            training: what is learned from; its ledger says which labels may be read.
            checkpoint: the file to write, in a folder that exists; any format that `load` reads without unpickling.
        """

    @abstractmethod
    def load(self, checkpoint: Path, dataset: Dataset, device: str) -> Predictor:
        """Read a checkpoint written by `fit`, without unpickling anything.

        Called in every worker, once per cycle: before it predicts or evaluates with the cycle's model.

        Args:
            checkpoint: a file that `fit` wrote, in this process or another.
            dataset: the data set, prepared.
            device: torch device, e.g. ``"cpu"`` or ``"cuda"``.
        """
