"""What learners of large 2-D images share: their options, the training loop, early stopping and the checkpoint."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import Field
from typing_extensions import override

from decomp.platform.datasets.base import Dataset
from decomp.platform.errors import UserError
from decomp.platform.learners.base import Learner, Predictor, Training
from decomp.platform.learners.training.divergence import diverged
from decomp.platform.learners.training.pretrained import check_pretrained, read_pretrained
from decomp.platform.learners.training.schedules import Patience, warmed_polynomial
from decomp.platform.learners.training.streamed_crops import StreamedCrops
from decomp.platform.marks import ByContent, NotIdentity
from decomp.platform.metrics import confusion_matrix, iou, mean_iou
from decomp.platform.passes import Passes, flips
from decomp.platform.predictions import Wanted
from decomp.platform.prefetch import prefetch

if TYPE_CHECKING:
    import torch

    from decomp.platform.learners.inference.segmentation import SegmentationPredictor
    from decomp.platform.learners.networks.segmentation import SegmentationNetwork
    from decomp.platform.learners.training.descent import Descent
    from decomp.platform.learners.training.distributed import Group

REPORT_EVERY = 10  # iterations between two looks at the loss, which make a GPU wait
WARMUP_RATIO = 1e-6
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
    input. On CUDA the network computes in bfloat16 by autocast, except for the logits.

    On one kind of CPU the same arguments give the same bytes; on CUDA see the attribute `strict`. `workers` and
    `cache` change no result. In distributed training every process takes a part of each batch, and evaluates a part of
    the validation split.
    """

    title: ClassVar[str]
    """What the learner is called in messages."""

    format: ClassVar[str]
    """Format of its checkpoints."""

    strict: ClassVar[bool] = True
    """Whether only kernels with a fixed order of addition are used on CUDA, where PyTorch has them."""

    axes = (2,)

    iterations: Annotated[int, Field(ge=1)] = 64_000
    """Greatest number of training iterations, each with one batch."""

    evaluate_every: Annotated[int, Field(ge=1)] = 1000
    """Iterations between two evaluations of the validation split."""

    patience: Annotated[int, Field(ge=1)] = 5
    """Evaluations without improvement after which training stops."""

    batch: Annotated[int, Field(ge=2)] = 16
    """Crops per iteration, at least 2 because of batch normalisation."""

    crop: tuple[Annotated[int, Field(ge=32)], Annotated[int, Field(ge=32)]] = (512, 1024)
    """Rows and columns of a crop in pixels."""

    scales: tuple[
        Annotated[float, Field(gt=0, allow_inf_nan=False)], Annotated[float, Field(gt=0, allow_inf_nan=False)]
    ] = (0.5, 2.0)
    """Least and greatest factor by which a crop is enlarged."""

    augment: bool = True
    """Whether crops are mirrored and their colours changed at random."""

    balanced: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of the crops that are drawn around pixels of a class drawn uniformly."""

    class_weight_power: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    """The loss weight of a class with share f of the annotated area is f ** -power; 0 for equal weights."""

    learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 6e-5
    """Peak of the schedule."""

    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.05
    """Weight decay of AdamW, of weights but not of biases and norms."""

    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Factor of the learning rate from an encoder's layer to the one before it; 1 for none."""

    warmup: Annotated[int, Field(ge=0)] = 1500
    """Iterations of the warm-up."""

    power: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    """Exponent of the learning rate's decay."""

    threads: Annotated[int, Field(ge=1)] = 1
    """CPU threads of training and prediction."""

    workers: Annotated[int, Field(ge=1), NotIdentity()] = 4
    """Threads that read images and cut crops."""

    cache: Annotated[float, Field(ge=0, allow_inf_nan=False), NotIdentity()] = 4.0
    """GB of images that each process keeps in memory between their crops."""

    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the channels that are dropped before the last layer in training."""

    pretrained: Annotated[Path | None, ByContent()] = None
    """File of released weights to begin with, .safetensors or .pth; the learner says which fit."""

    def __post_init__(self) -> None:
        if self.scales[0] > self.scales[1]:
            raise UserError(f"learner.scales: the least scale must come first, not {self.scales}; exchange the two.")
        check_pretrained(self.pretrained)

    @property
    @override
    def most_processes(self) -> int:
        """As many as there are crops in a batch."""
        return self.batch

    @override
    def check_passes(self, passes: Passes) -> None:
        passes.check(dropout=self.dropout, flips=len(flips(2)))

    @abstractmethod
    def network_options(self) -> dict[str, Any]:
        """The options of this learner that `network` is given, all of JSON's types."""

    @abstractmethod
    def network(self, options: Mapping[str, Any], in_channels: int, n_classes: int) -> SegmentationNetwork:
        """A network with random weights."""

    @abstractmethod
    def take_pretrained(self, network: SegmentationNetwork, tensors: Mapping[str, torch.Tensor], file: Path) -> None:
        """Replace random weights by pretrained ones, which were read from `file`; `UserError` if they do not fit."""

    def load_pretrained(self, network: SegmentationNetwork) -> None:
        """Replace random weights by those of `pretrained`, if any; `UserError` if they do not fit."""
        if self.pretrained is not None:
            file = self.pretrained.expanduser()
            self.take_pretrained(network, read_pretrained(file), file)

    @override
    def fit(self, dataset: Dataset, training: Training, checkpoint: Path) -> None:
        """Train on the annotated regions and write a safetensors file to exactly the path `checkpoint`.

        Raises:
            UserError: if nothing is annotated, or pretrained weights or the warm start's checkpoint do not fit.
            RuntimeError: if the training diverges.
        """
        import torch

        from decomp.platform.learners.checkpoints import write_checkpoint
        from decomp.platform.learners.reproducible import reproducible
        from decomp.platform.learners.training.distributed import process_group

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
        with process_group(training.processes, device) as group, reproducible(self.threads, device, seed, self.strict):
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
        write_checkpoint(checkpoint, network, description)

    @override
    def load(self, checkpoint: Path, dataset: Dataset, device: str) -> Predictor:
        """Read a checkpoint; `UserError` if another learner wrote it or it was trained for other classes."""
        import torch

        from decomp.platform.learners.checkpoints import read_checkpoint

        network, _ = read_checkpoint(checkpoint, self.format, self.title, dataset.classes, self._described)
        network.to(device).to(memory_format=torch.channels_last)
        return self._predictor(network, torch.device(device))

    def descent(
        self,
        network: SegmentationNetwork,
        class_weights: npt.NDArray[np.float32],
        device: torch.device,
        group: Group,
    ) -> Descent:
        """Steps of the optimiser along this learner's schedule; the arguments are those of `Descent`."""
        from decomp.platform.learners.training.descent import Descent

        def rate(iteration: int) -> float:
            return self.learning_rate * warmed_polynomial(
                iteration, self.iterations, self.warmup, WARMUP_RATIO, self.power
            )

        return Descent(
            network,
            class_weights,
            device,
            group,
            batch=self.batch,
            rate=rate,
            weight_decay=self.weight_decay,
            layer_decay=self.layer_decay,
        )

    def _initial_network(self, dataset: Dataset, training: Training, crops: StreamedCrops) -> SegmentationNetwork:
        from decomp.platform.learners.checkpoints import read_warm_start

        if training.warm_start is not None:
            expected = {"options": self.network_options(), "in_channels": crops.channels}
            return read_warm_start(
                training.warm_start, self.format, self.title, dataset.classes, self._described, expected
            )
        network = self.network(self.network_options(), crops.channels, len(dataset.classes))
        self.load_pretrained(network)
        network.set_statistics(crops.mean, crops.std)
        return network

    def _described(self, description: Mapping[str, Any]) -> SegmentationNetwork:
        return self.network(description["options"], description["in_channels"], len(description["classes"]))

    def _train(
        self,
        network: SegmentationNetwork,
        crops: StreamedCrops,
        dataset: Dataset,
        training: Training,
        group: Group,
    ) -> None:
        import torch

        device = torch.device(training.device)
        weights = crops.class_weights(self.class_weight_power)
        descend = self.descent(network, weights[: len(dataset.classes)], device, group)
        judges = dataset.ids("validation", training.fold)
        patience = Patience(self.patience)
        kept: dict[str, torch.Tensor] = {}
        with closing(crops.batches(training.rng, self.iterations, group.part(self.batch))) as batches:
            for iteration, batch in enumerate(batches):
                loss = descend(iteration, batch, float(group.sum(float(weights[batch.labels].sum()))))
                done, last = iteration + 1, iteration + 1 == self.iterations
                if done % REPORT_EVERY == 0 or done % self.evaluate_every == 0 or last:
                    if not math.isfinite(group.sum(loss.item())):
                        what = f"The training of the {self.title} diverged by iteration {done}"
                        raise diverged(what, dataset, training.ledger.by_image)
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
        from decomp.platform.learners.inference.segmentation import SegmentationPredictor

        return SegmentationPredictor(network.eval(), device, self.title, self.threads, self.strict)

    def _validate(
        self, network: SegmentationNetwork, dataset: Dataset, images: Sequence[str], device: torch.device, group: Group
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
        return mean_iou(iou(group.sum(confusion)))
