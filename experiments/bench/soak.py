"""What the engine survives: small experiments whose processes are killed at random, over and over.

    python -m decomp.experiments.bench.soak [--kills 200] [--seed 0] [--nodes] [--folder FOLDER]

`decomp run` computes small experiments one after the other while a random one of its processes gets SIGKILL every half
to two seconds, as long as the experiment gets on: a worker, a coordinator, the progress actor, or the driver, whose
command is then typed again; with `--nodes` every other experiment runs on a cluster of two nodes on this machine and
whole nodes are killed too. Each experiment has new seeds. Afterwards its results must equal, byte for byte, those of a
single process that nobody disturbed, every cycle must be there once, nothing half-made may be left, and MLflow must
hold every metric of every cycle once. Exits with 1 if anything differs or hangs forever.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from decomp.experiments.bench.processes import TITLES, births, descendants, is_ours, outliving, title_of
from decomp.experiments.bench.tiles import Means, Tiles
from decomp.experiments.plan import Plan, make_plan
from decomp.experiments.schema import load_experiment
from decomp.experiments.tracking.fields import KEY, cycle_points
from decomp.platform.loop.loop import Loop
from decomp.platform.loop.shard import PoolShard
from decomp.platform.loop.workers import LocalWorkers

PAUSE = (0.5, 2.0)
"""Seconds between two kills, drawn uniformly."""

IN_VAIN = 4
"""Most kills between two commits; with more a slow machine would get nowhere, and runs would give up as they should."""

PATIENCE = 300.0
"""Seconds without a new cycle, while nobody is killed, after which a driver counts as hanging."""

OURS_END, ALL_END = 10.0, 150.0
"""Seconds after the death of a driver in which our processes end, and those of Ray, which look for it for a minute."""

WEIGHTS = {"worker": 8, "coordinator": 6, "progress": 2, "driver": 1, "node": 2}
"""How often each is a victim, relative to the others, where there is one."""


@dataclass
class Tally:
    """What happened.

    Attributes:
        kills: processes killed, by victim.
        commands: how often `decomp run` was typed.
        failed: runs that gave up, to be tried again by the same command.
        runs, cycles: finished ones, compared with the undisturbed.
        points: metrics of cycles found in MLflow.
        faults: what was wrong, a sentence each.
    """

    kills: Counter[str] = field(default_factory=Counter)
    commands: int = 0
    failed: int = 0
    runs: int = 0
    cycles: int = 0
    points: int = 0
    faults: list[str] = field(default_factory=list)

    def outlived(self, family: Mapping[int, str], patience: float) -> None:
        """Note it as a fault if any of the given processes does not end within so many seconds."""
        for pid in outliving(family, patience):
            self.faults.append(f"{title_of(pid).decode().partition(chr(0))[0]} outlived its driver")


def main() -> None:
    """Kill until enough is survived, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200, help="kills to survive")
    parser.add_argument("--seed", type=int, default=0, help="of the choice of victims and moments")
    parser.add_argument("--nodes", action="store_true", help="kill nodes of a cluster too")
    parser.add_argument("--cycles", type=int, default=6, help="cycles of each run")
    parser.add_argument("--folder", type=Path, help="where results go; a temporary folder otherwise")
    options = parser.parse_args()
    os.environ |= {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1"}
    tally, chance = Tally(), random.Random(options.seed)
    with tempfile.TemporaryDirectory() as temporary:
        storage = options.folder or Path(temporary)
        number, orphans = 0, dict[int, str]()
        while tally.kills.total() < options.kills and not tally.faults:
            experiment = write_experiment(storage, number, options.cycles)
            on_nodes = options.nodes and number % 2 == 0
            with _Nodes() if on_nodes else _one_machine() as nodes:
                torment = Torment(experiment, nodes, chance, tally, options.kills)
                torment.run()
            orphans |= torment.orphans
            if not tally.faults:
                compare(experiment, storage / "undisturbed", tally)
            kills = ", ".join(f"{count} {kind}" for kind, count in tally.kills.items())
            print(f"{experiment.stem}: {kills}; {tally.failed} runs gave up so far", flush=True)
            number += 1
        if not tally.faults:
            for experiment in sorted(storage.glob("soak-*.yaml")):
                compare_mlflow(experiment, tally)
        tally.outlived(orphans, ALL_END)
    _print(tally)
    sys.exit(1 if tally.faults else 0)


@contextmanager
def _one_machine() -> Iterator[None]:
    yield None


@dataclass
class Torment:
    """One experiment: its driver is started again until it is done, its processes are killed meanwhile.

    Attributes:
        experiment: its file.
        nodes: the cluster to join, or None for a Ray of its own.
        chance: draws victims and moments.
        tally: what happened, kept up to date.
        most: kills after which the experiment ends in peace.
        orphans: processes whose driver was killed, with their times of birth.
    """

    experiment: Path
    nodes: "_Nodes | None"
    chance: random.Random
    tally: Tally
    most: int
    orphans: dict[int, str] = field(default_factory=dict)

    def run(self) -> None:
        """Start drivers, one after the other, until one ends with success."""
        log = self.experiment.with_suffix(".log")
        address = ["--address", self.nodes.address] if self.nodes else []
        seen = 0
        while True:
            with log.open("ab") as stream:
                driver = subprocess.Popen(
                    [sys.executable, "-m", "decomp.experiments", "run", str(self.experiment), *address],
                    stdout=stream,
                    stderr=stream,
                    env=self.nodes.environment() if self.nodes else None,
                )
            self.tally.commands += 1
            status = self._watch(driver)
            text = log.read_text()[seen:]
            seen += len(text)
            self.tally.failed += text.count("failed: ")
            if "Traceback" in text:
                self.tally.faults.append(f"{self.experiment.stem}: a bare traceback on the console")
            if status == 0 or self.tally.faults:
                return

    def _watch(self, driver: "subprocess.Popen[bytes]") -> int | None:
        """Kill until the driver ends; its exit status, or None if it was seen hanging."""
        begun = progress = self._cycles()
        since, kills = time.monotonic(), self.tally.kills.total()
        while driver.poll() is None:
            time.sleep(self.chance.uniform(*PAUSE))
            if self.tally.kills.total() < min(self.most, kills + IN_VAIN):
                self._kill_one(driver, got_on=progress > begun)
            done = self._cycles()
            if done != progress:
                progress, since, kills = done, time.monotonic(), self.tally.kills.total()
            if time.monotonic() - since > PATIENCE:
                self.tally.faults.append(f"{self.experiment.stem}: nothing happened for {PATIENCE:.0f} s")
                driver.kill()
                driver.wait()
                return None
        return driver.returncode

    def _cycles(self) -> int:
        return len(list(self.experiment.with_suffix("").glob("**/record.json")))

    def _kill_one(self, driver: "subprocess.Popen[bytes]", *, got_on: bool) -> None:
        """Kill a random victim, once the driver is at work; the driver or a node only if it got on since it started."""
        family = descendants(self.nodes.raylets() if self.nodes else [driver.pid])
        of_driver = births(descendants([driver.pid]))
        titles = {pid: title_of(pid) for pid in family}
        victims: dict[str, list[int]] = {
            name: sorted(pid for pid, called in titles.items() if called.startswith(title))
            for name, title in TITLES.items()
        }
        if not victims["coordinator"]:
            return  # it starts, or writes its report
        victims["driver"] = [driver.pid] if got_on else []
        victims["node"] = self.nodes.raylets() if self.nodes and got_on else []
        kinds = [kind for kind, pids in victims.items() if pids]
        (kind,) = self.chance.choices(kinds, [WEIGHTS[kind] for kind in kinds])
        if kind == "node":
            assert self.nodes is not None
            self.nodes.kill(self.chance)
        else:
            pid = self.chance.choice(victims[kind])
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                return
            if kind == "driver":
                driver.wait()
                ours = {pid: born for pid, born in of_driver.items() if is_ours(titles.get(pid, b""))}
                self.tally.outlived(ours, OURS_END)
                self.orphans |= of_driver
        self.tally.kills[kind] += 1


class _Nodes:
    """A cluster on this machine: a head that computes nothing and two nodes with room for one worker each."""

    def __enter__(self) -> "_Nodes":
        from ray.cluster_utils import Cluster

        quick = {
            "health_check_initial_delay_ms": 1000,
            "health_check_period_ms": 500,
            "health_check_failure_threshold": 3,
        }
        self._cluster: Any = Cluster(
            initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False, "_system_config": quick}
        )
        self._nodes: list[Any] = [self._cluster.add_node(num_cpus=1) for _ in range(2)]
        return self

    def __exit__(self, *_: object) -> None:
        self._cluster.shutdown()

    @property
    def address(self) -> str:
        """Where drivers join."""
        return str(self._cluster.address)

    def environment(self) -> Mapping[str, str]:
        """The environment of a driver."""
        return os.environ | {"RAY_ADDRESS": self.address}

    def raylets(self) -> list[int]:
        """Ids of the processes that run the nodes, the head's included."""
        return [info.process.pid for node in [self._cluster.head_node, *self._nodes] for info in _processes(node)]

    def kill(self, chance: random.Random) -> None:
        """Kill a node with everything on it; another one takes its place."""
        node = self._nodes.pop(chance.randrange(len(self._nodes)))
        roots = [info.process.pid for info in _processes(node)]
        for pid in [*roots, *descendants(roots)]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue  # it went with its node
        self._nodes.append(self._cluster.add_node(num_cpus=1))


def _processes(node: Any) -> list[Any]:
    return [info for kind in node.all_processes.values() for info in kind]


def write_experiment(storage: Path, number: int, cycles: int) -> Path:
    """An experiment file of two seeds that no other has; its storage is the folder beside it."""
    storage.mkdir(parents=True, exist_ok=True)
    content = {
        "name": f"soak-{number:03d}",
        "storage": str(storage),
        "dataset": {"name": f"{Tiles.__module__}:Tiles"},
        "learner": {"name": f"{Means.__module__}:Means"},
        "reference": {},
        "samplers": ["decomp", "divers-cluster"],
        "seeds": [2 * number, 2 * number + 1],
        "budgets": [{"n_image": 2, "n_region": 3, "region": [4, 4], "cycles": cycles}],
        "resources": {"workers": 2, "cpus": 0.5},
    }
    file = storage / f"soak-{number:03d}.yaml"
    file.write_text(yaml.safe_dump(content))
    return file


def plan_of(experiment: Path, *overrides: str) -> Plan:
    """The plan of an experiment file."""
    return make_plan(load_experiment(experiment, list(overrides)))


def compare(experiment: Path, undisturbed: Path, tally: Tally) -> None:
    """Compare a finished experiment with what this process computes."""
    calm, disturbed = plan_of(experiment, f"storage={undisturbed}"), plan_of(experiment)
    learner = Means(seconds=0.0)  # naps are not part of the results
    for store in calm.stores(calm.specs):
        Loop(store, calm.dataset, LocalWorkers(PoolShard(calm.dataset, learner, "cpu"))).run()
    files, expected = (_files(plan.experiment.folder) for plan in (disturbed, calm))
    for name in sorted(files.keys() | expected.keys()):
        if files.get(name) != expected.get(name):
            what = "is missing" if name not in files else "is too many" if name not in expected else "differs"
            tally.faults.append(f"{experiment.stem}: {name} {what}")
    for folder in disturbed.experiment.folder.rglob("*"):
        if folder.name.startswith((".staging", "damaged")):
            tally.faults.append(f"{experiment.stem}: {folder} was left behind")
    tally.runs += len(disturbed.specs)
    tally.cycles += sum(name.endswith("record.json") for name in files)
    shutil.rmtree(undisturbed)


def _files(root: Path) -> dict[str, bytes]:
    """Every file of every cycle, by its path; wall times are no results."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and path.parent.name.startswith("cycle-") and path.name != "timing.json"
    }


def compare_mlflow(experiment: Path, tally: Tally) -> None:
    """Every metric of every cycle must be in MLflow, once."""
    from mlflow import MlflowClient

    from decomp.experiments.tracking.uris import tracking_uri

    subprocess.run(
        [sys.executable, "-m", "decomp.experiments", "sync", str(experiment)], check=True, capture_output=True
    )
    plan = plan_of(experiment)
    client: Any = MlflowClient(tracking_uri(plan.experiment.folder.parent))
    number = client.get_experiment_by_name(plan.experiment.name).experiment_id
    for store in plan.compared:
        runs = client.search_runs([number], f"tags.`{KEY}` = '{store.spec.key}'")
        if len(runs) != 1:
            tally.faults.append(f"{experiment.stem}: MLflow has {len(runs)} runs of {store.spec.label}")
            continue
        expected: dict[str, list[tuple[int, float]]] = {}
        for folder in store.committed():
            for point in cycle_points(folder.record, folder.timing, plan.dataset.classes):
                expected.setdefault(point.key, []).append((point.step, point.value))
        for key, points in expected.items():
            rows = client.get_metric_history(runs[0].info.run_id, key)
            tally.points += len(rows)
            if sorted((row.step, row.value) for row in rows) != points:
                tally.faults.append(f"{experiment.stem}: MLflow's {key} of {store.spec.label} differs")


def _print(tally: Tally) -> None:
    for kind in WEIGHTS:
        print(f"{'killed: ' + kind:24s}{tally.kills[kind]:8d}")
    rows = {
        "kills": tally.kills.total(),
        "commands": tally.commands,
        "runs tried again": tally.failed,
        "runs": tally.runs,
        "cycles": tally.cycles,
        "points in MLflow": tally.points,
        "faults": len(tally.faults),
    }
    for name, value in rows.items():
        print(f"{name:24s}{value:8d}")
    for fault in tally.faults:
        print(fault)


if __name__ == "__main__":
    main()
