import itertools
import subprocess
import sys
import threading
import time

import pytest

from decomp.platform.storage import buckets, owners
from decomp.platform.storage import claims as module
from decomp.platform.storage.claims import CLAIMS, DRIVERS, Claims, drivers

TAKE = """
import sys
from decomp.platform.storage.claims import Claims
from decomp.platform.storage.files import FilePath
with Claims(FilePath(sys.argv[1])).open() as claims:
    print(claims.take("run"), flush=True)
    input()
"""


def sharing(root, **seconds):
    return Claims(root, look=0.0, **seconds).open()


@pytest.fixture
def elsewhere(monkeypatch):
    """Drivers are on other machines, so nobody sees whether their processes live."""
    numbers = itertools.count()
    monkeypatch.setattr(module, "lives", lambda name: None)
    monkeypatch.setattr(module, "owner_name", lambda: f"node-{next(numbers)}")


def test_what_one_has_claimed_others_get_when_it_is_released(root):
    with sharing(root) as mine, sharing(root) as theirs:
        assert [mine.take("run"), mine.take("run")] == [True, True]
        assert not theirs.take("run")
        assert theirs.take("other")
        assert (list(theirs.others()), list(mine.others())) == (["run"], ["other"])
        mine.release("run")
        assert theirs.take("run")
        assert not mine.take("run")


def test_whoever_leaves_releases_all(root):
    with sharing(root) as theirs:
        with sharing(root) as mine:
            assert mine.take("run")
            assert set(drivers(root)) == {mine.driver, theirs.driver}
        assert theirs.others() == {}
        assert set(drivers(root)) == {theirs.driver}
    assert not [*(root / DRIVERS).names(), *(root / CLAIMS).names()]


def test_what_a_driver_is_writing_is_no_driver(tmp_path):
    with sharing(tmp_path) as mine:
        (tmp_path / DRIVERS / owners.staging_name(mine.driver)).write_bytes(b'{"at": 0}')
        (tmp_path / DRIVERS / f"{mine.driver}.stop").write_bytes(b"")
        assert list(drivers(tmp_path)) == [mine.driver]


def test_of_many_that_claim_at_once_one_gets_it(root):
    all_claims = [Claims(root, look=100.0) for _ in range(6)]
    taken, barrier = [], threading.Barrier(6)
    root.prepare()

    def take(claims):
        claims.others()  # nobody has claimed anything yet
        barrier.wait()
        taken.append(claims.take("run"))

    threads = [threading.Thread(target=take, args=(claims,)) for claims in all_claims]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == [False] * 5 + [True]


def test_what_a_killed_process_of_this_machine_had_claimed_is_taken_over_at_once(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", TAKE, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "True\n"
    with sharing(tmp_path) as mine:
        assert not mine.take("run")
        assert len(drivers(tmp_path)) == 2
        process.kill()
        process.wait()
        assert list(drivers(tmp_path)) == [mine.driver]
        assert mine.take("run")
    assert not [*(tmp_path / DRIVERS).names(), *(tmp_path / CLAIMS).names()]


def test_a_driver_elsewhere_that_is_silent_loses_its_claims_and_one_that_speaks_keeps_them(root, elsewhere):
    with sharing(root, renew=0.05) as speaking:
        silent = Claims(root)
        (root / DRIVERS / silent.driver).write_atomically(b"{}")
        assert [speaking.take("spoken for"), silent.take("abandoned")] == [True, True]
        with sharing(root, expire=1.5) as mine:
            assert not mine.take("abandoned")
            end = time.monotonic() + 60
            while not mine.take("abandoned"):
                assert time.monotonic() < end
                time.sleep(0.05)
            assert not mine.take("spoken for")
            assert not speaking.take("abandoned")


def test_of_two_that_take_over_one_wins(root, elsewhere):
    root.prepare()
    assert Claims(root).take("run")  # its driver has told nothing
    first, second = Claims(root), Claims(root)
    assert not any(claim.living for seen in (first.others(), second.others()) for claim in seen.values())
    assert [first.take("run"), second.take("run")] == [True, False]


def test_what_silent_drivers_elsewhere_have_left_is_swept_away(root, elsewhere):
    silent = Claims(root)
    (root / DRIVERS).prepare()
    (root / DRIVERS / silent.driver).write_atomically(b"{}")
    assert silent.take("run")
    with sharing(root, expire=0.0) as mine:
        mine.others()  # hears nothing new
    assert not [*(root / DRIVERS).names(), *(root / CLAIMS).names()]


def test_who_missed_that_a_claim_was_taken_over_does_not_get_it_by_its_first_number(root):
    late = Claims(root, look=100.0)
    assert late.others() == {}
    with sharing(root) as holder:
        place = root / CLAIMS / "run.2"  # as if it had taken over run.1, which has been swept away since
        place.publish(place.stage(), {"driver": holder.driver.encode()})
        assert not late.take("run")
        assert set((root / CLAIMS).published("")) == {"run.2"}


def test_a_claim_whose_acknowledgement_was_lost_is_held(root):
    with sharing(root) as mine:
        place = root / CLAIMS / "run.1"
        place.publish(place.stage(), {"driver": mine.driver.encode()})
        assert mine.take("run")
    assert not (root / CLAIMS).names()


def test_a_claim_that_its_winner_released_at_once_is_lost_for_now(bucket, monkeypatch):
    with sharing(bucket) as mine:
        create = buckets.Bucket.create
        monkeypatch.setattr(buckets.Bucket, "create", lambda *_: False)  # somebody was faster, and is gone again
        assert not mine.take("run")
        monkeypatch.setattr(buckets.Bucket, "create", create)
        assert mine.take("run")


def test_a_claim_whose_driver_was_killed_in_the_midst_of_it_is_free(root):
    with sharing(root) as mine:
        place = root / CLAIMS / "run.1"
        place.publish(place.stage(), {"driver": b""})
        assert mine.take("run")


def test_a_name_tells_whether_its_process_lives_where_that_can_be_seen(monkeypatch):
    name = owners.owner_name()
    assert owners.lives(name) is True
    monkeypatch.setattr(owners, "_machine", lambda: "elsewhere")
    assert owners.lives(name) is None
    assert owners.lives("no name") is None
