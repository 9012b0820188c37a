import os
import uuid

import boto3
import pytest
from hypothesis import settings
from moto.server import ThreadedMotoServer

from decomp.platform.storage.objects import ObjectPath

# Read when ray is imported: no message to anybody's server, no token file in anybody's home.
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ["RAY_AUTH_MODE"] = "disabled"
os.environ["PYTHONPATH"] = os.pathsep.join([os.path.dirname(__file__), os.environ.get("PYTHONPATH", "")])

# No test is about time, and other processes may be busy.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


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
    return ObjectPath(name, "some/runs")


@pytest.fixture(params=["folder", "bucket"])
def root(request, tmp_path):
    """Where an experiment's results may lie."""
    return tmp_path if request.param == "folder" else request.getfixturevalue("bucket")
