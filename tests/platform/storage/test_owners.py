import os
import subprocess
import sys
import time

from decomp.platform.storage import owners
from decomp.platform.storage.owners import OLD, is_abandoned, staging_name

STAGE = "from decomp.platform.storage.owners import staging_name; print(staging_name('cycle-0002'))"


def test_what_a_living_process_stages_is_its_own_however_old():
    assert not is_abandoned(staging_name("cycle-0002"), age=2 * OLD)


def test_what_a_dead_process_staged_is_nobodys():
    program = [sys.executable, "-c", STAGE]
    name = subprocess.run(program, capture_output=True, check=True, text=True).stdout.strip()
    assert is_abandoned(name, age=0.0)


def test_a_number_that_another_process_has_now_is_no_sign_of_life():
    before, start, unique = staging_name("cycle-0002").rsplit("-", 2)
    assert is_abandoned(f"{before}-{int(start) - 1}-{unique}", age=0.0)


def test_what_another_machine_stages_is_its_own_until_it_is_old(monkeypatch):
    name = staging_name("cycle-0002")
    monkeypatch.setattr(owners, "_machine", lambda: "elsewhere")
    assert [is_abandoned(name, age) for age in (0.0, OLD - 1, OLD + 1)] == [False, False, True]
    assert [is_abandoned(".staging-cycle-0002-5eed", age) for age in (0.0, OLD + 1)] == [False, True]


def test_two_drivers_leave_each_others_half_made_cycles_alone(tmp_path, monkeypatch):
    mine = (tmp_path / "cycle-0002").stage()
    with monkeypatch.context() as patch:
        patch.setattr(owners, "_machine", lambda: "elsewhere")
        theirs, stale = ((tmp_path / name).stage() for name in ("cycle-0002", "cycle-0003"))
    os.utime(stale, (0, time.time() - OLD - 60))
    tmp_path.prepare()
    assert tmp_path.names() == {mine.name, theirs.name}
