import functools
import os
import uuid

import boto3
import pytest
from hypothesis import settings
from moto.server import ThreadedMotoServer
from obstore.store import MemoryStore

from decomp.platform.storage import buckets
from decomp.platform.storage.files import FilePath
from decomp.platform.storage.objects import ObjectPath

# Else each of the many processes that tests start would compile the project anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
# Read when torch is imported. Tests run beside each other, a process per core, so that further threads wait for a core.
os.environ["OMP_NUM_THREADS"] = "1"

# Read when ray is imported or started.
os.environ |= {
    "RAY_USAGE_STATS_ENABLED": "0",  # no message to anybody's server
    "RAY_AUTH_MODE": "disabled",  # no token file in anybody's home
    "RAY_prestart_worker_first_driver": "0",  # no idle process for every core
    "RAY_worker_niceness": "0",  # not 15, or the tests that wait for them would wait for those on the other cores
    "RAY_raylet_start_wait_time_s": "300",  # half a minute is too short on a busy machine
}
os.environ["PYTHONPATH"] = os.pathsep.join([os.path.dirname(__file__), os.environ.get("PYTHONPATH", "")])

# No test is about time, and other processes may be busy.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


def pytest_collection_modifyitems(items):
    """The site first, whose tests take longest in one file, so that no process waits for another one in the end."""
    items.sort(key=lambda item: item.path.name != "test_docs.py")


@pytest.fixture(scope="session")
def object_store():
    """An S3-compatible server on the loopback interface, which this process and its children find."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    os.environ |= {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "somebody",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    yield boto3.client("s3")
    server.stop()


@pytest.fixture
def bucket(object_store):
    """A folder in a fresh bucket."""
    name = f"bucket-{uuid.uuid4().hex}"
    object_store.create_bucket(Bucket=name)
    return ObjectPath.parse(f"s3://{name}/some/runs")


@pytest.fixture
def memory(monkeypatch):
    """A folder in a bucket of this process; obstore's stores of other providers behave like it."""
    monkeypatch.setattr(buckets, "_store", functools.cache(lambda url: MemoryStore()))
    return ObjectPath.parse("gs://bucket/some/runs")


@pytest.fixture(scope="session")
def tmp_path_factory(tmp_path_factory):
    """Temporary folders, `tmp_path` among them, that are places for results too."""
    make = tmp_path_factory.mktemp
    tmp_path_factory.mktemp = lambda name, numbered=True: FilePath(make(name, numbered))
    return tmp_path_factory


@pytest.fixture(params=["folder", "bucket", "memory"])
def root(request, tmp_path):
    """Where an experiment's results may lie."""
    return tmp_path if request.param == "folder" else request.getfixturevalue(request.param)
