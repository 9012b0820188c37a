import hashlib
import json
import os
from dataclasses import replace

import pytest

from decomp.platform.ledger import Annotation, Ledger
from decomp.platform.regions import Region
from decomp.platform.spec import FORMAT, Budget, Component, RunSpec, Sampler
from decomp.platform.storage import files
from decomp.platform.storage.records import Annotated, CycleRecord, Timing
from decomp.platform.storage.runs import RunStore, stored_runs

SPEC = RunSpec(
    "run",
    Component("digits", {"seed": 1}),
    "f00d",
    Component("unet", {"widths": [16, 32]}),
    seed=3,
    budget=Budget(2, 3, (4, 4)),
    sampler=Sampler("decomp", Component("decomposition"), Component("decomposition")),
    cycles=4,
)
LEDGER = Ledger.of([Annotation(Region("a", (0, 0), (4, 4)), cycle=1, rank=0, drawn_class=1, score=7.0)])


def commit(store, number, content=b"weights", **changes):
    store.create()
    staged = store.stage(number)
    with staged.checkpoint.writing() as file:
        file.write_bytes(content)
    annotated = Annotated(1, 0.25, 1, 16, 0.5, (10, 6), 1, 3)
    record = CycleRecord(
        number,
        {"miou": 0.5},
        {"iou": {"a": 0.25, "b": None}},
        annotated,
        None,
        (0.5, 0.5),
        hashlib.sha256(content).hexdigest(),
        **changes,
    )
    return store.commit(staged, record, Timing({"train": 1.0}, 5, "0", ""), LEDGER), record


@pytest.fixture
def store(root):
    commit(RunStore(root, SPEC.first), 1)
    return RunStore(root, SPEC)


@pytest.fixture
def folder_store(tmp_path):
    commit(RunStore(tmp_path, SPEC.first), 1)
    return RunStore(tmp_path, SPEC)


def test_what_is_committed_is_read_back(store):
    folder, record = commit(store, 2)
    assert folder.record == record
    assert folder.ledger.annotations() == LEDGER.annotations()
    assert folder.timing.phases == {"train": 1.0}
    assert folder.intact()


def test_cycle_1_is_the_shared_one(store):
    other = RunStore(store.root, replace(SPEC, sampler=Sampler("rand", Component("random"), Component("random"))))
    assert [f.path for f in store.committed()] == [f.path for f in other.committed()]
    assert len(store.committed()) == 1


def test_a_cycle_in_the_making_is_not_committed(store):
    store.stage(2).checkpoint.write_atomically(b"half")
    assert len(store.committed()) == 1


def test_staging_left_by_a_killed_process_is_swept_away(folder_store):
    folder_store.stage(2)
    folder_store.create()
    assert [p.name for p in folder_store.path.iterdir() if p.name.startswith(".")] == []


def test_losing_the_race_for_a_commit_keeps_the_winners_files(store):
    folder, _ = commit(store, 2, b"winner")
    commit(store, 2, b"loser")
    assert folder.checkpoint.read_bytes() == b"winner"


def test_a_failure_between_the_files_leaves_nothing_visible(folder_store, monkeypatch):
    monkeypatch.setattr(files, "sync", lambda path: (_ for _ in ()).throw(OSError(28, "No space left")))
    with pytest.raises(OSError, match="No space"):
        commit(folder_store, 2)
    assert len(folder_store.committed()) == 1


def test_only_the_last_two_checkpoints_and_the_shared_one_stay(store):
    for number in (2, 3, 4):
        commit(store, number)
    assert [folder.checkpoint.exists() for folder in store.committed()] == [True, False, True, True]
    assert store.finished


def test_a_damaged_checkpoint_is_noticed_and_set_aside(store):
    folder, _ = commit(store, 2)
    folder.checkpoint.write_atomically(b"weigh")
    assert not folder.intact()
    store.quarantine(folder)
    assert len(store.committed()) == 1


def test_an_exhausted_run_is_finished(store):
    commit(store, 2, exhausted=True)
    assert store.finished


def test_same_inputs_same_bytes(tmp_path):
    folders = [commit(RunStore(tmp_path / name, SPEC.first), 1)[0].path for name in "ab"]
    assert sorted(os.listdir(folders[0])) == ["model", "record.json", "regions.parquet", "timing.json"]
    for name in os.listdir(folders[0]):
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes()


def test_stored_runs_are_found_with_their_identity(store):
    store.create()
    assert [run.spec.identity() for run in stored_runs(store.root)] == [
        replace(SPEC, cycles=1).identity(),
        SPEC.first.identity(),
    ]
    assert json.loads((store.path / "run.json").read_bytes()) == SPEC.identity()


def test_runs_of_another_format_are_passed_over(store):
    store.create()
    description = store.path / "run.json"
    description.write_atomically(description.read_bytes().replace(b'"format": %d' % FORMAT, b'"format": 1'))
    assert [run.spec.kind for run in stored_runs(store.root)] == ["first"]


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 4},
        {"fold": 1},
        {"fingerprint": "beef"},
        {"warm_start": True},
        {"budget": Budget(2, 3, (4, 5))},
        {"learner": Component("unet", {"widths": [16, 33]})},
        {"sampler": Sampler("decomp", Component("decomposition"), Component("decomposition"), ((1, 0.5),))},
    ],
)
def test_what_changes_a_result_changes_the_key(change):
    assert replace(SPEC, **change).key != SPEC.key


def test_more_cycles_go_on_with_the_same_run():
    assert replace(SPEC, cycles=9).key == SPEC.key
