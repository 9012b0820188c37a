"""What the heads of a network stand for: classes that exclude each other, or nested sets of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from typing_extensions import override

from decomp.platform.datasets.base import Dataset
from decomp.platform.datasets.volumes import Volumes
from decomp.platform.errors import UserError

if TYPE_CHECKING:
    import torch

SMALLEST = 1e-30
"""Stands for the probability 0, whose logarithm would be infinite."""


class Heads(ABC):
    """The heads of a network.

    Attributes:
        channels: names of the channels that the network is given, which nnU-Net describes together with the labels.
        names: names of the nested sets, if they are.
        sets: what nnU-Net draws patches around: the labels of each head but the background's.
    """

    channels: tuple[str, ...]
    names: tuple[str, ...]
    sets: tuple[Any, ...]

    @property
    @abstractmethod
    def count(self) -> int:
        """Number of heads."""

    @property
    @abstractmethod
    def ignore(self) -> int:
        """Label of voxels that are not annotated; nnU-Net wants it to be the greatest."""

    @abstractmethod
    def labels(self) -> dict[str, Any]:
        """The labels, and with nested sets their order, as ``dataset.json`` has them."""

    @abstractmethod
    def class_logits(self, outputs: torch.Tensor) -> torch.Tensor:
        """Logits of a softmax over the classes, shape (C, *axes), from the heads' outputs, shape (H, *axes)."""

    @abstractmethod
    def segmentation(self, outputs: Iterable[Sequence[torch.Tensor]], shape: Sequence[int]) -> npt.NDArray[np.uint8]:
        """The classes that nnU-Net paints, shape (*axes), uint8, from one head after the other.

        Args:
            outputs: for each head, its outputs in each of the passes that `joined` leaves.
            shape: spatial shape of the volume.
        """

    def joined(self, passes: Iterable[torch.Tensor]) -> list[torch.Tensor]:
        """The outputs of several passes, shape (H, *axes) each, as `segmentation` averages them; by default all."""
        return list(passes)

    def dataset_json(self) -> dict[str, Any]:
        """What nnU-Net calls ``dataset.json``."""
        return {
            "channel_names": {str(number): name for number, name in enumerate(self.channels)},
            **self.labels(),
            "file_ending": ".nii.gz",
        }


@dataclass(frozen=True)
class Exclusive(Heads):
    """A softmax over classes that exclude each other; label 0 is the background.

    Attributes:
        n_classes: number of classes C, each of which has a head.
    """

    n_classes: int
    channels: tuple[str, ...] = ("CT",)
    names = ()

    @property
    @override
    def sets(self) -> tuple[int, ...]:  # type: ignore[override]
        return tuple(range(1, self.n_classes))

    @property
    @override
    def count(self) -> int:
        return self.n_classes

    @property
    @override
    def ignore(self) -> int:
        return self.n_classes

    @override
    def labels(self) -> dict[str, Any]:
        return {"labels": {"background": 0, **{str(label): label for label in self.sets}, "ignore": self.ignore}}

    @override
    def class_logits(self, outputs: torch.Tensor) -> torch.Tensor:
        return outputs

    @override
    def joined(self, passes: Iterable[torch.Tensor]) -> list[torch.Tensor]:
        """One output in place of several: the logarithms of the mean probabilities, on the grid of the prediction."""
        passes = iter(passes)
        several = list(islice(passes, 2))
        if len(several) == 1:
            return several
        mean, n = several[0].float().softmax(0), 1
        for output in chain(several[1:], passes):
            mean += output.float().softmax(0)
            n += 1
        return [(mean / n).clamp_(min=SMALLEST).log_()]

    @override
    def segmentation(self, outputs: Iterable[Sequence[torch.Tensor]], shape: Sequence[int]) -> npt.NDArray[np.uint8]:
        """The class of the greatest output, the lowest one among equals."""
        labels, greatest = np.zeros(shape, np.uint8), np.full(shape, -np.inf, np.float32)
        for label, (output,) in enumerate(outputs):
            values = output.float().numpy()
            greater = values > greatest
            labels[greater] = label
            np.maximum(greatest, values, out=greatest)
        return labels


@dataclass(frozen=True)
class Nesting(Heads):
    """Nested sets S_1 > S_2 > ... > S_H of labels, each of which has a sigmoid head (Sec. 2 of the method notes).

    Attributes:
        names: names of the sets, length H.
        sets: their labels, the outermost first, length H.
        exclusive: the one label that each set has and the next does not, length H; with the background 0 these are all
            classes.
    """

    names: tuple[str, ...]
    sets: tuple[tuple[int, ...], ...]
    exclusive: tuple[int, ...]
    channels: tuple[str, ...] = ("CT",)

    @classmethod
    def of(
        cls, classes: tuple[str, ...], nested: Mapping[str, tuple[int, ...]], channels: tuple[str, ...] = ("CT",)
    ) -> Nesting:
        """Check the nesting of a data set.

        Raises:
            UserError: if the classes are not nested as nnU-Net needs.
        """
        names, sets = tuple(nested), [set(labels) for labels in nested.values()]
        if not sets or not sets[-1]:
            raise UserError("dataset: a nested class has no labels; give them in `nested` in the data set's class.")
        differences = [outer - inner for outer, inner in zip(sets, [*sets[1:], set()], strict=True)]
        for name, outer, inner, difference in zip(names, sets, [*sets[1:], set()], differences, strict=True):
            if len(difference) != 1 or not inner < outer:
                raise UserError(
                    f"dataset: the nested class {name!r} ({sorted(outer)}) must contain the next one ({sorted(inner)}) "
                    f"and exactly one label more; correct `nested` in the data set's class."
                )
        if sets[0] != set(range(1, len(classes))):
            raise UserError(
                f"dataset: the outermost nested class {names[0]!r} must contain every class but the background, which "
                f"is label 0; correct `nested` in the data set's class."
            )
        exclusive = tuple(label for (label,) in map(list, differences))
        return cls(names, tuple(tuple(sorted(labels)) for labels in sets), exclusive, channels)

    @property
    @override
    def count(self) -> int:
        return len(self.sets)

    @property
    @override
    def ignore(self) -> int:
        return len(self.sets) + 1

    @override
    def labels(self) -> dict[str, Any]:
        """The labels of the sets and their order.

        The i-th label of ``regions_class_order`` is painted where head i exceeds 0.5, over what the heads before it
        have painted, so the order is that of the exclusive labels in the nesting. In the order of the labels
        themselves, KiTS23's tumour and cyst would be swapped.
        """
        sets = {name: list(labels) for name, labels in zip(self.names, self.sets, strict=True)}
        return {
            "labels": {"background": 0, **sets, "ignore": self.ignore},
            "regions_class_order": list(self.exclusive),
        }

    @override
    def class_logits(self, outputs: torch.Tensor) -> torch.Tensor:
        """Logits of a softmax over the exclusive classes that gives the probabilities of Sec. 2 of the method notes.

        The heads are marginals, so they are clamped to the nesting and differenced.

        Args:
            outputs: logits of the sigmoid heads, shape (H, *axes).

        Returns:
            Logarithms of the probabilities, shape (H + 1, *axes), float32, in order of the labels.
        """
        import torch

        outputs = outputs.float()
        marginals = outputs.sigmoid()
        for head in range(1, len(marginals)):
            torch.minimum(marginals[head], marginals[head - 1], out=marginals[head])
        classes = torch.empty((len(outputs) + 1, *outputs.shape[1:]), dtype=torch.float32, device=outputs.device)
        classes[0] = (-outputs[0]).sigmoid()
        for head, label in enumerate(self.exclusive):
            inner = marginals[head + 1] if head + 1 < len(marginals) else 0.0
            classes[label] = marginals[head] - inner
        return classes.clamp_(min=SMALLEST).log_()

    @override
    def segmentation(self, outputs: Iterable[Sequence[torch.Tensor]], shape: Sequence[int]) -> npt.NDArray[np.uint8]:
        """The innermost set whose probability exceeds 0.5, the mean of the passes."""
        labels = np.zeros(shape, np.uint8)
        for passes, label in zip(outputs, self.exclusive, strict=True):
            probabilities = sum(output.float().sigmoid().numpy() for output in passes)
            labels[probabilities > 0.5 * len(passes)] = label
        return labels


def heads_of(dataset: Dataset) -> Heads:
    """The heads for a data set of volumes: nested sets if it has any, else its classes.

    Raises:
        UserError: if there is no class besides the background, or the nested classes are not nested.
    """
    channels: tuple[str, ...] = getattr(dataset, "channels", Volumes.channels)
    if dataset.nested:
        return Nesting.of(dataset.classes, dataset.nested, channels)
    if len(dataset.classes) < 2:
        raise UserError("dataset: nnU-Net needs a class besides the background, which is label 0; add one.")
    return Exclusive(len(dataset.classes), channels)
