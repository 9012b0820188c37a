"""How long it takes until the first training begins: through `decomp run`, bare Ray, and a bare loop in one process.

    python -m decomp.experiments.bench.startup

Runs one cycle of the embedded digit scenes and watches from outside: after how many seconds of wall time, and of CPU
time of all processes together, Ray and its workers appear and the first training begins (goal: 8 s of wall time on two
idle cores). Bare Ray is the least that a local Ray of two cores costs until an actor has imported PyTorch, with nothing
of ours in between; the bare loop has neither Ray nor MLflow. CPU time tells more than wall time where the machine has
other work.
"""

import argparse
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from decomp.experiments.bench.overhead import EXPERIMENT, run_bare
from decomp.experiments.bench.processes import descendants, title_of
from decomp.experiments.plan import Plan, make_plan
from decomp.experiments.schema import load_experiment

LOOK_EVERY = 0.03
PROCESSES = {
    b"gcs_server": "Ray is started",
    b"raylet/raylet": "its node is there",
    b"ray::Worker": "a worker has a call",
    b"ray::coordinate": "a run is coordinated",
}
"""What a process's appearance means, by a part of its title."""


def main() -> None:
    """Measure both and print them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bare", metavar="STORAGE", help="compute the run in this process and exit")
    parser.add_argument("--ray", metavar="FILE", help="start Ray and an actor with PyTorch, touch the file and exit")
    options = parser.parse_args()
    if options.ray:
        _start_ray(Path(options.ray))
        return
    if options.bare:
        run_bare(_plan(options.bare))
        return
    decomp = [sys.executable, "-m", "decomp.experiments", "run", str(EXPERIMENT)]
    alone = [sys.executable, "-m", "decomp.experiments.bench.startup"]
    with tempfile.TemporaryDirectory() as folder:
        print("decomp run")
        _print(watched([*decomp, *OVERRIDES, f"storage={folder}/ray"], lambda: _training_began(f"{folder}/ray")))
        print("bare Ray")
        ready = Path(folder, "ready")
        _print(watched([*alone, "--ray", str(ready)], lambda: ready.stat().st_mtime, "an actor has PyTorch"))
        print("bare loop in one process")
        _print(watched([*alone, "--bare", f"{folder}/bare"], lambda: _training_began(f"{folder}/bare")))


OVERRIDES = (
    "seeds=1",
    "samplers=[rand]",
    "contrasts=null",
    "reference=null",
    "budgets=[{n_image: 10, n_region: 12, region: [16, 16], cycles: 1}]",
)


def watched(
    command: Sequence[str], when: Callable[[], float], what: str = "the first training begins"
) -> Mapping[str, tuple[float, float]]:
    """Seconds of wall and CPU time from the start of a command until each event; the last is told by `when`."""
    events: dict[str, tuple[float, float]] = {}
    spent: dict[int, float] = {}
    history: list[tuple[float, float]] = []
    began = time.time()
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    while process.poll() is None:
        pids = [process.pid, *descendants([process.pid])]
        spent |= {pid: seconds for pid in pids if (seconds := _cpu_seconds(pid)) is not None}
        history.append((time.time() - began, sum(spent.values())))
        titles = b" ".join(title_of(pid) for pid in pids[1:])
        for part, event in PROCESSES.items():
            if part in titles:
                events.setdefault(event, history[-1])
        time.sleep(LOOK_EVERY)
    last = when() - began
    events[what] = last, next(cpu for wall, cpu in history if wall >= last)
    return events


def _training_began(storage: str) -> float:
    first = _plan(storage).histories()[0].timings[0]
    return first.committed_at / 1000 - first.phases["train"] - first.phases["evaluate"]


def _start_ray(ready: Path) -> None:
    import ray

    ray.init(address="local", num_cpus=2, include_dashboard=False, logging_level=logging.ERROR)
    ray.get(ray.remote(_WithTorch).remote().answer.remote())
    ready.touch()


class _WithTorch:
    def __init__(self) -> None:
        import torch  # noqa: F401

    def answer(self) -> None:
        """There is nothing to say."""


def _cpu_seconds(pid: int) -> float | None:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None  # it has ended
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _plan(storage: str) -> Plan:
    return make_plan(load_experiment(EXPERIMENT, [*OVERRIDES, f"storage={storage}"]))


def _print(events: Mapping[str, tuple[float, float]]) -> None:
    for event, (wall, cpu) in events.items():
        print(f"  {event:28s} {wall:6.1f} s, of CPU {cpu:6.1f} s")


if __name__ == "__main__":
    main()
