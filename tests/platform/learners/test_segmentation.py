from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from helpers.trainings import scrambled, trained

from decomp.platform.components import build_learner
from decomp.platform.datasets import IGNORE, Dataset
from decomp.platform.errors import UserError
from decomp.platform.grid import Component
from decomp.platform.learners.inference import segmentation as inference
from decomp.platform.learners.segmentation import Segmentation
from decomp.platform.learners.training import descent
from decomp.platform.learners.training.distributed import Group
from decomp.platform.learners.upernet import UperNet
from decomp.platform.ledger import Annotation, Ledger
from decomp.platform.metrics import iou, mean_iou
from decomp.platform.predictions import Measure, Wanted
from decomp.platform.randomness import stream
from decomp.platform.regions import Region

TINY = UperNet(
    channels=16,
    depths=(1, 1, 2, 1),
    groups=(1, 2, 4, 8),
    decoder_channels=16,
    auxiliary_channels=8,
    drop_path=0.1,
    iterations=4,
    evaluate_every=2,
    batch=2,
    crop=(32, 48),
    warmup=2,
    learning_rate=3e-3,
    workers=2,
)
LEARNING = replace(
    TINY, iterations=80, evaluate_every=40, batch=6, warmup=8, learning_rate=1e-2, balanced=0.7, drop_path=0.0
)
EVERYTHING = Wanted(tau=0.9, measure=Measure.ENTROPY, confidence=True, regions=True)


@dataclass(frozen=True)
class Tiles(Dataset):
    """Three kinds of large rectangles in three colours, on 8 bits unless `channels` is another number than 3."""

    size: tuple[int, int] = (48, 80)
    channels: int = 3
    validation: int = 2

    classes = ("grass", "roof", "water")

    def ids(self, split, fold):
        return tuple(f"{split}-{k}" for k in range({"train": 6, "validation": self.validation, "test": 4}[split]))

    def shape(self, image):
        return self.size

    def image(self, image):
        colours = np.array([[200, 60, 60], [60, 200, 60], [60, 60, 200]])[:, np.arange(self.channels) % 3]
        noise = stream(0, "noise", image=image).normal(0, 12, (*self.size, self.channels))
        pixels = np.clip(colours[self._kinds(image)] + noise, 0, 255)
        return pixels.astype(np.uint8 if self.channels == 3 else np.float32)

    def labels(self, image):
        return self._kinds(image)

    def fingerprint(self):
        return "0"

    def _kinds(self, image):
        rng = stream(0, "kinds", image=image)
        labels = np.zeros(self.size, np.uint8)
        for kind in (1, 2, 1, 2):
            y, x = (int(rng.integers(max(1, extent - 16))) for extent in self.size)
            labels[y : y + 20, x : x + 28] = kind
        return labels


LEDGER = Ledger.of(
    Annotation(Region(f"train-{index}", start, (16, 16)), 1, rank)
    for index in range(5)
    for rank, start in enumerate([(0, 0), (20, 8), (30, 60), (6, 40)])
)


def fitted(path, learner=TINY, dataset=None, ledger=LEDGER, **options):
    return trained(learner, dataset or Tiles(), ledger, path, **options)


def score(learner, checkpoint, dataset=None):
    tiles = dataset or Tiles()
    predictor = learner.load(checkpoint, tiles, "cpu")
    return mean_iou(iou(sum(predictor.evaluate(tiles, image, tiles.image(image)) for image in tiles.ids("test", 0))))


@pytest.fixture(scope="module")
def learnt(tmp_path_factory):
    """Checkpoint of a training that has learnt something."""
    path = tmp_path_factory.mktemp("learnt") / "model"
    fitted(path, LEARNING)
    return path


def test_learns_an_easy_data_set_from_few_regions(tmp_path, learnt):
    fitted(tmp_path / "untrained", replace(TINY, iterations=1))
    assert score(TINY, learnt) > 0.7
    assert score(TINY, tmp_path / "untrained") < 0.4


def test_same_inputs_give_the_same_bytes_whatever_the_workers(tmp_path):
    torch.manual_seed(1)
    first = fitted(tmp_path / "a")
    torch.manual_seed(2)
    assert fitted(tmp_path / "b", replace(TINY, workers=1, cache=0.0)) == first
    assert fitted(tmp_path / "c", seed=1) != first


def test_checkpointing_gives_the_same_bytes(tmp_path):
    assert fitted(tmp_path / "a", replace(TINY, checkpointing=True)) == fitted(tmp_path / "b")


def test_labels_outside_the_annotated_regions_never_matter(tmp_path):
    assert fitted(tmp_path / "a") == fitted(tmp_path / "b", dataset=scrambled(Tiles(), LEDGER))


def test_global_state_of_torch_is_left_alone(tmp_path):
    torch.manual_seed(3)
    threads, expected = torch.get_num_threads(), torch.rand(4)
    torch.manual_seed(3)
    fitted(tmp_path / "a", replace(TINY, threads=threads + 1, iterations=1, crop=(32, 32)), Tiles(validation=0))
    TINY.load(tmp_path / "a", Tiles(), "cpu").predict(Tiles().image("test-0"), Wanted())
    assert torch.equal(torch.rand(4), expected)
    assert torch.get_num_threads() == threads


def test_warm_start_goes_on_from_the_weights(tmp_path, learnt):
    brief = replace(TINY, learning_rate=1e-5)
    fitted(tmp_path / "warm", brief, warm_start=learnt)
    fitted(tmp_path / "scratch", brief)
    assert score(brief, tmp_path / "warm") > score(brief, tmp_path / "scratch") + 0.2


def test_progress_rises_to_one(tmp_path):
    seen = []
    fitted(tmp_path / "a", progress=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == 1


def watched(monkeypatch, scores):
    """Let the validation split give these scores; what each evaluation saw of the network."""
    seen = []

    def validate(self, network, dataset, images, device, group):
        seen.append(network.state_dict()["decode_head.conv_seg.bias"].clone())
        return scores[len(seen) - 1]

    monkeypatch.setattr(Segmentation, "_validate", validate)
    return seen


def kept(checkpoint):
    predictor = TINY.load(checkpoint, Tiles(), "cpu")
    return predictor.network.state_dict()["decode_head.conv_seg.bias"]


def test_stops_after_evaluations_without_improvement_and_keeps_the_best(tmp_path, monkeypatch):
    seen, progress = watched(monkeypatch, [0.3, 0.5, 0.5, 0.4, 0.9]), []
    fitted(tmp_path / "a", replace(TINY, iterations=20, patience=2), progress=progress.append)
    assert len(seen) == 4
    assert torch.equal(kept(tmp_path / "a"), seen[1])
    assert progress[-1] == 1


def test_an_improvement_renews_the_patience(tmp_path, monkeypatch):
    seen = watched(monkeypatch, [0.3, 0.2, 0.4, 0.3, 0.2, 0.9])
    fitted(tmp_path / "a", replace(TINY, iterations=20, patience=2))
    assert len(seen) == 5
    assert torch.equal(kept(tmp_path / "a"), seen[2])


def test_the_last_iteration_is_evaluated_too(tmp_path, monkeypatch):
    seen = watched(monkeypatch, [0.3, 0.4, 0.5])
    fitted(tmp_path / "a", replace(TINY, iterations=5))
    assert len(seen) == 3
    assert torch.equal(kept(tmp_path / "a"), seen[2])


def test_without_a_validation_split_the_last_weights_are_kept(tmp_path, monkeypatch):
    seen = watched(monkeypatch, [])
    with_split = fitted(tmp_path / "b", replace(TINY, evaluate_every=99), dataset=Tiles(validation=0))
    assert seen == []
    monkeypatch.undo()
    # Evaluated once, at the last iteration, which is then the best.
    assert fitted(tmp_path / "a", replace(TINY, evaluate_every=99)) == with_split


def test_validation_is_the_mean_iou_of_whole_images(learnt):
    tiles, cpu = Tiles(), torch.device("cpu")
    predictor = TINY.load(learnt, tiles, "cpu")
    images = tiles.ids("validation", 0)
    expected = mean_iou(iou(sum(predictor.evaluate(tiles, image, tiles.image(image)) for image in images)))
    network = predictor.network
    assert TINY._validate(network, tiles, images, cpu, Group()) == expected > 0.5
    assert network.training


@pytest.mark.parametrize(("size", "channels"), [((9, 31), 1), ((41, 50), 5)])
def test_any_image_size_and_channel_count(tmp_path, size, channels):
    tiles = Tiles(size, channels)
    brief = replace(TINY, iterations=2)
    fitted(tmp_path / "a", brief, tiles, ledger=Ledger.whole({"train-0": size}))
    prediction = TINY.load(tmp_path / "a", tiles, "cpu").predict(tiles.image("test-0"), EVERYTHING)
    assert prediction.labels.shape == prediction.confidence.shape == prediction.uncertainty.levels.shape == size
    corner = Region("test-0", (size[0] - 1, size[1] - 1), (1, 1))
    assert np.isfinite(prediction.regions.features([corner])).all()


def test_prediction_has_the_documented_types_and_ranges(tmp_path):
    fitted(tmp_path / "a")
    predictor = TINY.load(tmp_path / "a", Tiles(), "cpu")
    prediction = predictor.predict(Tiles().image("test-0"), EVERYTHING)
    assert prediction.labels.dtype == np.uint8
    assert ((prediction.confidence >= 1 / 3) & (prediction.confidence <= 1)).all()
    assert prediction.counts.sum() == prediction.labels.size
    plain = predictor.predict(Tiles().image("test-0"), Wanted())
    assert np.array_equal(plain.labels, prediction.labels)
    assert (plain.counts, plain.uncertainty, plain.confidence, plain.regions) == (None, None, None, None)


def test_regions_are_read_from_the_deepest_feature_map(tmp_path):
    fitted(tmp_path / "a")
    predictor = TINY.load(tmp_path / "a", Tiles(), "cpu")
    image = Tiles((64, 96)).image("test-0")
    with torch.inference_mode():
        deepest = predictor.network.encode(torch.from_numpy(image[None]).permute(0, 3, 1, 2).float())[-1][0].numpy()
    assert deepest.shape == (128, 2, 3)
    features = predictor.predict(image, Wanted(regions=True)).regions.features([Region("", (0, 32), (32, 64))])
    assert features[0] == pytest.approx(deepest[:, 0, 1:].mean(1), rel=1e-4, abs=1e-5)


def test_nan_and_divergence_are_errors(tmp_path):
    tiles = Tiles(channels=1)
    fitted(tmp_path / "a", dataset=tiles)
    image = tiles.image("test-0").copy()
    image[3, 3] = np.nan
    with pytest.raises(FloatingPointError, match="NaN"):
        TINY.load(tmp_path / "a", tiles, "cpu").predict(image, Wanted())
    with pytest.raises(RuntimeError, match="diverged"):
        fitted(tmp_path / "b", replace(TINY, learning_rate=1e30, warmup=0))


def test_nothing_annotated_is_a_user_error(tmp_path):
    class Ignored(Tiles):
        def labels(self, image):
            return np.full(self.size, IGNORE, np.uint8)

    for dataset, ledger in ((Tiles(), Ledger()), (Ignored(), LEDGER)):
        with pytest.raises(UserError, match="nothing to train on"):
            fitted(tmp_path / "a", dataset=dataset, ledger=ledger)


def test_foreign_and_unfit_checkpoints_are_user_errors(tmp_path):
    class Named(Tiles):
        classes = ("grass", "roof", "lava")

    (tmp_path / "garbage").write_bytes(b"garbage")
    with pytest.raises(UserError, match="garbage"):
        TINY.load(tmp_path / "garbage", Tiles(), "cpu")
    fitted(tmp_path / "a")
    with pytest.raises(UserError, match="grass, roof, water"):
        TINY.load(tmp_path / "a", Named(), "cpu")
    with pytest.raises(UserError, match="warm start"):
        fitted(tmp_path / "b", replace(TINY, decoder_channels=8), warm_start=tmp_path / "a")
    with pytest.raises(UserError, match="warm start"):
        fitted(tmp_path / "b", dataset=Tiles(channels=2), warm_start=tmp_path / "a")
    with pytest.raises(UserError, match="shape"):
        TINY.load(tmp_path / "a", Tiles(), "cpu").predict(Tiles(channels=2).image("test-0"), Wanted())


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("iterations", 0),
        ("evaluate_every", 0),
        ("patience", 0),
        ("batch", 1),
        ("crop", (16, 64)),
        ("scales", (2.0, 0.5)),
        ("balanced", 1.1),
        ("class_weight_power", -1.0),
        ("learning_rate", float("nan")),
        ("weight_decay", -1.0),
        ("layer_decay", 0.0),
        ("warmup", -1),
        ("power", 0.0),
        ("threads", 0),
        ("workers", 0),
        ("cache", -1.0),
    ],
)
def test_senseless_options_are_user_errors(option, value):
    with pytest.raises(UserError, match=f"learner.{option}"):
        build_learner(Component("upernet", {option: value}))


@pytest.mark.parametrize("checkpointing", [False, True])
def test_bfloat16_is_close_to_float32(tmp_path, learnt, monkeypatch, checkpointing):
    """What autocast does on CUDA, on the CPU."""
    image, wanted = Tiles().image("test-0"), Wanted(confidence=True)
    exact = TINY.load(learnt, Tiles(), "cpu").predict(image, wanted)
    for module in (descent, inference):
        monkeypatch.setattr(module, "autocast", lambda device, precision: torch.autocast("cpu", torch.bfloat16))
    predictor = TINY.load(learnt, Tiles(), "cpu")
    assert predictor.forward(image)[0].dtype == torch.float32
    rounded = predictor.predict(image, wanted)
    assert 0 < np.abs(rounded.confidence - exact.confidence).mean() < 0.01
    assert np.mean(rounded.labels == exact.labels) > 0.98
    brief = replace(LEARNING, iterations=3, learning_rate=1e-4, checkpointing=checkpointing)
    fitted(tmp_path / "a", brief, warm_start=learnt)
    assert score(brief, tmp_path / "a") > 0.65


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("checkpointing", [False, True])
def test_trains_and_predicts_in_bfloat16_on_a_gpu(tmp_path, checkpointing):
    learner = replace(LEARNING, checkpointing=checkpointing)
    fitted(tmp_path / "a", learner, device="cuda")
    assert score(learner, tmp_path / "a") > 0.7
    image = Tiles().image("test-0")
    on_cpu, on_gpu = (
        learner.load(tmp_path / "a", Tiles(), device).predict(image, Wanted(confidence=True))
        for device in ("cpu", "cuda")
    )
    assert np.mean(on_cpu.labels == on_gpu.labels) > 0.97
    assert np.abs(on_cpu.confidence - on_gpu.confidence).mean() < 0.02
    predictor = learner.load(tmp_path / "a", Tiles(), "cuda")
    logits, _ = predictor.forward(image)
    assert logits.dtype == torch.float32
    again = predictor.predict(image, Wanted(confidence=True))
    assert np.array_equal(again.confidence, on_gpu.confidence)
