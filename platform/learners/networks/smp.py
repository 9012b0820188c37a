"""A model of segmentation-models-pytorch as a network that labels every pixel.

Iakubovskii, "Segmentation Models PyTorch", https://github.com/qubvel-org/segmentation_models.pytorch.
"""

import torch
from torch import nn
from typing_extensions import override

from decomp.platform.learners.networks.segmentation import SegmentationNetwork
from decomp.platform.learners.networks.torchscript import without_deprecation_warnings

with without_deprecation_warnings():
    import segmentation_models_pytorch
    import timm

ARCHITECTURES = tuple(name for name in segmentation_models_pytorch.MODEL_ARCHITECTURES_MAPPING if name != "dpt")
"""All but the one whose encoder gives more than maps."""

ENCODERS = tuple(segmentation_models_pytorch.encoders.get_encoder_names())
"""The encoders that the library brings; those of timm are named ``tu-...``."""


def is_encoder(name: str) -> bool:
    """Whether there is an encoder of this name."""
    return name in ENCODERS or timm.is_model(name.removeprefix("tu-"))


class Network(SegmentationNetwork):
    """The model between normalisation and cropping; images are padded to a size that its encoder can divide.

    Args:
        architecture: one of `ARCHITECTURES`.
        encoder: a name for which `is_encoder` is true.
        in_channels: channels of the image.
        n_classes: number of classes C.
        dropout: share of the channels that are dropped before the last layer in training.
    """

    def __init__(self, architecture: str, encoder: str, in_channels: int, n_classes: int, dropout: float = 0.0) -> None:
        super().__init__(in_channels)
        self.model = segmentation_models_pytorch.create_model(
            architecture, encoder, encoder_weights=None, in_channels=in_channels, classes=n_classes
        )
        self.stride = int(self.model.encoder.output_stride)
        self.drop = nn.Dropout2d(dropout)

    @override
    def encode(self, pixels: torch.Tensor) -> list[torch.Tensor]:
        """The encoder's maps, the first of which is the padded image."""
        return list(self.model.encoder(self.padded(pixels)))

    @override
    def decode(self, maps: list[torch.Tensor], size: tuple[int, int]) -> torch.Tensor:
        """Logits of the image without its padding."""
        logits: torch.Tensor = self.model.segmentation_head(self.drop(self.model.decoder(maps)))
        return logits.float()[..., : size[0], : size[1]]

    @override
    def layers_above(self, name: str) -> int:
        """The encoder counts as one layer."""
        return int(name.startswith("model.encoder."))
