from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from helpers.nnunet_raw import LAYOUTS, Layout, save, write_layout

from decomp.platform.datasets.nnunet import NnUNetRaw
from decomp.platform.learners.nnunet import NnUNet
from decomp.platform.learners.nnunet.prepared import PreparedVolumes


def prepared(root: Path, layout: Layout) -> PreparedVolumes:
    data = NnUNetRaw(str(write_layout(root, layout, 3)), folds=3)
    return NnUNet(configuration="3d_fullres", cache=str(root / "cache")).prepare(data)


def nnunets_own(volumes: PreparedVolumes, image: str) -> tuple[npt.NDArray[np.float32], tuple[slice, ...]]:
    """Intensities that nnU-Net's preprocessor gives, shape (*axes of its crop, channels), and the crop."""
    from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    manager = PlansManager(volumes.plans)
    properties: dict[str, Any] = {"spacing": list(volumes.source.voxel(image))}
    intensities, _, properties = DefaultPreprocessor(verbose=False).run_case_npy(
        np.moveaxis(volumes.source.image(image), -1, 0),
        None,
        properties,
        manager,
        manager.get_configuration("3d_fullres"),
        volumes.heads.dataset_json(),
    )
    box = tuple(slice(first, last) for first, last in properties["bbox_used_for_cropping"])
    return np.moveaxis(intensities, 0, -1), box


def configuration(volumes: PreparedVolumes) -> dict[str, Any]:
    (found,) = volumes.plans["configurations"].values()
    return dict(found)


@pytest.mark.parametrize("name", ["brats", "prostate", "liver"])
def test_channels_are_normalised_as_nnunet_does_it(tmp_path: Path, name: str) -> None:
    volumes = prepared(tmp_path, LAYOUTS[name])
    image = volumes.ids("train", 0)[0]
    expected, box = nnunets_own(volumes, image)
    np.testing.assert_allclose(volumes.image(image)[box], expected, atol=1e-5)
    assert volumes.image(image).shape == (*LAYOUTS[name].shape, len(LAYOUTS[name].channels))


def test_only_what_is_not_zero_counts_where_that_is_little(tmp_path: Path) -> None:
    volumes = prepared(tmp_path, LAYOUTS["brats"])
    assert configuration(volumes)["use_mask_for_norm"] == [True] * 4
    image = volumes.ids("train", 0)[0]
    inside = volumes.source.image(image).any(-1)
    intensities = volumes.image(image)
    np.testing.assert_allclose(intensities[inside].mean(0), 0, atol=1e-4)
    np.testing.assert_allclose(intensities[inside].std(0), 1, atol=1e-4)
    assert np.abs(intensities[~inside]).max() < 1e-6


def test_small_margins_of_zero_do_not_count(tmp_path: Path) -> None:
    layout = replace(LAYOUTS["hippocampus"], shape=(16, 24, 24))
    data = NnUNetRaw(str(write_layout(tmp_path, layout, 3)), folds=3)
    for image in data.ids("train", 0) + data.ids("test", 0):
        voxels = 1 + data.image(image)[..., 0]
        voxels[:2] = 0
        save(data.image_files(image)[0], voxels, layout.spacing)
    volumes = NnUNet(configuration="3d_fullres", cache=str(tmp_path / "cache")).prepare(data)
    assert configuration(volumes)["use_mask_for_norm"] == [False]
    expected, box = nnunets_own(volumes, image)
    assert box[0] == slice(2, 16)
    np.testing.assert_allclose(volumes.image(image)[box], expected, atol=1e-5)
    outside = volumes.image(image)[:2]
    assert outside.max() == outside.min() < expected.min()


def test_the_statistics_of_ct_are_its_windows_beside_other_channels(tmp_path: Path) -> None:
    volumes = prepared(tmp_path, replace(LAYOUTS["liver"], channels=("PET", "CT")))
    properties = volumes.plans["foreground_intensity_properties_per_channel"]
    assert properties["0"] == {}
    hu = np.concatenate([volumes.source.image(f"case_{number}")[..., 1].ravel() for number in range(3)])
    hu = hu[(hu >= -200) & (hu <= 500)]
    assert properties["1"]["mean"] == pytest.approx(hu.mean(), abs=0.5)
    assert properties["1"]["std"] == pytest.approx(hu.std(), rel=0.01)
    assert configuration(volumes)["normalization_schemes"] == ["ZScoreNormalization", "CTNormalization"]


def test_most_of_the_body_beyond_the_window_is_told(tmp_path: Path) -> None:
    layout = LAYOUTS["liver"]
    data = NnUNetRaw(str(write_layout(tmp_path, layout, 3)), folds=3, hounsfield=False)
    learner = NnUNet(configuration="3d_fullres", cache=str(tmp_path / "cache"))
    assert learner.prepare(data).problems() == []
    for number in range(3):
        file = data.image_files(f"case_{number}")[0]
        save(file, data.image(f"case_{number}")[..., 0] + 1000, layout.spacing)
    (problem,) = learner.prepare(data).problems()
    assert "of the body's voxels lie outside of -200 to 500, which is for CT in Hounsfield units" in problem
    assert replace(learner, window=(800.0, 1500.0)).prepare(data).problems() == []


def test_a_checkpoint_of_other_channels_is_the_users_mistake(tmp_path: Path) -> None:
    from decomp.platform.errors import UserError
    from decomp.platform.learners import Training
    from decomp.platform.ledger import Ledger

    tiny: dict[str, Any] = {"patch": (8, 16, 16), "features": (4, 8), "convolutions": 1, "iterations_per_epoch": 1}
    learner = NnUNet(configuration="3d_fullres", cache=str(tmp_path / "cache"), max_epochs=1, **tiny)
    one, two = (
        NnUNetRaw(
            str(write_layout(tmp_path / name, replace(LAYOUTS[name], labels={"background": 0, "a": 1}), 3)), folds=3
        )
        for name in ("hippocampus", "prostate")
    )
    volumes = learner.prepare(two)
    ledger = Ledger.whole({image: volumes.shape(image) for image in volumes.ids("train", 0)})
    learner.fit(volumes, Training(ledger, np.random.default_rng(0)), tmp_path / "model")
    learner.load(tmp_path / "model", two, "cpu")
    with pytest.raises(UserError, match=r"was trained for 2 channel\(s\), not 1"):
        learner.load(tmp_path / "model", one, "cpu")


def test_images_of_one_slice_need_the_flat_configuration(tmp_path: Path) -> None:
    from decomp.platform.errors import UserError

    layout = replace(LAYOUTS["hippocampus"], shape=(1, 24, 24), spacing=(999.0, 1.0, 1.0))
    data = NnUNetRaw(str(write_layout(tmp_path, layout, 3)), folds=3)
    learner = NnUNet(cache=str(tmp_path / "cache"))
    with pytest.raises(UserError, match=r"learner\.configuration: the images have one slice only; give 2d"):
        learner.prepare(data).shape("case_0")
    flat = replace(learner, configuration="2d").prepare(data)
    assert flat.shape("case_0") == flat.image("case_0").shape[:3] == (1, 24, 24)
