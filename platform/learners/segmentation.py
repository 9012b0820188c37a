"""What learners of large 2-D images share: their options, the training loop, early stopping and the checkpoint."""

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional

from decomp.platform.datasets.base import IGNORE, Dataset
from decomp.platform.errors import UserError
from decomp.platform.learners.base import Learner, Predictor, Training, check_options
from decomp.platform.learners.checkpoints import read_checkpoint, write_checkpoint
from decomp.platform.learners.inference.segmentation import (
    SegmentationNetwork,
    SegmentationPredictor,
    autocast,
    to_device,
)
from decomp.platform.learners.reproducible import reproducible
from decomp.platform.learners.training.distributed import Group, joined
from decomp.platform.learners.training.pretrained import read_pretrained
from decomp.platform.learners.training.schedules import Patience, is_decayed, warmed_polynomial
from decomp.platform.learners.training.streamed_crops import Batch, StreamedCrops
from decomp.platform.metrics import confusion_matrix, iou, mean_iou
from decomp.platform.predictions import Wanted
from decomp.platform.prefetch import prefetch

REPORT_EVERY = 10  # iterations between two looks at the loss, which make a GPU wait
WARMUP_RATIO = 1e-6
AUXILIARY_WEIGHT = 0.4  # of the auxiliary head's loss
EPSILON = 1e-6
IMAGES_AHEAD = 8  # of the validation split


@dataclass(frozen=True)
class Segmentation(Learner):
    """Trains a large network on crops around annotated regions; everything else is ignored.

    The paper's schedule on Cityscapes (supplement, Sec. 2.2): at most `iterations`, the validation split being
    evaluated every `evaluate_every`; training stops after `patience` evaluations without improvement, and the weights
    of the best mean IoU are kept. Without a validation split all iterations are done and the last weights are kept.
    The validation split is not part of the pool, so its labels are no secret of the oracle.

    Crops are drawn as `StreamedCrops` says; the loss is the mean cross-entropy over their annotated pixels. AdamW's
    learning rate falls polynomially after a linear warm-up, and by `layer_decay` from layer to layer towards the
    input. On CUDA the network computes in bfloat16 by autocast, but for the logits.

    On one kind of CPU the same arguments give the same bytes; on CUDA see the attribute `strict`. `workers` and
    `cache` change no result. Several processes train together on a part of each batch, and evaluate a part of the
    validation split each.

    Attributes:
        strict: whether only kernels of a fixed order of addition are used on CUDA, where PyTorch has them.
        iterations: greatest number of training iterations, each with one batch.
        evaluate_every: iterations between two evaluations of the validation split.
        patience: evaluations without improvement after which training stops.
        batch: crops per iteration.
        crop: rows and columns of a crop.
        scales: least and greatest factor by which a crop is enlarged.
        augment: whether crops are mirrored and their colours changed at random.
        balanced: share of the crops that are drawn around pixels of a class drawn uniformly.
        class_weight_power: loss weight of a class of share f in the annotated area is f ** -power; 0 for equal ones.
        learning_rate: peak of the schedule.
        weight_decay: AdamW's, of weights but not of biases and norms.
        layer_decay: factor of the learning rate from an encoder's layer to the one before it; 1 for none.
        warmup: iterations of the warm-up.
        power: exponent of the decay.
        threads: CPU threads of training and prediction.
        workers: threads that read images and cut crops.
        cache: GB of images kept in memory between their crops, by each process.
        pretrained: file of released weights to begin with, .safetensors or .pth; which fit, the subclass says.
    """

    title: ClassVar[str]
    format: ClassVar[str]
    strict: ClassVar[bool] = True

    iterations: int = 64_000
    evaluate_every: int = 1000
    patience: int = 5
    batch: int = 16
    crop: tuple[int, int] = (512, 1024)
    scales: tuple[float, float] = (0.5, 2.0)
    augment: bool = True
    balanced: float = 0.0
    class_weight_power: float = 0.0
    learning_rate: float = 6e-5
    weight_decay: float = 0.05
    layer_decay: float = 1.0
    warmup: int = 1500
    power: float = 1.0
    threads: int = 1
    workers: int = 4
    cache: float = 4.0
    pretrained: Path | None = None

    def __post_init__(self) -> None:
        check_options(self, self._rules())

    def _rules(self) -> dict[str, tuple[bool, str]]:
        """For each option whether its value is fit, and what it must be."""
        return {
            "iterations": (self.iterations >= 1, "at least 1"),
            "evaluate_every": (self.evaluate_every >= 1, "at least 1"),
            "patience": (self.patience >= 1, "at least 1"),
            "batch": (self.batch >= 2, "at least 2, because of batch normalisation"),
            "crop": (len(self.crop) == 2 and min(self.crop) >= 32, "two numbers of at least 32"),
            "scales": (
                len(self.scales) == 2 and 0 < self.scales[0] <= self.scales[1] < math.inf,
                "two positive numbers, the least first",
            ),
            "balanced": (0 <= self.balanced <= 1, "from 0 to 1"),
            "class_weight_power": (0 <= self.class_weight_power < math.inf, "0 or more"),
            "learning_rate": (0 < self.learning_rate < math.inf, "positive"),
            "weight_decay": (0 <= self.weight_decay < math.inf, "0 or more"),
            "layer_decay": (0 < self.layer_decay <= 1, "above 0, and at most 1"),
            "warmup": (self.warmup >= 0, "0 or more"),
            "power": (0 < self.power < math.inf, "positive"),
            "threads": (self.threads >= 1, "at least 1"),
            "workers": (self.workers >= 1, "at least 1"),
            "cache": (0 <= self.cache < math.inf, "0 or more"),
            "pretrained": (self.pretrained is None or self.pretrained.expanduser().is_file(), "an existing file"),
        }

    @property
    def most_processes(self) -> int:
        """As many as there are crops in a batch."""
        return self.batch

    @abstractmethod
    def network_options(self) -> dict[str, Any]:
        """What `network` is told of this learner's options, of the types that JSON has."""

    @abstractmethod
    def network(self, options: Mapping[str, Any], in_channels: int, n_classes: int) -> SegmentationNetwork:
        """A network with random weights."""

    @abstractmethod
    def take_released(self, network: SegmentationNetwork, tensors: Mapping[str, torch.Tensor], file: Path) -> None:
        """Replace random weights by released ones, which were read from `file`; `UserError` if they do not fit."""

    def load_pretrained(self, network: SegmentationNetwork) -> None:
        """Replace random weights by those of `pretrained`, if any; `UserError` if they do not fit."""
        if self.pretrained is not None:
            file = self.pretrained.expanduser()
            self.take_released(network, read_pretrained(file), file)

    def fit(self, dataset: Dataset, training: Training, checkpoint: Path) -> None:
        """Train on the annotated regions and write a safetensors file to exactly the path `checkpoint`.

        Raises:
            UserError: if nothing is annotated, or released weights or the warm start's checkpoint do not fit.
            RuntimeError: if the training diverges.
        """
        if dataset.task != "segmentation":
            raise UserError(f"The {self.title} is for images of pixels; choose a learner of ROIs, e.g. mlp.")
        crops = StreamedCrops(
            dataset,
            training.ledger,
            self.crop,
            self.scales,
            self.batch,
            self.balanced,
            self.workers,
            self.cache * 1e9,
            self.augment,
        )
        device = torch.device(training.device)
        seed = int(training.rng.integers(2**63))
        with joined(training.processes, device) as group, reproducible(self.threads, device, seed, self.strict):
            network = self._initial_network(dataset, training, crops).to(device).to(memory_format=torch.channels_last)
            self._train(network, crops, dataset, training, group)
        if training.processes.rank > 0:
            return
        description = {
            "format": self.format,
            "classes": dataset.classes,
            "in_channels": network.in_channels,
            "options": self.network_options(),
        }
        write_checkpoint(checkpoint, network.state_dict(), description)

    def load(self, checkpoint: Path, dataset: Dataset, device: str) -> Predictor:
        """Read a checkpoint; `UserError` if another learner wrote it or it was trained for other classes."""
        network, _ = self._from_file(checkpoint, dataset.classes)
        network.to(device).to(memory_format=torch.channels_last)
        return self._predictor(network, torch.device(device))

    def _initial_network(self, dataset: Dataset, training: Training, crops: StreamedCrops) -> SegmentationNetwork:
        if training.warm_start is None:
            network = self.network(self.network_options(), crops.channels, len(dataset.classes))
            self.load_pretrained(network)
            network.mean.copy_(torch.from_numpy(crops.mean)[None, :, None, None])
            network.std.copy_(torch.from_numpy(crops.std)[None, :, None, None])
            return network
        network, options = self._from_file(training.warm_start, dataset.classes)
        if (options, network.in_channels) != (self.network_options(), crops.channels):
            raise UserError(
                f"The warm start {training.warm_start} is a {self.title} of {options} for {network.in_channels} "
                f"channels, not {self.network_options()} for {crops.channels}; train from scratch or keep the options."
            )
        return network

    def _from_file(self, checkpoint: Path, classes: tuple[str, ...]) -> tuple[SegmentationNetwork, dict[str, Any]]:
        description, tensors = read_checkpoint(checkpoint, self.format, self.title, classes)
        try:
            with torch.random.fork_rng(devices=[]):  # the initial weights are drawn and thrown away
                network = self.network(description["options"], description["in_channels"], len(classes))
            network.load_state_dict(tensors)
        except (KeyError, TypeError, RuntimeError) as error:
            raise UserError(
                f"{checkpoint} does not hold the network that it describes ({error}); give a file that the "
                f"{self.title} wrote."
            ) from error
        return network, description["options"]

    def _train(
        self,
        network: SegmentationNetwork,
        crops: StreamedCrops,
        dataset: Dataset,
        training: Training,
        group: Group,
    ) -> None:
        device = torch.device(training.device)
        weights = crops.class_weights(self.class_weight_power)
        descend = Descent(self, network, weights[: len(dataset.classes)], device, group)
        judges = dataset.ids("validation", training.fold)
        patience = Patience(self.patience)
        kept: dict[str, torch.Tensor] = {}
        with closing(crops.batches(training.rng, self.iterations, group.part(self.batch))) as batches:
            for iteration, batch in enumerate(batches):
                loss = descend(iteration, batch, group.sum(float(weights[batch.labels].sum())))
                done, last = iteration + 1, iteration + 1 == self.iterations
                if done % REPORT_EVERY == 0 or done % self.evaluate_every == 0 or last:
                    if not math.isfinite(group.sum(loss.item())):
                        raise RuntimeError(
                            f"The training of the {self.title} diverged by iteration {done}; lower learning_rate."
                        )
                    training.progress(done / self.iterations)
                if judges and (done % self.evaluate_every == 0 or last):
                    if patience.improved(self._validate(network, dataset, judges, device, group)):
                        kept = {name: values.to("cpu", copy=True) for name, values in network.state_dict().items()}
                    if patience.exhausted:
                        break
        training.progress(1.0)
        if kept:
            network.load_state_dict(kept)

    def _predictor(self, network: SegmentationNetwork, device: torch.device) -> SegmentationPredictor:
        return SegmentationPredictor(network.eval(), device, self.title, self.threads, self.strict)

    def _validate(
        self,
        network: SegmentationNetwork,
        dataset: Dataset,
        images: Sequence[str],
        device: torch.device,
        group: Group,
    ) -> float:
        """Mean IoU of the validation split, the same in all processes."""
        predictor = self._predictor(network, device)
        n_classes = len(dataset.classes)
        confusion = np.zeros((n_classes, n_classes), np.int64)

        def read(image: str) -> tuple[npt.NDArray[np.generic], npt.NDArray[np.uint8]]:
            return dataset.image(image), dataset.labels(image)

        with closing(
            prefetch((partial(read, image) for image in images[group.part(len(images))]), self.workers, IMAGES_AHEAD)
        ) as pairs:
            for pixels, labels in pairs:
                confusion += confusion_matrix(labels, predictor.predict(pixels, Wanted()).labels, n_classes)
        network.train()
        return mean_iou(iou(group.total(confusion)))


class Descent:
    """Steps of AdamW along a training's schedule.

    Args:
        learner: whose options hold.
        network: on its device.
        class_weights: in the loss, shape (C,), float32.
        device: where the network is.
        group: the processes that train together.
    """

    def __init__(
        self,
        learner: Segmentation,
        network: SegmentationNetwork,
        class_weights: npt.NDArray[np.float32],
        device: torch.device,
        group: Group,
    ) -> None:
        self._learner, self._device, self._group = learner, device, group
        self._network = group.parallel(network.train())
        self._weights = torch.from_numpy(class_weights).to(device)
        groups: dict[tuple[int, bool], list[nn.Parameter]] = {}
        for name, parameter in network.named_parameters():
            groups.setdefault((network.layers_above(name), is_decayed(name, parameter)), []).append(parameter)
        self._shares = [learner.layer_decay**above for above, _ in groups]
        decays = [learner.weight_decay if decayed else 0.0 for _, decayed in groups]
        self._optimiser = torch.optim.AdamW(
            [{"params": own, "weight_decay": decay} for own, decay in zip(groups.values(), decays, strict=True)],
            lr=learner.learning_rate,
            betas=(0.9, 0.999),
            fused=True,
        )

    def __call__(self, iteration: int, batch: Batch, total_weight: float) -> torch.Tensor:
        """Take one step and return the loss.

        Args:
            iteration: from 0.
            batch: this process's part of the batch.
            total_weight: sum of the class weights of the labels of the whole batch.

        Returns:
            This process's part of the loss: their sum over the processes is the mean over the whole batch.
        """
        learner = self._learner
        rate = learner.learning_rate * warmed_polynomial(
            iteration, learner.iterations, learner.warmup, WARMUP_RATIO, learner.power
        )
        for group, share in zip(self._optimiser.param_groups, self._shares, strict=True):
            group["lr"] = rate * share
        pixels = to_device(batch.pixels, self._device).permute(0, 3, 1, 2).float()
        labels = to_device(batch.labels, self._device).long()
        self._optimiser.zero_grad(set_to_none=True)
        with self._group.as_one(learner.batch), autocast(self._device):
            logits, auxiliary = self._network(pixels)
        loss = self._loss(logits, labels, total_weight)
        if auxiliary is not None:
            loss = loss + AUXILIARY_WEIGHT * self._loss(auxiliary, labels, total_weight)
        self._group.backward(loss)
        self._optimiser.step()
        return loss.detach()

    def _loss(self, logits: torch.Tensor, labels: torch.Tensor, total_weight: float) -> torch.Tensor:
        # Averaged here, because the built-in average of a 2-D loss is not reproducible on CUDA.
        losses = functional.cross_entropy(logits, labels, weight=self._weights, ignore_index=IGNORE, reduction="none")
        # Enlarging may lose a lone annotated pixel: a batch without any has the loss 0.
        return losses.sum() / max(total_weight, EPSILON)
