"""A multilayer perceptron on one feature vector per ROI, the light alternative to graphs; see `networks.mlp`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import Field
from typing_extensions import override

from decomp.platform.errors import UserError
from decomp.platform.learners.rois import RoiLearner

if TYPE_CHECKING:
    import torch

    from decomp.platform.learners.networks.rois import Inputs, RoiNetwork


@dataclass(frozen=True)
class Mlp(RoiLearner):
    """Multilayer perceptron for data sets whose image is the features of n ROIs, shape (n, F).

    The features are standardised by mean and standard deviation over the annotated ROIs of the train split; the hidden
    layers have rectified activations with dropout.
    """

    title: ClassVar[str] = "MLP"
    format: ClassVar[str] = "decomp-mlp-1"

    widths: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)] = (64,)
    """Neurons per hidden layer; the last layer's activations are the features of the samplers."""

    @override
    def check(self, contents: Sequence[Any]) -> None:
        _matrix(contents)

    @override
    def new_network(self, contents: Sequence[Any], n_classes: int) -> RoiNetwork:
        """A network that standardises by the statistics of `contents`."""
        import torch

        from decomp.platform.learners.networks.mlp import Network

        features = _matrix(contents)
        network = Network(features.shape[1], n_classes, tuple(self.widths), self.dropout)
        network.mean.copy_(torch.from_numpy(features.mean(0, dtype=np.float64)))
        # A deviation that is only rounding error, as a constant feature with a large offset has, counts as none.
        std, size = features.std(0, dtype=np.float64), np.abs(features).max(0)
        network.std.copy_(torch.from_numpy(np.where(std > 1e-6 * size, std, 1)))
        return network

    @override
    def described_network(self, options: Mapping[str, Any], n_classes: int) -> RoiNetwork:
        """A network of the number of features and the widths that `options` name."""
        from decomp.platform.learners.networks.mlp import Network

        return Network(options["n_features"], n_classes, tuple(options["widths"]), self.dropout)

    @override
    def inputs(self, network: RoiNetwork, contents: Sequence[Any], device: torch.device) -> Inputs:
        """Standardised features of the ROIs, all on the device."""
        import torch

        from decomp.platform.learners.networks.mlp import Network, Rows

        assert isinstance(network, Network)
        features = _matrix(contents)
        if features.shape[1] != network.n_features:
            raise UserError(
                f"The MLP was trained on {network.n_features} features a ROI, not {features.shape[1]}; give a "
                f"checkpoint of this data set."
            )
        return Rows((torch.from_numpy(features).to(device) - network.mean) / network.std)


def _matrix(contents: Sequence[Any]) -> npt.NDArray[np.float32]:
    try:
        features = np.array(contents, np.float32)  # a copy, since torch takes no read-only array
    except (TypeError, ValueError):
        features = np.zeros(0, np.float32)
    if features.ndim != 2:
        raise UserError("The MLP needs a vector of features for each ROI, all of one length; take hactnet for graphs.")
    return features
