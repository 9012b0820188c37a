import hashlib
import multiprocessing
import os
import pickle
import signal
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers.toy_volumes import Ellipsoids

from decomp.platform.annotation.answered import Answers, with_answers
from decomp.platform.annotation.query import Answer, Query
from decomp.platform.datasets import IGNORE, Dataset
from decomp.platform.errors import UserError
from decomp.platform.learners.nnunet import NnUNet
from decomp.platform.learners.nnunet.geometry import nearest
from decomp.platform.learners.nnunet.prepared import PreparedVolumes
from decomp.platform.regions import Region

SPAWN = multiprocessing.get_context("spawn")


def every(volumes: PreparedVolumes) -> list[str]:
    return [*volumes.ids("train", 0), *volumes.ids("test", 0)]


def contents(volumes: PreparedVolumes) -> dict[str, str]:
    arrays = {(kind, image): getattr(volumes, kind)(image) for kind in ("image", "labels") for image in every(volumes)}
    return {"-".join(key): hashlib.sha256(array.tobytes()).hexdigest() for key, array in arrays.items()}


def prepare_all(learner: NnUNet, dataset: Ellipsoids, reverse: bool) -> None:
    volumes = learner.prepare(dataset)
    for image in sorted(every(volumes), reverse=reverse):
        volumes.image(image)


def die_while_storing(learner: NnUNet, dataset: Ellipsoids) -> None:
    from decomp.platform.learners.nnunet import resampling

    def store(folder: Path, *_: object) -> None:
        (folder / "case.b2nd").write_bytes(b"half")
        os.kill(os.getpid(), signal.SIGKILL)

    resampling.store = store  # type: ignore[assignment]
    prepare_all(learner, dataset, reverse=False)


def test_shapes_are_known_from_headers_alone(learner: NnUNet, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("voxels are read")

    with monkeypatch.context() as context:
        context.setattr(Ellipsoids, "image", fail)
        context.setattr(Ellipsoids, "labels", fail)
        volumes = replace(learner, cache=str(tmp_path)).prepare(Ellipsoids(seed=7))
        shapes = {image: volumes.shape(image) for image in every(volumes)}
        assert volumes.spacing == (5.0, 3.0, 3.0)
        assert len(volumes.fingerprint()) == 32
    assert len(set(shapes.values())) > 1 or len({volumes.source.shape(image) for image in shapes}) > 1
    for image, shape in shapes.items():
        assert volumes.image(image).shape == (*shape, 1)
        assert volumes.labels(image).shape == volumes.body(image).shape == shape


@pytest.mark.parametrize("seed", range(3))
def test_headers_promise_the_shape_for_any_spacing(learner: NnUNet, tmp_path: Path, seed: int) -> None:
    dataset = Ellipsoids(seed=seed, cases=3, finest=(2.5, 2.0, 2.0), coarsest=(14.0, 7.0, 7.0))
    spacing = tuple(float(a) for a in np.random.default_rng(seed).uniform(3, 9, 3))
    volumes = replace(learner, cache=str(tmp_path), spacing=spacing, patch=None, features=None).prepare(dataset)
    for image in every(volumes):
        assert volumes.image(image).shape[:3] == volumes.shape(image)  # it would raise otherwise
        assert volumes.grid(image).voxel == spacing


def test_volumes_are_resampled_as_a_whole(volumes: PreparedVolumes) -> None:
    for image in every(volumes):
        truth, labels = volumes.source.labels(image), volumes.labels(image)
        assert labels.dtype == np.uint8
        assert set(np.unique(labels)) <= set(np.unique(truth))
        before, after = np.prod(volumes.geometry(image).voxel), np.prod(volumes.grid(image).voxel)
        for label in np.unique(truth):
            assert (labels == label).sum() * after == pytest.approx((truth == label).sum() * before, rel=0.25)
        body, original = volumes.body(image), volumes.source.body(image)
        assert body.dtype == np.bool_
        assert body.mean() == pytest.approx(original.mean(), rel=0.1)


def test_intensities_are_standardised_within_the_window(volumes: PreparedVolumes) -> None:
    statistics = volumes.plans["foreground_intensity_properties_per_channel"]["0"]
    hu = np.concatenate([volumes.source.image(image).ravel() for image in every(volumes)])
    hu = hu[(hu >= -200) & (hu <= 500)]
    assert statistics["mean"] == pytest.approx(hu.mean(), abs=1.5)
    assert statistics["std"] == pytest.approx(hu.std(), rel=0.03)
    assert statistics["percentile_00_5"] == pytest.approx(np.percentile(hu, 0.5), abs=2)
    image = volumes.image("case/00")
    assert image.dtype == np.float32
    lowest = (statistics["percentile_00_5"] - statistics["mean"]) / statistics["std"]
    assert np.median(image[..., 0][~volumes.body("case/00")]) == pytest.approx(lowest, abs=1e-3)


def test_a_window_without_voxels_is_the_users_mistake(learner: NnUNet, tmp_path: Path) -> None:
    volumes = replace(learner, cache=str(tmp_path), window=(5000.0, 6000.0)).prepare(Ellipsoids(cases=3))
    with pytest.raises(UserError, match=r"learner\.window: no volume has voxels from 5000\.0 to 6000\.0 HU"):
        volumes.image("case/00")


def test_several_processes_prepare_the_same_files(learner: NnUNet, volumes: PreparedVolumes, tmp_path: Path) -> None:
    elsewhere = replace(learner, cache=str(tmp_path))
    child = SPAWN.Process(target=prepare_all, args=(elsewhere, Ellipsoids(), True))
    child.start()
    while not list(tmp_path.rglob("intensities/*/0.npy")):  # not before the other one has begun
        assert child.exitcode is None
        time.sleep(0.01)
    prepare_all(elsewhere, Ellipsoids(), reverse=False)
    child.join()
    assert child.exitcode == 0
    assert not list(tmp_path.rglob("*.unfinished"))
    assert contents(elsewhere.prepare(Ellipsoids())) == contents(volumes)


@pytest.mark.slow
def test_a_process_killed_while_it_prepares_leaves_nothing_that_is_used(
    learner: NnUNet, volumes: PreparedVolumes, tmp_path: Path
) -> None:
    elsewhere = replace(learner, cache=str(tmp_path))
    child = SPAWN.Process(target=die_while_storing, args=(elsewhere, Ellipsoids()))
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    assert list(tmp_path.rglob("*.unfinished"))
    assert contents(elsewhere.prepare(Ellipsoids())) == contents(volumes)


def test_a_damaged_file_is_prepared_again(learner: NnUNet, volumes: PreparedVolumes, tmp_path: Path) -> None:
    elsewhere = replace(learner, cache=str(tmp_path))
    prepare_all(elsewhere, Ellipsoids(), reverse=False)
    for file in tmp_path.rglob("case*.b2nd"):
        with file.open("r+b") as stream:
            stream.seek(file.stat().st_size // 2)
            stream.write(b"\0\1\2\3")
    assert contents(elsewhere.prepare(Ellipsoids())) == contents(volumes)


def test_what_is_prepared_is_found_again(
    learner: NnUNet, volumes: PreparedVolumes, monkeypatch: pytest.MonkeyPatch
) -> None:
    volumes.image("case/01")

    def fail(*_: object) -> None:
        raise AssertionError("voxels are read")

    monkeypatch.setattr(Ellipsoids, "image", fail)
    again = learner.prepare(Ellipsoids())
    assert np.array_equal(again.image("case/01"), volumes.image("case/01"))


def test_everything_that_changes_the_files_changes_the_fingerprint(learner: NnUNet) -> None:
    some = [
        learner.prepare(Ellipsoids()),
        learner.prepare(Ellipsoids(seed=1)),
        replace(learner, spacing=(5.0, 3.0, 3.5)).prepare(Ellipsoids()),
        replace(learner, configuration="3d_fullres").prepare(Ellipsoids()),
        replace(learner, window=(-100.0, 500.0)).prepare(Ellipsoids()),
    ]
    assert len({volumes.fingerprint() for volumes in some}) == len(some)
    same = replace(learner, learning_rate=1e-3, patch=(16, 16, 16)).prepare(Ellipsoids())
    assert same.fingerprint() == some[0].fingerprint()


def test_a_region_is_mapped_to_the_volume(volumes: PreparedVolumes) -> None:
    image = "case/01"
    grid, volume = volumes.grid(image), volumes.geometry(image)
    region = Region(image, (3, 4, 5), (1, 8, 8))
    found = volumes.original(region)
    for axis in range(3):
        centre = (region.start[axis] + region.size[axis] / 2) * grid.voxel[axis]
        assert abs((found.start[axis] + found.size[axis] / 2) * volume.voxel[axis] - centre) <= volume.voxel[axis]
    whole = Region(image, (0, 0, 0), grid.shape)
    assert volumes.original(whole) == Region(image, (0, 0, 0), volume.shape)


def test_a_used_data_set_travels_light(volumes: PreparedVolumes) -> None:
    volumes.image("case/00")
    packed = pickle.dumps(volumes)
    assert len(packed) < 1000
    again = pickle.loads(packed)
    assert again.shape("case/00") == volumes.shape("case/00")
    assert again.fingerprint() == volumes.fingerprint()
    assert (again.classes, again.nested, again.folds) == (volumes.classes, volumes.nested, volumes.folds)


class Pictures(Dataset):
    classes = ("a", "b")

    def ids(self, split, fold):  # type: ignore[no-untyped-def]
        return ()

    def shape(self, image):  # type: ignore[no-untyped-def]
        return (1, 1)

    image = labels = shape  # type: ignore[assignment]

    def fingerprint(self) -> str:
        return ""


class Empty(Ellipsoids):
    classes = ("background",)
    nested = {}  # noqa: RUF012


def test_only_volumes_with_classes_are_prepared(learner: NnUNet, volumes: PreparedVolumes) -> None:
    with pytest.raises(UserError, match="nnunet trains on volumes, which Pictures does not hold"):
        learner.prepare(Pictures())
    with pytest.raises(UserError, match="needs a class besides the background"):
        learner.prepare(Empty())
    assert learner.prepare(volumes) is volumes


def test_the_cache_lies_where_the_user_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert NnUNet().prepare(Ellipsoids()).cache == Path("/home/me/.cache/decomp/nnunet")
    assert NnUNet(cache="~/here").prepare(Ellipsoids()).cache == Path("/home/me/here")
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    assert NnUNet().prepare(Ellipsoids()).cache == Path("/cache/decomp/nnunet")


class Bright(Ellipsoids):
    """The same bodies in a scanner's own units."""

    hounsfield = False

    def image(self, image: str) -> np.ndarray:
        return 1000 + 4 * super().image(image)


def test_intensities_that_the_default_window_clips_are_a_problem_until_another_is_given(learner: NnUNet) -> None:
    assert learner.prepare(Ellipsoids()).problems() == []
    (problem,) = learner.prepare(Bright()).problems()
    assert problem.startswith("learner.window: ")
    assert "of the body's voxels lie outside of -200 to 500, which is for CT" in problem
    assert replace(learner, window=(0.0, 3000.0)).prepare(Bright()).problems() == []


def test_volumes_that_are_not_in_hounsfield_units_are_a_problem(learner: NnUNet) -> None:
    class Shifted(Bright):
        hounsfield = True

    (problem,) = learner.prepare(Shifted()).problems()
    assert problem.startswith("dataset: case/00: is not in Hounsfield units")


class Unlabelled(Ellipsoids):
    """The same volumes, which people are to label."""

    labelled = False

    def labels(self, image: str) -> np.ndarray:
        labels = super().labels(image)
        return labels if image in self.ids("test", 0) else np.full(labels.shape, IGNORE, np.uint8)


@pytest.mark.parametrize("size", [(1, 6, 7), (3, 4, 5)])
def test_answers_about_the_volumes_label_every_voxel_of_a_window(
    learner: NnUNet, tmp_path: Path, size: tuple[int, int, int]
) -> None:
    true, answers = Ellipsoids(seed=9, cases=3, finest=(2.5, 2.0, 2.0), coarsest=(9.0, 6.0, 6.0)), Answers()
    source = with_answers(Unlabelled(seed=9, cases=3, finest=true.finest, coarsest=true.coarsest), answers)
    volumes = replace(learner, cache=str(tmp_path)).prepare(source)
    rng = np.random.default_rng(0)
    for image in volumes.ids("train", 0):
        truth, shape = true.labels(image), volumes.shape(image)
        assert (volumes.labels(image) == IGNORE).all()
        for number in range(12):
            start = tuple(int(rng.integers(0, n - k + 1)) for n, k in zip(shape, size, strict=True))
            region = Region(image, start, size)
            window = tuple((a, a + n) for a, n in zip(*_extent(volumes.original(region)), strict=True))
            query = Query(f"{number}", image, (), truth.shape, window)
            answers.put(query, Answer(query.id, truth[query.slices]))
            told = region.of(volumes.labels(image))
            assert np.array_equal(told, region.of(nearest(truth, shape)))
            assert not (told == IGNORE).any()


def _extent(region: Region) -> tuple[tuple[int, ...], tuple[int, ...]]:
    return region.start, region.size


def test_what_is_predicted_is_shown_in_the_voxels_of_the_volume(learner: NnUNet, tmp_path: Path) -> None:
    volumes = replace(learner, cache=str(tmp_path)).prepare(Ellipsoids(seed=9, cases=3))
    image = volumes.ids("train", 0)[0]
    grid = nearest(volumes.source.labels(image), volumes.shape(image))
    shown = volumes.to_original(image, grid)
    assert shown.shape == volumes.source.shape(image)
    assert (shown == volumes.source.labels(image)).mean() > 0.9
