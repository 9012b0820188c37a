"""Any model of segmentation-models-pytorch, by the names of its architecture and encoder; see `networks.smp`.

Iakubovskii, "Segmentation Models PyTorch", https://github.com/qubvel-org/segmentation_models.pytorch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from typing_extensions import override

from decomp.platform.datasets.base import Dataset
from decomp.platform.errors import UserError, nearest
from decomp.platform.learners.segmentation import Segmentation
from decomp.platform.learners.training.pretrained import load_pretrained

if TYPE_CHECKING:
    import torch

    from decomp.platform.learners.networks.segmentation import SegmentationNetwork
    from decomp.platform.learners.networks.smp import Network

CLASSIFIER = ("fc.", "last_linear.", "classifier.", "head.")
"""What follows the encoder in image classifiers."""

FAILURES = (KeyError, ValueError, RuntimeError, TypeError, AttributeError, AssertionError, IndexError)
"""What the libraries raise for an architecture and an encoder that do not go together."""


@dataclass(frozen=True)
class Smp(Segmentation):
    """A model of segmentation-models-pytorch; the options of training are those of `Segmentation`.

    Nothing is downloaded. Whether two trainings on CUDA give the same bytes depends on the model's operations.
    Pretrained weights may be those of the encoder or of the whole model.
    """

    title: ClassVar[str] = "model of segmentation-models-pytorch"
    format: ClassVar[str] = "decomp-smp-1"

    architecture: str = "unet"
    """Name of the model, e.g. ``unet``, ``fpn``, ``deeplabv3plus`` or ``segformer``."""

    encoder: str = "resnet18"
    """Name of the encoder, e.g. ``resnet34``, ``mit_b0`` or a timm encoder ``tu-...``."""

    @override
    def problems(self, dataset: Dataset) -> list[str]:
        """Unknown names, or an architecture and an encoder that do not go together: one crop is tried."""
        import torch

        from decomp.platform.learners.networks.smp import ARCHITECTURES, ENCODERS, is_encoder

        if self.architecture not in ARCHITECTURES:
            return [
                f"learner.architecture: must be one of {', '.join(ARCHITECTURES)}, not {self.architecture!r}"
                f"{nearest(self.architecture, dict.fromkeys(ARCHITECTURES))}."
            ]
        if not is_encoder(self.encoder):
            return [
                f"learner.encoder: there is no encoder {self.encoder!r}"
                f"{nearest(self.encoder, dict.fromkeys(ENCODERS))}; give one of segmentation-models-pytorch, or tu- "
                f"and the name of a model of timm."
            ]
        channels = dataset.image(dataset.ids("train", 0)[0]).shape[-1]
        try:
            network = self.network(self.network_options(), channels, len(dataset.classes)).eval()
            with torch.inference_mode():
                network(torch.zeros(1, channels, *self.crop))
        except UserError as error:
            return [str(error)]
        except FAILURES as error:
            return [str(_misfit(self.architecture, self.encoder, error))]
        return []

    @override
    def network_options(self) -> dict[str, Any]:
        """Names of the parts."""
        return {"architecture": self.architecture, "encoder": self.encoder}

    @override
    def network(self, options: Mapping[str, Any], in_channels: int, n_classes: int) -> Network:
        """The model of these names; `UserError` if there is none."""
        from decomp.platform.learners.networks.smp import Network

        architecture, encoder = options["architecture"], options["encoder"]
        try:
            return Network(architecture, encoder, in_channels, n_classes, self.dropout)
        except FAILURES as error:
            raise _misfit(architecture, encoder, error) from error

    @override
    def take_pretrained(self, network: SegmentationNetwork, tensors: Mapping[str, torch.Tensor], file: Path) -> None:
        from decomp.platform.learners.networks.smp import Network

        assert isinstance(network, Network)
        if any(name.startswith("encoder.") for name in tensors):
            load_pretrained(network.model, tensors, file, ("segmentation_head.",))
        else:
            load_pretrained(network.model.encoder, tensors, file, CLASSIFIER)


def _misfit(architecture: str, encoder: str, error: Exception) -> UserError:
    said = str(error).split("\n", 1)[0].rstrip(".") or type(error).__name__
    return UserError(
        f"learner.encoder: {architecture} cannot be made with {encoder!r} ({said}); choose another encoder."
    )
