from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from helpers.annotators import CODES, answer_folders, write_scenes
from helpers.toy_runs import DECOMP

from decomp.platform.annotation.answered import Answers, with_answers
from decomp.platform.annotation.folders import Folders
from decomp.platform.components import build_dataset, build_learner
from decomp.platform.errors import UserError
from decomp.platform.grid import Budget, Component
from decomp.platform.loop.asked import read_answers, read_asked
from decomp.platform.loop.live import LiveOracle, Pending, annotators_folder, answers_of
from decomp.platform.loop.loop import Loop
from decomp.platform.loop.shard import PoolShard
from decomp.platform.loop.workers import LocalWorkers
from decomp.platform.storage.files import FilePath
from decomp.platform.storage.runs import RunStore

CYCLES = 4
SCENES = "helpers.annotators:Scenes"


@dataclass
class Annotation:
    """A run on unlabelled scenes, and the same run on labelled ones."""

    root: Path

    def __post_init__(self):
        write_scenes(self.root / "data")
        options = {"root": str(self.root / "data"), "codes": CODES}
        self.simulated = replace(
            DECOMP, dataset=Component(SCENES, options), cycles=CYCLES, budget=Budget(2, 3, (8, 8)), fingerprint="true"
        )
        self.spec = replace(
            self.simulated, dataset=Component(SCENES, {**options, "labelled": False}), fingerprint="none"
        )
        self.labels = build_dataset(self.simulated.dataset).labels

    @property
    def store(self):
        return RunStore(FilePath(self.root / "runs"), self.spec)

    def simulate(self):
        store = RunStore(FilePath(self.root / "simulated"), self.simulated)
        learner, dataset = build_learner(self.spec.learner), build_dataset(self.simulated.dataset)
        for spec in (store.spec.first, store.spec):
            Loop(RunStore(store.root, spec), dataset, LocalWorkers(PoolShard(dataset, learner, "cpu"))).run()
        return store

    def annotate(self, **options):
        """What the user types, again and again; returns what is pending, or None at the end."""
        answers, learner = Answers(), build_learner(self.spec.learner)
        dataset = with_answers(build_dataset(self.spec.dataset), answers)
        shard = PoolShard(dataset, learner, "cpu")
        for spec in (self.spec.first, self.spec):
            store = RunStore(self.store.root, spec)
            oracle = LiveOracle(store, shard, answers, Folders(), self.root / "asked", **options)
            try:
                Loop(store, dataset, LocalWorkers(shard), oracle=oracle).run()
            except Pending as pending:
                return pending
        return None

    def queries(self, cycle):
        store = RunStore(self.store.root, self.spec.first) if cycle == 1 else self.store
        return read_asked(store, cycle, lambda image: ()).queries

    def answer(self, pending, only=None):
        answer_folders(self.queries(pending.cycle), self.labels, pending.opened, only)

    def answer_all(self):
        while pending := self.annotate():
            self.answer(pending)
        return self.store


@pytest.fixture
def annotation(tmp_path):
    return Annotation(tmp_path)


def results(store):
    """All that a run leaves, apart from seals, which name the run, and times."""
    return [
        (cycle.record, cycle.regions_file.read_bytes(), cycle.record.checkpoint_sha256) for cycle in store.committed()
    ]


def test_true_answers_give_the_results_of_the_simulation_byte_for_byte(annotation):
    store = annotation.answer_all()
    assert len(store.committed()) == CYCLES
    assert results(store) == results(annotation.simulate())


def test_a_cycle_is_pending_until_all_its_regions_are_answered(annotation):
    pending = annotation.annotate()
    assert (pending.cycle, pending.answered, pending.total) == (1, 0, 6)
    annotation.answer(pending, only=range(4))
    assert (annotation.annotate().answered, len(annotation.store.committed())) == (4, 0)
    annotation.answer(pending, only=range(4, 6))
    assert annotation.annotate().cycle == 2


def test_answers_are_kept_as_soon_as_they_have_come(annotation):
    pending = annotation.annotate()
    annotation.answer(pending, only=[0, 1])
    annotation.annotate()
    for mask in (pending.opened / "masks").iterdir():
        mask.unlink()
    assert annotation.annotate().answered == 2


def test_regions_may_be_skipped_with_a_reason_and_are_not_offered_again(annotation):
    pending = annotation.annotate()
    annotation.answer(pending, only=range(5))
    table = pending.opened / "answers.csv"
    skipped = annotation.queries(1)[5]
    line = f"{skipped.id},{skipped.image},,"
    table.write_text(table.read_text().replace(line, f"{line}blurred,ada,12.5").replace("12.5,,", "12.5"))
    assert annotation.annotate().cycle == 2
    answer = read_answers(annotation.store.first, 1).by_query[skipped.id]
    assert (answer.labels, answer.reason, answer.annotator, answer.seconds) == (None, "blurred", "ada", 12.5)
    record = annotation.store.first.committed()[0].record
    assert record.annotated.regions == 6
    assert sum(record.annotated.class_pixels) == 5 * 64


def test_what_is_left_out_is_skipped_in_the_pending_cycle_alone(annotation):
    pending = annotation.annotate()
    assert annotation.annotate(leave_out=True).cycle == 1  # nothing has come back yet
    annotation.answer(pending, only=[2])
    after = annotation.annotate(leave_out=True)
    assert (after.cycle, after.skipped) == (2, 0)
    answers = read_answers(annotation.store.first, 1).by_query.values()
    assert sorted(str(answer.reason) for answer in answers) == ["None"] + 5 * ["left out"]


def test_a_cycle_without_a_labelled_pixel_is_refused_in_one_sentence(annotation):
    pending = annotation.annotate()
    table = pending.opened / "answers.csv"
    lines = table.read_text().splitlines()
    table.write_text("\n".join([lines[0], *(line.replace(",,,,", ",,no idea,,") for line in lines[1:])]))
    with pytest.raises(UserError, match="no region is labelled yet"):
        annotation.annotate()
    annotation.answer(pending)
    with pytest.raises(UserError, match=r"is skipped, but there is .* as well"):
        annotation.annotate()
    assert len(annotation.store.first.committed()) == 0


def test_a_correction_counts_from_the_next_cycle_on(annotation):
    first = annotation.annotate()
    annotation.answer(first)
    second = annotation.annotate()
    annotation.answer(second)
    corrected = annotation.queries(1)[0]
    wrong = annotation.labels(corrected.image)[corrected.slices]
    answer_folders([corrected], lambda image: (annotation.labels(image) + 1) % 3, first.opened)
    assert annotation.annotate().cycle == 3
    assert corrected.id in read_answers(annotation.store, 2).by_query
    before, after = (cycle.record.annotated.class_pixels for cycle in annotation.store.committed())
    query_ids = [query.id for query in annotation.queries(2)]
    second_pixels = sum(
        np.bincount(annotation.labels(q.image)[q.slices].ravel(), minlength=3)
        for q in annotation.queries(2)
        if q.id in query_ids
    )
    change = np.bincount(((wrong + 1) % 3).ravel(), minlength=3) - np.bincount(wrong.ravel(), minlength=3)
    assert after == tuple(before + second_pixels + change)


def test_a_damaged_file_of_answers_is_told(annotation):
    annotation.answer(annotation.annotate())
    annotation.annotate()
    file = annotation.store.first.path / "answers-0001.json"
    file.write_bytes(file.read_bytes().replace(b'"labels"', b'"Labels"', 1))
    with pytest.raises(UserError, match=r"answers-0001.json is damaged"):
        annotation.annotate()


def test_the_query_shows_what_the_model_predicts(annotation):
    annotation.answer(annotation.annotate())
    second = annotation.annotate()
    assert all(query.prediction.shape == (8, 8) for query in annotation.queries(2))
    assert all(query.prediction is None for query in annotation.queries(1))
    assert len(list((second.opened / "predictions").iterdir())) == second.total


def test_the_answers_of_a_run_are_found_afterwards(annotation):
    store = annotation.answer_all()
    dataset = build_dataset(annotation.spec.dataset)
    answered = with_answers(dataset, answers_of([store], dataset))
    for image, regions in store.ledger(store.committed()).by_image.items():
        for region in regions:
            assert np.array_equal(region.of(answered.labels(image)), region.of(annotation.labels(image)))


def test_the_folder_of_a_cycle_names_its_run(annotation):
    pending = annotation.annotate()
    assert pending.opened == annotators_folder(annotation.root / "asked", annotation.spec.first, 1)
    assert pending.opened.parent.name.startswith("first-cycle-")
