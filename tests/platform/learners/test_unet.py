from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import safetensors.torch
import torch
from helpers.trainings import scrambled, trained

from decomp.platform.components import build_learner
from decomp.platform.datasets import IGNORE, Dataset, Split
from decomp.platform.errors import UserError
from decomp.platform.grid import Component
from decomp.platform.learners.base import Training
from decomp.platform.learners.inference.segmentation import SegmentationPredictor
from decomp.platform.learners.networks.unet import Network
from decomp.platform.learners.unet import UNet
from decomp.platform.ledger import Annotation, Ledger
from decomp.platform.metrics import confusion_matrix, iou, mean_iou
from decomp.platform.predictions import Measure, Wanted
from decomp.platform.randomness import stream
from decomp.platform.regions import Region

FAST = UNet(iterations=12, batch=4, crop=16, widths=(8, 12))
EVERYTHING = Wanted(tau=0.9, measure=Measure.ENTROPY, confidence=True, regions=True)


@dataclass(frozen=True)
class Blobs(Dataset):
    """Bright squares on a dark, noisy ground; float images with any number of channels."""

    size: tuple[int, int] = (40, 56)
    channels: int = 2
    classes = ("ground", "square")

    def ids(self, split: Split, fold: int) -> tuple[str, ...]:
        return tuple(f"{split}-{index}" for index in range(6))

    def shape(self, image: str) -> tuple[int, ...]:
        return self.size

    def image(self, image: str) -> npt.NDArray[np.generic]:
        noise = stream(0, "noise", image=image).normal(0, 30, (*self.size, self.channels))
        return (1000 + noise + 100 * (self._squares(image) == 1)[..., None]).astype(np.float64)

    def labels(self, image: str) -> npt.NDArray[np.uint8]:
        return self._squares(image)

    def fingerprint(self) -> str:
        return "0"

    def _squares(self, image: str) -> npt.NDArray[np.uint8]:
        rng = stream(0, "squares", image=image)
        labels = np.zeros(self.size, np.uint8)
        for _ in range(4):
            y, x = (int(rng.integers(max(1, extent - 10))) for extent in self.size)
            labels[y : y + 10, x : x + 10] = 1
        return labels


LEDGER = Ledger.of(
    Annotation(Region(f"train-{index}", start, (16, 16)), 1, rank)
    for index in range(4)
    for rank, start in enumerate([(0, 0), (20, 8), (24, 40), (2, 30)])
)


def fitted(
    path: Path, learner: UNet = FAST, dataset: Dataset | None = None, ledger: Ledger = LEDGER, **options
) -> bytes:
    return trained(learner, dataset or Blobs(), ledger, path, **options)


def score(learner: UNet, checkpoint: Path) -> float:
    blobs, confusion = Blobs(), np.zeros((2, 2), np.int64)
    predictor = learner.load(checkpoint, blobs, "cpu")
    for image in blobs.ids("test", 0):
        confusion += confusion_matrix(blobs.labels(image), predictor.predict(blobs.image(image), Wanted()).labels, 2)
    return mean_iou(iou(confusion))


def test_learns_an_easy_data_set_from_few_regions(tmp_path):
    learner = replace(FAST, iterations=120)
    fitted(tmp_path / "model", learner)
    fitted(tmp_path / "untrained", replace(FAST, iterations=1))
    assert score(learner, tmp_path / "model") > 0.85
    assert score(learner, tmp_path / "untrained") < 0.6


def test_same_inputs_give_the_same_bytes(tmp_path):
    torch.manual_seed(1)
    first = fitted(tmp_path / "a")
    torch.manual_seed(2)
    np.random.default_rng().random()
    assert fitted(tmp_path / "b") == first
    assert fitted(tmp_path / "c", seed=1) != first


def test_dropout_is_drawn_from_the_trainings_stream_and_leaves_the_crops_alone(tmp_path):
    dropping = replace(FAST, dropout=0.3)
    assert fitted(tmp_path / "a", dropping) == fitted(tmp_path / "b", dropping)
    drawn = [stream(0, "training") for _ in range(2)]
    for learner, rng in zip((FAST, dropping), drawn, strict=True):
        learner.fit(Blobs(), Training(LEDGER, rng), tmp_path / "c")
    assert (tmp_path / "c").read_bytes() == (tmp_path / "a").read_bytes() != fitted(tmp_path / "d")
    assert drawn[0].random() == drawn[1].random()


def test_labels_outside_the_annotated_regions_never_matter(tmp_path):
    assert fitted(tmp_path / "a") == fitted(tmp_path / "b", dataset=scrambled(Blobs(), LEDGER))


def test_global_state_of_torch_is_left_alone(tmp_path):
    torch.manual_seed(3)
    threads, expected = torch.get_num_threads(), torch.rand(4)
    torch.manual_seed(3)
    fitted(tmp_path / "a", replace(FAST, threads=threads + 1))
    FAST.load(tmp_path / "a", Blobs(), "cpu").predict(Blobs().image("test-0"), Wanted())
    assert torch.equal(torch.rand(4), expected)
    assert torch.get_num_threads() == threads


def test_warm_start_goes_on_from_the_weights(tmp_path):
    learner = replace(FAST, iterations=100)
    fitted(tmp_path / "cold", learner)
    brief = replace(FAST, iterations=2, learning_rate=1e-4)
    fitted(tmp_path / "warm", brief, warm_start=tmp_path / "cold")
    fitted(tmp_path / "scratch", brief)
    assert score(brief, tmp_path / "warm") > score(brief, tmp_path / "scratch") + 0.2


def test_progress_rises_to_one(tmp_path):
    seen: list[float] = []
    fitted(tmp_path / "a", progress=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == 1


@pytest.mark.parametrize("size", [(8, 8), (9, 31), (33, 17), (41, 50)])
@pytest.mark.parametrize("channels", [1, 5])
def test_any_image_size_and_channel_count(tmp_path, size, channels):
    blobs = Blobs(size, channels)
    fitted(tmp_path / "a", UNet(iterations=2, batch=2), blobs, ledger=Ledger.whole({"train-0": size}))
    prediction = UNet().load(tmp_path / "a", blobs, "cpu").predict(blobs.image("test-0"), EVERYTHING)
    assert prediction.labels.shape == prediction.confidence.shape == prediction.uncertainty.levels.shape == size
    corner = Region("test-0", (size[0] - 1, size[1] - 1), (1, 1))
    assert np.isfinite(prediction.regions.features([corner])).all()


def test_prediction_has_the_documented_types_and_ranges(tmp_path):
    fitted(tmp_path / "a")
    predictor = FAST.load(tmp_path / "a", Blobs(), "cpu")
    prediction = predictor.predict(Blobs().image("test-0"), EVERYTHING)
    assert prediction.labels.dtype == np.uint8
    assert prediction.confidence.dtype == np.float32
    assert ((prediction.confidence >= 0.5) & (prediction.confidence <= 1)).all()
    assert 0 < prediction.uncertainty.mean <= np.log(2)
    assert prediction.counts.sum() == prediction.labels.size
    plain = predictor.predict(Blobs().image("test-0"), Wanted())
    assert np.array_equal(plain.labels, prediction.labels)
    assert (plain.counts, plain.uncertainty, plain.confidence, plain.regions) == (None, None, None, None)


def test_regions_are_read_from_the_deepest_feature_map():
    image = Blobs((38, 56)).image("test-0")
    network = Network(2, 2, FAST.widths).eval()
    with torch.inference_mode():
        maps = network.encode(torch.from_numpy(image[None].astype(np.float32)).permute(0, 3, 1, 2))
    bottleneck = maps[-1][0].numpy()
    assert bottleneck.shape == (12, 10, 14)
    regions = (
        SegmentationPredictor(network, torch.device("cpu"), "U-Net", 1).predict(image, Wanted(regions=True)).regions
    )
    window = Region("test-0", (4, 8), (8, 12))
    assert regions.features([window])[0] == pytest.approx(bottleneck[:, 1:3, 2:5].mean((1, 2)), rel=1e-4)
    assert regions.gradients([window])[0][0] == pytest.approx(bottleneck[:, 1:3, 2:5].max((1, 2)), rel=1e-4)


def test_nan_in_the_image_is_an_error(tmp_path):
    fitted(tmp_path / "a")
    image = Blobs().image("test-0").copy()
    image[3, 3] = np.nan
    with pytest.raises(FloatingPointError, match="NaN"):
        FAST.load(tmp_path / "a", Blobs(), "cpu").predict(image, Wanted())


def test_divergence_is_an_error(tmp_path):
    with pytest.raises(RuntimeError, match="diverged"):
        fitted(tmp_path / "a", replace(FAST, learning_rate=1e30))


def test_default_network_has_the_calibrated_size():
    assert sum(p.numel() for p in Network(3, 13, UNet().widths).parameters()) == 195_021


def test_nothing_annotated_is_a_user_error(tmp_path):
    class Ignored(Blobs):
        def labels(self, image: str) -> npt.NDArray[np.uint8]:
            return np.full(self.size, IGNORE, np.uint8)

    for dataset, ledger in ((Blobs(), Ledger()), (Ignored(), LEDGER)):
        with pytest.raises(UserError, match="nothing to train on"):
            fitted(tmp_path / "a", dataset=dataset, ledger=ledger)


def test_labels_beyond_the_classes_are_a_user_error(tmp_path):
    class Wrong(Blobs):
        def labels(self, image: str) -> npt.NDArray[np.uint8]:
            return super().labels(image) + np.uint8(1)

    with pytest.raises(UserError, match="beyond the 2 classes"):
        fitted(tmp_path / "a", dataset=Wrong())


def test_foreign_files_are_user_errors(tmp_path):
    (tmp_path / "garbage").write_bytes(b"garbage")
    safetensors.torch.save_file({"a": torch.zeros(1)}, tmp_path / "foreign")
    for name in ("garbage", "foreign", "missing"):
        with pytest.raises(UserError, match=name):
            FAST.load(tmp_path / name, Blobs(), "cpu")


def test_checkpoint_of_other_classes_or_options_is_a_user_error(tmp_path):
    class Named(Blobs):
        classes = ("ground", "circle")

    fitted(tmp_path / "a")
    with pytest.raises(UserError, match="ground, circle"):
        FAST.load(tmp_path / "a", Named(), "cpu")
    with pytest.raises(UserError, match="widths"):
        fitted(tmp_path / "b", replace(FAST, widths=(8, 16)), warm_start=tmp_path / "a")
    with pytest.raises(UserError, match="shape"):
        FAST.load(tmp_path / "a", Blobs(), "cpu").predict(Blobs(channels=3).image("test-0"), Wanted())


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("iterations", 0),
        ("batch", 1),
        ("crop", 24),
        ("widths", ()),
        ("learning_rate", float("nan")),
        ("learning_rate", -1.0),
        ("weight_decay", -1.0),
        ("warmup", 1.0),
        ("balanced", 1.1),
        ("jitter", -0.1),
        ("class_weight_power", float("inf")),
        ("threads", 0),
    ],
)
def test_senseless_options_are_user_errors(option, value):
    with pytest.raises(UserError, match=f"learner.{option}"):
        build_learner(Component("unet", {option: value}))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_trains_and_predicts_on_a_gpu(tmp_path):
    learner = replace(FAST, iterations=120)
    first = fitted(tmp_path / "a", learner, device="cuda")
    assert fitted(tmp_path / "b", learner, device="cuda") == first
    assert score(learner, tmp_path / "a") > 0.85
    on_cpu, on_gpu = (
        learner.load(tmp_path / "a", Blobs(), device).predict(Blobs().image("test-0"), Wanted())
        for device in ("cpu", "cuda")
    )
    assert np.mean(on_cpu.labels == on_gpu.labels) > 0.99
