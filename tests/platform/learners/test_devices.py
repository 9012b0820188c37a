"""Every learner on a CUDA device, which is pretended: nothing is left on the CPU, and predictions are the CPU's."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from helpers.pretended_cuda import OnCuda, pretended_cuda
from helpers.toy_graphs import random_graph
from helpers.toy_rois import Slides
from helpers.toy_runs import RIVAL_RUNS, ROI_RUNS, RUNS, run_alone
from helpers.toys import Blobs

from decomp.platform.components import build_dataset, build_learner
from decomp.platform.grid import Budget, Component
from decomp.platform.learners import Training
from decomp.platform.learners.devices import to_device
from decomp.platform.learners.hactnet import HactNet
from decomp.platform.learners.inference.passes import FoldedPredictor
from decomp.platform.learners.mlp import Mlp
from decomp.platform.learners.smp import Smp
from decomp.platform.learners.unet import UNet
from decomp.platform.learners.upernet import UperNet
from decomp.platform.ledger import Ledger
from decomp.platform.loop.loop import Loop
from decomp.platform.loop.shard import PoolShard
from decomp.platform.loop.workers import LocalWorkers
from decomp.platform.measures import OwnMeasure
from decomp.platform.passes import Passes
from decomp.platform.predictions import Measure, Wanted
from decomp.platform.randomness import stream
from decomp.platform.regions import Region
from decomp.platform.samplers.windows import window_sums
from decomp.platform.storage.runs import RunStore

CUDA = torch.device("cuda")
WANTED = Wanted(tau=0.4, measure=Measure.MUTUAL_INFORMATION, confidence=True, regions=True, maps=True)
LARGE = {"iterations": 1, "evaluate_every": 1, "batch": 2, "crop": (32, 32), "warmup": 1, "workers": 1, "dropout": 0.3}


@dataclass(frozen=True)
class Graphs(Slides):
    """Slides of graphs."""

    def image(self, image):
        rng = stream(0, "graphs", image=image)
        return tuple(random_graph(rng, 3 + 2 * k, 1 + k % 3) for k in range(5))


BLOBS = Blobs(height=40, width=48)
LEARNERS = {
    "unet": (UNet(iterations=2, batch=4, crop=16, widths=(8, 12), dropout=0.3), BLOBS),
    "smp": (Smp(architecture="fpn", encoder="tu-resnet10t", **LARGE), BLOBS),
    "upernet": (
        UperNet(
            channels=8, depths=(1, 1, 1, 1), groups=(1, 1, 2, 2), decoder_channels=8, auxiliary_channels=8, **LARGE
        ),
        BLOBS,
    ),
    "mlp": (Mlp(epochs=2, batch=4, widths=(8, 6)), Slides()),
    "hactnet": (HactNet(epochs=1, batch=8, layers=2, width=8), Graphs()),
}


def trained(name, file, device):
    learner, dataset = LEARNERS[name]
    images = [image for split in ("train", "validation") for image in dataset.ids(split, 0)]
    regions = Ledger.whole({image: dataset.shape(image) for image in images})
    learner.fit(dataset, Training(regions, stream(0, "training"), device=device), file)
    return learner, dataset


@pytest.mark.parametrize("name", LEARNERS)
def test_trains_with_everything_on_the_device(name, tmp_path):
    with pretended_cuda():
        trained(name, tmp_path / "model", "cuda")
    assert (tmp_path / "model").stat().st_size > 0


class Spread(OwnMeasure):
    """Greatest difference of a pixel's probabilities from their mean."""

    def __init__(self):
        self.passes = []

    def add(self, probabilities):
        self.passes.append(probabilities)

    def values(self, mean):
        return (torch.stack(self.passes) - mean).abs().amax((0, 1))


METHODS = [(name, "single") for name in LEARNERS]
METHODS += [(name, method) for name in ("unet", "mlp") for method in ("ensemble", "mc-dropout")]
METHODS += [("unet", "test-time-augmentation")]


@pytest.mark.parametrize(("name", "method"), METHODS)
def test_predicts_what_the_cpu_predicts(name, method, tmp_path):
    learner, dataset = trained(name, tmp_path / "model", "cpu")
    image = dataset.ids("test", 0)[0]
    pixels, n_axes = dataset.image(image), len(dataset.shape(image))
    regions = [Region(image, (0,), (1,)) if n_axes == 1 else Region(image, (3, 5), (9, 17))]

    def predicted(device):
        members = [learner.load(tmp_path / "model", dataset, device) for _ in range(2 if method == "ensemble" else 1)]
        seeds = (5, 6) if method == "mc-dropout" else (None, None)
        predictor = members[0] if method == "single" else FoldedPredictor(members, method, seeds)
        prediction = predictor.predict(pixels, WANTED)
        maps = [prediction.uncertainty, prediction.maps.measure(Measure.EXPECTED_ENTROPY)]
        maps += [prediction.maps.class_entropy(c) for c in range(len(dataset.classes))]
        maps += [predictor.predict(pixels, replace(WANTED, measure=Spread())).uncertainty]
        confusion = predictor.evaluate(dataset, image, pixels)
        described = prediction.regions.features(regions), *prediction.regions.gradients(regions)
        return prediction, maps, described, confusion

    expected, maps, described, confusion = predicted("cpu")
    with pretended_cuda():
        there, maps_there, described_there, confusion_there = predicted("cuda")
        assert all(isinstance(one.levels, OnCuda) for one in maps_there)
        means = [one.mean for one in maps_there]
    precision = 0.03 if name in ("smp", "upernet") else 1e-4  # that of bfloat16, in which these compute on CUDA
    assert there.confidence == pytest.approx(expected.confidence, abs=precision)
    assert there.counts.sum() == expected.counts.sum()
    assert means == pytest.approx([one.mean for one in maps], abs=precision)
    assert confusion_there.sum() == confusion.sum()
    for values, values_there in zip(described, described_there, strict=True):
        assert values_there == pytest.approx(values, abs=precision * float(max(1, np.abs(values).max())))


OF_EACH_KIND = {"badge", "decomp", "bald", "clasp-pe", "typiclust"}
SMALL = Component("unet", {"iterations": 1, "batch": 2, "crop": 8, "widths": [4, 4], "dropout": 0.3})
CHOOSING = {
    run.sampler.name: replace(run, learner=SMALL) for run in (*RUNS, *RIVAL_RUNS) if run.sampler.name in OF_EACH_KIND
}
CHOOSING["segments"] = replace(CHOOSING["badge"], budget=Budget(2, 3, Component("slic", {"segments": 20})))
CHOOSING["rois"] = next(run for run in ROI_RUNS if run.sampler.name == "badge")


@pytest.mark.parametrize("spec", CHOOSING.values(), ids=CHOOSING)
def test_samplers_choose_among_predictions_on_the_device(spec, tmp_path):
    spec = replace(spec, cycles=2, passes=Passes("mc-dropout", 2, "mean"))
    run_alone(tmp_path, spec.first)
    dataset = build_dataset(spec.dataset)
    with pretended_cuda():
        workers = LocalWorkers(PoolShard(dataset, build_learner(spec.learner), "cuda"))
        Loop(RunStore(tmp_path, spec), dataset, workers).run()
    _, second = RunStore(tmp_path, spec).committed()
    assert len(second.ledger) >= spec.budget.regions


def test_window_sums_on_the_device_are_the_cpus():
    levels = np.random.default_rng(0).integers(0, 65536, (6, 20, 30))
    with pretended_cuda():
        for size in [(1, 4, 5), (3, 4, 5), (6, 20, 30)]:
            there = window_sums(to_device(levels.astype(np.int32), CUDA), size, 65535)
            assert there.is_cuda
            assert np.array_equal(there.cpu().numpy(), window_sums(levels.astype(np.uint16), size, 65535))


def test_the_pretended_device_refuses_what_a_gpu_refuses():
    with pretended_cuda():
        there, here = torch.arange(6.0, device="cuda").reshape(2, 3), torch.ones(3)
        for mixed in (
            lambda: there + here,
            lambda: here.mul_(there[0]),
            lambda: torch.cat([there[0], here]),
            lambda: torch.nn.Linear(3, 2)(there),
            lambda: torch.nn.Linear(3, 2).to("cuda")(here),
            lambda: here[there[0].long()],
            lambda: there.index_add_(0, torch.tensor([1]), there[:1]),
        ):
            with pytest.raises(RuntimeError, match="one device"):
                mixed()
        with pytest.raises(RuntimeError, match="numpy"):
            there.numpy()
        assert (there * torch.tensor(2.0)).is_cuda
        assert there[torch.tensor([1, 0])].cpu().tolist() == [[3, 4, 5], [0, 1, 2]]
        assert there.sum().item() == 15
    assert not torch.zeros(1).is_cuda
