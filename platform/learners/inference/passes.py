"""Predictors that give logits, and the prediction of an image in several of their passes (Sec. 10 of the notes)."""

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn.modules.dropout import _DropoutNd
from typing_extensions import override

from decomp.platform.datasets.base import Dataset
from decomp.platform.learners.base import Predictor
from decomp.platform.learners.inference.bottleneck import Bottleneck
from decomp.platform.learners.inference.decode import decode
from decomp.platform.learners.inference.fold import Fold
from decomp.platform.learners.inference.own import add_pass, own_uncertainty
from decomp.platform.learners.reproducible import reproducible
from decomp.platform.measures import OwnMeasure
from decomp.platform.metrics import confusion_matrix
from decomp.platform.passes import Method, flips
from decomp.platform.predictions import Measure, Prediction, Wanted


class ForwardPredictor(Predictor):
    """A trained network whose forward passes give logits: by itself it predicts in one pass.

    A learner whose `Learner.load` gives one can predict in several passes; see `Learner.check_passes`.

    Attributes:
        network: the network, in evaluation mode, on its device.
        device: where it is.
        threads: CPU threads.
        strict: as in `reproducible`.

    Example:
        >>> class Trained(ForwardPredictor):
        ...     def forward(self, image, regions=False):
        ...         return self.network(torch.from_numpy(image)), None
    """

    def __init__(self, network: nn.Module, device: torch.device, threads: int, strict: bool = True) -> None:
        self.network, self.device, self.threads, self.strict = network, device, threads, strict

    @abstractmethod
    def forward(self, image: Any, regions: bool = False) -> tuple[torch.Tensor, Bottleneck | None]:
        """The network's output for one image, made in one pass, and its bottleneck.

        Called within `computing`, for an image in memory of any strides.

        Args:
            image: as for `predict`.
            regions: whether the bottleneck is needed.

        Returns:
            The output, shape (heads, *axes), float, on the device; the bottleneck, which may be None unless needed.

        Raises:
            UserError: if the image is not of the kind trained on.
        """

    def logits(self, output: torch.Tensor) -> torch.Tensor:
        """Logits of a softmax over the classes, shape (C, *axes), from an output; by default the output itself."""
        return output

    def compared(self, dataset: Dataset, image: str, outputs: Iterable[torch.Tensor]) -> npt.NDArray[np.int64]:
        """Confusion matrix of one test image, shape (C, C), int64, from the outputs of its passes.

        Overridden only where a prediction is compared on a grid other than the one on which it was made.
        """
        fold = Fold(entropies=False)
        for output in outputs:
            fold.add(self.logits(output))
            del output  # the next pass needs its memory
        labels = decode(fold.mean_logits(), Wanted()).labels
        return confusion_matrix(dataset.labels(image), labels, len(dataset.classes))

    @contextmanager
    def computing(self, seed: int | None = None) -> Iterator[None]:
        """A context in which the network computes the same every time; `seed` as in `reproducible`."""
        with torch.inference_mode(), reproducible(self.threads, self.device, seed, self.strict):
            yield

    @override
    def predict(self, image: Any, wanted: Wanted) -> Prediction:
        with self.computing():
            output, bottleneck = self.forward(image, wanted.regions)
            return decode(self.logits(output), wanted, bottleneck)

    def dropping(self) -> AbstractContextManager[object]:
        """A context in which the dropout layers are on, and nothing else is as in training."""
        return dropout_on(self.network)


class FoldedPredictor(Predictor):
    """Predicts one image in several passes, which are folded as they come.

    Regions are described by the bottleneck of the first pass, which sees the image as it is; their gradients have the
    residuals of the mean prediction.

    Args:
        members: the models of an ensemble; a single model otherwise. They stay in memory, on their device.
        method: how passes are made.
        seeds: of each pass; None for one that draws nothing.

    Raises:
        TypeError: if a model cannot predict in several passes.
    """

    def __init__(self, members: Sequence[Predictor], method: Method, seeds: Sequence[int | None]) -> None:
        models = [member for member in members if isinstance(member, ForwardPredictor)]
        if len(models) < len(members):
            raise TypeError(f"{type(members[0]).__name__} predicts in one pass; make it a ForwardPredictor.")
        self._models, self._method, self._seeds = models, method, seeds

    @override
    def predict(self, image: Any, wanted: Wanted) -> Prediction:
        first = self._models[0]
        own = wanted.measure if isinstance(wanted.measure, OwnMeasure) else None
        compared = isinstance(wanted.measure, Measure) and wanted.measure.over_passes
        fold = Fold(entropies=wanted.maps or compared)

        def add(output: torch.Tensor) -> None:
            logits = first.logits(output)
            fold.add(logits)
            if own is not None:
                add_pass(own, logits)

        with first.computing():
            output, bottleneck = self._pass(0, image, wanted.regions)
            add(output)
            del output  # the next pass needs its memory
            for number in range(1, len(self._seeds)):
                add(self._pass(number, image)[0])
            mean = fold.mean_logits()
            if own is None:
                return decode(mean, wanted, bottleneck, fold.expected_entropy())
            prediction = decode(mean, replace(wanted, measure=None), bottleneck, fold.expected_entropy())
            return replace(prediction, uncertainty=own_uncertainty(own, mean))

    @override
    def evaluate(self, dataset: Dataset, image: str, pixels: Any) -> npt.NDArray[np.int64]:
        """Confusion matrix of one test image for the mean of the passes."""
        first = self._models[0]
        with first.computing():
            outputs = (self._pass(number, pixels)[0] for number in range(len(self._seeds)))
            return first.compared(dataset, image, outputs)

    def _pass(self, number: int, image: Any, regions: bool = False) -> tuple[torch.Tensor, Bottleneck | None]:
        """Output and bottleneck of one pass, from 0."""
        match self._method:
            case "ensemble":
                model = self._models[number]
                with model.computing():
                    return model.forward(image, regions)
            case "mc-dropout":
                (model,) = self._models
                with model.computing(self._seeds[number]), model.dropping():
                    return model.forward(image, regions)
            case "test-time-augmentation":
                (model,) = self._models
                axes = flips(image.ndim - 1)[number]
                output, bottleneck = model.forward(np.flip(image, axes), regions)
                return output.flip([axis + 1 for axis in axes]), bottleneck


@contextmanager
def dropout_on(network: nn.Module) -> Iterator[None]:
    """Put the dropout layers of a network in training mode; everything else, batch norm above all, stays as it is."""
    layers = [module for module in network.modules() if isinstance(module, _DropoutNd)]
    modes = [layer.training for layer in layers]
    for layer in layers:
        layer.training = True
    try:
        yield
    finally:
        for layer, mode in zip(layers, modes, strict=True):
            layer.training = mode
