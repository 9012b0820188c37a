"""The active-learning loop of one run (Sec. 1 of the method notes), independent of who does the work."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from decomp.platform.datasets.base import Dataset, Split, annotated_splits
from decomp.platform.errors import UserError
from decomp.platform.learners.base import Training
from decomp.platform.ledger import Ledger
from decomp.platform.loop.candidates import Candidates
from decomp.platform.loop.oracle import Oracle, Revealed, Selection, Simulation
from decomp.platform.loop.selection import FIRST_CYCLE, FIRST_CYCLE_OF_POOL, SelectionStep
from decomp.platform.loop.start import start_with_all_classes
from decomp.platform.loop.tasks import Checkpoint, PassStreams
from decomp.platform.loop.workers import Workers
from decomp.platform.metrics import score
from decomp.platform.randomness import stream
from decomp.platform.storage.records import Annotated, CycleRecord, Timing
from decomp.platform.storage.runs import CycleFolder, DamagedCycle, RunStore
from decomp.platform.version import git_commit, package_version

PATIENCE = 120.0
"""Seconds that a run waits for its shared first cycle: a file system shared by several machines shows new folders
late, NFS after a minute."""


class Observer:
    """Receives the progress of a run; this one ignores it."""

    def phase(self, cycle: int, name: str) -> None:
        """The run enters a phase of a cycle."""

    def committed(self, cycle: int) -> None:
        """A cycle has been committed."""

    def warn(self, message: str) -> None:
        """Something was repaired that the user should know about."""


@dataclass
class Loop:
    """One run: goes on after the last committed cycle until all cycles are committed or the pool is exhausted.

    Attributes:
        store: where the run's cycles are committed; also says which run it is.
        dataset: the run's data set.
        workers: who trains, predicts, chooses and evaluates.
        observer: receives the progress.
        oracle: who labels what is selected.
    """

    store: RunStore
    dataset: Dataset
    workers: Workers
    observer: Observer = field(default_factory=Observer)
    oracle: Oracle = field(default_factory=Simulation)

    def run(self) -> None:
        """Compute all cycles that are not committed yet; `Unanswered` where the oracle has not labelled one."""
        self.store.create()
        past = self._resume()
        while not past.is_all(self.store):
            past.add(self._cycle(past))
            self.observer.committed(len(past.folders))

    def _resume(self) -> "_Past":
        """The committed cycles; the first damaged one and all after it are set aside, to be computed again."""
        self._await_first_cycle()
        past = _Past()
        try:
            for folder in self.store.committed():
                past.add(folder)
        except DamagedCycle as error:
            self._set_aside(past, folder, error)
        for stranded in self.store.stranded():
            self.observer.warn(stranded.set_aside(DamagedCycle(f"{stranded.path} comes after a missing cycle")))
        while past.folders and not (past.is_all(self.store) and self.store.spec.kind != "first"):
            try:
                past.folders[-1].check_checkpoint(past.records[-1])
                break
            except DamagedCycle as error:
                damaged = past.folders[-1]
                past = past.before_last()
                self._set_aside(past, damaged, error)
        return past

    def _await_first_cycle(self) -> None:
        first = self.store.first
        deadline = time.monotonic() + PATIENCE
        while self.store.spec.kind == "run" and not first.committed():
            if time.monotonic() > deadline:
                raise UserError(
                    f"The shared first cycle in {first.path} is not seen from this machine, {PATIENCE:.0f} seconds "
                    f"after it was needed; start again, and if that repeats mount the folder with shorter caching "
                    f"(NFS: actimeo=3)."
                )
            time.sleep(1.0)

    def _set_aside(self, before: "_Past", damaged: CycleFolder, error: DamagedCycle) -> None:
        if not before.folders and self.store.spec.kind == "run":
            raise error  # the shared first cycle, which is another run's
        self.observer.warn(damaged.set_aside(error))

    def _cycle(self, past: "_Past") -> CycleFolder:
        spec, cycle = self.store.spec, len(past.folders) + 1
        folders, records, ledger = past.folders, past.records, past.ledger
        phases = _Phases(cycle, self.observer)
        previous = model_of(folders[-1], records[-1]) if folders else None
        shapes = {split: self._shapes(split) for split in annotated_splits(self.dataset)}
        all_shapes = {image: shape for of_split in shapes.values() for image, shape in of_split.items()}

        candidates = self._candidates(shapes, ledger, records)
        selection = self.oracle.selected(cycle)
        if selection is None and candidates:
            selection = self._select(phases, candidates, ledger, previous)
        elif selection is None:
            selection = Selection((), Ledger.whole(all_shapes))
        with phases.timed("reveal"):
            ledger = ledger.extend(selection.ledger)
            regions = [row.region for row in selection.ledger.annotations()]
            if self.oracle.label(cycle, selection, previous):
                before, revealed = None, self.workers.reveal([row.region for row in ledger.annotations()])
            else:
                before, revealed = records[-1].annotated if records else None, self.workers.reveal(regions)
            for of_split in candidates.values():
                of_split.annotate(selection.images, regions)
        with self.store.staging(cycle) as staged:
            with phases.timed("train"):
                start = previous if spec.warm_start else None
                model = self.workers.fit(self._trainings(cycle, ledger), start, staged.checkpoints(spec.members))
            with phases.timed("evaluate"):
                passes = self._evaluation_passes(cycle)
                confusion = self.workers.evaluate(model, self.dataset.ids("test", spec.fold), passes)
            metrics, class_metrics = score(self.dataset, confusion)

            record = CycleRecord(
                cycle=cycle,
                metrics=metrics,
                class_metrics=class_metrics,
                annotated=_annotated(ledger, all_shapes, revealed, before),
                class_confidence=_floats(selection.class_confidence),
                class_weights=_floats(selection.class_weights),
                checkpoint_sha256=model.sha256,
                members_sha256=tuple(other.sha256 for other in model.others),
                selected=selection.images,
                exhausted=bool(candidates) and all(of_split.exhausted for of_split in candidates.values()),
            )
            timing = Timing(phases.seconds, time.time_ns() // 1_000_000, package_version(), git_commit())
            return self.store.commit(staged, record, timing, selection.ledger)

    def _trainings(self, cycle: int, ledger: Ledger) -> list[Training]:
        """The training of each model of a cycle, on the same regions; the first has the stream of a single one."""
        spec = self.store.spec
        purpose = "reference" if spec.kind == "reference" else "training"
        purposes = [purpose, *(f"{purpose} member {number}" for number in range(2, spec.members + 1))]
        streams = [stream(spec.seed, purpose, fold=spec.fold, cycle=cycle) for purpose in purposes]
        return [Training(ledger=ledger, rng=rng, fold=spec.fold) for rng in streams]

    def _evaluation_passes(self, cycle: int) -> PassStreams | None:
        spec = self.store.spec
        scored = spec.passes if spec.passes and spec.passes.evaluate == "mean" else None
        return PassStreams.of(scored, "test dropout", spec.seed, spec.fold, cycle)

    def _shapes(self, split: Split) -> dict[str, tuple[int, ...]]:
        return {image: self.dataset.shape(image) for image in self.dataset.ids(split, self.store.spec.fold)}

    def _candidates(
        self, shapes: Mapping[Split, Mapping[str, tuple[int, ...]]], ledger: Ledger, records: Sequence[CycleRecord]
    ) -> dict[Split, Candidates]:
        """Candidates of every split that is annotated; none for a reference, whose images are annotated as a whole."""
        budget = self.store.spec.budget
        if budget is None:
            return {}
        selected = [record.selected for record in records]
        return {split: Candidates.replayed(of_split, budget, ledger, selected) for split, of_split in shapes.items()}

    def _select(
        self,
        phases: "_Phases",
        candidates: Mapping[Split, Candidates],
        ledger: Ledger,
        previous: Checkpoint | None,
    ) -> Selection:
        """Select in every split that is annotated: in the validation split a third of the images, with the class
        weights of the training pool (Sec. 1); nothing in a split that is annotated completely.
        """
        spec, selections = self.store.spec, []
        assert spec.budget is not None
        weights: npt.NDArray[np.float64] | None = None
        for split, of_split in candidates.items():
            first = FIRST_CYCLE if spec.budget.total is None else FIRST_CYCLE_OF_POOL
            step = SelectionStep(
                spec.sampler or first,
                spec.budget if split == "train" else spec.budget.third,
                self.dataset.classes,
                split,
                spec.seed,
                spec.fold,
                phases.cycle,
                weights,
                spec.passes,
            )
            images = of_split.images()
            if split == "train" and spec.kind == "first" and spec.start and spec.start.choice == "all-classes":
                with phases.timed("select"):
                    selections.append(start_with_all_classes(self.workers, images, spec.budget, spec.seed, spec.fold))
                continue
            selections.append(step.run(self.workers, phases.timed, images, of_split.shapes, ledger, previous))
            weights = selections[0].class_weights
        joint = selections[0].ledger
        for selection in selections[1:]:
            joint = joint.extend(selection.ledger)
        images_of_all = tuple(image for selection in selections for image in selection.images)
        return Selection(images_of_all, joint, selections[0].class_confidence, selections[0].class_weights)


@dataclass
class _Past:
    """The committed cycles of a run, each read and checked once."""

    folders: list[CycleFolder] = field(default_factory=list)
    records: list[CycleRecord] = field(default_factory=list)
    ledgers: list[Ledger] = field(default_factory=list)

    @property
    def ledger(self) -> Ledger:
        """All annotated regions."""
        ledger = Ledger()
        for of_cycle in self.ledgers:
            ledger = ledger.extend(of_cycle)
        return ledger

    def add(self, folder: CycleFolder) -> None:
        """Read the next cycle; `DamagedCycle` if a file of it is damaged."""
        record = folder.record
        ledger = folder.ledger_of(record)
        self.folders.append(folder)
        self.records.append(record)
        self.ledgers.append(ledger)

    def before_last(self) -> "_Past":
        """All cycles but the last."""
        return _Past(self.folders[:-1], self.records[:-1], self.ledgers[:-1])

    def is_all(self, store: RunStore) -> bool:
        """Whether no cycle is left to compute."""
        return len(self.folders) >= store.spec.cycles or bool(self.records and self.records[-1].exhausted)


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


def model_of(folder: CycleFolder, record: CycleRecord) -> Checkpoint:
    """The model of a committed cycle."""
    digests = record.checkpoint_sha256, *record.members_sha256
    return Checkpoint.joined(list(map(Checkpoint, folder.checkpoints(len(digests)), digests)))


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
