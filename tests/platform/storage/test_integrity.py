"""Damage of any file of a run is found and told with the mend, or changes nothing that is read."""

import os
from collections import Counter
from contextlib import nullcontext

import numpy as np
import pytest
from helpers.fake_runs import fake_run

from decomp.platform.errors import StorageError, UserError
from decomp.platform.passes import Passes
from decomp.platform.storage.runs import CHECKPOINT, RECORD, REGIONS, RUN, TIMING, DamagedCycle, read_identity

FILES = (RECORD, TIMING, REGIONS, CHECKPOINT, f"{CHECKPOINT}-2", RUN)
ENSEMBLE = Passes("ensemble", 2)
REMEDIES = {RUN: "delete it", TIMING: "'decomp run' keeps its cycle, without wall times"}


def told(store):
    """All that is read of the run's last cycle and of the run."""
    cycle = store.committed()[-1]
    record = cycle.record
    cycle.check_checkpoint(record)
    return record, cycle.timing, cycle.ledger_of(record).annotations(), read_identity(store.path)


def file_of(store, name):
    return store.path / RUN if name == RUN else store.committed()[-1].path / name


def is_found(store, name, before):
    """Whether damage of a file is told as it should be; where it is not found, nothing has changed."""
    try:
        assert told(store) == before
    except UserError as error:
        said = str(error)
        assert str(file_of(store, name)) in said
        assert REMEDIES.get(name, "'decomp run' computes its cycle again") in said
        assert len(said.splitlines()) == 1
        return True
    return False


def flip_bits(store, flips):
    """How many of so many flips in each file were found."""
    before, found, rng = told(store), Counter(), np.random.default_rng(0)
    for name in FILES:
        file = file_of(store, name)
        intact = file.read_bytes()
        for place, bit in zip(rng.integers(len(intact), size=flips), rng.integers(8, size=flips), strict=True):
            damaged = bytearray(intact)
            damaged[place] ^= 1 << bit
            file.write_atomically(bytes(damaged))
            found[name] += is_found(store, name, before)
        file.write_atomically(intact)
    return found


def test_every_flipped_bit_is_found_or_changes_nothing(tmp_path):
    found = flip_bits(fake_run(tmp_path, [0.1, 0.2], passes=ENSEMBLE), 420)
    assert {name: count for name, count in found.items() if count < 420 and name != RUN} == {}
    assert found[RUN] > 300  # the spaces between its words mean nothing


def test_every_flipped_bit_is_found_in_a_bucket(memory):
    store = fake_run(memory, [0.1, 0.2], passes=ENSEMBLE)
    cycle = store.committed()[-1]
    cycle.check_checkpoint(cycle.record)
    for checkpoint in cycle.checkpoints(2):
        intact = checkpoint.read_bytes()
        for content in (intact + b" ", intact):
            with checkpoint.writing() as file:
                file.write_bytes(content)
            with nullcontext() if content == intact else pytest.raises(DamagedCycle, match=f"{checkpoint.name} is"):
                cycle.check_checkpoint(cycle.record)
    for name, what in ((RECORD, "record"), (TIMING, "timing"), (REGIONS, "ledger")):
        file = cycle.path / name
        intact = file.read_bytes()
        for place in np.random.default_rng(1).integers(len(intact), size=20):
            file.write_atomically(intact[:place] + bytes([intact[place] ^ 1]) + intact[place + 1 :])
            with pytest.raises(DamagedCycle, match=name):
                getattr(cycle, what)
        file.write_atomically(intact)


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_cut_off_empty_or_of_another_kind_is_found(tmp_path, name):
    store = fake_run(tmp_path, [0.1, 0.2], passes=ENSEMBLE)
    before, file = told(store), file_of(store, name)
    intact = file.read_bytes()
    for damaged in (
        intact[:-1] if name != RUN else intact[:-3],
        intact[:40],
        b"",
        b"{}\n",
        b"[]",
        b"null",
        b"\xff\xfe",
    ):
        file.write_bytes(damaged)
        assert damaged == intact or is_found(store, name, before), damaged


@pytest.mark.parametrize("name", [name for name in FILES if name != RUN])
def test_a_missing_file_is_found(tmp_path, name):
    store = fake_run(tmp_path, [0.1, 0.2], passes=ENSEMBLE)
    before = told(store)
    file_of(store, name).unlink()
    assert is_found(store, name, before)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("other", ["another cycle", "another run"])
def test_a_file_of_another_cycle_or_run_is_found(tmp_path, name, other):
    store = fake_run(tmp_path, [0.1, 0.2, 0.3], passes=ENSEMBLE)
    before = told(store)
    if other == "another run":
        source = file_of(fake_run(tmp_path / "other", [0.1, 0.2, 0.4], seed=1, passes=ENSEMBLE), name)
    elif name == RUN:
        source = store.first.path / RUN
    else:
        source = store.committed()[-2].path / name
    same = file_of(store, name).read_bytes() == source.read_bytes()  # regions of two repeats may be the same
    file_of(store, name).write_bytes(source.read_bytes())
    assert is_found(store, name, before) or same


def test_cycles_of_earlier_versions_are_read_as_they_are(tmp_path):
    store = fake_run(tmp_path, [0.1, 0.2])
    record, timing, *rest = told(store)
    for name, content in ((RECORD, record), (TIMING, timing)):
        unsealed = content.to_json()
        if name == RECORD:
            unsealed = unsealed.replace(b' "regions_sha256": "%s",\n' % record.regions_sha256.encode(), b"")
            assert b"regions_sha256" not in unsealed
        file_of(store, name).write_bytes(unsealed)
    old, *others = told(store)
    assert (old.regions_sha256, old.metrics, old.selected) == (None, record.metrics, record.selected)
    assert others == [timing, *rest]


def test_damaged_regions_without_a_digest_are_told_too(tmp_path):
    store = fake_run(tmp_path, [0.1, 0.2])
    before = told(store)
    test_cycles_of_earlier_versions_are_read_as_they_are(tmp_path)
    file = file_of(store, REGIONS)
    intact = file.read_bytes()
    for length in range(0, len(intact), 97):
        file.write_bytes(intact[:length])
        assert is_found(store, REGIONS, before)


def test_a_file_that_may_not_be_read_is_not_taken_for_damaged(tmp_path, monkeypatch):
    store = fake_run(tmp_path, [0.1])

    def refuse(self, *arguments, **options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("os.open", refuse)
    with pytest.raises(StorageError, match=r"record.json cannot be read: permission denied; give yourself"):
        _ = store.committed()[0].record
    monkeypatch.setattr("os.scandir", refuse)
    with pytest.raises(StorageError, match="cannot be read: permission denied"):
        store.committed()


def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(tmp_path):
    store = fake_run(tmp_path, [0.1])
    file = file_of(store, RECORD)
    file.unlink()
    os.mkfifo(file)
    with pytest.raises(OSError, match=r"It is a pipe or a device, not a file.*record\.json"):
        _ = store.committed()[0].record
