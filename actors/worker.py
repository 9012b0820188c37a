"""A worker: one process of a run. It is a shard of the pool, and the first one of a run is its trainer too.

Prediction and training never overlap within a run, so one process, with one model in the memory of one device, does
both.
"""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2

from decomp.platform.components import build_dataset, build_learner
from decomp.platform.learners.base import Training
from decomp.platform.shard import Model, PoolShard
from decomp.platform.spec import Component
from decomp.platform.workers import fit

REPORT_EVERY = 0.5
"""Seconds between two reports of a training's progress."""


class Worker(PoolShard):
    """`PoolShard` that builds its own data set and learner and can train."""

    def __init__(self, dataset: Component, learner: Component, device: str, board: Any, run: str) -> None:
        # A worker's threads are the learner's business; window sums of small images lose by being split.
        cv2.setNumThreads(1)
        super().__init__(build_dataset(dataset), build_learner(learner), device)
        self._board = board
        self._run = run
        self._reported = 0.0

    def fit(self, training: Training, checkpoint: Path) -> Model:
        """Train, write the checkpoint and return it with its digest."""
        return fit(self, replace(training, progress=self._report), checkpoint)

    def _report(self, fraction: float) -> None:
        now = time.monotonic()
        if now - self._reported >= REPORT_EVERY:
            self._reported = now
            self._board.progress.remote(self._run, fraction)
