"""What the platform costs: the same runs as a bare loop in one process, through `decomp run`, and two at once.

    python -m decomp.experiments.bench.overhead [--seeds 4] [--cycles 8] [--iterations 200]

Each of the three is timed as a whole process, start-up, Ray, MLflow and report included, on the embedded digit scenes
with the U-Net on one thread; checkpoints must be equal. Prints the overhead (goal: at most 1.15 x the bare loop) and
the throughput of two runs at once (goal: at least 1.7 x that of one, on two cores), from the beginning of the first
cycle to the last commit.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from decomp.experiments.plan import Plan, make_plan
from decomp.experiments.schema import load_experiment
from decomp.platform.components import build_learner
from decomp.platform.loop.loop import Loop
from decomp.platform.loop.shard import PoolShard
from decomp.platform.loop.workers import LocalWorkers
from decomp.platform.storage.runs import RunStore


def main() -> None:
    """Run the three variants and print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--cycles", type=int, default=8)
    parser.add_argument("--iterations", type=int, default=200)
    parser.add_argument("--bare", metavar="STORAGE", help="compute the runs in this process and exit")
    options = parser.parse_args()
    overrides = [
        "reference=null",
        "samplers=[decomp]",
        f"seeds={options.seeds}",
        f"learner.iterations={options.iterations}",
        f"budgets=[{{n_image: 10, n_region: 12, region: [16, 16], cycles: {options.cycles}}}]",
    ]
    if options.bare:
        run_bare(_plan([*overrides, f"storage={options.bare}"]))
        return

    decomp = [sys.executable, "-m", "decomp.experiments", "run", str(EXPERIMENT), *overrides]
    bare = [sys.executable, "-m", "decomp.experiments.bench.overhead", *sys.argv[1:], "--bare"]
    with tempfile.TemporaryDirectory() as folder:
        seconds = {
            "bare loop, one process": timed([*bare, f"{folder}/bare"]),
            "decomp run, one at a time": timed([*decomp, f"storage={folder}/one", "resources.runs_at_once=1"]),
            "decomp run, two at a time": timed([*decomp, f"storage={folder}/two", "resources.runs_at_once=2"]),
        }
        roots = [Path(folder) / name for name in ("bare", "one", "two")]
        plans = [_plan([*overrides, f"storage={root}"]) for root in roots]
        equal = len({_checksums(plan) for plan in plans}) == 1
        busy_one, busy_two = (_busy_seconds(plan) for plan in plans[1:])
    trainings = options.seeds * options.cycles
    print(f"{options.seeds} runs of {options.cycles} cycles, {trainings} trainings of {options.iterations} iterations")
    for name, value in seconds.items():
        print(f"{name:28s} {value:8.1f} s")
    alone, one, two = seconds.values()
    print(f"overhead of the platform     {one / alone:8.2f} x   (goal: at most 1.15)")
    print(f"throughput of two at a time  {busy_one / busy_two:8.2f} x   (goal: at least 1.7 on two cores)")
    print(f"  the same, start and end included {one / two:.2f} x")
    print(f"equal results: {equal}")
    sys.exit(0 if equal else 1)


def run_bare(plan: Plan) -> None:
    """All runs of a plan, one after the other, with neither Ray nor MLflow."""
    for spec in plan.specs:
        workers = LocalWorkers(PoolShard(plan.dataset, build_learner(spec.learner), "cpu"))
        Loop(RunStore(plan.experiment.root, spec), plan.dataset, workers).run()


def timed(command: list[str]) -> float:
    """Wall time of a command in seconds."""
    start = time.perf_counter()
    # As Ray does for its workers; the bare loop would lose time to idle threads otherwise.
    subprocess.run(command, check=True, capture_output=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    return time.perf_counter() - start


EXPERIMENT = Path(__file__).parent.parent / "digits.yaml"


def _plan(overrides: list[str]) -> Plan:
    return make_plan(load_experiment(EXPERIMENT, overrides))


def _checksums(plan: Plan) -> tuple[str, ...]:
    runs = [RunStore(plan.experiment.root, spec) for spec in plan.specs]
    return tuple(folder.record.checkpoint_sha256 for run in runs for folder in run.committed())


def _busy_seconds(plan: Plan) -> float:
    runs = [RunStore(plan.experiment.root, spec) for spec in plan.specs]
    timings = [folder.timing for run in runs for folder in run.committed()]
    first = min(timing.committed_at - 1000 * sum(timing.phases.values()) for timing in timings)
    return (max(timing.committed_at for timing in timings) - first) / 1000


if __name__ == "__main__":
    main()
