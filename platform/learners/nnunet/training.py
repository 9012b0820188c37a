"""Training of nnU-Net on annotated regions."""

import math
import os
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from batchgenerators.dataloading.multi_threaded_augmenter import MultiThreadedAugmenter
from batchgeneratorsv2.transforms.intensity.brightness import MultiplicativeBrightnessTransform
from batchgeneratorsv2.transforms.intensity.contrast import ContrastTransform
from batchgeneratorsv2.transforms.spatial.mirroring import MirrorTransform
from batchgeneratorsv2.transforms.utils.random import RandomTransform
from batchgeneratorsv2.transforms.utils.remove_label import RemoveLabelTansform
from batchgeneratorsv2.transforms.utils.seg_to_regions import ConvertSegmentationToRegionsTransform
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from torch import nn

from decomp.platform.learners.nnunet.cases import AnnotatedCases
from decomp.platform.learners.nnunet.environment import NAME, private_folders, quiet
from decomp.platform.learners.nnunet.heads import Heads

if TYPE_CHECKING:
    from decomp.platform.learners.nnunet.planning import Plans


@dataclass(frozen=True)
class Schedule:
    """Length and steps of a training.

    Attributes:
        epochs: number of epochs, over which the learning rate falls to 0 by nnU-Net's polynomial.
        iterations: batches per epoch.
        learning_rate: of the first epoch.
        momentum: Nesterov momentum of the stochastic gradient descent.
        weight_decay: its weight decay.
        loaders: processes that make batches; 0 for none.
        augmentation: ``full`` or one of `KEPT`.
    """

    epochs: int
    iterations: int
    learning_rate: float
    momentum: float
    weight_decay: float
    loaders: int
    augmentation: str = "full"


INTENSITY = (
    MultiplicativeBrightnessTransform,
    ContrastTransform,
    RemoveLabelTansform,
    ConvertSegmentationToRegionsTransform,
)
KEPT = MappingProxyType({"intensity": INTENSITY, "light": (*INTENSITY, MirrorTransform)})
"""What lighter augmentations keep of nnU-Net's transforms: cheap ones, and those that are not augmentation."""


class SeededBatches:
    """Batches in a process of their own, which seeds NumPy's random numbers only, and then calls `set_thread_id`."""

    def __init__(self, batches: Any) -> None:
        self._batches = batches
        self._parent = os.getpid()

    def set_thread_id(self, _: int) -> None:
        """Seed the other random numbers; use one thread, because those of the parent process are not here."""
        threading.Thread(target=_end_with, args=(self._parent,), daemon=True).start()
        torch.set_num_threads(1)
        torch.default_generator.manual_seed(np.random.randint(2**31))
        random.seed(np.random.randint(2**31))

    def __next__(self) -> Any:
        return next(self._batches)


class RegionTrainer(nnUNetTrainer):  # type: ignore[misc]  # untyped
    """nnU-Net's trainer for labels that are known only in regions; silent, without validation or files.

    It differs from nnU-Net's in four points. Deep supervision is off, since regions of one slice get lost when labels
    are downsampled. Patches lie within the volume as far as it is large enough, since the margins with which nnU-Net
    pads them teach nothing and distort the statistics of instance normalisation. What a patch still has beyond the
    volume is ignored, while nnU-Net makes it background, as if annotated. The last weights are the result: there is no
    validation split.
    """

    schedule: Schedule
    cases: AnnotatedCases

    def equip(self, cases: AnnotatedCases, schedule: Schedule, device: torch.device) -> None:
        """Take what the constructor, whose signature nnU-Net inspects, can't; to be called before `initialize`."""
        self.cases, self.schedule, self.device = cases, schedule, device
        self.enable_deep_supervision = False
        self.num_epochs, self.num_iterations_per_epoch = schedule.epochs, schedule.iterations
        self.initial_lr, self.weight_decay = schedule.learning_rate, schedule.weight_decay

    def fit(self, progress: Callable[[float], None]) -> None:
        """Train; RuntimeError if the loss is not finite."""
        self.dataloader_train, self.dataloader_val = self.get_dataloaders()
        try:
            self._fit(progress)
        finally:
            if isinstance(self.dataloader_train, MultiThreadedAugmenter):
                self.dataloader_train._finish()

    def _fit(self, progress: Callable[[float], None]) -> None:
        for epoch in range(self.num_epochs):
            self.current_epoch = epoch
            self.on_train_epoch_start()
            for iteration in range(self.num_iterations_per_epoch):
                loss = float(self.train_step(next(self.dataloader_train))["loss"])
                if not math.isfinite(loss):
                    raise RuntimeError(
                        f"nnU-Net's training diverged in epoch {epoch + 1}, iteration {iteration + 1}; lower "
                        f"learning_rate."
                    )
            progress((epoch + 1) / self.num_epochs)

    def get_dataloaders(self) -> tuple[Any, Any]:
        """nnU-Net's loaders; batches from several processes come in a fixed order, unlike in nnU-Net."""
        batches, others = super().get_dataloaders()
        loader = batches.data_loader
        loader.get_bbox = partial(_bounds_within, loader.get_bbox)
        if not self.schedule.loaders:
            return batches, others
        seeds = np.random.randint(2**31, size=self.schedule.loaders).tolist()
        single = SeededBatches(loader)
        return MultiThreadedAugmenter(single, None, self.schedule.loaders, num_cached_per_queue=2, seeds=seeds), others

    def get_tr_and_val_datasets(self) -> tuple[AnnotatedCases, AnnotatedCases]:
        """The annotated cases, twice; the second ones are never looked at."""
        return self.cases, self.cases

    def configure_optimizers(self) -> tuple[Any, Any]:
        """nnU-Net's, with the schedule's momentum."""
        optimiser, scheduler = super().configure_optimizers()
        for group in optimiser.param_groups:
            group["momentum"] = self.schedule.momentum
        return optimiser, scheduler

    def get_training_transforms(self, *args: Any, **options: Any) -> Any:
        """nnU-Net's or some of them, but voxels beyond the volume (-1) become ignored instead of background."""
        composed = nnUNetTrainer.get_training_transforms(*args, **options)
        if kept := KEPT.get(self.schedule.augmentation):
            composed.transforms = [one for one in composed.transforms if isinstance(_inner(one), kept)]
        for place, transform in enumerate(composed.transforms):
            if isinstance(transform, RemoveLabelTansform):
                composed.transforms[place] = RemoveLabelTansform(-1, options["ignore_label"])
        return composed

    def configure_rotation_dummyDA_mirroring_and_inital_patch_size(self) -> tuple[Any, ...]:
        """nnU-Net's; without rotations there is no need for larger patches to rotate."""
        rotation, flat, size, axes = super().configure_rotation_dummyDA_mirroring_and_inital_patch_size()
        is_whole = self.schedule.augmentation not in KEPT
        return rotation, flat, size if is_whole else self.configuration_manager.patch_size, axes

    def print_to_log_file(self, *args: Any, **options: Any) -> None:
        """Say nothing."""

    def _do_i_compile(self) -> bool:
        return False  # compiling takes longer than a short training, and changes the numbers


def train(
    cases: AnnotatedCases,
    plans: "Plans",
    heads: Heads,
    schedule: Schedule,
    device: torch.device,
    initial: nn.Module | None,
    progress: Callable[[float], None],
) -> nn.Module:
    """Train a network, with the global random numbers as they are.

    Args:
        cases: what is annotated.
        plans: with intensity statistics and one configuration.
        heads: what the network's heads stand for.
        schedule: length and steps.
        device: where to train.
        initial: network of the same plans whose weights are kept; None to train from scratch.
        progress: called with the finished share after each epoch.

    Raises:
        RuntimeError: if the loss is not finite.
    """
    with private_folders(workers=0) as root:
        trainer = new_trainer(root, cases, plans, heads, schedule, device)
        if initial is not None:
            trainer.network.load_state_dict(initial.state_dict())
        trainer.fit(progress)
    network: nn.Module = trainer.network
    return network


def new_trainer(
    root: Path, cases: AnnotatedCases, plans: "Plans", heads: Heads, schedule: Schedule, device: torch.device
) -> RegionTrainer:
    """A trainer with a new network; `root` is what `private_folders` made, the rest as for `train`."""
    (configuration,) = plans["configurations"]
    # From the files in there nnU-Net finds out how volumes are stored.
    folder = root / "preprocessed" / NAME / plans["configurations"][configuration]["data_identifier"]
    folder.mkdir()
    (folder / "none.b2nd").touch()
    with quiet():
        trainer = RegionTrainer({**plans, "continue_training": False}, configuration, 0, heads.dataset_json(), device)
        trainer.equip(cases, schedule, device)
        trainer.initialize()
    return trainer


def _inner(transform: Any) -> Any:
    """The transform itself, unwrapped if it is one that is applied at random."""
    return transform.transform if isinstance(transform, RandomTransform) else transform


def _bounds_within(
    bounds: Callable[..., tuple[list[int], list[int]]], shape: Sequence[int], *args: Any, **options: Any
) -> tuple[list[int], list[int]]:
    """First and last voxels of a patch as nnU-Net draws them, moved into a volume that is large enough."""
    low, high = bounds(shape, *args, **options)
    sizes = [b - a for a, b in zip(low, high, strict=True)]
    low = [max(0, min(a, n - k)) if n >= k else a for a, n, k in zip(low, shape, sizes, strict=True)]
    return low, [a + k for a, k in zip(low, sizes, strict=True)]


def _end_with(parent: int) -> None:
    """End this process when its parent has ended without a word, which would leave it waiting for ever."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)
