"""The contract of `Location`, tried on each implementation."""

import errno
import fcntl
import json
import os
import pickle
import subprocess
import sys

import pytest
from helpers.publishing import put

from decomp.platform.errors import StorageError
from decomp.platform.storage import lease
from decomp.platform.storage.files import FilePath, checksum
from decomp.platform.storage.location import Locked


def test_a_location_is_a_value(root):
    place = root / "a"
    assert place == root / "a" != root / "b"
    assert len({place, root / "a"}) == 1
    assert pickle.loads(pickle.dumps(place)) == place
    assert (place.name, place.parent) == ("a", root)
    assert str(place) == f"{root}/a"


def test_a_small_file_is_written_replaced_and_discarded(root):
    root.prepare()
    file = root / "status.json"
    assert not file.exists()
    for content in (b"one", b"another"):
        file.write_atomically(content)
        assert file.read_bytes() == content
    assert file.exists()
    file.discard()
    assert not file.exists()


def test_a_file_that_is_missing_is_said_to_be_and_may_be_discarded(root):
    with pytest.raises(FileNotFoundError):
        (root / "nothing").read_bytes()
    assert (root / "nothing").sha256() is None
    (root / "nothing").discard()


def test_a_large_file_is_read_back_with_its_digest(root):
    path = put(root, 1)
    digest = (path / "model").sha256()
    with (path / "model").reading(digest) as file:
        assert file.read_bytes() == b"weights 1"
        assert checksum(file) == digest


def test_what_is_published_is_found(root):
    root.prepare()
    assert root.published("cycle-") == {}
    path = put(root, 1)
    put(root, 1, "other")
    assert root.published("cycle-") == {"cycle-0002": path}
    assert (path / "record.json").read_bytes() == b"1"
    assert path.publication == root / "cycle-0002"


def test_nothing_is_published_in_a_folder_that_is_missing(root):
    assert (root / "nowhere").published("cycle-") == {}
    assert (root / "nowhere").names() == set()


def test_what_is_staged_is_not_published(root):
    root.prepare()
    with ((root / "cycle-0002").stage() / "model").writing() as file:
        file.write_bytes(b"killed")
    assert root.published("cycle-") == {}


def test_a_file_whose_writer_fails_is_not_published(root):
    root.prepare()
    model = (root / "cycle-0002").stage() / "model"

    def fail():
        with model.writing() as file:
            file.write_bytes(b"half")
            raise ValueError("half")

    with pytest.raises(ValueError, match="half"):
        fail()
    assert root.published("cycle-") == {}


def test_what_is_abandoned_leaves_nothing_and_can_be_staged_again(root):
    root.prepare()
    staged = (root / "cycle-0002").stage()
    with (staged / "model").writing() as file:
        file.write_bytes(b"half a model")
    staged.abandon()
    staged.abandon()  # which may have happened already
    assert root.published("cycle-") == {}
    assert not (staged / "model").exists()
    put(root, 1)
    other = (root / "cycle-0002").stage()
    other.abandon()
    assert (root.published("cycle-")["cycle-0002"] / "model").exists()


def test_of_two_writers_the_first_wins_with_all_its_files(root):
    root.prepare()
    first, second = put(root, 1), put(root, 2)
    assert first == second
    assert (second / "record.json").read_bytes() == b"1"
    with (second / "model").reading((second / "model").sha256()) as file:
        assert file.read_bytes() == b"weights 1"


def test_what_is_set_aside_is_published_no_more_and_can_be_again(root):
    root.prepare()
    put(root, 1).set_aside()
    assert root.published("cycle-") == {}
    assert (put(root, 2) / "record.json").read_bytes() == b"2"


def test_the_names_in_a_folder_are_those_of_its_files_and_folders(root):
    for folder in ("a", "a/c"):
        (root / folder).prepare()
        (root / folder / "run.json").write_atomically(b"")
    assert root.names() == {"a"}
    assert (root / "a").names() == {"c", "run.json"}


def test_a_lock_has_one_holder(root):
    lock = root / ".lock"
    assert not lock.is_locked()
    for _ in range(2):
        with lock.lock():
            assert lock.is_locked()
            with pytest.raises(Locked), lock.lock():
                pass
            assert lock.is_locked()
        assert not lock.is_locked()


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK])
def test_a_file_system_without_locks_is_named_with_the_mend(number, tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(StorageError, match=r"has no locks.*or name a folder elsewhere"), (tmp_path / ".lock").lock():
        pass
    assert not (tmp_path / ".lock").is_locked()


def test_whoever_only_looks_at_a_lock_opens_nothing_for_writing(tmp_path, monkeypatch):
    lock, modes = tmp_path / ".lock", []
    with lock.lock():
        plain = FilePath.open
        monkeypatch.setattr(FilePath, "open", lambda self, mode: modes.append(mode) or plain(self, mode))
        assert lock.is_locked()
    assert modes == ["rb"]


HOLDER = """
import sys, time
from decomp.platform.storage.address import parse_location
with parse_location(sys.argv[1]).lock():
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("where", ["folder", "bucket"])
def test_a_killed_holder_loses_the_lock(where, request, tmp_path):
    lock = (tmp_path if where == "folder" else request.getfixturevalue("bucket")) / ".lock"
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(lock)], stdout=subprocess.PIPE)
    assert holder.stdout.readline() == b"held\n"
    with pytest.raises(Locked), lock.lock():
        pass
    holder.kill()
    holder.wait()
    with lock.lock():
        assert lock.is_locked()


def test_a_killed_holder_in_a_bucket_is_named(bucket):
    (bucket / ".lock").write_atomically(json.dumps({"host": "elsewhere", "pid": os.getpid()}).encode())
    with pytest.raises(Locked) as error, (bucket / ".lock").lock():
        pass
    assert (error.value.holder, error.value.expiry) == (f"process {os.getpid()} on elsewhere", lease.EXPIRE)
