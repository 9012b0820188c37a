"""How the predictions on the pool change from cycle to cycle, for people who must decide when to stop."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from pydantic import TypeAdapter

from decomp.platform.errors import UserError
from decomp.platform.loop.beside import file_beside, read_beside, write_beside
from decomp.platform.loop.loop import model_of
from decomp.platform.loop.shard import PoolShard
from decomp.platform.loop.tasks import Checkpoint, PassStreams
from decomp.platform.predictions import Wanted
from decomp.platform.randomness import stream
from decomp.platform.spec import RunSpec
from decomp.platform.storage.runs import CycleFolder, DamagedCycle, RunStore

STATE = "pool"

SAMPLE = 24
"""Images of the pool that are looked at, at most; the same ones in every cycle."""

TAU = 0.7
"""Confidence above which a prediction counts as confident, if the sampler names none: that of Eq. 1."""


@dataclass(frozen=True)
class PoolState:
    """Predictions of a cycle's model on a sample of the pool; C classes, pixels (ROIs) counted.

    Attributes:
        cycle: the cycle whose model predicts.
        images: how many images were looked at.
        tau: the confidence threshold.
        predicted: pixels predicted as each class, length C.
        confident: those of them whose confidence exceeds tau, length C.
        moved: pixels by the class that the model of the cycle before predicts, and the class now, C rows of C; None in
            the first cycle.
    """

    cycle: int
    images: int
    tau: float
    predicted: tuple[int, ...]
    confident: tuple[int, ...]
    moved: tuple[tuple[int, ...], ...] | None

    @property
    def changed(self) -> float | None:
        """Share of the pixels whose predicted class has changed since the cycle before."""
        if self.moved is None:
            return None
        moved = np.array(self.moved, np.int64)
        return float(1 - np.trace(moved) / max(1, moved.sum()))

    @property
    def changed_of_class(self) -> tuple[float | None, ...]:
        """For each class the share of its pixels, before or now, that it has not in common; None where it has none."""
        if self.moved is None:
            return (None,) * len(self.predicted)
        moved = np.array(self.moved, np.int64)
        kept = np.diag(moved)
        union = moved.sum(axis=0) + moved.sum(axis=1) - kept
        return tuple(float(1 - k / n) if n else None for k, n in zip(kept.tolist(), union.tolist(), strict=True))

    @property
    def confidence(self) -> tuple[float | None, ...]:
        """Share of each class's pixels that are confident, delta of Eq. 1; None where it is not predicted."""
        return tuple(c / n if n else None for c, n in zip(self.confident, self.predicted, strict=True))


def observe(store: RunStore, shard: PoolShard) -> None:
    """Look at the predictions of the last committed cycle and of the one before, unless that is done.

    A model that is damaged is left to the loop, which mends it.
    """
    committed = store.committed()
    cycle = len(committed)
    if not committed or file_beside(_owner(store, cycle), STATE, cycle).exists():
        return
    models = [model_of(folder, folder.record) for folder in reversed(committed[-2:]) if _is_intact(folder)]
    if not models or not _is_intact(committed[-1]):
        return
    state = _state(shard, store.spec, cycle, models)
    write_beside(_owner(store, cycle), STATE, cycle, asdict(state))


def read_states(store: RunStore) -> list[PoolState]:
    """What was observed of a run's committed cycles, in order; cycles that nobody looked at are left out.

    Raises:
        UserError: if a file is damaged.
    """
    states = []
    for cycle in range(1, len(store.committed()) + 1):
        owner = _owner(store, cycle)
        try:
            content = read_beside(owner, STATE, cycle)
            states += [] if content is None else [_STATE.validate_json(content)]
        except ValueError as error:
            file = file_beside(owner, STATE, cycle)
            raise UserError(f"{file} is damaged; delete it, and only this cycle's point is missing.") from error
    return states


def _state(shard: PoolShard, spec: RunSpec, cycle: int, models: Sequence[Checkpoint]) -> PoolState:
    dataset, n_classes = shard.dataset, len(shard.dataset.classes)
    pool = dataset.ids("train", spec.fold)
    order = stream(spec.seed, "pool state", fold=spec.fold).permutation(len(pool))[:SAMPLE]
    tau = spec.sampler.tau_of(cycle + 1) if spec.sampler else TAU
    counts, moved = np.zeros((3, n_classes), np.int64), np.zeros(n_classes**2, np.int64)
    for image in (pool[k] for k in sorted(order.tolist())):
        labels = []
        for number, model in enumerate(models):
            passes = PassStreams.of(spec.passes, "pool state", spec.seed, spec.fold, cycle - number)
            prediction = shard.prediction(model, image, Wanted(tau=tau), passes)
            labels.append(prediction.labels.astype(np.int64))
            if number == 0 and prediction.counts is not None:
                counts += prediction.counts
        if len(labels) == 2:
            moved += np.bincount((labels[1] * n_classes + labels[0]).ravel(), minlength=n_classes**2)
    rows = tuple(map(tuple, moved.reshape(n_classes, n_classes).tolist()))
    return PoolState(
        cycle,
        len(order),
        tau,
        tuple(counts.sum(axis=0).tolist()),
        tuple(counts[2].tolist()),
        rows if len(models) == 2 else None,
    )


def _is_intact(folder: CycleFolder) -> bool:
    try:
        folder.check_checkpoint(folder.record)
    except DamagedCycle:
        return False
    return True


def _owner(store: RunStore, cycle: int) -> RunStore:
    return store.first if cycle == 1 else store


_STATE = TypeAdapter(PoolState)
