"""Nested classes: sets of labels, each within the one before (Sec. 2 of the method notes)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from decomp.platform.datasets.base import Dataset
from decomp.platform.errors import UserError

if TYPE_CHECKING:
    import torch

SMALLEST = 1e-30
"""Stands for the probability 0, whose logarithm would be infinite."""


@dataclass(frozen=True)
class Nesting:
    """Nested sets S_1 > S_2 > ... > S_H of labels, each of which has a sigmoid head.

    Attributes:
        names: names of the sets, length H.
        sets: their labels, the outermost first, length H.
        exclusive: the one label that each set has and the next does not, length H; with the background 0 these are all
            classes.
    """

    names: tuple[str, ...]
    sets: tuple[tuple[int, ...], ...]
    exclusive: tuple[int, ...]

    @classmethod
    def of(cls, classes: tuple[str, ...], nested: Mapping[str, tuple[int, ...]]) -> Nesting:
        """Check the nesting of a data set.

        Raises:
            UserError: if there are fewer than two nested classes, or they are not nested as nnU-Net needs.
        """
        names, sets = tuple(nested), [set(labels) for labels in nested.values()]
        if len(sets) < 2 or not sets[-1]:
            raise UserError("dataset: nnU-Net needs two nested classes or more; give `nested` in the data set's class.")
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
        return cls(
            names, tuple(tuple(sorted(labels)) for labels in sets), tuple(label for (label,) in map(list, differences))
        )

    @classmethod
    def of_dataset(cls, dataset: Dataset) -> Nesting:
        """The nesting of a data set; raises as `of` does."""
        return cls.of(dataset.classes, dataset.nested)

    @property
    def ignore(self) -> int:
        """Label of voxels that are not annotated; nnU-Net wants it to be the greatest."""
        return len(self.sets) + 1

    def dataset_json(self) -> dict[str, Any]:
        """What nnU-Net calls ``dataset.json``.

        The i-th label of its ``regions_class_order`` is painted where head i exceeds 0.5, over what the heads before it
        have painted, so the order is that of the exclusive labels in the nesting. In the order of the labels
        themselves, KiTS23's tumour and cyst would be swapped.
        """
        return {
            "channel_names": {"0": "CT"},
            "labels": {
                "background": 0,
                **{name: list(labels) for name, labels in zip(self.names, self.sets, strict=True)},
                "ignore": self.ignore,
            },
            "regions_class_order": list(self.exclusive),
            "file_ending": ".nii.gz",
        }

    def exclusive_logits(self, heads: torch.Tensor) -> torch.Tensor:
        """Logits of a softmax over the exclusive classes that gives the probabilities of Sec. 2 of the method notes.

        The heads are marginals, so they are clamped to the nesting and differenced.

        Args:
            heads: logits of the sigmoid heads, shape (H, *axes), float32.

        Returns:
            Logarithms of the probabilities, shape (H + 1, *axes), float32, in order of the labels.
        """
        import torch

        marginals = heads.sigmoid()
        for head in range(1, len(marginals)):
            torch.minimum(marginals[head], marginals[head - 1], out=marginals[head])
        classes = torch.empty((len(heads) + 1, *heads.shape[1:]), dtype=torch.float32, device=heads.device)
        classes[0] = (-heads[0]).sigmoid()
        for head, label in enumerate(self.exclusive):
            inner = marginals[head + 1] if head + 1 < len(marginals) else 0.0
            classes[label] = marginals[head] - inner
        return classes.clamp_(min=SMALLEST).log_()
