import multiprocessing.dummy
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from helpers.toy_volumes import Ellipsoids

from decomp.platform.errors import UserError
from decomp.platform.learners import Training
from decomp.platform.learners.nnunet import NnUNet
from decomp.platform.learners.nnunet.prediction import NnUNetPredictor, new_network
from decomp.platform.learners.nnunet.prepared import PreparedVolumes
from decomp.platform.ledger import Ledger
from decomp.platform.metrics import score
from decomp.platform.predictions import Measure, Wanted
from decomp.platform.regions import Region

EVERYTHING = Wanted(tau=0.7, measure=Measure.LEAST_CONFIDENCE, confidence=True, regions=True)


@pytest.fixture(scope="module")
def predictor(learner: NnUNet, volumes: PreparedVolumes, model: Path) -> NnUNetPredictor:
    found = learner.load(model, volumes, "cpu")
    assert isinstance(found, NnUNetPredictor)
    return found


def heads_of(predictor: NnUNetPredictor, image: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Probabilities of the heads, by nnU-Net's own predictor."""
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    ours = predictor._windows
    theirs = nnUNetPredictor(use_mirroring=ours.use_mirroring, device=torch.device("cpu"), allow_tqdm=False)
    theirs.manual_initialization(
        ours.network,
        ours.plans_manager,
        ours.configuration_manager,
        None,
        ours.dataset_json,
        "nnUNetTrainer",
        ours.allowed_mirroring_axes,
    )
    logits = theirs.predict_sliding_window_return_logits(torch.from_numpy(image[None, ..., 0].copy()))
    return 1 / (1 + np.exp(-logits.double().numpy()))


@pytest.mark.parametrize("mirroring", [False, True])
def test_predictions_are_nnunets_own_decoded(
    learner: NnUNet, volumes: PreparedVolumes, model: Path, mirroring: bool
) -> None:
    predictor = replace(learner, mirroring=mirroring).load(model, volumes, "cpu")
    assert isinstance(predictor, NnUNetPredictor)
    image = volumes.image("case/02")
    k, m, t = heads_of(predictor, image)
    m = np.minimum(m, k)
    t = np.minimum(t, m)
    expected = np.stack([1 - k, k - m, t, m - t])
    found = predictor.predict(image, EVERYTHING)
    assert found.labels.shape == volumes.shape("case/02")
    assert found.confidence is not None
    np.testing.assert_allclose(found.confidence, expected.max(0), atol=1e-5)
    assert (found.labels != expected.argmax(0)).mean() < 1e-3
    assert found.counts is not None
    assert found.counts.sum() == found.labels.size
    assert found.uncertainty is not None
    np.testing.assert_allclose(found.uncertainty.levels * found.uncertainty.unit, 1 - expected.max(0), atol=2e-5)


def test_only_what_is_wanted_is_computed(predictor: NnUNetPredictor, volumes: PreparedVolumes) -> None:
    found = predictor.predict(volumes.image("case/02"), Wanted())
    assert found.counts is found.uncertainty is found.confidence is found.regions is None
    everything = predictor.predict(volumes.image("case/02"), EVERYTHING)
    assert np.array_equal(found.labels, everything.labels)


def test_a_volume_of_one_window_has_the_encoders_features(predictor: NnUNetPredictor) -> None:
    image = np.random.default_rng(0).normal(size=(16, 24, 24, 1)).astype(np.float32)
    found = predictor.predict(image, EVERYTHING).regions
    assert found is not None
    with torch.inference_mode():
        maps = predictor._windows.network.encoder(torch.from_numpy(image[None, ..., 0][None]))[-1][0].numpy()
    stride = [n // k for n, k in zip(image.shape, maps.shape[1:], strict=False)]
    for cell in np.ndindex(*maps.shape[1:]):
        region = Region("a", tuple(k * s for k, s in zip(cell, stride, strict=True)), tuple(stride))
        np.testing.assert_allclose(found.features([region])[0], maps[(slice(None), *cell)], atol=1e-5)
    whole = found.features([Region("a", (0, 0, 0), (16, 24, 24))])[0]
    np.testing.assert_allclose(whole, maps.mean((1, 2, 3)), atol=1e-5)


@pytest.mark.parametrize("shape", [(9, 17, 13), (16, 24, 24), (31, 40, 29), (16, 25, 70)])
def test_volumes_of_any_size_have_features_everywhere(predictor: NnUNetPredictor, shape: tuple[int, ...]) -> None:
    image = np.random.default_rng(0).normal(size=(*shape, 1)).astype(np.float32)
    found = predictor.predict(image, EVERYTHING)
    assert found.labels.shape == shape
    assert found.regions is not None
    corners = [
        Region("a", (0, 0, 0), (1, 8, 8)),
        Region("a", tuple(n - k for n, k in zip(shape, (1, 8, 8), strict=True)), (1, 8, 8)),
    ]
    features = found.regions.features(corners)
    assert features.shape == (2, 16)
    assert np.isfinite(features).all()
    assert np.abs(features).max(1).min() > 0


def test_mirroring_does_not_change_the_features(learner: NnUNet, volumes: PreparedVolumes, model: Path) -> None:
    image, regions = volumes.image("case/02"), [Region("case/02", (4, 8, 8), (1, 8, 8))]
    found = []
    for mirroring in (False, True):
        predicted = replace(learner, mirroring=mirroring).load(model, volumes, "cpu").predict(image, EVERYTHING)
        assert predicted.regions is not None
        found.append(predicted.regions.features(regions))
    np.testing.assert_array_equal(*found)


class Organs(Ellipsoids):
    """The same classes, exclusive."""

    nested = {}  # noqa: RUF012

    def fingerprint(self) -> str:
        return f"exclusive {super().fingerprint()}"


class Answers:
    """Stands for the network: logits of the true classes, nested or not, disturbed; of the last case background."""

    def __init__(self, volumes: PreparedVolumes) -> None:
        self.volumes = volumes
        self.image = ""

    def __call__(self, voxels: torch.Tensor) -> torch.Tensor:
        labels, rng = self.volumes.labels(self.image), np.random.default_rng(0)
        sets = self.volumes.nested.values() or [(label,) for label in range(len(self.volumes.classes))]
        logits = np.stack([np.where(np.isin(labels, members), 3.0, -3.0) for members in sets])
        logits += rng.normal(0, 2, logits.shape)
        if self.image == "case/05":
            logits -= 100
            logits[0] += 0 if self.volumes.nested else 100
        return torch.from_numpy(logits).half()


@pytest.mark.parametrize("data", [Ellipsoids(), Organs()], ids=["nested", "exclusive"])
def test_the_test_score_is_the_one_of_nnunets_evaluation(
    learner: NnUNet, data: Ellipsoids, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import SimpleITK
    from nnunetv2.evaluation import evaluate_predictions
    from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO
    from nnunetv2.inference.export_prediction import export_prediction_from_logits

    volumes = learner.prepare(data)
    plans = learner._plans(volumes)
    network = new_network(plans, volumes.heads)
    predictor = NnUNetPredictor(network, plans, volumes.heads, torch.device("cpu"), mirroring=False, threads=1)
    answers = Answers(volumes)
    monkeypatch.setattr(predictor._windows, "predict_sliding_window_return_logits", answers)
    for folder in ("true", "predicted"):
        (tmp_path / folder).mkdir()
    images, confusion = ("case/01", "case/02", "case/05"), []
    for image in images:
        answers.image = image
        confusion.append(predictor.evaluate(volumes, image, volumes.image(image)))
        assert confusion[-1].sum() == volumes.source.labels(image).size
        voxel = volumes.geometry(image).voxel[::-1]
        truth = SimpleITK.GetImageFromArray(volumes.source.labels(image))
        truth.SetSpacing(voxel)
        name = image.replace("/", "-")
        SimpleITK.WriteImage(truth, tmp_path / "true" / f"{name}.nii.gz")
        stuff = {"spacing": voxel, "origin": (0.0,) * 3, "direction": np.eye(3).ravel().tolist()}
        shape = volumes.source.shape(image)
        properties = {
            "spacing": voxel[::-1],
            "shape_before_cropping": shape,
            "shape_after_cropping_and_before_resampling": shape,
            "bbox_used_for_cropping": [[0, n] for n in shape],
            "sitk_stuff": stuff,
        }
        export_prediction_from_logits(
            answers(torch.empty(0)),
            properties,
            predictor._windows.configuration_manager,
            predictor._windows.plans_manager,
            predictor._windows.dataset_json,
            str(tmp_path / "predicted" / name),
            num_threads_torch=1,
        )
    # Threads instead of processes, which would take seconds to start.
    monkeypatch.setattr(evaluate_predictions.multiprocessing, "get_context", lambda _: multiprocessing.dummy)
    regions = [labels if volumes.nested else labels[0] for labels in volumes.scored.values()]
    expected = evaluate_predictions.compute_metrics_on_folder(
        str(tmp_path / "true"),
        str(tmp_path / "predicted"),
        None,
        SimpleITKIO(),
        ".nii.gz",
        regions,
        num_processes=1,
    )
    metrics, per_class = score(volumes, np.stack(confusion))
    for name, region in zip(volumes.scored, regions, strict=True):
        value = per_class["dice"][name]
        assert value is not None
        assert 0.3 < value < 1
        assert value == pytest.approx(expected["mean"][region]["Dice"], abs=1e-12)
    assert metrics["dice"] == pytest.approx(expected["foreground_mean"]["Dice"], abs=1e-12)
    # The last case has no tumour and none is predicted; its kidney is missed.
    last = expected["metric_per_case"][2]["metrics"]
    assert np.isnan(last[(2,) if volumes.nested else 2]["Dice"])
    assert last[regions[0]]["Dice"] == 0


def test_a_model_that_diverged_is_noticed(
    predictor: NnUNetPredictor, volumes: PreparedVolumes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(voxels: torch.Tensor) -> torch.Tensor:
        return torch.full((3, *voxels.shape[1:]), torch.nan, dtype=torch.half)

    monkeypatch.setattr(predictor._windows, "predict_sliding_window_return_logits", broken)
    with pytest.raises(FloatingPointError):
        predictor.predict(volumes.image("case/02"), Wanted())
    with pytest.raises(FloatingPointError):
        predictor.evaluate(volumes, "case/02", volumes.image("case/02"))


def test_what_is_no_prepared_volume_is_refused(predictor: NnUNetPredictor, volumes: PreparedVolumes) -> None:
    with pytest.raises(UserError, match=r"volumes of shape \(z, y, x, 1\), not \(4, 4, 1\)"):
        predictor.predict(np.zeros((4, 4, 1), np.float32), Wanted())
    with pytest.raises(UserError, match="volumes that it has prepared, not Ellipsoids"):
        predictor.evaluate(volumes.source, "case/02", volumes.image("case/02"))


def test_slices_are_trained_and_predicted_too(learner: NnUNet, tmp_path: Path) -> None:
    flat = replace(learner, configuration="2d", patch=(24, 24), min_epochs=1, batch=4)
    volumes = flat.prepare(Ellipsoids())
    assert volumes.spacing is not None
    assert np.isnan(volumes.spacing).tolist() == [True, False, False]
    shape = volumes.shape("case/02")
    assert shape[0] == volumes.source.shape("case/02")[0]
    ledger = Ledger.whole({image: volumes.shape(image) for image in volumes.ids("train", 0)})
    flat.fit(volumes, Training(ledger, np.random.default_rng(0)), tmp_path / "model")
    predictor = flat.load(tmp_path / "model", volumes, "cpu")
    found = predictor.predict(volumes.image("case/02"), EVERYTHING)
    assert found.labels.shape == shape
    assert found.regions is not None
    regions = [Region("case/02", (z, 8, 8), (1, 8, 8)) for z in (2, 3)]
    features = found.regions.features(regions)
    assert features.shape == (2, 16)
    assert not np.array_equal(*features)  # slices are apart
    confusion = predictor.evaluate(volumes, "case/02", volumes.image("case/02"))
    assert confusion.sum() == volumes.source.labels("case/02").size
    dice = score(volumes, confusion[None])[1]["dice"]["kidney_and_masses"]
    assert dice is not None
    assert dice > 0.2


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_predicts_the_same(learner: NnUNet, volumes: PreparedVolumes, model: Path) -> None:
    image = volumes.image("case/02")
    first, second = (learner.load(model, volumes, device).predict(image, EVERYTHING) for device in ("cpu", "cuda"))
    assert (first.labels != second.labels).mean() < 0.01
    assert first.regions is not None
    assert second.regions is not None
    regions = [Region("case/02", (4, 8, 8), (1, 8, 8))]
    np.testing.assert_allclose(second.regions.features(regions), first.regions.features(regions), atol=0.05)
    confusions = [
        learner.load(model, volumes, device).evaluate(volumes, "case/02", volumes.image("case/02"))
        for device in ("cpu", "cuda")
    ]
    assert np.abs(confusions[0] - confusions[1]).sum() < 0.01 * confusions[0].sum()
