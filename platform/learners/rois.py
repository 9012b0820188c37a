"""What learners of ROIs share: their options and the training loop."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import Field
from typing_extensions import override

from decomp.platform.datasets.base import Dataset
from decomp.platform.errors import UserError
from decomp.platform.learners.base import Learner, Predictor, Training
from decomp.platform.learners.training.annotated_rois import annotated_rois, batch_sizes
from decomp.platform.learners.training.divergence import diverged
from decomp.platform.learners.training.schedules import cosine
from decomp.platform.metrics import confusion_matrix, weighted_f1
from decomp.platform.passes import Passes

if TYPE_CHECKING:
    import torch

    from decomp.platform.learners.networks.rois import Inputs, RoiNetwork
    from decomp.platform.learners.training.annotated_rois import Rois


@dataclass(frozen=True)
class RoiLearner(Learner):
    """Trains a network on annotated ROIs by Adam with cosine annealing; the validation split chooses the epoch.

    After each epoch the annotated ROIs of the validation split are scored by the weighted F1; the weights of the best
    epoch, the latest among equals, are kept, or those of the last one where no ROI of that split is annotated. The
    annotated ROIs stay in memory as the data set gives them, uncopied, so that memory-mapped arrays stay on disk.

    A warm start keeps the weights and what was measured on the data; the optimiser starts anew.
    """

    title: ClassVar[str]
    """What the learner is called in messages."""

    format: ClassVar[str]
    """Format of its checkpoints."""

    axes = (1,)

    epochs: Annotated[int, Field(ge=1)] = 60
    """Passes over the annotated ROIs of the train split."""

    batch: Annotated[int, Field(ge=1)] = 16
    """ROIs per step; a last batch of a single ROI joins the one before it."""

    learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 5e-4
    """Learning rate of the first epoch; it falls to 0 along half a cosine."""

    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 5e-4
    """Weight decay of Adam, which is added to the gradient."""

    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.2
    """Share of the activations that are dropped in training."""

    threads: Annotated[int, Field(ge=1)] = 1
    """CPU threads of training and prediction."""

    @override
    def check_passes(self, passes: Passes) -> None:
        passes.check(dropout=self.dropout, flips=0)

    @abstractmethod
    def new_network(self, contents: Sequence[Any], n_classes: int) -> RoiNetwork:
        """A network with random weights for ROIs like `contents`, the annotated ones of the train split."""

    @abstractmethod
    def described_network(self, options: Mapping[str, Any], n_classes: int) -> RoiNetwork:
        """A network with any weights, made from the `RoiNetwork.options` that a checkpoint holds."""

    @abstractmethod
    def inputs(self, network: RoiNetwork, contents: Sequence[Any], device: torch.device) -> Inputs:
        """Make ROIs ready for the network; `UserError` if they are not what it was made for."""

    @abstractmethod
    def check(self, contents: Sequence[Any]) -> None:
        """`UserError` if ROIs are not of the kind that the network reads."""

    @override
    def problems(self, dataset: Dataset) -> list[str]:
        """Whether the ROIs of the first slide are of the kind that the network reads."""
        slide = dataset.ids("train", 0)[0]
        try:
            self.check(dataset.image(slide))
        except UserError as error:
            return [f"learner: {error} ({slide})"]
        return []

    @override
    def training_epochs(self, n_regions: int) -> int:
        """Always the same."""
        return self.epochs

    @override
    def fit(self, dataset: Dataset, training: Training, checkpoint: Path) -> None:
        """Train on the annotated ROIs and write a safetensors file to exactly the path `checkpoint`.

        Raises:
            UserError: if nothing is annotated in the train split, the ROIs are of the wrong kind, or the warm start's
                checkpoint does not fit.
            RuntimeError: if the training diverges.
        """
        import torch

        from decomp.platform.learners.checkpoints import write_checkpoint
        from decomp.platform.learners.reproducible import reproducible

        rois, validation = (annotated_rois(dataset, training, split) for split in ("train", "validation"))
        if not rois.contents:
            raise UserError("There is nothing to train on: no ROI of the train split is annotated with a class.")
        device = torch.device(training.device)
        with reproducible(self.threads, device, int(training.rng.integers(2**63))):
            network = self._initial_network(dataset, training, rois)
            try:
                self.train(network.to(device), rois, validation, training)
            except FloatingPointError as error:
                raise diverged(str(error), dataset, training.ledger.by_image) from error
        description = {"format": self.format, "classes": dataset.classes, "options": network.options}
        write_checkpoint(checkpoint, network, description)

    @override
    def load(self, checkpoint: Path, dataset: Dataset, device: str) -> Predictor:
        """Read a checkpoint; `UserError` if another learner wrote it or it was trained for other classes."""
        import torch

        from decomp.platform.learners.checkpoints import read_checkpoint
        from decomp.platform.learners.inference.rois import RoiPredictor

        network, _ = read_checkpoint(checkpoint, self.format, self.title, dataset.classes, self._described)
        return RoiPredictor(network.to(device).eval(), self.inputs, torch.device(device), self.threads)

    def train(self, network: RoiNetwork, rois: Rois, validation: Rois, training: Training) -> None:
        """Train a network that is on the training's device; `FloatingPointError` if the loss is not finite."""
        import torch

        device = torch.device(training.device)
        inputs, labels = self.inputs(network, rois.contents, device), torch.from_numpy(rois.labels).to(device)
        judges = self.inputs(network, validation.contents, device) if validation.contents else None
        sizes = batch_sizes(len(labels), self.batch)
        optimiser = torch.optim.Adam(
            network.parameters(), lr=self.learning_rate, weight_decay=self.weight_decay, fused=True
        )
        best, descend = 0.0, network.descent()
        kept: dict[str, torch.Tensor] = {}
        for epoch in range(self.epochs):
            for group in optimiser.param_groups:
                group["lr"] = self.learning_rate * cosine(epoch, self.epochs)
            network.train()
            order = torch.from_numpy(training.rng.permutation(len(labels)))
            truths = torch.split(labels[order.to(device)], sizes)
            for batch, true in zip(inputs.batches(order, sizes), truths, strict=True):
                loss = descend(batch, true)
                optimiser.step()
            if not math.isfinite(loss.item()):
                raise FloatingPointError(f"The training of the {self.title} diverged by epoch {epoch + 1}")
            if judges is not None:
                score = _score(network.eval(), judges, validation.labels)
                if score >= best:
                    best, kept = score, {name: values.clone() for name, values in network.state_dict().items()}
            training.progress((epoch + 1) / self.epochs)
        if kept:
            network.load_state_dict(kept)

    def _initial_network(self, dataset: Dataset, training: Training, rois: Rois) -> RoiNetwork:
        from decomp.platform.learners.checkpoints import read_warm_start

        # Made for a warm start too: it tells what the checkpoint must hold, and draws as many random numbers.
        network = self.new_network(rois.contents, len(dataset.classes))
        if training.warm_start is None:
            return network
        expected = {"options": network.options}
        return read_warm_start(training.warm_start, self.format, self.title, dataset.classes, self._described, expected)

    def _described(self, description: Mapping[str, Any]) -> RoiNetwork:
        return self.described_network(description["options"], len(description["classes"]))


def _score(network: RoiNetwork, inputs: Inputs, labels: npt.NDArray[np.int64]) -> float:
    import torch

    with torch.inference_mode():
        order = torch.arange(len(labels))
        logits = torch.cat([network(batch) for batch in inputs.batches(order, inputs.chunks())])
    predicted = logits.argmax(1).cpu().numpy()
    return weighted_f1(confusion_matrix(labels.astype(np.uint8), predicted.astype(np.uint8), logits.shape[1]))
