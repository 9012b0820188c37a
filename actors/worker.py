"""A worker: one process that holds a shard of the pool and, if it is one of the first of its group, a trainer too.

Prediction and training never overlap within a run, so one process, with one model in the memory of one device, does
both. A worker serves run after run: libraries stay imported and the data set's caches stay filled.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import ray

from decomp.platform.components import build_dataset, build_learner
from decomp.platform.datasets import Dataset
from decomp.platform.grid import Component
from decomp.platform.learners.base import Training
from decomp.platform.loop.oracle import Revealed, reveal
from decomp.platform.loop.shard import PoolShard
from decomp.platform.loop.tasks import Checkpoint, ChooseTask, PassStreams, PredictTask
from decomp.platform.loop.workers import assist, fit
from decomp.platform.regions import Region
from decomp.platform.storage.location import Location

REPORT_EVERY = 2.0
"""Seconds between two reports of a training's progress; a thousand runs share one `ProgressActor`."""


@dataclass(frozen=True)
class Job:
    """For whom a worker works; every call says so, since a worker that was restarted knows nothing.

    Attributes:
        run: label of the run.
        dataset: its data set.
        learner: its learner.
    """

    run: str
    dataset: Component
    learner: Component


class Worker:
    """Does the work of `decomp.platform.loop.workers.Workers` for its share of the images, on a torch device."""

    def __init__(self, device: str) -> None:
        # Nearly every learner needs it; not above, where the driver and the coordinators would wait for it.
        import torch  # noqa: F401

        # A worker's threads are the learner's business; window sums of small images take longer when split.
        cv2.setNumThreads(1)
        self._device = device
        self._job: Job | None = None
        self._dataset: Dataset | None = None
        self._shard: PoolShard | None = None
        self._rendezvous: Any = None  # it lasts until the next one

    def fit(
        self,
        job: Job,
        training: Training,
        start: Checkpoint | None,
        checkpoint: Location,
        progress: Any,
        part: tuple[float, float],
    ) -> Checkpoint:
        """Train one model and write its checkpoint.

        Args:
            job: for whom.
            training: as in `Workers.fit`, like `start` and `checkpoint`.
            start: see there.
            checkpoint: see there.
            progress: handle of the `ProgressActor` to report to.
            part: which part of the cycle's training this one is, from where to where in [0, 1].
        """
        training = replace(training, progress=_Reporter(progress, job.run, part))
        return fit(self._shard_of(job), training, start, checkpoint)

    def meet(self, job: Job) -> str:
        """Open a rendezvous on this node for one training of several workers; returns its address."""
        from decomp.platform.learners.training.distributed import open_rendezvous

        self._rendezvous, address = open_rendezvous(ray.util.get_node_ip_address())
        return address

    def assist(self, job: Job, training: Training, start: Checkpoint | None) -> None:
        """Train together with the group's first worker, which reports and writes the checkpoint."""
        assist(self._shard_of(job), training, start)

    def predict(self, job: Job, task: PredictTask) -> pa.RecordBatch:
        """Predict the worker's images; `PoolCounts` as an Arrow batch."""
        return self._shard_of(job).predict(task)

    def choose(self, job: Job, task: ChooseTask) -> pa.Table:
        """Choose regions in the worker's images; `Proposals` as an Arrow table."""
        return self._shard_of(job).choose(task)

    def count_classes(self, job: Job, images: Sequence[str]) -> npt.NDArray[np.int64]:
        """True pixels of each class in each of the worker's images, shape (N, C)."""
        return self._shard_of(job).count_classes(images)

    def reveal(self, job: Job, regions: Sequence[Region]) -> Revealed:
        """What the oracle reveals about regions in the worker's images."""
        return reveal(self._shard_of(job).dataset, regions)

    def evaluate(
        self, job: Job, model: Checkpoint, images: Sequence[str], passes: PassStreams | None
    ) -> npt.NDArray[np.int64]:
        """Confusion matrix of each image, shape (N, C, C)."""
        return self._shard_of(job).evaluate(model, images, passes)

    def _shard_of(self, job: Job) -> PoolShard:
        if self._shard is None or job != self._job:
            if self._dataset is None or self._job is None or job.dataset != self._job.dataset:
                self._dataset = build_dataset(job.dataset)
            learner = build_learner(job.learner)
            self._shard = PoolShard(learner.prepare(self._dataset), learner, self._device)
            self._job = job
        return self._shard


class _Reporter:
    """Reports the progress of a training now and then."""

    def __init__(self, progress: Any, run: str, part: tuple[float, float]) -> None:
        self._progress = progress
        self._run = run
        self._part = part
        self._last = 0.0

    def __call__(self, fraction: float) -> None:
        now = time.monotonic()
        if now - self._last >= REPORT_EVERY:
            self._last = now
            start, end = self._part
            self._progress.advance.remote(self._run, start + fraction * (end - start))
