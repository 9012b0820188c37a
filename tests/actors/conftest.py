import pytest
import ray


@pytest.fixture(scope="session")
def cluster():
    """One local Ray for all tests; four logical cores, so that several small runs share it whatever the machine."""
    ray.init(address="local", num_cpus=4, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield
    ray.shutdown()
