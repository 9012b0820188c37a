"""What a shard keeps and computes: everything once, maps only of images that can still be selected."""

from collections import Counter
from dataclasses import dataclass, replace

import numpy as np
import pytest
from helpers.toy_runs import BASE, RUNS, results, run_locally
from helpers.toys import Centroids, NearestMean

from decomp.platform.components import build_dataset, build_learner, build_selectors
from decomp.platform.grid import Budget, Component, Sampler
from decomp.platform.learners import Predictor
from decomp.platform.loop.loop import Loop
from decomp.platform.loop.shard import PoolShard
from decomp.platform.loop.workers import LocalWorkers
from decomp.platform.partitions import Partition
from decomp.platform.samplers import Choice, ImageView, Need, RegionSelector
from decomp.platform.storage.runs import RunStore

PREDICTED: Counter[str] = Counter()


@dataclass(frozen=True)
class Counting(Predictor):
    """Counts predictions for samplers (not evaluations) by the image's content."""

    inner: NearestMean

    def predict(self, image, wanted):
        if wanted.tau is not None:
            PREDICTED[image.tobytes()] += 1
        return self.inner.predict(image, wanted)


@dataclass(frozen=True)
class CountedCentroids(Centroids):
    def load(self, checkpoint, dataset, device):
        return Counting(super().load(checkpoint, dataset, device))


@pytest.mark.parametrize("spec", RUNS, ids=lambda spec: spec.sampler.name)
def test_no_image_is_predicted_twice_in_a_cycle(tmp_path, spec):
    run_locally(tmp_path, spec.first)
    PREDICTED.clear()
    local(tmp_path, replace(spec, cycles=2), CountedCentroids())
    needs = [selector.needs for selector in build_selectors(spec.sampler)]
    everything = needs[0] or Need.COUNTS in needs[1]
    assert len(PREDICTED) == (7 if everything else 2 if needs[1] else 0)
    assert set(PREDICTED.values()) <= {1}


def local(root, spec, learner):
    """Run with a learner that is no option of the experiment."""
    dataset = build_dataset(spec.dataset)
    shard = PoolShard(dataset, learner, "cpu")
    Loop(RunStore(root, spec), dataset, LocalWorkers(shard)).run()
    return shard


@pytest.mark.parametrize("spec", RUNS, ids=lambda spec: spec.sampler.name)
def test_maps_are_kept_only_of_images_that_can_still_be_selected(tmp_path, spec):
    run_locally(tmp_path, spec.first)
    shard = local(tmp_path, replace(spec, cycles=2), build_learner(spec.learner))
    images, regions = build_selectors(spec.sampler)
    kept = 0 if not regions.needs else 2 if images.local else 7
    assert shard.held()["images"] == kept
    maps = 24 * 32 * kept  # bytes of the label maps before compression
    assert shard.held()["bytes"] <= (1.5 * maps if Need.COUNTS in regions.needs else 2500 * kept)


class Reversed(LocalWorkers):
    """Predicts the candidates in another order."""

    def predict(self, task):
        return super().predict(replace(task, images=task.images[::-1]))


@pytest.mark.parametrize("spec", RUNS, ids=lambda spec: spec.sampler.name)
def test_the_order_in_which_images_are_predicted_does_not_matter(tmp_path, spec):
    spec = replace(spec, cycles=3)
    run_locally(tmp_path / "one", spec)
    run_locally(tmp_path / "other", spec.first)
    dataset = build_dataset(spec.dataset)
    shard = PoolShard(dataset, build_learner(spec.learner), "cpu")
    Loop(RunStore(tmp_path / "other", spec), dataset, Reversed(shard)).run()
    assert results(tmp_path / "one") == results(tmp_path / "other")


class Both(RegionSelector):
    """Of a user who wants the weights and every map: the most uncertain windows, checking what it is given."""

    needs = Need.COUNTS | Need.LABELS | Need.UNCERTAINTY

    def choose(self, view: ImageView, n_region, rng):
        assert view.weights.sum() == pytest.approx(1)
        assert (np.bincount(view.labels.ravel(), minlength=4) == view.predicted).all()
        peaks = view.places.means(view.uncertainty)
        return [Choice(view.places.take(peaks.best(rng))) for _ in range(n_region)]


@pytest.mark.parametrize("images", ["random", "uncertainty", "decomposition"])
def test_a_selector_that_needs_weights_and_maps_chooses_as_from_the_maps_alone(tmp_path, images):
    own = Sampler("both", Component(images), Component(f"{__name__}:Both"))
    same = Sampler("same", Component(images), Component("uncertainty"))
    specs = [replace(BASE, sampler=sampler, cycles=3) for sampler in (own, same)]
    run_locally(tmp_path, *specs)
    one, other = ([f.ledger.by_image for f in RunStore(tmp_path, spec).committed()] for spec in specs)
    assert one == other


@dataclass(frozen=True)
class Broken(NearestMean):
    """Gives NaN for the images whose ids are odd."""

    def predict(self, image, wanted):
        broken = image.copy()
        if wanted.tau is not None:
            broken[3, 3] = np.nan
        return super().predict(broken, wanted)


@dataclass(frozen=True)
class BrokenCentroids(Centroids):
    def load(self, checkpoint, dataset, device):
        return Broken(super().load(checkpoint, dataset, device).means)


def test_logits_that_are_not_finite_name_image_and_model(tmp_path):
    spec = replace(RUNS[1], cycles=2)
    run_locally(tmp_path, spec.first)
    with pytest.raises(RuntimeError, match=r"Image 'train-\d+', model .*cycle-0001.*: .*NaN"):
        local(tmp_path, spec, BrokenCentroids())


class Tiles(Partition):
    """Irregular tiles: columns whose borders differ from row to row."""

    def of(self, dataset, image):
        rows, columns = np.mgrid[: dataset.shape(image)[0], : dataset.shape(image)[1]]
        return ((columns + rows % 3) // 5 + 7 * (rows // 6)).astype(np.int32)


@pytest.mark.parametrize("spec", RUNS, ids=lambda spec: spec.sampler.name)
def test_irregular_regions_go_through_every_sampler(tmp_path, spec):
    spec = replace(spec, budget=Budget(3, 4, Component(f"{__name__}:Tiles")), cycles=4)
    run_locally(tmp_path, spec)
    run = RunStore(tmp_path, spec)
    dataset = build_dataset(spec.dataset)
    ledger = run.ledger(run.committed())
    assert len(ledger) == 4 * 3 * 4
    for image, regions in ledger.by_image.items():
        numbers = [np.unique(region.of(Tiles().of(dataset, image))) for region in regions]
        assert all(len(number) == 1 for number in numbers)
        assert len({int(number[0]) for number in numbers}) == len(regions)
    assert run.committed()[-1].record.annotated.pixels == sum(row.region.area for row in ledger.annotations())


def test_superpixels(tmp_path):
    spec = replace(RUNS[-1], budget=Budget(2, 3, Component("slic", {"segments": 20})), cycles=2)
    run_locally(tmp_path, spec)
    rows = RunStore(tmp_path, spec).committed()[1].ledger.annotations()
    assert len(rows) == 6
    assert len({row.region.area for row in rows}) > 1


class Holes(Tiles):
    """Leaves pixels without a tile."""

    def of(self, dataset, image):
        return super().of(dataset, image) - 1


def test_a_partition_must_cover_the_image(tmp_path):
    spec = replace(BASE, budget=Budget(3, 4, Component(f"{__name__}:Holes")))
    with pytest.raises(ValueError, match=r"partition of image 'train-\d+' must be integers from 0 .* from -1"):
        run_locally(tmp_path, spec)


def test_an_image_without_its_only_unsampled_class_gives_no_region_and_the_run_goes_on(tmp_path):
    sampler = Sampler("x", Component("random"), Component("decomposition"), background="ground")
    spec = replace(BASE, sampler=sampler, cycles=6)
    run_locally(tmp_path, spec)
    records = [folder.record for folder in RunStore(tmp_path, spec).committed()]
    assert len(records) == 6
    assert [len(record.selected) for record in records] == [2, 2, 2, 2, 1, 2]
    assert all(record.class_weights[0] == 0 for record in records[1:])


def test_emphasis_and_schedule_of_tau_change_the_weights(tmp_path):
    plain = replace(RUNS[-1], cycles=3)
    assert plain.sampler.regions.name == "decomposition"
    emphasised = replace(plain, sampler=replace(plain.sampler, emphasis={"tree": 3.0}))
    scheduled = replace(plain, sampler=replace(plain.sampler, tau=((1, 0.7), (3, 0.2))))
    run_locally(tmp_path, plain, emphasised, scheduled)
    records = [[f.record for f in RunStore(tmp_path, s).committed()] for s in (plain, emphasised, scheduled)]
    assert records[0][1].class_confidence == records[1][1].class_confidence
    plain_weights, weights = (np.array(records[k][1].class_weights) for k in (0, 1))
    assert weights[2] * plain_weights[1] == pytest.approx(3 * plain_weights[2] * weights[1])
    assert weights[2] > plain_weights[2] > 0
    assert records[2][1] == records[0][1]
    assert records[2][2].class_confidence != records[0][2].class_confidence
