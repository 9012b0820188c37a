import hashlib
import math
import multiprocessing
import os
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import safetensors.torch
import torch
from helpers.toy_volumes import Ellipsoids

from decomp.platform.errors import UserError
from decomp.platform.learners import Training
from decomp.platform.learners.nnunet import NnUNet
from decomp.platform.learners.nnunet.prepared import PreparedVolumes
from decomp.platform.ledger import Annotation, Ledger
from decomp.platform.metrics import score
from decomp.platform.regions import Region

LEDGER = Ledger.of(
    Annotation(Region(image, start, (1, 8, 8)), 1, rank)
    for image in ("case/00", "case/03")
    for rank, start in enumerate([(8, 10, 12), (9, 3, 4), (6, 18, 10)])
)


def training(ledger: Ledger = LEDGER, seed: int = 0, **options: object) -> Training:
    return Training(ledger, np.random.default_rng(seed), **options)  # type: ignore[arg-type]


def digest(learner: NnUNet, volumes: PreparedVolumes, file: Path, seed: int = 0) -> str:
    learner.fit(volumes, training(seed=seed), file)
    return hashlib.sha256(file.read_bytes()).hexdigest()


def dice(learner: NnUNet, volumes: PreparedVolumes, file: Path) -> dict[str, float | None]:
    predictor = learner.load(file, volumes, "cpu")
    confusion = np.stack([predictor.evaluate(volumes, image, volumes.image(image)) for image in volumes.ids("test", 0)])
    return score(volumes, confusion)[1]["dice"]


def batches(volumes: PreparedVolumes, learner: NnUNet, ledger: Ledger, n: int) -> list[npt.NDArray[np.bool_]]:
    """Targets of some batches: per patch and voxel the nested sets, and last whether it is ignored."""
    from decomp.platform.learners.nnunet.cases import AnnotatedCases
    from decomp.platform.learners.nnunet.environment import private_folders, seeded
    from decomp.platform.learners.nnunet.planning import adapt
    from decomp.platform.learners.nnunet.training import Schedule, new_trainer

    plans = adapt(volumes.plans, learner.patch, learner.batch, learner.features, learner.convolutions)
    device = torch.device("cpu")
    cases = AnnotatedCases(volumes, ledger)
    with seeded(1, device, np.random.default_rng(0)), private_folders(workers=0) as root:
        trainer = new_trainer(
            root, cases, plans, volumes.heads, Schedule(1, 1, 0.1, 0.9, 0.0, 0, learner.augmentation), device
        )
        loader, _ = trainer.get_dataloaders()
        return [next(loader)["target"].numpy().astype(bool) for _ in range(n)]


def test_training_learns(learner: NnUNet, volumes: PreparedVolumes, model: Path, tmp_path: Path) -> None:
    untrained = replace(learner, min_epochs=1, iterations_per_epoch=1, learning_rate=1e-9)
    untrained.fit(volumes, training(), tmp_path / "untrained")
    before = dice(learner, volumes, tmp_path / "untrained")["kidney_and_masses"]
    after = dice(learner, volumes, model)["kidney_and_masses"]
    assert before is not None
    assert after is not None
    assert before < 0.5
    assert after > 0.8


class Scrambled(PreparedVolumes):
    """Nonsense outside the regions."""

    def labels(self, image: str) -> npt.NDArray[np.uint8]:
        truth = super().labels(image)
        labels = np.random.default_rng(0).integers(0, 4, truth.shape).astype(np.uint8)
        for region in LEDGER.regions(image):
            labels[region.slices] = truth[region.slices]
        return labels


def test_only_annotated_voxels_matter(brief: NnUNet, volumes: PreparedVolumes, tmp_path: Path) -> None:
    scrambled = Scrambled(volumes.source, volumes.preparation, volumes.cache)
    assert not np.array_equal(scrambled.labels("case/00"), volumes.labels("case/00"))
    assert digest(brief, volumes, tmp_path / "a") == digest(brief, scrambled, tmp_path / "b")


def test_unannotated_volumes_are_not_read(
    brief: NnUNet, volumes: PreparedVolumes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: set[str] = set()
    original = PreparedVolumes.files
    monkeypatch.setattr(PreparedVolumes, "files", lambda self, image: (read.add(image), original(self, image))[1])
    brief.fit(volumes, training(), tmp_path / "model")
    assert read == {"case/00", "case/03"}


class Kidney(PreparedVolumes):
    """Kidney everywhere."""

    def labels(self, image: str) -> npt.NDArray[np.uint8]:
        return np.ones_like(super().labels(image))


def test_what_lies_beyond_the_volume_is_no_annotated_background(learner: NnUNet, volumes: PreparedVolumes) -> None:
    volumes = Kidney(volumes.source, volumes.preparation, volumes.cache)
    ledger = Ledger.whole({"case/00": volumes.shape("case/00")})
    for target in batches(volumes, replace(learner, patch=(32, 48, 48)), ledger, 10):
        kidney, ignored = target[:, 0], target[:, -1]
        assert kidney.any()
        assert ignored.any()
        assert np.array_equal(kidney, ~ignored)


def test_patches_lie_within_volumes_that_are_large_enough(learner: NnUNet, volumes: PreparedVolumes) -> None:
    shape = volumes.shape("case/00")
    assert all(n >= k for n, k in zip(shape, learner.patch or (), strict=True))
    ledger = Ledger.whole({"case/00": shape})
    light = replace(learner, augmentation="light")  # rotated patches have corners from beyond
    assert not any(target[:, -1].any() for target in batches(volumes, light, ledger, 20))


@pytest.mark.parametrize(
    ("augmentation", "rotates", "mirrors"), [("full", True, True), ("light", False, True), ("intensity", False, False)]
)
def test_lighter_augmentations_rotate_blur_or_mirror_nothing(augmentation: str, rotates: bool, mirrors: bool) -> None:
    from decomp.platform.learners.nnunet.training import RegionTrainer, Schedule, _inner

    trainer = RegionTrainer.__new__(RegionTrainer)
    trainer.schedule = Schedule(1, 1, 0.1, 0.9, 0.0, 0, augmentation)
    composed = trainer.get_training_transforms(
        (16, 24, 24), (-0.5, 0.5), None, (0, 1, 2), False, regions=[(1, 2), (2,)], ignore_label=3
    )
    names = {type(_inner(transform)).__name__ for transform in composed.transforms}
    assert {"ContrastTransform", "RemoveLabelTransform", "ConvertSegmentationToRegionsTransform"} <= names
    assert ("SpatialTransform" in names) == ("GaussianBlurTransform" in names) == rotates
    assert ("MirrorTransform" in names) == mirrors


def test_regions_of_one_slice_are_in_every_patch(learner: NnUNet, volumes: PreparedVolumes) -> None:
    ledger = Ledger.of([Annotation(Region("case/00", (8, 10, 12), (1, 8, 8)), 1, 0)])
    annotated = np.concatenate([(~target[:, -1]).sum((1, 2, 3)) for target in batches(volumes, learner, ledger, 20)])
    assert (annotated > 0).all()
    assert np.median(annotated) == 64


def test_one_region_of_one_slice_moves_the_weights(brief: NnUNet, volumes: PreparedVolumes, tmp_path: Path) -> None:
    ledger = Ledger.of([Annotation(Region("case/00", (8, 10, 12), (1, 8, 8)), 1, 0)])
    states = []
    for rate in (1e-12, 0.1):
        learner = replace(brief, iterations_per_epoch=1, learning_rate=rate)
        learner.fit(volumes, training(ledger), tmp_path / str(rate))
        states.append(safetensors.torch.load_file(tmp_path / str(rate)))
    moved = [
        float((states[0][name] - states[1][name]).abs().max()) for name in states[0] if name.endswith("conv.weight")
    ]
    assert min(moved) > 1e-6


def test_the_same_seed_gives_the_same_bytes_in_any_process(
    brief: NnUNet, volumes: PreparedVolumes, tmp_path: Path
) -> None:
    here = digest(brief, volumes, tmp_path / "a")
    random.random()
    np.random.rand()
    torch.rand(3)
    assert digest(brief, volumes, tmp_path / "b") == here
    assert digest(brief, volumes, tmp_path / "c", seed=1) != here
    program = f"""
import sys
sys.path[:0] = {sys.path!r}
import importlib.util
spec = importlib.util.spec_from_file_location("others", {__file__!r})
others = importlib.util.module_from_spec(spec)
spec.loader.exec_module(others)
from pathlib import Path
from decomp.platform.learners.nnunet import NnUNet
learner = {brief!r}
print(others.digest(learner, learner.prepare(others.Ellipsoids()), Path({str(tmp_path / "d")!r})))
"""
    there = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert there.stdout == here + "\n"


def test_batches_from_several_processes_give_the_same_bytes_every_time(
    brief: NnUNet, volumes: PreparedVolumes, tmp_path: Path
) -> None:
    several = replace(brief, loaders=2, iterations_per_epoch=5)
    first, second = (digest(several, volumes, tmp_path / name) for name in "ab")
    assert first == second
    assert not multiprocessing.active_children()


@pytest.mark.slow
def test_processes_that_make_batches_end_with_a_killed_training(
    brief: NnUNet, volumes: PreparedVolumes, tmp_path: Path
) -> None:
    endless = replace(brief, loaders=2, min_epochs=1000)
    arguments = (endless, volumes, training(progress=float), tmp_path / "model")
    child = multiprocessing.get_context("spawn").Process(target=NnUNet.fit, args=arguments)
    child.start()
    assert child.pid is not None
    while len(loaders := children(child.pid)) < 2:
        assert child.is_alive()
        time.sleep(0.05)
    child.kill()
    child.join()
    deadline = time.monotonic() + 30
    while any(running(loader) for loader in loaders):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def running(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def children(parent: int) -> list[int]:
    found = Path(f"/proc/{parent}/task/{parent}/children").read_text()
    return [int(child) for child in found.split()]


def test_training_leaves_no_trace(
    brief: NnUNet,
    volumes: PreparedVolumes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    for name in ("home", "temporary"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "home")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    volumes.plans  # noqa: B018
    environment, threads = dict(os.environ), torch.get_num_threads()
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.random.get_rng_state().tolist()  # type: ignore[union-attr]
    brief.fit(volumes, training(), tmp_path / "model")
    predictor = brief.load(tmp_path / "model", volumes, "cpu")
    predictor.evaluate(volumes, "case/02", volumes.image("case/02"))
    after = random.getstate(), np.random.get_state()[1].tolist(), torch.random.get_rng_state().tolist()  # type: ignore[union-attr]
    assert after == before
    assert dict(os.environ) == environment
    assert torch.get_num_threads() == threads
    assert not list((tmp_path / "home").iterdir())
    assert not list((tmp_path / "temporary").iterdir())
    assert capfd.readouterr() == ("", "")


def test_progress_ends_at_one(brief: NnUNet, volumes: PreparedVolumes, tmp_path: Path) -> None:
    told: list[float] = []
    learner = replace(brief, min_epochs=3, iterations_per_epoch=1)
    learner.fit(volumes, training(progress=told.append), tmp_path / "model")
    assert told == pytest.approx([1 / 3, 2 / 3, 1])


def test_epochs_follow_the_annotated_regions(brief: NnUNet, volumes: PreparedVolumes, tmp_path: Path) -> None:
    told: list[float] = []
    learner = replace(brief, min_epochs=1, epochs_per_region=0.5, iterations_per_epoch=1)
    learner.fit(volumes, training(progress=told.append), tmp_path / "model")
    assert len(told) == learner.training_epochs(6) == 3


def test_a_diverging_training_is_an_error(brief: NnUNet, volumes: PreparedVolumes, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"diverged in epoch 1, iteration \d+; lower learning_rate"):
        replace(brief, learning_rate=1e30).fit(volumes, training(), tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_a_warm_start_keeps_the_weights(brief: NnUNet, volumes: PreparedVolumes, model: Path, tmp_path: Path) -> None:
    learner = replace(brief, iterations_per_epoch=1, learning_rate=1e-12)
    learner.fit(volumes, training(warm_start=model), tmp_path / "warm")
    before, after = safetensors.torch.load_file(model), safetensors.torch.load_file(tmp_path / "warm")
    for name, tensor in before.items():
        torch.testing.assert_close(after[name], tensor, atol=1e-6, rtol=1e-6)


def test_a_warm_start_of_another_network_is_the_users_mistake(
    brief: NnUNet, volumes: PreparedVolumes, model: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="another architecture"):
        replace(brief, features=(8, 12)).fit(volumes, training(warm_start=model), tmp_path / "warm")


def test_without_annotation_there_is_nothing_to_train_on(
    brief: NnUNet, volumes: PreparedVolumes, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="Nothing is annotated"):
        brief.fit(volumes, training(Ledger()), tmp_path / "model")


def test_a_raw_data_set_is_prepared(brief: NnUNet, volumes: PreparedVolumes, tmp_path: Path) -> None:
    brief.fit(Ellipsoids(), training(), tmp_path / "raw")
    assert (tmp_path / "raw").read_bytes() == _bytes(brief, volumes, tmp_path)


def _bytes(learner: NnUNet, volumes: PreparedVolumes, folder: Path) -> bytes:
    digest(learner, volumes, folder / "other")
    return (folder / "other").read_bytes()


@pytest.mark.slow
def test_sparse_regions_suffice_to_learn(learner: NnUNet, volumes: PreparedVolumes, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = []
    for image in volumes.ids("train", 0):
        places = np.argwhere(volumes.labels(image) > 0)
        for rank in range(10):
            z, y, x = places[rng.integers(len(places))]
            start = [
                int(min(max(a - n // 2, 0), m - n))
                for a, n, m in zip((z, y, x), (1, 8, 8), volumes.shape(image), strict=True)
            ]
            rows.append(Annotation(Region(image, tuple(start), (1, 8, 8)), 1, rank))
    longer = replace(learner, min_epochs=30)
    longer.fit(volumes, training(Ledger.of(rows)), tmp_path / "model")
    found = dice(learner, volumes, tmp_path / "model")["kidney_and_masses"]
    assert found is not None
    assert found > 0.7
    assert math.isfinite(found)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_training_learns_on_a_gpu(learner: NnUNet, volumes: PreparedVolumes, tmp_path: Path) -> None:
    ledger = Ledger.whole({image: volumes.shape(image) for image in volumes.ids("train", 0)})
    learner.fit(volumes, training(ledger, device="cuda"), tmp_path / "model")
    found = dice(learner, volumes, tmp_path / "model")["kidney_and_masses"]
    assert found is not None
    assert found > 0.8
