import pytest
from helpers.programs import PROGRAMS, told_by


@pytest.fixture(scope="module")
def points(tmp_path_factory):
    """What is on the disk after a run was killed at each of many points, and resumed."""
    return told_by(PROGRAMS / "killed_runs.py", tmp_path_factory.mktemp("killed"))


def test_a_run_killed_in_any_phase_ends_as_if_nothing_had_happened(points):
    for phase in ("predict", "select", "reveal", "train", "evaluate"):
        assert points[phase] == {"killed": True, "at": phase, "wrong": []}


@pytest.mark.parametrize("method", ["create", "commit"])
def test_a_run_killed_between_two_steps_of_a_commit_loses_nothing_and_leaves_nothing_behind(points, method):
    *killed, last = [point for name, point in points.items() if name.startswith(method)]
    assert last == {"killed": False, "at": "", "wrong": []}  # there was no further point
    assert {point["at"]: point["wrong"] for point in killed if point["wrong"]} == {}


def test_the_points_of_a_commit_are_before_and_after_each_of_its_steps(points):
    steps = [point["at"] for name, point in points.items() if name.startswith("commit") and point["killed"]]
    for step in ("open", "fsync", "os.rename", "os.remove"):
        assert any(at.startswith(step) for at in steps)
    for file in ("record.json", "timing.json", "regions.parquet", "model"):
        assert any(at.startswith("fsync") and at.endswith(file) for at in steps)
    renamed = next(k for k, at in enumerate(steps) if at.startswith("os.rename"))
    assert any(at.startswith("fsync") for at in steps[renamed + 1 :])
