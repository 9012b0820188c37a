import os
from collections import Counter

import pytest
from helpers.fake_runs import commit, fake_reference, fake_run, spec

from decomp.experiments.report.run_history import read_histories
from decomp.platform.storage.files import FilePath
from decomp.platform.storage.runs import TIMING, CycleFolder, LostTimes, RunStore


def test_a_history_holds_the_shared_first_cycle_and_the_runs_own(tmp_path):
    run = fake_run(tmp_path, [0.1, 0.2], cycles=3)
    (history,) = read_histories([run])
    assert [cycle.folder for cycle in history.cycles] == run.committed()
    assert [record.metrics["miou"] for record in history.records] == [0.1, 0.2]
    assert [timing.committed_at for timing in history.timings] == [f.timing.committed_at for f in run.committed()]
    assert history.repeat == (0, 0)
    assert not history.finished
    commit(run, 3, 0.3, 0.03)
    assert read_histories([run])[0].finished


def test_runs_and_references_keep_their_order(tmp_path):
    runs = [fake_run(tmp_path, [0.1], seed=1), fake_reference(tmp_path, 0.7), RunStore(tmp_path, spec(seed=2))]
    histories = read_histories(runs)
    assert [history.store for history in histories] == runs
    assert [len(history.cycles) for history in histories] == [1, 1, 0]


def test_a_run_whose_candidates_are_exhausted_is_finished(tmp_path):
    run = fake_run(tmp_path, [0.1], cycles=3)
    commit(run, 2, 0.2, 0.02, exhausted=True)
    assert read_histories([run])[0].finished


def test_damaged_wall_times_are_given_up_and_the_results_kept(tmp_path):
    store = fake_run(tmp_path, [0.1, 0.2, 0.3])
    folder = store.committed()[1]
    record = folder.record
    (folder.path / TIMING).write_bytes(b"{}")
    (history,) = read_histories([store])
    with pytest.raises(LostTimes, match="'decomp run' keeps its cycle, without wall times"):
        _ = history.timings
    (sentence,) = history.forget_damaged_times()
    assert sentence.startswith(f"{folder.path / TIMING} is damaged (")
    assert sentence.endswith("; the cycle's results are kept, without wall times.")
    assert history.set_aside_damaged() == []
    (again,) = read_histories([store])
    assert [bool(timing.phases) for timing in again.timings] == [True, False, True]
    assert again.records[1] == record
    assert again.forget_damaged_times() == []


def test_a_ledger_goes_to_the_cycle_asked_for(tmp_path):
    (history,) = read_histories([fake_run(tmp_path, [0.1, 0.2, 0.3])])
    assert {row.cycle for row in history.ledger(2).annotations()} == {1, 2}


def test_records_are_read_when_first_asked_for_and_shared_first_cycles_once(tmp_path, monkeypatch):
    runs = [fake_run(tmp_path, [0.1, 0.2], sampler=name) for name in ("rand", "decomp")]
    reads = Counter()
    read = CycleFolder.record.fget

    def counted(folder):
        reads[folder.path] += 1
        return read(folder)

    monkeypatch.setattr(CycleFolder, "record", property(counted))
    histories = read_histories(runs)
    assert not reads
    for _ in range(2):
        assert [len(history.records) for history in histories] == [2, 2]
    assert sorted(reads.values()) == [1, 1, 1]


def test_what_is_committed_is_told_by_one_listing_of_each_folder_and_the_last_record_of_what_goes_on(
    tmp_path, monkeypatch
):
    names = ("rand", "decomp", "badge")
    going = [fake_run(tmp_path, [0.1, 0.2], sampler=name, cycles=5) for name in names]
    done = [fake_run(tmp_path, [0.1, 0.2, 0.3], sampler=name, cycles=3, seed=1) for name in names]
    new = [RunStore(tmp_path, spec(sampler=name, seed=2)) for name in names]
    calls = Counter()

    def count(name, place):
        asked = getattr(place, name)

        def counted(*arguments, **options):
            calls[name] += 1
            return asked(*arguments, **options)

        monkeypatch.setattr(place, name, counted)

    for name in ("scandir", "stat", "listdir"):
        count(name, os)
    for name in ("read_bytes", "glob", "rglob", "exists", "is_dir", "is_file"):
        count(name, FilePath)
    histories = read_histories([*going, *done, *new])
    assert [history.finished for history in histories] == 3 * [False] + 3 * [True] + 3 * [False]
    assert [history.store.namesakes() for history in histories if not history.own_cycles] == [[], [], []]
    # Three first cycles (one of them not there, so that its runs are not asked for), six runs, three names not there.
    assert calls == {"scandir": 3 + 6 + 3, "read_bytes": 3 + 1}  # what is imported
