"""The learner: nnU-Net v2 on annotated regions."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field
from typing_extensions import override

from decomp.platform.datasets.base import Dataset
from decomp.platform.datasets.volumes import Volumes
from decomp.platform.errors import UserError
from decomp.platform.learners.base import Learner, Predictor, Training
from decomp.platform.learners.nnunet.heads import Heads, heads_of
from decomp.platform.learners.nnunet.prepared import WINDOW, Preparation, PreparedVolumes
from decomp.platform.marks import NotIdentity
from decomp.platform.passes import Passes, flips
from decomp.platform.predictions import Measure

if TYPE_CHECKING:
    from torch import nn

    from decomp.platform.learners.nnunet.planning import Plans

FORMAT, TITLE = "decomp-nnunet-1", "nnU-Net"

Count = Annotated[int, Field(ge=1)]
Length = Annotated[float, Field(gt=0, allow_inf_nan=False)]


@dataclass(frozen=True)
class NnUNet(Learner):
    """nnU-Net v2, with a softmax for exclusive classes and sigmoids for nested ones; what is not annotated is ignored.

    Network, patches, augmentation and loss (Dice and cross-entropy) are nnU-Net's own, planned from the data set, but
    for deep supervision, which is off: it would downsample the labels and lose regions of one slice. The weights after
    the last epoch are the model; there is no validation split.

    The number of epochs follows the annotation::

        min(max_epochs, max(min_epochs, ceil(epochs_per_region * regions)))

    The paper "reduced the training epochs to align with the total number of annotated regions in AL experiments, up to
    a maximum of 1000 epochs"; the defaults say one epoch per region.
    """

    uncertainty: ClassVar[Measure] = Measure.LEAST_CONFIDENCE

    configuration: Literal["3d_lowres", "3d_fullres", "2d"] = "3d_lowres"
    """What nnU-Net plans the grid and the network for."""

    spacing: tuple[Length, Length, Length] | None = None
    """Spacing of the grid in millimetres across the slices (z where they are axial) and within them (y, x), instead of
    the planned one; ``2d`` does not use the first."""

    patch: tuple[Count, ...] | None = None
    """Voxels per axis of a patch, instead of the planned ones."""

    batch: Count | None = None
    """Patches per iteration, instead of the planned ones."""

    features: Annotated[tuple[Count, ...], Field(min_length=2)] | None = None
    """Channels per stage of the network, from the finest, instead of the planned ones; one stage for each number."""

    convolutions: Count | None = None
    """Convolutions per stage, instead of the planned ones."""

    batch_dice: bool | None = None
    """Whether the Dice of the loss is that of a batch instead of the mean of its patches', which says nothing about a
    rare class that most patches lack; None for the planned way."""

    augmentation: Literal["full", "light", "intensity"] = "full"
    """``full`` for nnU-Net's, ``light`` for mirroring, brightness and contrast alone, with which short trainings get
    further, ``intensity`` for brightness and contrast alone, where classes are told apart by where they lie."""

    window: tuple[Annotated[float, Field(allow_inf_nan=False)], Annotated[float, Field(allow_inf_nan=False)]] = WINDOW
    """Least and greatest Hounsfield units of the voxels that the intensity statistics of CT come from, since the
    foreground, which nnU-Net takes, is not known in advance. Other channels are standardised volume by volume."""

    max_epochs: Count = 1000
    """Epochs at most."""

    min_epochs: Count = 1
    """Epochs at least."""

    epochs_per_region: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0
    """Epochs for each annotated region; in a full annotation every volume is one region."""

    iterations_per_epoch: Count = 250
    """Batches per epoch."""

    learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1e-2
    """Learning rate of the first epoch; it falls to 0 by nnU-Net's polynomial."""

    momentum: Annotated[float, Field(gt=0, lt=1)] = 0.99  # 0 is impossible with Nesterov's
    """Nesterov momentum; short trainings need less than nnU-Net's 0.99."""

    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 3e-5
    """Weight decay of the stochastic gradient descent."""

    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the channels that are dropped after each convolution in training; nnU-Net drops none."""

    loaders: Annotated[int, Field(ge=0)] = 0
    """Processes that make batches, for a GPU that one thread cannot keep busy; 0 for none. Results depend on their
    number, as they do on a seed."""

    mirroring: bool = True
    """Whether predictions are averaged over all mirrorings, as nnU-Net does; 8 times the time (2-D: 4)."""

    threads: Count = 1
    """CPU threads of training and prediction."""

    cache: Annotated[str | None, NotIdentity()] = None
    """Folder of the prepared volumes, shared by all processes of a machine; None for ``decomp/nnunet`` in
    ``$XDG_CACHE_HOME`` or ``~/.cache``."""

    def __post_init__(self) -> None:
        axes = 2 if self.configuration == "2d" else 3
        if self.patch is not None and len(self.patch) != axes:
            raise UserError(f"learner.patch: must have {axes} numbers in this configuration, not {list(self.patch)}.")
        if self.window[0] >= self.window[1]:
            raise UserError(f"learner.window: must have the smaller number first, not {list(self.window)}.")
        if self.min_epochs > self.max_epochs:
            raise UserError(
                f"learner.min_epochs: must be at most max_epochs, which is {self.max_epochs}, not {self.min_epochs}."
            )

    @override
    def check_passes(self, passes: Passes) -> None:
        if self.mirroring and passes.method == "test-time-augmentation":
            raise UserError("learner.mirroring: averages every pass over the flips already; set it to false.")
        # In 2-D a slice is predicted alike wherever it lies.
        passes.check(dropout=self.dropout, flips=len(flips(2 if self.configuration == "2d" else 3)))

    @override
    def prepare(self, dataset: Dataset) -> PreparedVolumes:
        """The volumes in nnU-Net's grid; volumes prepared already stay as they are.

        Raises:
            UserError: if these are not volumes, or have no class that it can tell.
        """
        if isinstance(dataset, PreparedVolumes):
            return dataset
        if not isinstance(dataset, Volumes):
            raise UserError(
                f"learner: nnunet trains on volumes, which {type(dataset).__name__} does not hold; choose another "
                f"learner, or derive the data set from decomp.platform.datasets.volumes.Volumes."
            )
        return PreparedVolumes(dataset, Preparation(self.configuration, self.spacing, self.window), self._cache())

    @override
    def measure(self, dataset: Dataset) -> Measure:
        return self.uncertainty if dataset.nested else Measure.ENTROPY

    @override
    def training_epochs(self, n_regions: int) -> int:
        """Training epochs for `n_regions` annotated regions."""
        # Rounded first, so that 0.1 * 30 is not a little more than 3.
        wanted = math.ceil(round(self.epochs_per_region * n_regions, 9))
        return min(self.max_epochs, max(self.min_epochs, wanted))

    @override
    def fit(self, dataset: Dataset, training: Training, checkpoint: Path) -> None:
        """Train on the annotated regions and write a safetensors file to exactly the path `checkpoint`.

        Raises:
            UserError: if nothing is annotated, or the warm start's checkpoint does not fit.
            RuntimeError: if the training diverges.
        """
        import torch

        from decomp.platform.learners.checkpoints import write_checkpoint
        from decomp.platform.learners.nnunet.cases import AnnotatedCases
        from decomp.platform.learners.nnunet.environment import seeded
        from decomp.platform.learners.nnunet.training import Schedule, train

        prepared = self.prepare(dataset)
        if not len(training.ledger):
            raise UserError("Nothing is annotated, so nnU-Net has nothing to train on; give n_image and n_region.")
        plans = self._plans(prepared)
        schedule = Schedule(
            self.training_epochs(len(training.ledger)),
            self.iterations_per_epoch,
            self.learning_rate,
            self.momentum,
            self.weight_decay,
            self.loaders,
            self.augmentation,
        )
        device = torch.device(training.device)
        cases = AnnotatedCases(prepared, training.ledger)
        initial = None if training.warm_start is None else self._warm_start(training.warm_start, prepared, plans)
        with seeded(self.threads, device, training.rng):
            network = train(cases, plans, prepared.heads, schedule, device, initial, training.progress)
        description = {
            "format": FORMAT,
            "classes": prepared.classes,
            "nested": _nested(prepared.heads),
            "plans": plans,
        }
        write_checkpoint(checkpoint, network, description)

    @override
    def load(self, checkpoint: Path, dataset: Dataset, device: str) -> Predictor:
        """Read a checkpoint; `UserError` if it is not one of nnU-Net's or was trained for other classes."""
        import torch

        from decomp.platform.learners.nnunet.prediction import NnUNetPredictor

        heads = heads_of(dataset)
        network, plans = _read(checkpoint, dataset.classes, heads)
        return NnUNetPredictor(network.eval(), plans, heads, torch.device(device), self.mirroring, self.threads)

    def _plans(self, prepared: PreparedVolumes) -> Plans:
        from decomp.platform.learners.nnunet.planning import adapt

        return adapt(
            prepared.plans, self.patch, self.batch, self.features, self.convolutions, self.batch_dice, self.dropout
        )

    def _warm_start(self, file: Path, prepared: PreparedVolumes, plans: Plans) -> nn.Module:
        from decomp.platform.learners.nnunet.planning import architecture

        network, stored = _read(file, prepared.classes, prepared.heads)
        if architecture(stored) != architecture(plans):
            raise UserError(
                f"The warm start {file} is an nnU-Net of another architecture than the options now ask for; train from "
                f"scratch or keep the options."
            )
        return network

    def _cache(self) -> Path:
        if self.cache is not None:
            return Path(self.cache).expanduser().absolute()
        home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
        return Path(home).expanduser().absolute() / "decomp" / "nnunet"


def _nested(heads: Heads) -> list[tuple[Any, ...]]:
    """Names and labels of the nested sets, as a checkpoint has them; empty where classes exclude each other."""
    return [heads.names, heads.sets if heads.names else ()]


def _read(file: Path, classes: tuple[str, ...], heads: Heads) -> tuple[nn.Module, Plans]:
    from decomp.platform.learners.checkpoints import read_checkpoint
    from decomp.platform.learners.nnunet.prediction import new_network

    def build(description: Mapping[str, Any]) -> nn.Module:
        names, sets = description["nested"]
        if [tuple(names), tuple(tuple(labels) for labels in sets)] != _nested(heads):
            raise UserError(
                f"{file} was trained for the nested classes {', '.join(names) or 'none'} of other labels than the data "
                f"set's {', '.join(heads.names) or 'none'}; give a checkpoint of this data set."
            )
        (configuration,) = description["plans"]["configurations"].values()
        if (channels := len(configuration["normalization_schemes"])) != len(heads.channels):
            raise UserError(
                f"{file} was trained for {channels} channel(s), not {len(heads.channels)}; give a checkpoint of this "
                f"data set."
            )
        return new_network(description["plans"], heads)

    network, description = read_checkpoint(file, FORMAT, TITLE, classes, build)
    return network, description["plans"]
