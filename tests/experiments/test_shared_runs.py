"""Several drivers of one experiment are killed at random, where results may lie."""

import shutil
import subprocess

import pytest
from helpers.programs import PROGRAMS, told_by


@pytest.fixture
def client_locks(tmp_path):
    """A library that makes each client of the file system keep its locks to itself."""
    if shutil.which("gcc") is None:
        pytest.skip("needs a C compiler (gcc not found)")
    library = tmp_path / "client_locks.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, PROGRAMS / "client_locks.c"], check=True)
    return library


@pytest.fixture(params=["folder", "client_locks", "bucket"])
def place(request, tmp_path):
    """Where results lie, and the environment of the drivers."""
    if request.param == "bucket":
        return str(request.getfixturevalue("bucket")), {}
    library = request.getfixturevalue("client_locks") if request.param == "client_locks" else None
    return str(tmp_path / "runs"), {"LD_PRELOAD": str(library)} if library else {}


@pytest.mark.slow  # a minute or two each
def test_four_drivers_that_are_killed_at_random_give_the_results_of_one(place, tmp_path):
    storage, environment = place
    told = told_by(PROGRAMS / "shared_runs.py", tmp_path, storage, 15, 0, **environment)
    assert told["wrong"] == []
    assert told["killed"] >= 15
