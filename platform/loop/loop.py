"""The active-learning loop of one run (Sec. 1 of the method notes), independent of who does the work."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

from decomp.platform.datasets.base import Dataset, Split, annotated_splits
from decomp.platform.errors import UserError
from decomp.platform.learners.base import Training
from decomp.platform.ledger import Ledger
from decomp.platform.loop.candidates import candidates
from decomp.platform.loop.oracle import Revealed
from decomp.platform.loop.selection import FIRST_CYCLE, Selecting, Selection
from decomp.platform.loop.shard import Checkpoint
from decomp.platform.loop.workers import Workers
from decomp.platform.metrics import score
from decomp.platform.randomness import stream
from decomp.platform.storage.records import Annotated, CycleRecord, Timing
from decomp.platform.storage.runs import CycleFolder, RunStore
from decomp.platform.version import git_commit, package_version


class Observer(Protocol):
    """Who wants to know how a run gets on."""

    def phase(self, cycle: int, name: str, fraction: float) -> None:
        """The run is in a phase of a cycle, `fraction` of which is done."""

    def committed(self, cycle: int) -> None:
        """A cycle has been committed."""

    def warn(self, message: str) -> None:
        """Something was mended that the user should know of."""


class Silent:
    """An observer that does nothing."""

    def phase(self, cycle: int, name: str, fraction: float) -> None:
        """See `Observer.phase`."""

    def committed(self, cycle: int) -> None:
        """See `Observer.committed`."""

    def warn(self, message: str) -> None:
        """See `Observer.warn`."""


@dataclass
class Loop:
    """One run: goes on after the last committed cycle until all cycles are committed or the pool is exhausted.

    Attributes:
        store: where the run's cycles are committed; also says which run it is.
        dataset: the run's data set.
        workers: who trains, predicts, chooses and evaluates.
        observer: who is told.
    """

    store: RunStore
    dataset: Dataset
    workers: Workers
    observer: Observer = field(default_factory=Silent)

    def run(self) -> None:
        """Compute all cycles that are not committed yet."""
        self.store.create()
        folders = self._resume()
        while len(folders) < self.store.spec.cycles and not (folders and folders[-1].record.exhausted):
            folders.append(self._cycle(folders))
            self.observer.committed(len(folders))

    def _resume(self) -> list[CycleFolder]:
        """Committed cycles; a last one whose checkpoint is needed but damaged is set aside, to be computed again."""
        folders = self.store.committed()
        for stranded in self.store.stranded():
            self.observer.warn(f"{stranded.path} comes after a missing cycle; set aside, computed again.")
            self.store.quarantine(stranded)
        while folders and not self.store.finished and not folders[-1].intact():
            damaged = folders.pop()
            if not folders and self.store.spec.kind == "run":
                raise UserError(
                    f"The checkpoint of the shared first cycle in {damaged.path} is missing or damaged; "
                    f"start again and it will be computed anew."
                )
            aside = self.store.quarantine(damaged)
            self.observer.warn(f"The checkpoint of {damaged.path} is damaged; set aside as {aside}, computed again.")
        return folders

    def _cycle(self, folders: list[CycleFolder]) -> CycleFolder:
        spec, cycle = self.store.spec, len(folders) + 1
        phases = _Phases(cycle, self.observer)
        ledger = self.store.ledger(folders)
        pools = {split: self._shapes(split) for split in annotated_splits(self.dataset)}
        shapes = {image: shape for pool in pools.values() for image, shape in pool.items()}
        previous = Checkpoint(folders[-1].checkpoint, folders[-1].record.checkpoint_sha256) if folders else None

        visits = [folder.record.selected for folder in folders]
        selection = self._select(phases, pools, ledger, visits, previous)
        with phases.timed("reveal"):
            ledger = ledger.extend(selection.ledger)
            revealed = self.workers.reveal([row.region for row in selection.ledger.annotations()])
            visits.append(selection.images)
            exhausted = spec.budget is not None and not candidates(pools["train"], spec.budget.region, ledger, visits)
        staged = self.store.stage(cycle)
        with phases.timed("train"):
            purpose = "reference" if spec.kind == "reference" else "training"
            training = Training(
                ledger=ledger,
                rng=stream(spec.seed, purpose, fold=spec.fold, cycle=cycle),
                fold=spec.fold,
                progress=lambda fraction: self.observer.phase(cycle, "train", fraction),
            )
            model = self.workers.fit(training, previous if spec.warm_start else None, staged.checkpoint)
        with phases.timed("evaluate"):
            confusion = self.workers.evaluate(model, self.dataset.ids("test", spec.fold))
        metrics, class_metrics = score(self.dataset, confusion)

        record = CycleRecord(
            cycle=cycle,
            metrics=metrics,
            class_metrics=class_metrics,
            annotated=_annotated(ledger, shapes, revealed, folders[-1].record.annotated if folders else None),
            class_confidence=_floats(selection.class_confidence),
            class_weights=_floats(selection.class_weights),
            checkpoint_sha256=model.sha256,
            selected=selection.images,
            exhausted=exhausted,
        )
        timing = Timing(phases.seconds, time.time_ns() // 1_000_000, package_version(), git_commit())
        return self.store.commit(staged, record, timing, selection.ledger)

    def _shapes(self, split: Split) -> dict[str, tuple[int, ...]]:
        return {image: self.dataset.shape(image) for image in self.dataset.ids(split, self.store.spec.fold)}

    def _select(
        self,
        phases: "_Phases",
        pools: Mapping[Split, Mapping[str, tuple[int, ...]]],
        ledger: Ledger,
        visits: Sequence[tuple[str, ...]],
        previous: Checkpoint | None,
    ) -> Selection:
        """Select in every split that is annotated, the validation split with a third of the images."""
        spec = self.store.spec
        if spec.budget is None:
            return Selection(
                (), Ledger.whole({image: shape for pool in pools.values() for image, shape in pool.items()})
            )
        parts = []
        for split, shapes in pools.items():
            n_image = spec.budget.n_image if split == "train" else max(1, spec.budget.n_image // 3)
            selecting = Selecting(
                spec.sampler or FIRST_CYCLE,
                replace(spec.budget, n_image=n_image),
                self.dataset.classes,
                split,
                spec.seed,
                spec.fold,
                phases.cycle,
            )
            if pool := candidates(shapes, spec.budget.region, ledger, visits):
                parts.append(selecting.run(self.workers, phases.timed, pool, shapes, ledger, previous))
        joint = parts[0].ledger
        for part in parts[1:]:
            joint = joint.extend(part.ledger)
        images = tuple(image for part in parts for image in part.images)
        return Selection(images, joint, parts[0].class_confidence, parts[0].class_weights)


@dataclass
class _Phases:
    """Wall time of each phase of a cycle."""

    cycle: int
    observer: Observer
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        self.observer.phase(self.cycle, name, 0.0)
        start = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start


def _annotated(
    ledger: Ledger, shapes: Mapping[str, tuple[int, ...]], revealed: Revealed, before: Annotated | None
) -> Annotated:
    pixels = sum(region.area for regions in ledger.by_image.values() for region in regions)
    class_pixels, clicks = revealed.class_pixels, revealed.clicks
    if before is not None:
        class_pixels, clicks = class_pixels + np.array(before.class_pixels, np.int64), clicks + before.clicks
    return Annotated(
        images=len(ledger.by_image),
        image_share=len(ledger.by_image) / len(shapes),
        regions=len(ledger),
        pixels=pixels,
        share=pixels / sum(int(np.prod(shape)) for shape in shapes.values()),
        class_pixels=tuple(int(count) for count in class_pixels),
        openings=len({(row.cycle, row.region.image) for row in ledger.annotations()}),
        clicks=clicks,
    )


def _floats(values: npt.NDArray[np.float64] | None) -> tuple[float, ...] | None:
    return None if values is None else tuple(float(value) for value in values)
