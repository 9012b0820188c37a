"""Any model of segmentation-models-pytorch, by the names of its architecture and encoder.

Iakubovskii, "Segmentation Models PyTorch", https://github.com/qubvel-org/segmentation_models.pytorch.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from typing_extensions import override

from decomp.platform.errors import UserError, nearest
from decomp.platform.learners.networks.segmentation import SegmentationNetwork
from decomp.platform.learners.networks.torchscript import without_deprecation_warnings
from decomp.platform.learners.segmentation import Segmentation
from decomp.platform.learners.training.pretrained import load_pretrained

with without_deprecation_warnings():
    import segmentation_models_pytorch
    import timm

ARCHITECTURES = tuple(name for name in segmentation_models_pytorch.MODEL_ARCHITECTURES_MAPPING if name != "dpt")
"""All but the one whose encoder gives more than maps."""

CLASSIFIER = ("fc.", "last_linear.", "classifier.", "head.")
"""What follows the encoder in image classifiers."""


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

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.architecture not in ARCHITECTURES:
            raise UserError(
                f"learner.architecture: must be one of {', '.join(ARCHITECTURES)}, not {self.architecture!r}"
                f"{nearest(self.architecture, dict.fromkeys(ARCHITECTURES))}."
            )
        encoders = dict.fromkeys(segmentation_models_pytorch.encoders.get_encoder_names())
        if self.encoder not in encoders and not timm.is_model(self.encoder.removeprefix("tu-")):
            raise UserError(
                f"learner.encoder: there is no encoder {self.encoder!r}{nearest(self.encoder, encoders)}; give one of "
                f"segmentation-models-pytorch, or tu- and the name of a model of timm."
            )

    @override
    def network_options(self) -> dict[str, Any]:
        """Names of the parts."""
        return {"architecture": self.architecture, "encoder": self.encoder}

    @override
    def network(self, options: Mapping[str, Any], in_channels: int, n_classes: int) -> "Network":
        """The model of these names; `UserError` if there is none."""
        return Network(options["architecture"], options["encoder"], in_channels, n_classes)

    @override
    def take_pretrained(self, network: SegmentationNetwork, tensors: Mapping[str, torch.Tensor], file: Path) -> None:
        assert isinstance(network, Network)
        if any(name.startswith("encoder.") for name in tensors):
            load_pretrained(network.model, tensors, file, ("segmentation_head.",))
        else:
            load_pretrained(network.model.encoder, tensors, file, CLASSIFIER)


class Network(SegmentationNetwork):
    """The model between normalisation and cropping; images are padded to a size that its encoder can divide."""

    def __init__(self, architecture: str, encoder: str, in_channels: int, n_classes: int) -> None:
        super().__init__(in_channels)
        try:
            self.model = segmentation_models_pytorch.create_model(
                architecture, encoder, encoder_weights=None, in_channels=in_channels, classes=n_classes
            )
        except (KeyError, ValueError, RuntimeError) as error:
            raise UserError(
                f"learner.encoder: {architecture} cannot be made with {encoder!r} ({error}); choose another encoder."
            ) from error
        self.stride = int(self.model.encoder.output_stride)

    @override
    def encode(self, pixels: torch.Tensor) -> list[torch.Tensor]:
        """The encoder's maps, the first of which is the padded image."""
        return list(self.model.encoder(self.padded(pixels)))

    @override
    def decode(self, maps: list[torch.Tensor], size: tuple[int, int]) -> torch.Tensor:
        """Logits of the image without its padding."""
        logits: torch.Tensor = self.model.segmentation_head(self.model.decoder(maps))
        return logits.float()[..., : size[0], : size[1]]

    @override
    def layers_above(self, name: str) -> int:
        """The encoder counts as one layer."""
        return int(name.startswith("model.encoder."))
