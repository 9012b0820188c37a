"""Two nodes in network namespaces of their own, joined by a bridge on which their traffic is counted.

Run in namespaces of its own, see test_two_networks.py. Prints sizes and outcome of each sweep, and how many bytes
crossed the bridge meanwhile.
"""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from dataclasses import replace

import ray
from helpers.toy_runs import DECOMP
from helpers.toys import Blobs
from ray.util import placement_group_table

from decomp.actors import session
from decomp.actors.resources import Resources
from decomp.actors.scheduler import Sweep
from decomp.platform.grid import Component
from decomp.platform.storage.files import FilePath

NODES = (2, 3)
SIZES = {
    "few": {"images": 20},
    "many": {"images": 220},
    "large": {"images": 220, "height": 96, "width": 128},  # 16 times the pixels
}


def main(folder: FilePath) -> None:
    make_networks()
    started = [start("--head", "--port=6379", "--temp-dir=/run/ray", "--include-dashboard=false", node=1)]
    try:
        wait_for(lambda: answers("10.99.0.1", 6379))
        os.chdir(folder)  # where no raylet was started
        session.start("10.99.0.1:6379", verbose=False)
        for number, node in enumerate(NODES, start=1):
            started.append(start("--address=10.99.0.1:6379", "--num-cpus=1", node=node))
            wait_for(lambda: ray.cluster_resources().get("CPU", 0) == number)  # noqa: B023
        report = {name: sweep(folder / name, sizes) for name, sizes in SIZES.items()}
        report["working_folder"] = ray.get(ray.remote(num_cpus=1)(lambda: os.getcwd()).remote())
        sys.stdout.write(json.dumps(report) + "\n")
    finally:
        session.stop()
        for process in started:
            process.kill()  # what they leave behind ends with the process namespace


def sweep(root, sizes):
    dataset = Component("helpers.toys:Blobs", sizes)
    spec = replace(DECOMP, dataset=dataset, fingerprint=Blobs(**sizes).fingerprint(), cycles=5)
    nodes = set()

    def listen(report, ended):
        for group in placement_group_table().values():
            if group["state"] == "CREATED":
                nodes.update(group["bundles_to_node_id"].values())

    before = traffic()
    outcomes = Sweep(root, [spec.first, spec], Resources(workers=2, cpus=1)).run(listen)
    return {"sizes": sizes, "errors": [o.error for o in outcomes], "nodes": len(nodes), "bytes": traffic() - before}


def make_networks():
    run("mount -t tmpfs tmpfs /run")
    run("ip link set lo up")
    run("ip link add bridge type bridge")
    run("ip addr add 10.99.0.1/24 dev bridge")
    run("ip link set bridge up")
    for node in NODES:
        inside = f"ip netns exec node{node}"
        run(f"ip netns add node{node}")
        run(f"ip link add veth{node} type veth peer name eth0 netns node{node}")
        run(f"ip link set veth{node} master bridge up")
        run(f"{inside} ip addr add 10.99.0.{node}/24 dev eth0")
        run(f"{inside} ip link set eth0 up")
        run(f"{inside} ip link set lo up")


def run(command):
    return subprocess.run(command.split(), check=True, capture_output=True, text=True).stdout


def start(*arguments, node):
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", f"--node-ip-address=10.99.0.{node}", "--block"]
    command += ["--num-cpus=0"] if node == 1 else []
    inside = [] if node == 1 else ["ip", "netns", "exec", f"node{node}"]
    environment = os.environ | {"RAY_raylet_start_wait_time_s": "120"}  # on a busy machine the default is too short
    return subprocess.Popen(
        [*inside, *command, *arguments], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def wait_for(condition, seconds=150):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.2)


def answers(host, port):
    with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=1):
        return True
    return False


def traffic():
    """Bytes that the nodes have sent and received."""
    total = 0
    for node in NODES:
        (link,) = json.loads(run(f"ip -s -j link show veth{node}"))
        total += sum(link["stats64"][way]["bytes"] for way in ("rx", "tx"))
    return total


if __name__ == "__main__":
    main(FilePath(sys.argv[1]))
