import json
import os
import subprocess
import sys
import threading
import time

import pytest

from decomp.experiments import lease
from decomp.experiments.lock import is_driven, sole_driver
from decomp.platform.errors import UserError


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


def test_a_lease_is_renewed_while_it_is_held(bucket):
    lock = bucket / ".lock"
    with lease.held(lock, renew=0.1):
        version = lock.head()["LastModified"]
        end = time.monotonic() + 30
        while lock.head()["LastModified"] == version:
            assert time.monotonic() < end
            time.sleep(0.05)
    assert not [thread for thread in threading.enumerate() if thread.name == "lease"]


def test_a_lease_that_is_not_renewed_may_be_taken(bucket):
    lock = bucket / ".lock"
    lock.write_bytes(json.dumps({"host": "elsewhere", "pid": 1}).encode())
    assert lease.is_held(lock)
    with pytest.raises(UserError, match=r"process 1 on elsewhere.*try again in 20 seconds"), lease.held(lock):
        pass
    with lease.held(lock, expire=0.0):
        assert json.loads(lock.read_bytes())["pid"] == os.getpid()


def test_the_lease_of_a_killed_process_of_this_machine_may_be_taken_at_once(bucket):
    lock = bucket / ".lock"
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    holder = json.loads(lease._content())
    lock.write_bytes(json.dumps(holder | {"pid": int(dead.stdout)}).encode())
    with lease.held(lock):
        assert json.loads(lock.read_bytes())["pid"] == os.getpid()


def test_of_two_that_take_an_old_lease_one_wins(bucket, monkeypatch):
    lock = bucket / ".lock"
    lock.write_bytes(json.dumps({"host": "elsewhere", "pid": 1}).encode())
    replace_version = type(lock).replace_version

    def overtaken(self, version, content):
        lock.write_bytes(json.dumps({"host": "other", "pid": 2}).encode())
        return replace_version(self, version, content)

    monkeypatch.setattr(type(lock), "replace_version", overtaken)
    with pytest.raises(UserError, match="has just begun"), lease.held(lock, expire=0.0):
        pass
