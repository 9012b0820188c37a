import json
import os
import subprocess
import sys
import threading
import time

import pytest

from decomp.platform.storage import lease
from decomp.platform.storage.location import Locked

OTHER = json.dumps({"host": "elsewhere", "pid": 1}).encode()


@pytest.fixture
def bucket(bucket):
    return bucket.bucket


def test_a_lease_is_renewed_while_it_is_held(bucket):
    with lease.held(bucket, "lock", renew=0.1):
        version = bucket.head("lock")["last_modified"]
        end = time.monotonic() + 30
        while bucket.head("lock")["last_modified"] == version:
            assert time.monotonic() < end
            time.sleep(0.05)
    assert not [thread for thread in threading.enumerate() if thread.name == "lease"]


def test_a_lease_that_is_not_renewed_may_be_taken(bucket):
    bucket.put("lock", OTHER)
    assert lease.is_held(bucket, "lock")
    with pytest.raises(Locked, match="process 1 on elsewhere") as error, lease.held(bucket, "lock"):
        pass
    assert error.value.expiry == lease.EXPIRE
    with lease.held(bucket, "lock", expire=0.0):
        assert json.loads(bucket.get("lock"))["pid"] == os.getpid()


def test_the_lease_of_a_killed_process_of_this_machine_may_be_taken_at_once(bucket):
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    bucket.put("lock", json.dumps(json.loads(lease._this_process()) | {"pid": int(dead.stdout)}).encode())
    with lease.held(bucket, "lock"):
        assert json.loads(bucket.get("lock"))["pid"] == os.getpid()


def test_of_two_that_take_an_old_lease_one_wins(bucket, monkeypatch):
    bucket.put("lock", OTHER)
    replace = type(bucket).replace

    def overtaken(self, key, version, content):
        bucket.put(key, json.dumps({"host": "other", "pid": 2}).encode())
        return replace(self, key, version, content)

    monkeypatch.setattr(type(bucket), "replace", overtaken)
    with pytest.raises(Locked, match="has just begun"), lease.held(bucket, "lock", expire=0.0):
        pass
    assert json.loads(bucket.get("lock"))["pid"] == 2
