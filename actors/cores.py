"""The cores that this process may use, which on a shared node are fewer than the node has."""

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

MEMBERSHIP = Path("/proc/self/cgroup")
CGROUPS = Path("/sys/fs/cgroup")

JOB_CORES = "SLURM_CPUS_ON_NODE"
"""Variable with the cores that a job of SLURM has on this node; not every cluster confines its jobs to them."""


def usable_cores() -> int:
    """How many cores this process may keep busy: its CPU affinity, bounded by the CPU quotas of its control groups and
    by what its batch job was given.

    A batch system confines a job to its cores by affinity, a container or a systemd service often by a quota. Part of a
    core does not count, but there is always one.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    job = os.environ.get(JOB_CORES, "")
    return max(1, int(min([cores, *_quotas(), *([int(job)] if job.isdecimal() else [])])))


def _quotas() -> Iterator[float]:
    """Cores that the process's control group allows, and each that it lies in."""
    try:
        lines = MEMBERSHIP.read_text().splitlines()
    except OSError:  # not Linux
        return
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        mounted = CGROUPS / "cpu" if controllers else CGROUPS
        # Within a container the mount shows only what lies below the container's group, whose path is not found then.
        within = PurePosixPath(group.lstrip("/"))
        for folder in dict.fromkeys([within, *within.parents]):
            quota, period = _limit(mounted / folder)
            if quota > 0 and period > 0:
                yield quota / period


def _limit(folder: Path) -> tuple[float, float]:
    """Quota and period of a control group, in microseconds; a quota of 0 stands for none."""
    try:
        try:
            quota, period = (folder / "cpu.max").read_text().split()
        except FileNotFoundError:
            quota, period = ((folder / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        return 0.0 if quota == "max" else float(quota), float(period)
    except (OSError, ValueError):
        return 0.0, 0.0
