"""People as the oracle of a run: they are asked cycle by cycle, and the run goes on when they have answered."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from typing_extensions import override

from decomp.platform.annotation.answered import Answers
from decomp.platform.annotation.formats import checked_labels
from decomp.platform.annotation.query import Answer, Classes, Query
from decomp.platform.components import build_format
from decomp.platform.datasets.base import IGNORE, Dataset
from decomp.platform.errors import UserError
from decomp.platform.grid import Component
from decomp.platform.loop.asked import Answered, Asked, read_answers, read_asked, write_answers, write_asked
from decomp.platform.loop.oracle import Oracle, Selection, Unanswered
from decomp.platform.loop.shard import PoolShard
from decomp.platform.loop.tasks import Checkpoint, PassStreams
from decomp.platform.predictions import Wanted
from decomp.platform.regions import Region
from decomp.platform.spec import RunSpec
from decomp.platform.storage.runs import RunStore

LEFT_OUT = "left out"
"""Why regions are skipped without which the user goes on."""


class Pending(Unanswered):
    """Regions of a cycle wait for annotators.

    Attributes:
        cycle: the cycle.
        opened: what the annotator opens.
        answered, skipped, total: regions of the cycle.
    """

    def __init__(self, cycle: int, opened: Path, answered: int, skipped: int, total: int) -> None:
        super().__init__(f"cycle {cycle}: {total - answered - skipped} of {total} regions wait in {opened}")
        self.cycle, self.opened = cycle, opened
        self.answered, self.skipped, self.total = answered, skipped, total


class LiveOracle(Oracle):
    """Asks annotators for the regions of a run.

    What a cycle selects is kept before anybody is asked, and answers as soon as they have come, so whatever is killed
    goes on as it was. A region that is skipped stays in the ledger, so that it is not offered again, with pixels of no
    class. An answer to an earlier cycle that has changed since counts from the pending cycle on.

    Args:
        store: the run.
        shard: its data set is one `with_answers`.
        answers: the answers of that data set.
        annotation: the format that annotators' tools read and write; corrections of an earlier cycle are read in the
            one by which that cycle was completed.
        folder: where the format's files of the experiment lie, on this machine.
        leave_out: whether those regions of the pending cycle that have no answer are skipped, as "left out", if at
            least one has come back.
    """

    def __init__(
        self,
        store: RunStore,
        shard: PoolShard,
        answers: Answers,
        annotation: Component,
        folder: Path,
        *,
        leave_out: bool = False,
    ) -> None:
        self._store, self._shard, self._answers = store, shard, answers
        self._annotation, self._folder, self._leave_out = annotation, folder, leave_out

    @override
    def selected(self, cycle: int) -> Selection | None:
        asked = read_asked(self._store, cycle, self._shard.dataset.original_files)
        if asked is not None:
            return asked.selection
        self._put(*self._before(cycle))  # which regions may be annotated again depends on what has a label
        return None

    @override
    def label(self, cycle: int, selection: Selection, model: Checkpoint | None) -> bool:
        queries, latest = self._before(cycle)
        asked = read_asked(self._store, cycle, self._shard.dataset.original_files)
        folder = annotators_folder(self._folder, self._store.spec, cycle)
        if asked is None:
            self._leave_out = False  # what nobody has seen yet
            asked = Asked(selection, tuple(self._queries(cycle, selection, model)))
            write_asked(self._store, cycle, asked)
        queries |= {query.id: query for query in asked.queries}
        answers = self._completed(cycle, asked, queries, latest, folder)
        self._put(queries, latest)
        self._put(queries, answers)
        own = {query.id for query in asked.queries}
        windows = {(query.image, query.window) for query in queries.values() if query.id not in own}
        annotated_again = any((query.image, query.window) in windows for query in asked.queries)
        return annotated_again or bool(answers.keys() - own)

    def _completed(
        self, cycle: int, asked: Asked, queries: Mapping[str, Query], latest: Mapping[str, Answer], folder: Path
    ) -> Mapping[str, Answer]:
        """All answers of the cycle, corrections of earlier ones included; `Pending` where some are missing."""
        answered = read_answers(self._store, cycle)
        if answered.complete:
            return answered.by_query
        folder.mkdir(parents=True, exist_ok=True)
        answers = self._read_again(cycle, asked, queries, latest, folder)
        pending = [query.id for query in asked.queries if query.id not in answers]
        if pending and not (self._leave_out and len(pending) < len(asked.queries)):
            opened = build_format(self._annotation).write(asked.queries, self._classes, folder)
            own = [answers[query.id] for query in asked.queries if query.id in answers]
            skipped = sum(answer.labels is None for answer in own)
            raise Pending(cycle, opened, len(own) - skipped, skipped, len(asked.queries))
        answers |= {query: Answer(query, None, LEFT_OUT) for query in pending}
        known = [answer.labels for answer in {**latest, **answers}.values() if answer.labels is not None]
        if not any((labels != IGNORE).any() for labels in known):
            raise UserError(
                f"cycle {cycle}: no region is labelled yet, so there is nothing to train on; answer at least one in "
                f"{folder}."
            )
        write_answers(self._store, cycle, Answered(answers, complete=True, annotation=self._annotation))
        return answers

    def _put(self, queries: Mapping[str, Query], answers: Mapping[str, Answer]) -> None:
        for answer in answers.values():
            self._answers.put(queries[answer.query], answer)

    def _before(self, cycle: int) -> tuple[dict[str, Query], dict[str, Answer]]:
        """All queries of earlier cycles, and the latest answer to each."""
        queries, latest = dict[str, Query](), dict[str, Answer]()
        for store, number in cycles_of(self._store, cycle - 1):
            asked = read_asked(store, number, self._shard.dataset.original_files)
            queries |= {query.id: query for query in asked.queries} if asked else {}
            for query, answer in read_answers(store, number).by_query.items():
                latest.pop(query, None)  # of two answers about one region, the later one counts
                latest[query] = answer
        return queries, {query: answer for query, answer in latest.items() if query in queries}

    def _queries(self, cycle: int, selection: Selection, model: Checkpoint | None) -> Iterator[Query]:
        dataset, spec = self._shard.dataset, self._store.spec
        regions = [dataset.original(row.region) for row in selection.ledger.annotations()]
        passes = PassStreams.of(spec.passes, "dropout", spec.seed, spec.fold, cycle)
        image, predicted = None, None
        for number, region in enumerate(regions, start=1):
            if model is not None and region.image != image:
                image = region.image
                labels = self._shard.prediction(model, image, Wanted(), passes).labels
                predicted = dataset.to_original(image, labels)
            yield Query(
                f"cycle-{cycle:04d}-{number:03d}",
                region.image,
                dataset.original_files(region.image),
                shape_of_file(dataset, region.image),
                tuple((start, start + size) for start, size in zip(region.start, region.size, strict=True)),
                None if region.mask is None else region.inside,
                None if predicted is None else np.array(predicted[region.slices]),
            )

    def _read_again(
        self, cycle: int, asked: Asked, queries: Mapping[str, Query], latest: Mapping[str, Answer], folder: Path
    ) -> dict[str, Answer]:
        """All that has come back while the cycle was pending, what has changed last at the end, since of two answers
        about one region that one counts; it is kept even where a mistake is found.
        """
        kept = read_answers(self._store, cycle).by_query
        answers = dict(kept)
        try:
            for answer in self._read(self._annotation, asked.queries, folder):
                if answer.query in answers and not _same_labels(answers[answer.query], answer):
                    del answers[answer.query]
                answers[answer.query] = answer
            for store, number in cycles_of(self._store, cycle - 1):
                earlier = annotators_folder(self._folder, store.spec, number)
                of_cycle = [query for query in queries.values() if query.id.startswith(f"cycle-{number:04d}-")]
                by = read_answers(store, number).annotation or self._annotation
                for answer in self._read(by, of_cycle, earlier) if earlier.is_dir() else ():
                    before = answers.get(answer.query, latest.get(answer.query))
                    if before is None or not _same_labels(before, answer):
                        answers.pop(answer.query, None)
                        answers[answer.query] = answer
        finally:
            if answers != kept or any(not _same_labels(kept[query], answers[query]) for query in kept):
                write_answers(self._store, cycle, Answered(answers))
        return answers

    def _read(self, annotation: Component, queries: Sequence[Query], folder: Path) -> Iterator[Answer]:
        by_id = {query.id: query for query in queries}
        for answer in build_format(annotation).read(queries, self._classes, folder):
            if answer.query not in by_id:
                raise UserError(f"{folder}: there is an answer to {answer.query!r}, which is not asked there.")
            if answer.labels is not None:
                checked_labels(answer.labels, by_id[answer.query], self._classes, folder)
            yield answer

    @property
    def _classes(self) -> Classes:
        return Classes(tuple(self._shard.dataset.classes), IGNORE)


def cycles_of(store: RunStore, last: int) -> Iterator[tuple[RunStore, int]]:
    """The cycles from 1 to `last`, each with the run that holds it."""
    for number in range(1, last + 1):
        yield (store.first if number == 1 else store), number


def answers_of(stores: Iterable[RunStore], dataset: Dataset) -> Answers:
    """All answers that the committed cycles of runs were trained on."""
    answers = Answers()
    for store in stores:
        queries: dict[str, Query] = {}
        for owner, number in cycles_of(store, len(store.committed())):
            asked = read_asked(owner, number, dataset.original_files)
            queries |= {query.id: query for query in asked.queries} if asked else {}
            for answer in read_answers(owner, number).by_query.values():
                if answer.query in queries:
                    answers.put(queries[answer.query], answer)
    return answers


def annotators_folder(folder: Path, spec: RunSpec, cycle: int) -> Path:
    """Where the format's files of a cycle lie, below the experiment's folder for them."""
    sampler = spec.sampler.name if spec.sampler else "first-cycle"
    return folder / f"{sampler}-{spec.key[:8]}" / f"cycle-{cycle:04d}"


def shape_of_file(dataset: Dataset, image: str) -> tuple[int, ...]:
    """Pixels per axis of an image's original file."""
    shape = dataset.shape(image)
    return dataset.original(Region(image, (0,) * len(shape), tuple(shape))).size


def _same_labels(first: Answer, second: Answer) -> bool:
    if first.labels is None or second.labels is None:
        return first.labels is second.labels
    return np.array_equal(first.labels, second.labels)
