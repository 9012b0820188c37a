import json
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest
from helpers.programs import PROGRAMS
from helpers.toy_runs import DECOMP, results, run_locally
from helpers.toys import Blobs

from decomp.platform.grid import Component

# Namespaces that need no privileges where the machine allows them, and end with all their processes.
APART = ["unshare", "--user", "--map-root-user", "--net", "--mount", "--mount-proc", "--pid", "--fork", "--kill-child"]


def allowed():
    """Whether this machine lets anybody make networks."""
    if shutil.which("unshare") is None or shutil.which("ip") is None:
        return False
    made = subprocess.run([*APART, "ip", "link", "add", "bridge", "type", "bridge"], capture_output=True)
    return made.returncode == 0


pytestmark = [
    pytest.mark.slow,  # a minute or two
    pytest.mark.skipif(not allowed(), reason="this machine allows no network namespaces (unshare, iproute2)"),
]


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    root = tmp_path_factory.mktemp("networks")
    program = PROGRAMS / "two_networks.py"
    done = subprocess.run([*APART, sys.executable, str(program), str(root)], capture_output=True, timeout=570)
    assert done.returncode == 0, done.stderr.decode()
    (report,) = [line for line in done.stdout.decode().splitlines() if line.startswith("{")]
    return root, json.loads(report)


def test_nodes_in_networks_of_their_own_give_one_processes_results(swept, tmp_path):
    root, report = swept
    sizes = report["few"]["sizes"]
    spec = replace(
        DECOMP, dataset=Component("helpers.toys:Blobs", sizes), fingerprint=Blobs(**sizes).fingerprint(), cycles=5
    )
    run_locally(tmp_path, spec)
    assert results(root / "few") == results(tmp_path)
    for name in ("few", "many", "large"):
        assert report[name]["errors"] == [None, None]
        assert report[name]["nodes"] == 2


def test_what_travels_per_image_does_not_depend_on_its_size(swept):
    _, report = swept
    few, many, large = (report[name]["bytes"] for name in ("few", "many", "large"))
    predictions, sizes = 4, report["large"]["sizes"]
    more = report["many"]["sizes"]["images"] - report["few"]["sizes"]["images"]
    assert (many - few) / (more * predictions) < 1000  # bytes per image and prediction: names and class counts
    maps = sizes["images"] * sizes["height"] * sizes["width"] * predictions  # label maps alone, a byte per pixel
    assert large - many < 0.05 * maps


def test_relative_paths_mean_the_same_on_all_nodes(swept):
    root, report = swept
    assert report["working_folder"] == str(root)
