"""From spacings and shapes to the grid and the network, by nnU-Net's own planner; no voxel is read."""

import copy
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner
from nnunetv2.experiment_planning.experiment_planners.network_topology import get_pool_and_conv_props
from nnunetv2.utilities.json_export import recursive_fix_for_json_export

from decomp.platform.errors import UserError
from decomp.platform.learners.nnunet.environment import NAME, private_folders, quiet
from decomp.platform.learners.nnunet.geometry import Geometry
from decomp.platform.learners.nnunet.heads import Heads

SMALLEST_EDGE = 4
"""Fewest cells along an axis of the bottleneck, as in nnU-Net's planner."""

NARROWEST, WIDEST = 32, {2: 512, 3: 320}
"""Channels of the first stage and of the widest one, by the number of axes, as in nnU-Net's planner."""

Plans = dict[str, Any]
"""nnU-Net's plans: of the types that JSON has."""


def plan(volumes: Mapping[str, Geometry], heads: Heads, configuration: str, spacing: Sequence[float] | None) -> Plans:
    """nnU-Net's plans, with one configuration only and without intensity statistics.

    The axes stay as they are; the data set has put the one of the coarsest resolution first where nnU-Net would.
    nnU-Net plans no ``3d_lowres`` where a patch of ``3d_fullres`` covers a quarter of the median volume; then the grid
    and the network of ``3d_fullres`` are taken.

    Args:
        volumes: geometry of every volume by id.
        heads: what the network's heads stand for.
        configuration: ``"2d"``, ``"3d_lowres"`` or ``"3d_fullres"``.
        spacing: of the grid along z, y and x in millimetres; None for the planner's choice. In ``"2d"`` the slices are
            never resampled along z.

    Raises:
        UserError: if nnU-Net has no such configuration for these volumes.
    """
    with private_folders(workers=1) as root, quiet():  # 0 workers would crash the planner
        _write_headers(root, volumes, heads)
        planner = ExperimentPlanner(
            NAME,
            overwrite_target_spacing=None if spacing is None else [float(length) for length in spacing],
            suppress_transpose=True,
        )
        planner.plan_experiment()
        plans: Plans = json.loads((root / "preprocessed" / NAME / f"{planner.plans_identifier}.json").read_text())
    configurations = plans["configurations"]
    is_low = configuration == "3d_lowres" and "3d_fullres" in configurations
    if is_low and (spacing is not None or configuration not in configurations):
        configurations[configuration] = {**configurations["3d_fullres"], "batch_dice": False}
    if configuration not in configurations:
        raise UserError(f"learner.configuration: the images have one slice only; give 2d, not {configuration}.")
    chosen = configurations[configuration]
    chosen.pop("next_stage", None)
    return {**plans, "configurations": {configuration: chosen}}


def adapt(
    plans: Plans,
    patch: Sequence[int] | None,
    batch: int | None,
    features: Sequence[int] | None,
    convolutions: int | None,
    batch_dice: bool | None = None,
    dropout: float = 0.0,
) -> Plans:
    """Plans with another patch, network or loss; an argument that is None leaves its part as planned.

    Args:
        plans: what `plan` gave.
        patch: voxels per axis of the configuration.
        batch: patches per batch.
        features: channels per stage of the network, from the finest; one stage for each number.
        convolutions: convolutions per stage.
        batch_dice: whether the Dice of the loss is that of the batch instead of the mean of its patches'.
        dropout: share of the channels that are dropped after each convolution in training; 0 leaves the plans alone.

    Raises:
        UserError: if a patch can't be halved as often as the network needs.
    """
    plans = copy.deepcopy(plans)
    (configuration,) = plans["configurations"].values()
    network = configuration["architecture"]["arch_kwargs"]
    if dropout:
        network["dropout_op"] = f"torch.nn.modules.dropout.Dropout{len(configuration['patch_size'])}d"
        network["dropout_op_kwargs"] = {"p": dropout}
    if batch is not None:
        configuration["batch_size"] = batch
    if batch_dice is not None:
        configuration["batch_dice"] = batch_dice
    if patch is not None:
        if len(patch) != len(configuration["patch_size"]):
            raise UserError(
                f"learner.patch: must have {len(configuration['patch_size'])} numbers in this configuration, not "
                f"{list(patch)}."
            )
        _, strides, kernels, _, _ = get_pool_and_conv_props(configuration["spacing"], patch, SMALLEST_EDGE, math.inf)
        configuration["patch_size"] = list(patch)
        network["strides"], network["kernel_sizes"] = strides, kernels
        network["features_per_stage"] = [min(NARROWEST * 2**stage, WIDEST[len(patch)]) for stage in range(len(strides))]
    if features is not None:
        if len(features) > len(network["strides"]):
            raise UserError(
                f"learner.features: this patch allows {len(network['strides'])} stages, not {len(features)}; give "
                f"fewer numbers or a larger learner.patch."
            )
        network["features_per_stage"] = list(features)
    stages = len(network["features_per_stage"])
    network["n_stages"] = stages
    network["strides"], network["kernel_sizes"] = network["strides"][:stages], network["kernel_sizes"][:stages]
    convolutions = convolutions or network["n_conv_per_stage"][0]
    network["n_conv_per_stage"] = [convolutions] * stages
    network["n_conv_per_stage_decoder"] = [convolutions] * (stages - 1)
    steps = np.prod(network["strides"], axis=0)
    if np.any(np.array(configuration["patch_size"]) % steps):
        raise UserError(
            f"learner.patch: must be a multiple of {steps.tolist()} for this network, not "
            f"{list(configuration['patch_size'])}."
        )
    recursive_fix_for_json_export(plans)
    return json.loads(json.dumps(plans))  # type: ignore[no-any-return]  # tuples become lists, as in a checkpoint


def architecture(plans: Plans) -> Any:
    """The part of the plans that the network's weights depend on."""
    (configuration,) = plans["configurations"].values()
    return configuration["architecture"]


def _write_headers(root: Path, volumes: Mapping[str, Geometry], heads: Heads) -> None:
    """Write what the planner reads: a description of the data set and its fingerprint."""
    # The planner asks for names of files, but never opens one.
    files = {image: {"images": [f"/{number}"], "label": f"/{number}"} for number, image in enumerate(volumes)}
    description = {
        **heads.dataset_json(),
        "numTraining": len(volumes),
        "dataset": files,
        "overwrite_image_reader_writer": "SimpleITKIO",
    }
    fingerprint = {
        "spacings": [volume.voxel for volume in volumes.values()],
        "shapes_after_crop": [volume.shape for volume in volumes.values()],
        "foreground_intensity_properties_per_channel": {},
        "median_relative_size_after_cropping": 1.0,
    }
    (root / "raw" / NAME / "dataset.json").write_text(json.dumps(description))
    (root / "preprocessed" / NAME / "dataset_fingerprint.json").write_text(json.dumps(fingerprint))
