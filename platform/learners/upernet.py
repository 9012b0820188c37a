"""UperNet with InternImage as its encoder, the paper's model on Cityscapes; its network is `networks.upernet`.

The defaults are those of the published configuration ``upernet_internimage_t_512x1024_160k_cityscapes``: Wang et al.,
"InternImage: Exploring Large-Scale Vision Foundation Models with Deformable Convolutions", CVPR 2023.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field
from typing_extensions import override

from decomp.platform.errors import UserError
from decomp.platform.learners.segmentation import Segmentation
from decomp.platform.learners.training.pretrained import load_pretrained

if TYPE_CHECKING:
    import torch

    from decomp.platform.learners.networks.segmentation import SegmentationNetwork
    from decomp.platform.learners.networks.upernet import Network

CLASSIFIER = ("conv_head.", "head.", "fc_norm.", "clip_projector.")
"""What follows the encoder in released image classifiers."""

HEADS = ("mean", "std", "decode_head.conv_seg.", "auxiliary_head.conv_seg.")
"""What need not fit in released weights of mmsegmentation: the model may have been trained for other classes."""

Count = Annotated[int, Field(ge=1)]


@dataclass(frozen=True)
class UperNet(Segmentation):
    """UperNet with InternImage-T by default; the options of training are those of `Segmentation`.

    On CUDA two trainings differ in the last bits and hence, after some iterations, visibly: the gradient of
    `grid_sample`, the heart of the deformable convolution, is summed by atomic additions, as are those of the adaptive
    pooling and of the resizing. Predictions do not differ.

    Pretrained weights may be those of an InternImage classifier, from which the encoder is taken, or of an
    mmsegmentation model, from which all is taken but the last layers where the classes differ.
    """

    title: ClassVar[str] = "UperNet"
    format: ClassVar[str] = "decomp-upernet-1"
    strict: ClassVar[bool] = False

    channels: Annotated[int, Field(ge=2, multiple_of=2)] = 64
    """Channels of the encoder's first stage, an even number; each stage has twice as many as the one before."""

    depths: tuple[Count, Count, Count, Count] = (4, 4, 18, 4)
    """Blocks per stage of the encoder."""

    groups: tuple[Count, Count, Count, Count] = (4, 8, 16, 32)
    """Groups of the deformable convolutions per stage, each a divisor of the stage's channels."""

    drop_path: Annotated[float, Field(ge=0, lt=1)] = 0.2
    """Greatest rate of the stochastic depth."""

    decoder_channels: Count = 512
    """Channels of the decoder."""

    auxiliary_channels: Count = 256
    """Channels of the auxiliary head on the third stage."""

    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Share of the channels that are dropped before the last layer in training."""

    checkpointing: bool = False
    """Whether activations within blocks are computed again in backward instead of being kept; what is kept of a crop
    of 512 x 1024 shrinks from 3.9 to 1.2 GB (in float32), for about a third more time and the same gradients."""

    def __post_init__(self) -> None:
        super().__post_init__()
        channels = tuple(self.channels * 2**stage for stage in range(len(self.groups)))
        if any(width % group for width, group in zip(channels, self.groups, strict=True)):
            raise UserError(
                f"learner.groups: must divide the channels of their stages, which are {channels}, not {self.groups}."
            )

    @override
    def network_options(self) -> dict[str, Any]:
        """Sizes of the network."""
        return {
            "channels": self.channels,
            "depths": list(self.depths),
            "groups": list(self.groups),
            "decoder_channels": self.decoder_channels,
            "auxiliary_channels": self.auxiliary_channels,
        }

    @override
    def network(self, options: Mapping[str, Any], in_channels: int, n_classes: int) -> Network:
        """A network of the sizes in `options`."""
        from decomp.platform.learners.networks.internimage import InternImage
        from decomp.platform.learners.networks.upernet import Network
        from decomp.platform.learners.training.global_batch import as_before

        backbone = InternImage(
            in_channels,
            options["channels"],
            options["depths"],
            options["groups"],
            self.drop_path,
            as_before if self.checkpointing else None,
        )
        return Network(
            backbone,
            in_channels,
            n_classes,
            options["decoder_channels"],
            options["auxiliary_channels"],
            self.dropout,
        )

    @override
    def take_pretrained(self, network: SegmentationNetwork, tensors: Mapping[str, torch.Tensor], file: Path) -> None:
        from decomp.platform.learners.networks.upernet import Network

        assert isinstance(network, Network)
        if any(name.startswith("backbone.") for name in tensors):
            load_pretrained(network, tensors, file, HEADS)
        else:
            tensors = {name.removeprefix("model."): value for name, value in tensors.items()}
            load_pretrained(network.backbone, tensors, file, CLASSIFIER)
