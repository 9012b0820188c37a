import json
import subprocess
import sys

import pytest
from helpers.programs import PROGRAMS
from helpers.toy_runs import DECOMP, SLOW, results, run_locally

pytestmark = pytest.mark.slow  # three clusters of two nodes each


@pytest.fixture(scope="module")
def sweeps(tmp_path_factory):
    """Results folder and report of an undisturbed sweep over two nodes, one that loses a node, and one that begins
    before its nodes have joined."""
    root = tmp_path_factory.mktemp("nodes")
    command = [sys.executable, str(PROGRAMS / "two_nodes.py")]
    started = {
        what: subprocess.Popen([*command, str(root / what), what], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for what in ("spread", "kill", "join")
    }
    found = {}
    for what, process in started.items():
        out, err = process.communicate(timeout=300)
        assert process.returncode == 0, err.decode()
        (report,) = [line for line in out.decode().splitlines() if line.startswith("{")]
        found[what] = root / what, json.loads(report)
    return found


def test_shards_spread_over_nodes_and_give_one_processes_results(sweeps, tmp_path):
    folder, report = sweeps["spread"]
    assert report["errors"] == [None, None]
    assert all(len(set(nodes)) == 2 for nodes in report["nodes"])
    assert report["nodes"]
    run_locally(tmp_path, DECOMP)
    assert results(folder) == results(tmp_path)


def test_the_loss_of_a_node_changes_nothing(sweeps, tmp_path):
    folder, report = sweeps["kill"]
    assert report["errors"] == [None, None]
    assert len(report["killed"]) == 1
    assert len({node for nodes in report["nodes"] for node in nodes}) == 3  # a third node has taken over
    run_locally(tmp_path, SLOW)
    assert results(folder) == results(tmp_path)


def test_nodes_that_join_after_the_start_are_used(sweeps):
    _, report = sweeps["join"]
    assert report["errors"] == [None] * 3
    assert len(report["nodes"]) == 2  # each of the two runs had its worker on a node of its own
