from dataclasses import replace

import pytest
from helpers.toy_runs import DECOMP, RUNS, results, run_locally

from decomp.platform.errors import StorageError
from decomp.platform.storage import location as storage
from decomp.platform.storage.location import parse_location
from decomp.platform.storage.objects import ObjectPath
from decomp.platform.storage.runs import RunStore

UNCERT = next(run for run in RUNS if run.sampler.name == "uncert")


def put(folder, number, name="cycle-0002"):
    """Publish a folder with a large file and a small one; where it is."""
    staged = storage.stage(folder / name)
    with storage.writing(staged / "model") as file:
        file.write_bytes(b"weights %d" % number)
    return storage.publish(staged, folder / name, {"record.json": b"%d" % number})


def test_a_user_names_a_folder_or_a_bucket(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert parse_location("runs") == tmp_path / "runs"
    assert parse_location("s3://bucket/a/b/") == ObjectPath("bucket", "a/b")
    assert str(parse_location("s3://bucket") / "name") == "s3://bucket/name"


def test_what_is_published_is_found(root):
    storage.prepare(root)
    assert storage.published(root, "cycle-") == {}
    path = put(root, 1)
    assert storage.published(root, "cycle-") == {"cycle-0002": path}
    assert (path / "record.json").read_bytes() == b"1"
    with storage.reading(path / "model", storage.digest(path / "model")) as file:
        assert file.read_bytes() == b"weights 1"


def test_of_two_writers_the_first_wins_with_all_its_files(root):
    storage.prepare(root)
    first, second = put(root, 1), put(root, 2)
    assert first == second
    assert (second / "record.json").read_bytes() == b"1"
    assert (second / "model").read_bytes() == b"weights 1"


def test_what_is_set_aside_is_published_no_more_and_can_be_again(root):
    storage.prepare(root)
    storage.set_aside(put(root, 1))
    assert storage.published(root, "cycle-") == {}
    assert (put(root, 2) / "record.json").read_bytes() == b"2"


def test_nothing_is_left_of_attempts_that_did_not_win(bucket):
    storage.stage(bucket / "cycle-0002")
    (storage.stage(bucket / "cycle-0002") / "model").write_bytes(b"killed")
    assert storage.published(bucket, "cycle-") == {}
    path = put(bucket, 1)
    assert {entry.parent for entry in bucket.walk()} == {path, bucket / "cycle-0002"}


def test_an_attempt_that_is_there_beside_the_published_one_is_not_taken_for_it(bucket):
    path = put(bucket, 1)
    (bucket / "cycle-0002" / "0000" / "model").write_bytes(b"still uploading")
    (bucket / "cycle-0002" / "ffff" / "model").write_bytes(b"still uploading")
    assert storage.published(bucket, "cycle-") == {"cycle-0002": path}


def test_a_copy_that_is_not_what_was_committed_is_refused(bucket):
    path = put(bucket, 1)
    (path / "model").write_bytes(b"else")
    assert storage.digest(path / "model") is None
    with pytest.raises(OSError, match="model is not what was committed"), storage.reading(path / "model", "f00d"):
        pass


def test_a_bucket_holds_the_same_results_as_a_folder(bucket, tmp_path):
    for root in (tmp_path, bucket):
        run_locally(root, DECOMP, UNCERT)
    assert results(bucket) == results(tmp_path)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_run_killed_around_a_commit_into_a_bucket_goes_on_with_the_same_results(bucket, tmp_path, monkeypatch, when):
    run_locally(tmp_path, DECOMP)
    create, calls = ObjectPath.create, []

    def interrupted(self, content):
        calls.append(self)
        if len(calls) == 3:
            if when == "after":
                create(self, content)
            raise KeyboardInterrupt
        return create(self, content)

    monkeypatch.setattr(ObjectPath, "create", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_locally(bucket, DECOMP)
    run_locally(bucket, DECOMP)
    assert results(bucket) == results(tmp_path)


def test_a_damaged_checkpoint_in_a_bucket_is_computed_again(bucket, tmp_path):
    run_locally(tmp_path, DECOMP)
    run_locally(bucket, replace(DECOMP, cycles=4))
    RunStore(bucket, DECOMP).committed()[3].checkpoint.write_bytes(b"damaged")
    run_locally(bucket, DECOMP)
    assert results(bucket) == results(tmp_path)


def test_a_bucket_that_is_missing_is_named_with_the_mend(bucket):
    with pytest.raises(StorageError, match=r"s3://no-such-bucket/a: there is no such bucket; create it"):
        ObjectPath("no-such-bucket", "a").write_bytes(b"")


def test_a_missing_object_is_like_a_missing_file(bucket):
    with pytest.raises(FileNotFoundError):
        (bucket / "nothing").read_bytes()
    assert not (bucket / "nothing").exists()
    assert (bucket / "nothing").head() is None
    (bucket / "nothing").unlink()
