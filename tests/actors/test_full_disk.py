import os
import subprocess
from dataclasses import replace

import pytest
from helpers.toy_runs import DECOMP, results, run_locally

from decomp.actors.resources import Resources
from decomp.actors.scheduler import Sweep
from decomp.platform.grid import Component
from decomp.platform.storage.runs import RunStore

SMALL = Resources(workers=1, cpus=0.5)
SIZE = 200_000
SPEC = replace(DECOMP, learner=Component("helpers.toys:Bulky", {"size": SIZE}), cycles=4)


@pytest.fixture
def disk(tmp_path):
    """A disk of a megabyte, of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("only root may mount a small disk")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


@pytest.mark.slow  # half a minute
def test_a_full_disk_ends_the_run_with_a_sentence_and_the_same_sweep_goes_on_later(cluster, disk, tmp_path):
    run_locally(tmp_path / "undisturbed", SPEC)
    run_locally(disk, SPEC.first)
    usage = os.statvfs(disk)
    (disk / "ballast").write_bytes(bytes(usage.f_bavail * usage.f_frsize - 3 * SIZE))
    (outcome,) = Sweep(disk, [SPEC.first, SPEC], SMALL).run(lambda report, ended: None)
    assert outcome.error.startswith(f"there is no room for more in {RunStore(disk, SPEC).path}")
    assert outcome.error.endswith("make room, then the same command goes on.")
    committed = RunStore(disk, SPEC).committed()
    assert len(committed) == 3
    committed[-1].check_checkpoint(committed[-1].record)
    (disk / "ballast").unlink()
    (outcome,) = Sweep(disk, [SPEC.first, SPEC], SMALL).run(lambda report, ended: None)
    assert outcome.error is None
    assert results(disk) == results(tmp_path / "undisturbed")
    assert [path.name for path in disk.rglob(".staging-*")] == []
