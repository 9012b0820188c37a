import hashlib
import os
from dataclasses import replace

import pytest

from decomp.platform.errors import UserError
from decomp.platform.grid import Budget, Component, Sampler
from decomp.platform.ledger import Annotation, Ledger
from decomp.platform.regions import Region
from decomp.platform.spec import RunSpec
from decomp.platform.storage import files
from decomp.platform.storage.records import Annotated, CycleRecord, Timing
from decomp.platform.storage.runs import DamagedCycle, RunStore, read_identity

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
    assert replace(folder.record, regions_sha256=None) == record
    assert folder.ledger.annotations() == LEDGER.annotations()
    assert folder.timing.phases == {"train": 1.0}
    folder.check_checkpoint(record)


def test_cycle_1_is_the_shared_one(store):
    other = RunStore(store.root, replace(SPEC, sampler=Sampler("rand", Component("random"), Component("random"))))
    assert [f.path for f in store.committed()] == [f.path for f in other.committed()]
    assert len(store.committed()) == 1


def test_a_cycle_in_the_making_is_not_committed(store):
    store.stage(2).checkpoint.write_atomically(b"half")
    assert len(store.committed()) == 1


def test_losing_the_race_for_a_commit_keeps_the_winners_files(store):
    folder, _ = commit(store, 2, b"winner")
    commit(store, 2, b"loser")
    assert folder.checkpoint.read_bytes() == b"winner"


def test_a_cycle_that_another_process_commits_at_the_moment_is_not_stranded(store, monkeypatch):
    commit(store, 2)
    published = type(store.path).published

    def committed_meanwhile(path, prefix):
        folders = published(path, prefix)
        if "cycle-0003" not in folders and "cycle-0002" in folders:
            commit(store, 3)
        return folders

    monkeypatch.setattr(type(store.path), "published", committed_meanwhile)
    assert store.stranded() == []
    assert len(store.committed()) == 3


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
    folder, record = commit(store, 2)
    folder.check_checkpoint(record)
    folder.checkpoint.write_atomically(b"weigh")
    with pytest.raises(DamagedCycle, match=r"model is (missing or )?damaged") as error:
        folder.check_checkpoint(record)
    assert "set aside" in folder.set_aside(error.value)
    assert len(store.committed()) == 1


def test_an_exhausted_run_is_finished(store):
    commit(store, 2, exhausted=True)
    assert store.finished


def test_same_inputs_same_bytes(tmp_path):
    folders = [commit(RunStore(tmp_path / name, SPEC.first), 1)[0].path for name in "ab"]
    assert sorted(os.listdir(folders[0])) == ["model", "record.json", "regions.parquet", "timing.json"]
    for name in os.listdir(folders[0]):
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes()


def test_a_run_writes_down_what_it_is_and_mends_that(store):
    store.create()
    for damaged in (b"", b"[]", b"{}", b"null", SPEC.key.encode()):
        (store.path / "run.json").write_atomically(damaged)
        with pytest.raises(UserError, match=r"run\.json is damaged; delete it"):
            read_identity(store.path)
        store.create()
        assert read_identity(store.path) == SPEC.identity()
    assert read_identity(store.root) is None


def test_other_runs_of_the_same_name_are_found_where_this_one_is_new(store):
    store.create()
    other = RunStore(store.root, replace(SPEC, fingerprint="beef"))
    assert (store.namesakes(), other.namesakes()) == ([], [store.path])
    (store.path.parent / ".DS_Store").write_atomically(b"of a system that was used to look at the folder")
    assert [identity and identity["seed"] for identity in map(read_identity, other.namesakes())] == [None, 3]


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
