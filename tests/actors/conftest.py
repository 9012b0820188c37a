import pytest
import ray


@pytest.fixture(scope="module")
def cluster():
    """One local Ray for all tests; four logical cores, so that several small runs share it whatever the machine."""
    if not ray.is_initialized():
        ray.init(address="local", num_cpus=4, include_dashboard=False, log_to_driver=False, logging_level="ERROR")


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item, nextitem):
    """Ray ends after the last test of this folder, since its processes ask each other for news all the time."""
    if nextitem is None or nextitem.path.parent != item.path.parent:
        ray.shutdown()
