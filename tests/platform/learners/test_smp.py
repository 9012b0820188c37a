import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from decomp.platform.components import build_learner
from decomp.platform.datasets import Dataset
from decomp.platform.errors import UserError
from decomp.platform.grid import Component
from decomp.platform.learners import Training
from decomp.platform.learners.networks.smp import ARCHITECTURES, Network
from decomp.platform.learners.smp import Smp
from decomp.platform.ledger import Ledger
from decomp.platform.predictions import Wanted
from decomp.platform.randomness import stream
from decomp.platform.regions import Region

TINY = Smp(
    architecture="linknet",
    encoder="mobilenet_v2",
    iterations=2,
    evaluate_every=2,
    batch=2,
    crop=(32, 32),
    warmup=0,
    learning_rate=3e-3,
    workers=1,
)


class Halves(Dataset):
    """Dark on the left, bright on the right."""

    classes = ("left", "right")

    def __init__(self, channels=3):
        self.channels = channels

    def ids(self, split, fold):
        return () if split == "validation" else (f"{split}-0", f"{split}-1")

    def shape(self, image):
        return 40, 70

    def image(self, image):
        noise = stream(0, "noise", image=image).normal(0, 10, (40, 70, self.channels))
        return (60 + 120 * self.labels(image)[..., None] + noise).astype(np.uint8)

    def labels(self, image):
        return np.repeat([[0] * 35 + [1] * 35], 40, 0).astype(np.uint8)

    def fingerprint(self):
        return "0"


LEDGER = Ledger.whole({"train-0": (40, 70), "train-1": (40, 70)})


def fitted(path, learner=TINY, dataset=None, **options):
    learner.fit(dataset or Halves(), Training(LEDGER, stream(0, "training"), **options), path)
    return path.read_bytes()


def test_a_model_is_made_by_name_learns_and_predicts(tmp_path):
    learner = replace(TINY, iterations=40, batch=4, learning_rate=1e-2, augment=False)
    fitted(tmp_path / "a", learner)
    halves = Halves()
    predictor = learner.load(tmp_path / "a", halves, "cpu")
    prediction = predictor.predict(halves.image("test-0"), Wanted(confidence=True, regions=True))
    assert np.mean(prediction.labels == halves.labels("test-0")) > 0.85
    features = prediction.regions.features([Region("", (39, 69), (1, 1))])
    assert features.shape == (1, 1280)
    assert np.isfinite(features).all()


def test_same_inputs_give_the_same_bytes_and_warm_starts_go_on(tmp_path):
    first = fitted(tmp_path / "a")
    assert fitted(tmp_path / "b") == first
    assert fitted(tmp_path / "c", warm_start=tmp_path / "a") != first
    with pytest.raises(UserError, match="warm start"):
        fitted(tmp_path / "d", replace(TINY, encoder="mobileone_s0"), warm_start=tmp_path / "a")


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture_gives_logits_of_the_image_and_maps_that_cover_it(architecture):
    torch.manual_seed(0)
    network = Network(architecture, "resnet18", 2, 5).eval()
    with torch.inference_mode():
        maps = network.encode(torch.randn(1, 2, 230, 260))
        assert network.decode(maps, (230, 260)).shape == (1, 5, 230, 260)
    assert maps[-1].shape[-2] * network.stride >= 230
    assert maps[-1].shape[-1] * network.stride >= 260


def test_weights_of_encoder_and_model_load_from_local_files(tmp_path):
    torch.manual_seed(0)
    source = TINY.network(TINY.network_options(), 3, 2)
    encoder = dict(source.model.encoder.state_dict())
    torch.save(encoder | {"classifier.1.weight": torch.zeros(1000, 1280)}, tmp_path / "encoder.pth")
    torch.save({"state_dict": source.model.state_dict()}, tmp_path / "model.pth")
    for name in ("encoder", "model"):
        target = TINY.network(TINY.network_options(), 3, 2)
        replace(TINY, pretrained=tmp_path / f"{name}.pth").load_pretrained(target)
        own = target.model.state_dict()
        same = [torch.equal(value, own[key]) for key, value in source.model.state_dict().items() if "encoder" in key]
        assert all(same)
    with pytest.raises(UserError, match="does not fit"):
        replace(TINY, pretrained=tmp_path / "encoder.pth").load_pretrained(Network("unet", "resnet18", 3, 2))


def test_it_is_built_from_an_experiment_file():
    learner = build_learner(Component("smp", {"architecture": "fpn", "encoder": "mit_b0", "crop": [64, 64]}))
    assert learner == Smp(architecture="fpn", encoder="mit_b0", crop=(64, 64))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"architecture": "unett"}, "learner.architecture: must be one of .*did you mean 'unet'"),
        ({"encoder": "resnet999"}, "learner.encoder: there is no encoder 'resnet999'"),
        ({"encoder": "tu-resnet999"}, "learner.encoder: there is no encoder 'tu-resnet999'"),
        ({"encoder": "tu-"}, "learner.encoder: there is no encoder 'tu-'"),
        ({"architecture": "unet", "encoder": "mit_b0x"}, "learner.encoder: there is no encoder 'mit_b0x'"),
        ({"architecture": "pan", "encoder": "vgg11"}, "learner.encoder: pan cannot be made with 'vgg11'"),
        ({"architecture": "linknet", "encoder": "mit_b0"}, "learner.encoder: linknet cannot be made with 'mit_b0'"),
    ],
)
def test_names_that_are_unknown_or_do_not_go_together_are_problems(options, sentence):
    (problem,) = replace(TINY, **options).problems(Halves())
    assert re.match(sentence, problem)


def test_names_that_go_together_are_no_problem():
    assert TINY.problems(Halves(channels=5)) == []


def test_a_checkpoint_of_unknown_names_is_a_user_error():
    with pytest.raises(UserError, match=r"learner.encoder.*resnet19"):
        TINY.network({"architecture": "unet", "encoder": "resnet19"}, 3, 2)
