"""The active-learning loop of one run (Sec. 1 of the method notes), independent of who does the work."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from decomp.platform.datasets.base import Dataset, Split, annotated_splits
from decomp.platform.errors import UserError
from decomp.platform.learners.base import Training
from decomp.platform.ledger import Ledger
from decomp.platform.loop.candidates import Candidates
from decomp.platform.loop.oracle import Revealed
from decomp.platform.loop.selection import FIRST_CYCLE, Selection, SelectionStep
from decomp.platform.loop.tasks import Checkpoint
from decomp.platform.loop.workers import Workers
from decomp.platform.metrics import score
from decomp.platform.randomness import stream
from decomp.platform.storage.records import Annotated, CycleRecord, Timing
from decomp.platform.storage.runs import CycleFolder, RunStore
from decomp.platform.version import git_commit, package_version


class Observer:
    """Is told how a run gets on; this one does nothing with it."""

    def phase(self, cycle: int, name: str) -> None:
        """The run enters a phase of a cycle."""

    def committed(self, cycle: int) -> None:
        """A cycle has been committed."""

    def warn(self, message: str) -> None:
        """Something was mended that the user should know of."""


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
    observer: Observer = field(default_factory=Observer)

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
        records = [folder.record for folder in folders]
        previous = Checkpoint(folders[-1].checkpoint, records[-1].checkpoint_sha256) if folders else None
        shapes = {split: self._shapes(split) for split in annotated_splits(self.dataset)}
        all_shapes = {image: shape for of_split in shapes.values() for image, shape in of_split.items()}

        candidates = self._candidates(shapes, ledger, records)
        if candidates:
            selection = self._select(phases, candidates, ledger, previous)
        else:
            selection = Selection((), Ledger.whole(all_shapes))
        with phases.timed("reveal"):
            ledger = ledger.extend(selection.ledger)
            regions = [row.region for row in selection.ledger.annotations()]
            revealed = self.workers.reveal(regions)
            for of_split in candidates.values():
                of_split.annotate(selection.images, regions)
        staged = self.store.stage(cycle)
        with phases.timed("train"):
            purpose = "reference" if spec.kind == "reference" else "training"
            training = Training(
                ledger=ledger,
                rng=stream(spec.seed, purpose, fold=spec.fold, cycle=cycle),
                fold=spec.fold,
            )
            model = self.workers.fit(training, previous if spec.warm_start else None, staged.checkpoint)
        with phases.timed("evaluate"):
            confusion = self.workers.evaluate(model, self.dataset.ids("test", spec.fold))
        metrics, class_metrics = score(self.dataset, confusion)

        record = CycleRecord(
            cycle=cycle,
            metrics=metrics,
            class_metrics=class_metrics,
            annotated=_annotated(ledger, all_shapes, revealed, records[-1].annotated if records else None),
            class_confidence=_floats(selection.class_confidence),
            class_weights=_floats(selection.class_weights),
            checkpoint_sha256=model.sha256,
            selected=selection.images,
            exhausted=bool(candidates) and all(of_split.exhausted for of_split in candidates.values()),
        )
        timing = Timing(phases.seconds, time.time_ns() // 1_000_000, package_version(), git_commit())
        return self.store.commit(staged, record, timing, selection.ledger)

    def _shapes(self, split: Split) -> dict[str, tuple[int, ...]]:
        return {image: self.dataset.shape(image) for image in self.dataset.ids(split, self.store.spec.fold)}

    def _candidates(
        self, shapes: Mapping[Split, Mapping[str, tuple[int, ...]]], ledger: Ledger, records: Sequence[CycleRecord]
    ) -> dict[Split, Candidates]:
        """Candidates of every split that is annotated; none of a reference, which is annotated whole."""
        budget = self.store.spec.budget
        if budget is None:
            return {}
        selected = [record.selected for record in records]
        return {
            split: Candidates.replayed(of_split, budget.region, ledger, selected) for split, of_split in shapes.items()
        }

    def _select(
        self,
        phases: "_Phases",
        candidates: Mapping[Split, Candidates],
        ledger: Ledger,
        previous: Checkpoint | None,
    ) -> Selection:
        """Select in every split that is annotated: in the validation split a third of the images, by the class weights
        of the training pool (Sec. 1); in a split that is wholly annotated nothing.
        """
        spec, selections = self.store.spec, []
        assert spec.budget is not None
        weights: npt.NDArray[np.float64] | None = None
        for split, of_split in candidates.items():
            n_image = spec.budget.n_image if split == "train" else max(1, spec.budget.n_image // 3)
            step = SelectionStep(
                spec.sampler or FIRST_CYCLE,
                replace(spec.budget, n_image=n_image),
                self.dataset.classes,
                split,
                spec.seed,
                spec.fold,
                phases.cycle,
                weights,
            )
            images = of_split.images()
            selections.append(step.run(self.workers, phases.timed, images, of_split.shapes, ledger, previous))
            weights = selections[0].class_weights
        joint = selections[0].ledger
        for selection in selections[1:]:
            joint = joint.extend(selection.ledger)
        images_of_all = tuple(image for selection in selections for image in selection.images)
        return Selection(images_of_all, joint, selections[0].class_confidence, selections[0].class_weights)


@dataclass
class _Phases:
    """Wall time of each phase of a cycle."""

    cycle: int
    observer: Observer
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        self.observer.phase(self.cycle, name)
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
