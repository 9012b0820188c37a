import json
from contextlib import nullcontext

import pytest

from decomp.experiments.lock import is_driven, sole_driver
from decomp.platform.errors import StorageError, UserError
from decomp.platform.storage.claims import Claims


def test_only_one_process_drives_an_experiment(root):
    assert not is_driven(root)
    with sole_driver(root):
        assert is_driven(root)
        with pytest.raises(UserError, match="another decomp process works on this experiment"), sole_driver(root):
            pass
        assert is_driven(root)
    assert not is_driven(root)
    with sole_driver(root):
        assert is_driven(root)


def test_the_driver_that_holds_a_lease_is_named_with_the_time_to_wait(bucket):
    (bucket / ".lock").write_atomically(json.dumps({"host": "elsewhere", "pid": 1}).encode())
    sentence = (
        r"\(process 1 on elsewhere\); wait for it or end it with 'decomp stop'\. If it was killed, try again in 20"
    )
    with pytest.raises(UserError, match=sentence), sole_driver(bucket):
        pass


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match=r"file/toy cannot be written: Not a directory; name another folder"):
        sole_driver(tmp_path / "file" / "toy").__enter__()


def test_what_fails_while_the_lock_is_held_is_passed_on(root):
    with pytest.raises(ValueError, match="mine"), sole_driver(root):
        raise ValueError("mine")
    assert not is_driven(root)


def test_a_driver_on_a_machine_that_keeps_its_locks_to_itself_is_respected(tmp_path, monkeypatch):
    monkeypatch.setattr(type(tmp_path), "lock", lambda self: nullcontext())
    with Claims(tmp_path, told={"pid": 7, "host": "node-1"}).open():
        assert is_driven(tmp_path)
        with pytest.raises(UserError, match=r"process 7 on node-1\).*'decomp stop'"), sole_driver(tmp_path):
            pass
    with sole_driver(tmp_path):
        pass
