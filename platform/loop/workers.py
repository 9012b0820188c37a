"""What the loop asks of the processes that do the work, and the single process that does it all."""

import os
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from decomp.platform.learners.base import Training
from decomp.platform.loop.oracle import Revealed
from decomp.platform.loop.proposals import Proposals
from decomp.platform.loop.shard import Checkpoint, ChooseTask, PoolShard, PredictTask
from decomp.platform.predictions import PoolCounts
from decomp.platform.regions import Region
from decomp.platform.storage.durable import checksum
from decomp.platform.storage.location import Location, reading, writing


class Workers(Protocol):
    """The processes of one run; each method takes a task for all images and returns the joint answer."""

    def fit(self, training: Training, start: Checkpoint | None, checkpoint: Location) -> Checkpoint:
        """Train, write the checkpoint and return it with its digest.

        Args:
            training: the training, apart from its device and its warm start.
            start: model whose weights are kept, or None to train from scratch.
            checkpoint: where to write.
        """

    def predict(self, task: PredictTask) -> PoolCounts:
        """Predict the candidates and count."""

    def choose(self, task: ChooseTask) -> Proposals:
        """Choose regions; in order of `task.images`, then of choice."""

    def reveal(self, regions: Sequence[Region]) -> Revealed:
        """What the oracle tells of the regions."""

    def evaluate(self, model: Checkpoint, images: Sequence[str]) -> npt.NDArray[np.int64]:
        """Confusion matrix of each image, shape (N, C, C)."""


def fit(shard: PoolShard, training: Training, start: Checkpoint | None, checkpoint: Location) -> Checkpoint:
    """Train with the shard's learner, on its data and device, see `Workers.fit`."""
    with writing(checkpoint) as file:
        _train(shard, training, start, file)
        return Checkpoint(checkpoint, checksum(file))


def assist(shard: PoolShard, training: Training, start: Checkpoint | None) -> None:
    """Train as another than the first of the processes that train together, which alone writes a checkpoint."""
    _train(shard, training, start, Path(os.devnull))


def _train(shard: PoolShard, training: Training, start: Checkpoint | None, checkpoint: Path) -> None:
    with reading(start.file, start.sha256) if start else nullcontext() as warm_start:
        shard.learner.fit(shard.dataset, replace(training, device=shard.device, warm_start=warm_start), checkpoint)


class LocalWorkers:
    """One shard in this process; the oracle for the distributed workers."""

    def __init__(self, shard: PoolShard) -> None:
        self.shard = shard

    def fit(self, training: Training, start: Checkpoint | None, checkpoint: Location) -> Checkpoint:
        """See `Workers.fit`."""
        return fit(self.shard, training, start, checkpoint)

    def predict(self, task: PredictTask) -> PoolCounts:
        """See `Workers.predict`."""
        return PoolCounts.from_arrow([self.shard.predict(task)])

    def choose(self, task: ChooseTask) -> Proposals:
        """See `Workers.choose`."""
        return Proposals.from_arrow([self.shard.choose(task)], task.images)

    def reveal(self, regions: Sequence[Region]) -> Revealed:
        """See `Workers.reveal`."""
        return self.shard.reveal(regions)

    def evaluate(self, model: Checkpoint, images: Sequence[str]) -> npt.NDArray[np.int64]:
        """See `Workers.evaluate`."""
        return self.shard.evaluate(model, images)
