"""The learner: nnU-Net v2 on annotated regions."""

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from torch import nn

from decomp.platform.datasets.base import Dataset
from decomp.platform.datasets.volumes import Volumes
from decomp.platform.errors import UserError
from decomp.platform.learners.base import Learner, Predictor, Training, check_options
from decomp.platform.learners.checkpoints import read_checkpoint, write_checkpoint
from decomp.platform.learners.nnunet.environment import seeded
from decomp.platform.learners.nnunet.nesting import Nesting
from decomp.platform.learners.nnunet.prepared import Preparation, PreparedVolumes
from decomp.platform.predictions import Measure

if TYPE_CHECKING:
    from decomp.platform.learners.nnunet.planning import Plans

FORMAT = "decomp-nnunet-1"


@dataclass(frozen=True)
class NnUNet(Learner):
    """nnU-Net v2 with sigmoid heads for nested classes; what is not annotated is ignored.

    Network, patches, augmentation and loss (Dice and cross-entropy) are nnU-Net's own, planned from the data set, but
    for deep supervision, which is off: it would downsample the labels and lose regions of one slice. The weights after
    the last epoch are the model; there is no validation split.

    The number of epochs follows the annotation::

        min(max_epochs, max(min_epochs, ceil(epochs_per_region * regions)))

    The paper "reduced the training epochs to align with the total number of annotated regions in AL experiments, up to
    a maximum of 1000 epochs"; the defaults say one epoch per region.

    Attributes:
        configuration: ``3d_lowres``, ``3d_fullres`` or ``2d``; the grid and the network that nnU-Net plans for it.
        spacing: of the grid in millimetres along z, y and x, instead of the planned one; of ``2d`` z is not used.
        patch: voxels per axis of a patch, instead of the planned ones.
        batch: patches per iteration, instead of the planned ones.
        features: channels per stage of the network, from the finest, instead of the planned ones; as many stages.
        convolutions: convolutions per stage, instead of the planned ones.
        batch_dice: whether the Dice of the loss is that of a batch instead of the mean of its patches', which says
            nothing for a rare class that most patches lack; None for the planned way.
        augmentation: ``full`` for nnU-Net's, ``light`` for mirroring, brightness and contrast alone, with which short
            trainings get further.
        window: Hounsfield units of the voxels that the intensity statistics come from, since nnU-Net's choice, the
            foreground, is not known in advance.
        max_epochs: epochs at most.
        min_epochs: epochs at least.
        epochs_per_region: epochs for each annotated region; of a full annotation every volume is one region.
        iterations_per_epoch: batches per epoch.
        learning_rate: of the first epoch; it falls to 0 by nnU-Net's polynomial.
        momentum: Nesterov momentum; short trainings need less than nnU-Net's 0.99.
        weight_decay: of the stochastic gradient descent.
        loaders: processes that make batches, where one thread is too slow for a GPU; 0 for none. Results depend on
            their number, as they do on a seed.
        mirroring: whether predictions are averaged over all mirrorings, as nnU-Net does; 8 times the time (2-D: 4).
        threads: CPU threads of training and prediction.
        cache: folder of the prepared volumes, shared by all processes of a machine; None for ``decomp/nnunet`` in
            ``$XDG_CACHE_HOME`` or ``~/.cache``.
    """

    uncertainty: ClassVar[Measure] = Measure.LEAST_CONFIDENCE

    configuration: Literal["3d_lowres", "3d_fullres", "2d"] = "3d_lowres"
    spacing: tuple[float, float, float] | None = None
    patch: tuple[int, ...] | None = None
    batch: int | None = None
    features: tuple[int, ...] | None = None
    convolutions: int | None = None
    batch_dice: bool | None = None
    augmentation: Literal["full", "light"] = "full"
    window: tuple[float, float] = (-200.0, 500.0)
    max_epochs: int = 1000
    min_epochs: int = 1
    epochs_per_region: float = 1.0
    iterations_per_epoch: int = 250
    learning_rate: float = 1e-2
    momentum: float = 0.99
    weight_decay: float = 3e-5
    loaders: int = 0
    mirroring: bool = True
    threads: int = 1
    cache: str | None = None

    def __post_init__(self) -> None:
        axes = 2 if self.configuration == "2d" else 3
        rules = {
            "configuration": (self.configuration in ("3d_lowres", "3d_fullres", "2d"), "3d_lowres, 3d_fullres or 2d"),
            "spacing": (
                self.spacing is None or (len(self.spacing) == 3 and all(0 < a < math.inf for a in self.spacing)),
                "three positive numbers",
            ),
            "patch": (
                self.patch is None or (len(self.patch) == axes and min(self.patch) >= 1),
                f"{axes} positive numbers in this configuration",
            ),
            "batch": (self.batch is None or self.batch >= 1, "at least 1"),
            "features": (
                self.features is None or (len(self.features) >= 2 and min(self.features) >= 1),
                "two or more positive numbers",
            ),
            "augmentation": (self.augmentation in ("full", "light"), "full or light"),
            "convolutions": (self.convolutions is None or self.convolutions >= 1, "at least 1"),
            "window": (-math.inf < self.window[0] < self.window[1] < math.inf, "two numbers, the smaller one first"),
            "max_epochs": (self.max_epochs >= 1, "at least 1"),
            "min_epochs": (1 <= self.min_epochs <= self.max_epochs, "from 1 to max_epochs"),
            "epochs_per_region": (0 <= self.epochs_per_region < math.inf, "0 or more"),
            "iterations_per_epoch": (self.iterations_per_epoch >= 1, "at least 1"),
            "learning_rate": (0 < self.learning_rate < math.inf, "positive"),
            "momentum": (0 < self.momentum < 1, "between 0 and 1"),  # 0 is impossible with Nesterov's
            "weight_decay": (0 <= self.weight_decay < math.inf, "0 or more"),
            "loaders": (self.loaders >= 0, "0 or more"),
            "threads": (self.threads >= 1, "at least 1"),
        }
        check_options(self, rules)

    def prepare(self, dataset: Dataset) -> PreparedVolumes:
        """The volumes in nnU-Net's grid; volumes prepared already stay as they are.

        Raises:
            UserError: if these are no volumes of nested classes.
        """
        if isinstance(dataset, PreparedVolumes):
            return dataset
        if not isinstance(dataset, Volumes):
            raise UserError(
                f"learner: nnunet trains on CT volumes, which {type(dataset).__name__} does not hold; choose another "
                f"learner, or derive the data set from decomp.platform.datasets.volumes.Volumes."
            )
        return PreparedVolumes(dataset, Preparation(self.configuration, self.spacing, self.window), self._cache())

    def training_epochs(self, n_regions: int) -> int:
        """Training epochs for so many annotated regions."""
        # Rounded first, so that 0.1 * 30 is not a little more than 3.
        wanted = math.ceil(round(self.epochs_per_region * n_regions, 9))
        return min(self.max_epochs, max(self.min_epochs, wanted))

    def fit(self, dataset: Dataset, training: Training, checkpoint: Path) -> None:
        """Train on the annotated regions and write a safetensors file to exactly the path `checkpoint`.

        Raises:
            UserError: if nothing is annotated, or the warm start's checkpoint does not fit.
            RuntimeError: if the training diverges.
        """
        from decomp.platform.learners.nnunet.training import AnnotatedCases, Schedule, train

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

        def initial(network: nn.Module) -> None:
            if training.warm_start is not None:
                self._warm_start(network, training.warm_start, prepared, plans)

        with seeded(self.threads, device, training.rng):
            network = train(cases, plans, prepared.nesting, schedule, device, initial, training.progress)
        description = {
            "format": FORMAT,
            "classes": prepared.classes,
            "nested": [prepared.nesting.names, prepared.nesting.sets],
            "plans": plans,
        }
        write_checkpoint(checkpoint, _state(network), description)

    def load(self, checkpoint: Path, dataset: Dataset, device: str) -> Predictor:
        """Read a checkpoint; `UserError` if it is none of nnU-Net's or was trained for other classes."""
        from decomp.platform.learners.nnunet.prediction import NnUNetPredictor, new_network

        nesting = Nesting.of_dataset(dataset)
        plans, tensors = _read(checkpoint, dataset.classes, nesting)
        network = new_network(plans, nesting)
        _fill(network, tensors)
        return NnUNetPredictor(network.eval(), plans, nesting, torch.device(device), self.mirroring, self.threads)

    def _plans(self, prepared: PreparedVolumes) -> "Plans":
        from decomp.platform.learners.nnunet.planning import adapt

        return adapt(prepared.plans, self.patch, self.batch, self.features, self.convolutions, self.batch_dice)

    def _warm_start(self, network: nn.Module, file: Path, prepared: PreparedVolumes, plans: "Plans") -> None:
        from decomp.platform.learners.nnunet.planning import architecture

        stored, tensors = _read(file, prepared.classes, prepared.nesting)
        before, now = (architecture(some) for some in (stored, plans))
        if before != now:
            raise UserError(
                f"The warm start {file} is an nnU-Net of another architecture than the options now ask for; train from "
                f"scratch or keep the options."
            )
        _fill(network, tensors)

    def _cache(self) -> Path:
        if self.cache is not None:
            return Path(self.cache).expanduser().absolute()
        home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
        return Path(home).expanduser().absolute() / "decomp" / "nnunet"


def _state(network: nn.Module) -> dict[str, torch.Tensor]:
    """All weights, each once: nnU-Net's modules are known by several names."""
    return {**dict(network.named_parameters()), **dict(network.named_buffers())}


def _fill(network: nn.Module, tensors: dict[str, torch.Tensor]) -> None:
    own = _state(network)
    if own.keys() != tensors.keys():
        raise UserError(
            "The checkpoint's weights do not fit its network; it was written by another version of nnU-Net."
        )
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(tensors[name])


def _read(file: Path, classes: tuple[str, ...], nesting: Nesting) -> tuple["Plans", dict[str, torch.Tensor]]:
    description, tensors = read_checkpoint(file, FORMAT, "nnU-Net", classes)
    names, sets = description["nested"]
    if (tuple(names), tuple(tuple(labels) for labels in sets)) != (nesting.names, nesting.sets):
        raise UserError(
            f"{file} was trained for the nested classes {', '.join(names)} of other labels than the data set's "
            f"{', '.join(nesting.names)}; give a checkpoint of this data set."
        )
    return description["plans"], tensors
