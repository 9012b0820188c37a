from dataclasses import replace

import pytest
from helpers.publishing import put
from helpers.toy_runs import DECOMP, RUNS, results, run_locally

from decomp.platform.storage.buckets import Bucket
from decomp.platform.storage.runs import RunStore

UNCERT = next(run for run in RUNS if run.sampler.name == "uncert")


def test_nothing_is_left_of_attempts_that_did_not_win(bucket):
    ((bucket / "cycle-0002").stage() / "model").write_atomically(b"killed")
    path = put(bucket, 1)
    assert {entry.parent for entry in bucket.walk()} == {path, bucket / "cycle-0002"}


def test_an_attempt_that_is_there_beside_the_published_one_is_not_taken_for_it(bucket):
    path = put(bucket, 1)
    for attempt in ("0000", "ffff"):
        (bucket / "cycle-0002" / attempt / "model").write_atomically(b"still uploading")
    assert bucket.published("cycle-") == {"cycle-0002": path}


def test_published_folders_are_listed_in_one_request(bucket, monkeypatch):
    paths = {name: put(bucket, 1, name) for name in ("cycle-0002", "cycle-0003", "cycle-0004")}
    listings, keys = [], Bucket.keys
    monkeypatch.setattr(Bucket, "keys", lambda self, folder: listings.append(folder) or keys(self, folder))
    monkeypatch.setattr(Bucket, "get", None)
    assert bucket.published("cycle-") == paths
    assert listings == [bucket.key]


def test_a_copy_that_is_not_what_was_committed_is_refused(bucket):
    model = put(bucket, 1) / "model"
    model.write_atomically(b"else")
    assert model.sha256() is None
    with pytest.raises(OSError, match="model is not what was committed"), model.reading("f00d"):
        pass


def test_a_bucket_holds_the_same_results_as_a_folder(bucket, tmp_path):
    for root in (tmp_path, bucket):
        run_locally(root, DECOMP, UNCERT)
    assert results(bucket) == results(tmp_path)
    assert len(results(bucket)) > 3 * DECOMP.cycles


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_run_killed_around_a_commit_into_a_bucket_goes_on_with_the_same_results(bucket, tmp_path, monkeypatch, when):
    run_locally(tmp_path, DECOMP)
    create, calls = Bucket.create, []

    def interrupted(self, key, content):
        calls.append(key)
        if len(calls) == 3:
            if when == "after":
                create(self, key, content)
            raise KeyboardInterrupt
        return create(self, key, content)

    monkeypatch.setattr(Bucket, "create", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_locally(bucket, DECOMP)
    run_locally(bucket, DECOMP)
    assert results(bucket) == results(tmp_path)


def test_a_damaged_checkpoint_in_a_bucket_is_computed_again(bucket, tmp_path):
    run_locally(tmp_path, DECOMP)
    run_locally(bucket, replace(DECOMP, cycles=4))
    RunStore(bucket, DECOMP).committed()[3].checkpoint.write_atomically(b"damaged")
    run_locally(bucket, DECOMP)
    assert results(bucket) == results(tmp_path)
