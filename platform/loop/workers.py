"""What the loop asks of the processes that do the work, and the single process that does it all."""

import os
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
from typing_extensions import override

from decomp.platform.learners.base import Training
from decomp.platform.loop.oracle import Revealed, reveal
from decomp.platform.loop.proposals import Proposals
from decomp.platform.loop.shard import PoolShard
from decomp.platform.loop.tasks import Checkpoint, ChooseTask, PassStreams, PredictTask
from decomp.platform.predictions import PoolCounts
from decomp.platform.regions import Region
from decomp.platform.storage.files import checksum
from decomp.platform.storage.location import Location


class Workers(Protocol):
    """The processes of one run; each method takes a task for all images and returns the joint answer."""

    def fit(
        self, trainings: Sequence[Training], start: Checkpoint | None, checkpoints: Sequence[Location]
    ) -> Checkpoint:
        """Train the models of a cycle, write their checkpoints and return them with their digests.

        Args:
            trainings: the training of each model, apart from its device and its warm start; one, or those of an
                ensemble.
            start: as many models from whose weights the trainings start, or None to train from scratch.
            checkpoints: where to write each model.
        """

    def predict(self, task: PredictTask) -> PoolCounts:
        """Predict the candidates and count."""

    def choose(self, task: ChooseTask) -> Proposals:
        """Choose regions; in order of `task.images`, then of choice."""

    def count_classes(self, images: Sequence[str]) -> npt.NDArray[np.int64]:
        """True pixels of each class in each image, shape (N, C); asked by a start that reads the truth."""

    def reveal(self, regions: Sequence[Region]) -> Revealed:
        """What the oracle tells about the regions."""

    def evaluate(
        self, model: Checkpoint, images: Sequence[str], passes: PassStreams | None = None
    ) -> npt.NDArray[np.int64]:
        """Confusion matrix of each image, shape (N, C, C): of the mean of passes, or of the first model in one pass."""


def fit(shard: PoolShard, training: Training, start: Checkpoint | None, checkpoint: Location) -> Checkpoint:
    """Train one model with the shard's learner, on its data and device; arguments as in `Workers.fit`."""
    with checkpoint.writing() as file:
        _train(shard, training, start, file)
        return Checkpoint(checkpoint, checksum(file))


def assist(shard: PoolShard, training: Training, start: Checkpoint | None) -> None:
    """Train as one of several processes, but not as the first, which alone writes the checkpoint."""
    _train(shard, training, start, Path(os.devnull))


def starts(start: Checkpoint | None, n: int) -> Sequence[Checkpoint | None]:
    """The model from which each of n trainings starts."""
    return start.members if start else [None] * n


def _train(shard: PoolShard, training: Training, start: Checkpoint | None, checkpoint: Path) -> None:
    with start.file.reading(start.sha256) if start else nullcontext() as warm_start:
        shard.learner.fit(shard.dataset, replace(training, device=shard.device, warm_start=warm_start), checkpoint)


class LocalWorkers(Workers):
    """One shard in this process; the distributed workers must give the same results."""

    def __init__(self, shard: PoolShard) -> None:
        self.shard = shard

    @override
    def fit(
        self, trainings: Sequence[Training], start: Checkpoint | None, checkpoints: Sequence[Location]
    ) -> Checkpoint:
        of_members = zip(trainings, starts(start, len(trainings)), checkpoints, strict=True)
        return Checkpoint.joined([fit(self.shard, *of_member) for of_member in of_members])

    @override
    def predict(self, task: PredictTask) -> PoolCounts:
        return PoolCounts.from_arrow([self.shard.predict(task)])

    @override
    def choose(self, task: ChooseTask) -> Proposals:
        return Proposals.from_arrow([self.shard.choose(task)], task.images)

    @override
    def count_classes(self, images: Sequence[str]) -> npt.NDArray[np.int64]:
        return self.shard.count_classes(images)

    @override
    def reveal(self, regions: Sequence[Region]) -> Revealed:
        return reveal(self.shard.dataset, regions)

    @override
    def evaluate(
        self, model: Checkpoint, images: Sequence[str], passes: PassStreams | None = None
    ) -> npt.NDArray[np.int64]:
        return self.shard.evaluate(model, images, passes)
