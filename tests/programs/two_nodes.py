"""A cluster of a head without workers and two nodes with one each, on one machine: separate raylets and object stores.

Run as a program, since a process can be in one Ray cluster only: `python two_nodes.py FOLDER WHAT`, where WHAT is
`spread` (report where the workers ran), `kill` (kill a node with everything on it in the middle of the sweep) or `join`
(no node but the head is there at the start; the two come later, one by one).
"""

import json
import os
import signal
import sys
from dataclasses import replace

import ray
from helpers.toy_runs import DECOMP, RUNS, SLOW
from ray.cluster_utils import Cluster
from ray.util import placement_group_table

from decomp.actors.resources import Resources
from decomp.actors.scheduler import Sweep
from decomp.platform.storage.files import FilePath
from decomp.platform.storage.runs import RunStore

QUICK_DEATH = {
    "health_check_initial_delay_ms": 1000,
    "health_check_period_ms": 500,
    "health_check_failure_threshold": 3,
}

ALIKE = [SLOW, replace(SLOW, sampler=RUNS[0].sampler)]
"""Two runs that share their first cycle."""


def main(folder: FilePath, what: str) -> None:
    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False, "_system_config": QUICK_DEATH}
    )
    nodes = [cluster.add_node(num_cpus=1) for _ in range(0 if what == "join" else 2)]
    ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
    cluster.wait_for_nodes()
    spec = DECOMP if what == "spread" else SLOW  # so that much is left to do when a node is killed or joins
    where: set[tuple[str, ...]] = set()
    killed: list[str] = []

    def look(states=("CREATED",)):
        for group in placement_group_table().values():
            if group["state"] in states:
                where.add(tuple(group["bundles_to_node_id"].values()))

    def listen(report, ended):
        look()
        if what == "join" and len(nodes) < 2 and (not nodes or RunStore(folder, spec.first).finished):
            nodes.append(cluster.add_node(num_cpus=1))
        if what == "kill" and not killed and len(RunStore(folder, spec).committed()) >= 2:
            killed.append(nodes[1].unique_id)
            for process in nodes[1].all_processes.values():
                for info in process:
                    os.kill(info.process.pid, signal.SIGKILL)
            cluster.add_node(num_cpus=1)

    try:
        if what == "join":
            sweep = Sweep(folder, [spec.first, *ALIKE], Resources(workers=1, cpus=1), patience=60.0)
        else:
            sweep = Sweep(folder, [spec.first, spec], Resources(workers=2, cpus=1))
        outcomes = sweep.run(listen)
        look(("CREATED", "REMOVED"))  # a run may end between two looks
        report = {"errors": [o.error for o in outcomes], "nodes": sorted(where), "killed": killed}
        sys.stdout.write(json.dumps(report) + "\n")
    finally:
        ray.shutdown()
        cluster.shutdown()


if __name__ == "__main__":
    main(FilePath(sys.argv[1]), sys.argv[2])
