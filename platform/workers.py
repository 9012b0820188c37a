"""What the loop asks of the processes that do the work, and the single process that does it all."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from decomp.platform.durable import checksum
from decomp.platform.learners.base import Training
from decomp.platform.predictions import PoolCounts
from decomp.platform.proposals import Proposals
from decomp.platform.regions import Region
from decomp.platform.shard import ChooseTask, Model, PoolShard, PredictTask


class Workers(Protocol):
    """The processes of one run; each method takes a task for all images and returns the joint answer."""

    def fit(self, training: Training, checkpoint: Path) -> Model:
        """Train, write the checkpoint and return it with its digest."""

    def predict(self, task: PredictTask) -> PoolCounts:
        """Predict the candidates and count."""

    def choose(self, task: ChooseTask) -> Proposals:
        """Choose regions; in order of `task.images`, then of choice."""

    def reveal(self, regions: Sequence[Region]) -> npt.NDArray[np.int64]:
        """True class counts within the regions, shape (C,)."""

    def evaluate(self, model: Model, images: Sequence[str]) -> npt.NDArray[np.int64]:
        """Confusion matrix of each image, shape (N, C, C)."""


def fit(shard: PoolShard, training: Training, checkpoint: Path) -> Model:
    """Train with the shard's learner, on its data and device."""
    shard.learner.fit(shard.dataset, replace(training, device=shard.device), checkpoint)
    return Model(checkpoint, checksum(checkpoint))


class LocalWorkers:
    """One shard in this process; the oracle for the distributed workers."""

    def __init__(self, shard: PoolShard) -> None:
        self.shard = shard

    def fit(self, training: Training, checkpoint: Path) -> Model:
        """See `Workers.fit`."""
        return fit(self.shard, training, checkpoint)

    def predict(self, task: PredictTask) -> PoolCounts:
        """See `Workers.predict`."""
        return PoolCounts.from_arrow([self.shard.predict(task)])

    def choose(self, task: ChooseTask) -> Proposals:
        """See `Workers.choose`."""
        return Proposals.from_arrow([self.shard.choose(task)], task.images)

    def reveal(self, regions: Sequence[Region]) -> npt.NDArray[np.int64]:
        """See `Workers.reveal`."""
        return self.shard.reveal(regions)

    def evaluate(self, model: Model, images: Sequence[str]) -> npt.NDArray[np.int64]:
        """See `Workers.evaluate`."""
        return self.shard.evaluate(model, images)
