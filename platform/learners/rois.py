"""What learners of ROIs share: their options, the annotated ROIs, the training loop and the checkpoint."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional

from decomp.platform.datasets.base import IGNORE, Dataset, Split
from decomp.platform.errors import UserError
from decomp.platform.learners.base import Learner, Predictor, Training, check_options
from decomp.platform.learners.checkpoints import read_checkpoint, write_checkpoint
from decomp.platform.learners.inference.bottleneck import Bottleneck
from decomp.platform.learners.inference.decode import decode
from decomp.platform.learners.reproducible import reproducible
from decomp.platform.metrics import confusion_matrix, weighted_f1
from decomp.platform.predictions import Prediction, Wanted

Descend = Callable[[Any, torch.Tensor], torch.Tensor]


class Inputs(Protocol):
    """ROIs as a network reads them, on its device."""

    def batches(self, order: torch.Tensor, sizes: list[int]) -> Iterable[Any]:
        """What the network is given of each batch.

        Args:
            order: numbers of the ROIs, shape (n,), int64, on the CPU.
            sizes: ROIs per batch, which take them in this order; they sum to n.
        """

    def chunks(self) -> list[int]:
        """Sizes of batches of all ROIs, in their own order, that fit in memory when predicted."""


class RoiNetwork(nn.Module, ABC):
    """A network from the inputs of B ROIs to logits, shape (B, C).

    Attributes:
        options: arguments that describe the network in its checkpoint, of the types that JSON has.
    """

    options: dict[str, Any]

    @abstractmethod
    def embed(self, inputs: Any) -> torch.Tensor:
        """Activations of the penultimate layer, shape (B, D)."""

    @abstractmethod
    def classify(self, embedded: torch.Tensor) -> torch.Tensor:
        """Logits of the last layer, shape (B, C), from what `embed` gave."""

    def forward(self, inputs: Any) -> torch.Tensor:
        """Logits, shape (B, C)."""
        return self.classify(self.embed(inputs))

    def descent(self) -> Descend:
        """A function of a batch's inputs and labels, shape (B,), int64, made once for a training.

        It returns the mean cross-entropy and leaves the gradients in the parameters' `grad`.
        """

        def descend(inputs: Any, labels: torch.Tensor) -> torch.Tensor:
            self.zero_grad(set_to_none=True)
            loss = functional.cross_entropy(self(inputs), labels)
            loss.backward()  # type: ignore[no-untyped-call]
            return loss.detach()

        return descend


class Rois(NamedTuple):
    """Annotated ROIs of a split.

    Attributes:
        contents: what the data set gives of each, length n.
        labels: their classes, shape (n,), int64.
    """

    contents: list[Any]
    labels: npt.NDArray[np.int64]


@dataclass(frozen=True)
class RoiLearner(Learner):
    """Trains a network on annotated ROIs by Adam with cosine annealing; the validation split chooses the epoch.

    After each epoch the annotated ROIs of the validation split are scored by the weighted F1; the weights of the best
    epoch are kept, the later one's among equals, and the last one's where no ROI of that split is annotated. The
    annotated ROIs stay in memory as the data set gives them, uncopied, so that memory-mapped arrays stay on disk.

    A warm start keeps all of the checkpoint but the optimiser: weights and what was measured of the data.

    Attributes:
        epochs: passes over the annotated ROIs of the train split.
        batch: ROIs per step; a last batch of a single ROI joins the one before it.
        learning_rate: of the first epoch; it falls to 0 along half a cosine.
        weight_decay: Adam's, which adds to the gradient.
        dropout: share of the activations that are dropped in training.
        threads: CPU threads of training and prediction.
    """

    title: ClassVar[str]
    format: ClassVar[str]

    epochs: int = 60
    batch: int = 16
    learning_rate: float = 5e-4
    weight_decay: float = 5e-4
    dropout: float = 0.2
    threads: int = 1

    def __post_init__(self) -> None:
        check_options(self, self._rules())

    def _rules(self) -> dict[str, tuple[bool, str]]:
        """For each option whether its value is fit, and what it must be."""
        return {
            "epochs": (self.epochs >= 1, "at least 1"),
            "batch": (self.batch >= 1, "at least 1"),
            "learning_rate": (0 < self.learning_rate < math.inf, "positive"),
            "weight_decay": (0 <= self.weight_decay < math.inf, "0 or more"),
            "dropout": (0 <= self.dropout < 1, "from 0 to less than 1"),
            "threads": (self.threads >= 1, "at least 1"),
        }

    @abstractmethod
    def new_network(self, contents: Sequence[Any], n_classes: int) -> RoiNetwork:
        """A network with random weights for ROIs like `contents`, the annotated ones of the train split."""

    @abstractmethod
    def described_network(self, options: Mapping[str, Any], n_classes: int) -> RoiNetwork:
        """A network with any weights, of which a checkpoint says `RoiNetwork.options`."""

    @abstractmethod
    def inputs(self, network: RoiNetwork, contents: Sequence[Any], device: torch.device) -> Inputs:
        """Make ROIs ready for the network; `UserError` if they are not what it was made for."""

    def training_epochs(self, n_regions: int) -> int:
        """Always the same."""
        return self.epochs

    def fit(self, dataset: Dataset, training: Training, checkpoint: Path) -> None:
        """Train on the annotated ROIs and write a safetensors file to exactly the path `checkpoint`.

        Raises:
            UserError: if nothing is annotated in the train split, the ROIs are of the wrong kind, or the warm start's
                checkpoint does not fit.
            RuntimeError: if the training diverges.
        """
        rois, validation = (annotated_rois(dataset, training, split) for split in ("train", "validation"))
        if not rois.contents:
            raise UserError("There is nothing to train on: no ROI of the train split is annotated with a class.")
        device = torch.device(training.device)
        with reproducible(self.threads, device, int(training.rng.integers(2**63))):
            network = self.new_network(rois.contents, len(dataset.classes))
            if training.warm_start is not None:
                network = self._warm(training.warm_start, dataset, network.options)
            self.train(network.to(device), rois, validation, training)
        description = {"format": self.format, "classes": dataset.classes, "options": network.options}
        write_checkpoint(checkpoint, network.state_dict(), description)

    def load(self, checkpoint: Path, dataset: Dataset, device: str) -> Predictor:
        """Read a checkpoint; `UserError` if another learner wrote it or it was trained for other classes."""
        network = self._from_file(checkpoint, dataset.classes).to(device)
        return RoiPredictor(self, network.eval(), torch.device(device))

    def train(self, network: RoiNetwork, rois: Rois, validation: Rois, training: Training) -> None:
        """Train a network that is on the training's device; `RuntimeError` if the loss is not finite."""
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
                group["lr"] = self.learning_rate * (0.5 + 0.5 * math.cos(math.pi * epoch / self.epochs))
            network.train()
            order = torch.from_numpy(training.rng.permutation(len(labels)))
            truths = torch.split(labels[order.to(device)], sizes)
            for batch, true in zip(inputs.batches(order, sizes), truths, strict=True):
                loss = descend(batch, true)
                optimiser.step()
            if not math.isfinite(loss.item()):
                raise RuntimeError(
                    f"The training of the {self.title} diverged by epoch {epoch + 1}; lower learning_rate, or check "
                    f"the features for NaN."
                )
            if judges is not None:
                score = _score(network.eval(), judges, validation.labels)
                if score >= best:
                    best, kept = score, {name: values.clone() for name, values in network.state_dict().items()}
            training.progress((epoch + 1) / self.epochs)
        if kept:
            network.load_state_dict(kept)

    def _warm(self, checkpoint: Path, dataset: Dataset, expected: Mapping[str, Any]) -> RoiNetwork:
        network = self._from_file(checkpoint, dataset.classes)
        if network.options != expected:
            raise UserError(
                f"The warm start {checkpoint} is a {self.title} of {network.options}, not {expected}; train from "
                f"scratch or keep the options."
            )
        return network

    def _from_file(self, checkpoint: Path, classes: tuple[str, ...]) -> RoiNetwork:
        description, tensors = read_checkpoint(checkpoint, self.format, self.title, classes)
        try:
            with torch.random.fork_rng(devices=[]):  # the initial weights are drawn and thrown away
                network = self.described_network(description["options"], len(classes))
            network.load_state_dict(tensors)
        except (KeyError, TypeError, RuntimeError) as error:
            raise UserError(
                f"{checkpoint} does not hold the network that it describes ({error}); give a file that the "
                f"{self.title} wrote."
            ) from error
        return network


class RoiPredictor(Predictor):
    """A trained network of ROIs; `RoiLearner.load` makes it."""

    def __init__(self, learner: RoiLearner, network: RoiNetwork, device: torch.device) -> None:
        self._learner = learner
        self._network = network
        self._device = device

    def predict(self, image: Any, wanted: Wanted) -> Prediction:
        """Predict the n ROIs of a slide; the features of a ROI are the penultimate activations, of Euclidean norm 1.

        Raises:
            UserError: if the ROIs are not of the kind trained on.
            FloatingPointError: if the network's output is not finite.
        """
        with torch.inference_mode(), reproducible(self._learner.threads, self._device):
            inputs, order = self._learner.inputs(self._network, image, self._device), torch.arange(len(image))
            embedded = torch.cat([self._network.embed(batch) for batch in inputs.batches(order, inputs.chunks())])
            logits = self._network.classify(embedded).T.contiguous()
            features = functional.normalize(embedded).T.contiguous()
            return decode(logits, wanted, Bottleneck(features, (1.0,)))


def annotated_rois(dataset: Dataset, training: Training, split: Split) -> Rois:
    """Read the annotated ROIs of a split, but for those of no class, slide by slide in order of their ids.

    Raises:
        UserError: if the data set has no ROIs, or a label is beyond its classes.
    """
    if dataset.task != "roi":
        raise UserError("This learner is for data sets of ROIs; choose one for segmentation, e.g. unet.")
    contents: list[Any] = []
    labels: list[npt.NDArray[np.int64]] = [np.zeros(0, np.int64)]
    for slide in dataset.ids(split, training.fold):
        regions = training.ledger.regions(slide)
        if not regions:
            continue
        places = np.arange(dataset.shape(slide)[0])
        numbers = np.unique(np.concatenate([region.of(places) for region in regions]))
        true = dataset.labels(slide)[numbers].astype(np.int64)
        if ((true >= len(dataset.classes)) & (true != IGNORE)).any():
            raise UserError(
                f"{slide!r} has a label beyond the {len(dataset.classes)} classes; correct the data set, or give ROIs "
                f"of no class the label {IGNORE}."
            )
        known = true != IGNORE
        if known.any():
            rois = dataset.image(slide)
            contents += [rois[number] for number in numbers[known]]
            labels.append(true[known])
    return Rois(contents, np.concatenate(labels))


def batch_sizes(n: int, batch: int) -> list[int]:
    """Sizes of the batches of n ROIs; a last one of a single ROI, which has no variance, joins the one before it."""
    sizes = [min(batch, n - first) for first in range(0, n, batch)]
    if batch > 1 and len(sizes) > 1 and sizes[-1] == 1:
        sizes[-2:] = [batch + 1]
    return sizes


def _score(network: RoiNetwork, inputs: Inputs, labels: npt.NDArray[np.int64]) -> float:
    with torch.inference_mode():
        order = torch.arange(len(labels))
        logits = torch.cat([network(batch) for batch in inputs.batches(order, inputs.chunks())])
    predicted = logits.argmax(1).cpu().numpy()
    return weighted_f1(confusion_matrix(labels.astype(np.uint8), predicted.astype(np.uint8), logits.shape[1]))
