import os
import subprocess
import sys

import pytest

from decomp.actors import cores
from decomp.actors.cores import usable_cores


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """A process that may run on eight cores, in a control group of this path with these limits in its folders."""

    def make(membership, files):
        (tmp_path / "self").write_text(membership)
        for name, content in files.items():
            file = tmp_path / "groups" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content)

    monkeypatch.delenv(cores.JOB_CORES, raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    monkeypatch.setattr(cores, "MEMBERSHIP", tmp_path / "self")
    monkeypatch.setattr(cores, "CGROUPS", tmp_path / "groups")
    return make


FIRST = "9:name=systemd:/a\n4:memory:/job\n2:cpuset:/x\n1:cpu,cpuacct:/slurm/job\n0::/\n"


@pytest.mark.parametrize(
    ("membership", "files", "usable"),
    [
        ("0::/job\n", {}, 8),
        ("0::/job\n", {"job/cpu.max": "max 100000\n"}, 8),
        ("0::/job\n", {"job/cpu.max": "300000 100000\n"}, 3),
        ("0::/job\n", {"job/cpu.max": "350000 100000\n"}, 3),
        ("0::/job\n", {"job/cpu.max": "50000 100000\n"}, 1),
        ("0::/job\n", {"job/cpu.max": "1600000 100000\n"}, 8),
        ("0::/batch/job/step\n", {"batch/job/cpu.max": "400000 100000\n", "batch/cpu.max": "900000 100000\n"}, 4),
        ("0::/docker/1234\n", {"cpu.max": "200000 100000\n"}, 2),
        ("0::/job\n", {"job/cpu.max": "nonsense\n"}, 8),
        (FIRST, {"cpu/slurm/job/cpu.cfs_quota_us": "200000\n", "cpu/slurm/job/cpu.cfs_period_us": "100000\n"}, 2),
        (FIRST, {"cpu/slurm/job/cpu.cfs_quota_us": "-1\n", "cpu/slurm/job/cpu.cfs_period_us": "100000\n"}, 8),
        (FIRST, {"cpu/cpu.cfs_quota_us": "500000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 5),
    ],
)
def test_quotas_of_control_groups_bound_the_cores(machine, membership, files, usable):
    machine(membership, files)
    assert usable_cores() == usable


def test_affinity_bounds_the_cores(machine, monkeypatch):
    machine("0::/job\n", {"job/cpu.max": "300000 100000\n"})
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {5})
    assert usable_cores() == 1


@pytest.mark.parametrize(("of_job", "usable"), [("3", 3), ("16", 8), ("", 8), ("many", 8)])
def test_what_a_batch_job_was_given_bounds_the_cores_even_if_nothing_confines_it(machine, monkeypatch, of_job, usable):
    monkeypatch.setenv(cores.JOB_CORES, of_job)
    assert usable_cores() == usable


def test_a_system_without_control_groups_has_all_its_cores(machine):
    assert usable_cores() == 8


def test_a_process_confined_to_a_core_starts_ray_with_one_and_workers_in_its_folder(tmp_path):
    """For real: in a process of its own, since affinity is inherited and Ray runs once in a process."""
    (tmp_path / "mine.py").write_text("HERE = 'mine'\n")
    allowed = sorted(os.sched_getaffinity(0))[:1]
    code = (
        f"import os, ray; os.sched_setaffinity(0, {allowed})\n"
        "from decomp.actors import session\n"
        "session.start(None, verbose=False)\n"
        "print(ray.cluster_resources()['CPU'])\n"
        "print(ray.get(ray.remote(lambda: [os.getcwd(), __import__('mine').HERE]).remote()))\n"
        "session.stop()\n"
    )
    answer = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert answer.stdout.splitlines()[-2:] == ["1.0", str([str(tmp_path), "mine"])]
