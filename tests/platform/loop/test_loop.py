import json
import shutil
import time
from dataclasses import replace

import numpy as np
import pytest
from helpers.toy_runs import BASE, DECOMP, REFERENCE, RUNS, results, run_alone, run_locally
from helpers.toys import Blobs

from decomp.platform.errors import UserError
from decomp.platform.grid import Budget, Component
from decomp.platform.loop import loop
from decomp.platform.loop.loop import Observer
from decomp.platform.samplers import class_weights
from decomp.platform.storage.runs import RunStore

POOLED = ("cluster", "core-set", "badge")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    root = tmp_path_factory.mktemp("finished")
    run_locally(root, *RUNS, REFERENCE)
    return root


def every_run(root):
    return [RunStore(root, spec) for spec in RUNS]


def test_the_same_run_gives_the_same_bytes(finished, tmp_path):
    run_locally(tmp_path, *RUNS, REFERENCE)
    assert results(tmp_path) == results(finished)


def test_all_samplers_share_the_first_cycle(finished):
    firsts = [run.committed()[0] for run in every_run(finished)]
    assert len({first.path for first in firsts}) == 1
    assert len({first.record.checkpoint_sha256 for first in firsts}) == 1


def test_samplers_differ_from_the_second_cycle_on(finished):
    chosen = [str(run.ledger(run.committed()[1:]).annotations()) for run in every_run(finished)]
    assert len(set(chosen)) == len(chosen)


def test_budgets_are_kept_and_no_pixel_is_annotated_twice(finished):
    for run in every_run(finished):
        folders = run.committed()
        assert len(folders) == BASE.cycles
        for folder in folders:
            by_image = folder.ledger.by_image
            assert len(by_image) <= 2
            assert len(folder.ledger) <= 2 * 3
            if run.spec.sampler.regions.name not in POOLED:  # which divide the budget among the images as they like
                assert all(len(regions) <= 3 for regions in by_image.values())
        for regions in run.ledger(folders).by_image.values():
            assert not any(a.overlaps(b) for k, a in enumerate(regions) for b in regions[:k])


def test_every_image_is_visited_once_before_any_is_visited_again(finished):
    # 9 images, 2 per cycle: the fifth cycle takes the one that is left, the sixth starts a new loop.
    for run in every_run(finished):
        visits = [set(folder.ledger.by_image) for folder in run.committed()]
        assert [len(images) for images in visits] == [2, 2, 2, 2, 1, 2, 2]
        assert set().union(*visits[:5]) == set(Blobs().ids("train", 0))


def test_records_count_what_is_annotated(finished):
    dataset = Blobs()
    for run in every_run(finished):
        folders = run.committed()
        for k, folder in enumerate(folders):
            ledger, annotated = run.ledger(folders[: k + 1]), folder.record.annotated
            true = [dataset.labels(r.image)[r.slices] for regions in ledger.by_image.values() for r in regions]
            counts = np.bincount(np.concatenate([labels.ravel() for labels in true]), minlength=256)
            assert list(annotated.class_pixels) == list(counts[:4])
            assert annotated.pixels == counts.sum()
            assert annotated.share == pytest.approx(counts.sum() / (9 * 24 * 32))
            assert (annotated.images, annotated.regions) == (len(ledger.by_image), len(ledger))


def test_weights_follow_from_the_confidence(finished):
    for run in every_run(finished):
        sampler = run.spec.sampler
        needs_weights = "decomposition" in (sampler.images.name, sampler.regions.name)
        for folder in run.committed()[1:]:
            record = folder.record
            assert (record.class_weights is not None) == needs_weights
            if needs_weights:
                np.testing.assert_array_equal(record.class_weights, class_weights(np.array(record.class_confidence)))


def test_the_reference_is_trained_on_everything(finished):
    (folder,) = RunStore(finished, REFERENCE).committed()
    assert folder.record.annotated.share == 1.0
    assert folder.record.annotated.images == 9


class Interrupted(Exception):
    pass


class Kill(Observer):
    """Interrupts a run when it enters a phase of a cycle, as a kill would."""

    def __init__(self, cycle, phase):
        self.target = (cycle, phase)

    def phase(self, cycle, name):
        if (cycle, name) == self.target:
            raise Interrupted


@pytest.fixture(scope="module", params=[(2, 4), (6, 7)], ids=lambda cycles: f"cycle {cycles[0]}")
def interruptible(request, finished, tmp_path_factory):
    """A cycle, where runs lie that were computed up to it, and runs that go further, with where they lie computed."""
    cycle, last = request.param
    begun = tmp_path_factory.mktemp("begun")
    run_locally(begun, *(replace(spec, cycles=cycle - 1) for spec in RUNS))
    if last == BASE.cycles:
        return cycle, begun, RUNS, finished
    specs, undisturbed = [replace(spec, cycles=last) for spec in RUNS], tmp_path_factory.mktemp("undisturbed")
    run_locally(undisturbed, *specs)
    return cycle, begun, specs, undisturbed


@pytest.mark.parametrize("phase", ["predict", "select", "reveal", "train", "evaluate"])
def test_an_interrupted_run_ends_as_if_nothing_had_happened(interruptible, tmp_path, phase):
    cycle, begun, specs, undisturbed = interruptible
    shutil.copytree(begun, tmp_path, dirs_exist_ok=True)
    for spec in specs:
        if phase == "predict" and spec.sampler.name == "rand":
            continue
        with pytest.raises(Interrupted):
            run_alone(tmp_path, spec, Kill(cycle, phase))
        assert len(RunStore(tmp_path, spec).committed()) == cycle - 1
        run_alone(tmp_path, spec)
        assert results(RunStore(tmp_path, spec).path) == results(RunStore(undisturbed, spec).path)


class Listening(Observer):
    def __init__(self):
        self.warnings = []

    def warn(self, message):
        self.warnings.append(message)


def test_a_damaged_checkpoint_is_computed_again_and_said(finished, tmp_path):
    spec = replace(DECOMP, cycles=4)
    run_locally(tmp_path, spec)
    RunStore(tmp_path, spec).committed()[3].checkpoint.write_bytes(b"damaged")
    listening = Listening()
    run_locally(tmp_path, DECOMP, observer=listening)
    assert "cycle-0004/model is damaged; the cycle is set aside as damaged-cycle-0004-" in listening.warnings[0]
    assert results(RunStore(tmp_path, DECOMP).path).keys() >= results(RunStore(finished, DECOMP).path).keys()
    again, once = (RunStore(root, DECOMP).committed()[6].record for root in (tmp_path, finished))
    assert again == once


def test_a_run_waits_for_its_first_cycle_and_begins_none_of_its_own(finished, tmp_path, monkeypatch):
    """A file system of several machines may show the first cycle late, and the run's own cycles before it."""
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    run = RunStore(tmp_path, DECOMP)
    late = run.first.path.rename(tmp_path / "not visible yet")
    monkeypatch.setattr(loop, "PATIENCE", 0.0)
    with pytest.raises(UserError, match=r"first cycle in .* is not seen from this machine, 0 seconds"):
        run_alone(tmp_path, DECOMP)
    monkeypatch.setattr(loop, "PATIENCE", 60.0)
    monkeypatch.setattr(time, "sleep", lambda seconds: late.rename(run.first.path))
    run_alone(tmp_path, DECOMP)
    assert results(run.path) == results(RunStore(finished, DECOMP).path)


@pytest.mark.parametrize("file", ["record.json", "regions.parquet", "model"])
def test_a_damaged_file_is_told_and_its_cycle_computed_again(finished, tmp_path, file):
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    run = RunStore(tmp_path, DECOMP)
    last = run.committed()[6].path
    damaged = (run.committed()[5].path if file != "model" else last) / file
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 4
    damaged.write_bytes(content)
    if file == "model":  # which is needed no more once the run is finished
        shutil.rmtree(last)
        damaged = run.committed()[5].checkpoint
        damaged.write_bytes(content)
    listening = Listening()
    run_alone(tmp_path, DECOMP, listening)
    assert f"{damaged} is damaged" in listening.warnings[0]
    assert "set aside as damaged-cycle-0006-" in listening.warnings[0]
    assert results(run.path) == results(RunStore(finished, DECOMP).path)


def test_lost_wall_times_cost_no_computation(finished, tmp_path):
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    run = RunStore(tmp_path, DECOMP)
    shutil.rmtree(run.committed()[6].path)
    (run.committed()[4].path / "timing.json").write_bytes(b"{}")
    listening = Listening()
    run_alone(tmp_path, DECOMP, listening)
    assert listening.warnings == []
    assert results(run.path) == results(RunStore(finished, DECOMP).path)


def test_regions_of_another_cycle_are_not_gone_on_from(finished, tmp_path):
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    run = RunStore(tmp_path, DECOMP)
    one, other = (run.committed()[cycle].regions_file for cycle in (4, 6))
    one.write_bytes(other.read_bytes())
    run_alone(tmp_path, DECOMP)
    assert results(run.path) == results(RunStore(finished, DECOMP).path)


def test_a_damaged_first_cycle_is_told_to_its_runs_and_computed_again_by_itself(finished, tmp_path):
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    run = RunStore(tmp_path, DECOMP)
    (run.committed()[0].path / "record.json").write_bytes(b"{}")
    with pytest.raises(UserError, match=r"record.json is damaged .*'decomp run' computes its cycle again"):
        run_alone(tmp_path, DECOMP)
    assert (run.first.finished, len(run.committed())) == (False, 7)
    run_locally(tmp_path, DECOMP)
    assert results(tmp_path / run.spec.first.label) == results(finished / run.spec.first.label)
    assert results(run.path) == results(RunStore(finished, DECOMP).path)


@pytest.mark.parametrize("cycle", [2, 4, 6, 7])
def test_a_deleted_cycle_is_computed_again_with_all_that_it_takes(finished, tmp_path, cycle):
    """The checkpoints before it are gone and those after it come to nothing, and the results are the same."""
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    run = RunStore(tmp_path, DECOMP)
    shutil.rmtree(run.committed()[cycle - 1].path)
    listening = Listening()
    run_locally(tmp_path, DECOMP, observer=listening)
    assert results(run.path) == results(RunStore(finished, DECOMP).path)
    stranded = [warning for warning in listening.warnings if "comes after a missing cycle" in warning]
    assert len(stranded) == 7 - cycle


def test_a_damaged_checkpoint_before_the_last_is_not_missed(finished, tmp_path):
    """It mends nothing then: the run goes back until a checkpoint is sound."""
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    longer = replace(DECOMP, cycles=8)
    *_, before, last = RunStore(tmp_path, longer).committed()
    for folder in (before, last):
        content = bytearray(folder.checkpoint.read_bytes())
        content[-1] ^= 1
        folder.checkpoint.write_bytes(content)
    run_locally(tmp_path, longer)
    run_locally(tmp_path / "undisturbed", longer)
    assert results(RunStore(tmp_path, longer).path) == results(RunStore(tmp_path / "undisturbed", longer).path)


def test_more_cycles_continue_the_run(finished, tmp_path):
    run_locally(tmp_path, replace(RUNS[1], cycles=3))
    run_locally(tmp_path, RUNS[1])
    assert results(RunStore(tmp_path, RUNS[1]).path) == results(RunStore(finished, RUNS[1]).path)


def test_warm_start_begins_with_the_weights_of_the_cycle_before(finished, tmp_path):
    warm = replace(RUNS[0], warm_start=True)
    run_locally(tmp_path, warm)
    one, other = RunStore(tmp_path, warm), RunStore(finished, RUNS[0])
    assert one.committed()[0].record == other.committed()[0].record
    assert one.committed()[1].record.checkpoint_sha256 != other.committed()[1].record.checkpoint_sha256


def test_a_run_ends_early_when_the_pool_is_exhausted(tmp_path):
    small = Component("helpers.toys:Blobs", {"images": 3, "height": 8, "width": 8})
    for spec in RUNS:
        spec = replace(spec, dataset=small, budget=Budget(2, 4, (4, 4)), cycles=40)
        run_locally(tmp_path, spec)
        run = RunStore(tmp_path, spec)
        folders = run.committed()
        assert run.finished
        assert len(folders) < 40
        assert [folder.record.exhausted for folder in folders] == [False] * (len(folders) - 1) + [True]


def test_an_observer_hears_of_phases_in_order(tmp_path):
    class Ear(Observer):
        def phase(self, cycle, name):
            heard.append((cycle, name))

    heard = []
    run_locally(tmp_path, replace(DECOMP, cycles=2), observer=Ear())
    phases = list(dict.fromkeys(name for cycle, name in heard if cycle == 2))
    assert phases == ["predict", "select", "reveal", "train", "evaluate"]
    timing = json.loads((RunStore(tmp_path, DECOMP).committed()[1].path / "timing.json").read_text())
    assert sorted(timing["phases"]) == sorted(phases)
