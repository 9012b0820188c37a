"""Steps of AdamW with layer-wise decay of the learning rate, for large networks of images."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from decomp.platform.learners.devices import autocast, to_device
from decomp.platform.learners.networks.segmentation import SegmentationNetwork
from decomp.platform.learners.training.distributed import Group
from decomp.platform.learners.training.losses import weighted_cross_entropy
from decomp.platform.learners.training.schedules import is_decayed
from decomp.platform.learners.training.streamed_crops import Batch

AUXILIARY_WEIGHT = 0.4  # of the auxiliary head's loss
EPSILON = 1e-6


class Descent:
    """Steps of AdamW along a training's schedule.

    Args:
        network: on its device.
        class_weights: in the loss, shape (C,), float32.
        device: where the network is.
        group: the processes of the training.
        batch: crops of a global batch.
        rate: learning rate of an iteration, from 0.
        weight_decay: AdamW's, for weights but not for biases and norms.
        layer_decay: factor of the learning rate from an encoder's layer to the one before it.
    """

    def __init__(
        self,
        network: SegmentationNetwork,
        class_weights: npt.NDArray[np.float32],
        device: torch.device,
        group: Group,
        *,
        batch: int,
        rate: Callable[[int], float],
        weight_decay: float,
        layer_decay: float,
    ) -> None:
        self._device, self._group, self._batch, self._rate = device, group, batch, rate
        self._precision = network.precision
        self._network = group.parallel(network.train())
        self._class_weights = torch.from_numpy(class_weights).to(device)
        layers: dict[tuple[int, bool], list[nn.Parameter]] = {}
        for name, parameter in network.named_parameters():
            layers.setdefault((network.layers_above(name), is_decayed(name, parameter)), []).append(parameter)
        self._shares = [layer_decay**above for above, _ in layers]
        self._optimiser = torch.optim.AdamW(
            [
                {"params": parameters, "weight_decay": weight_decay if decayed else 0.0}
                for (_, decayed), parameters in layers.items()
            ],
            lr=rate(0),
            betas=(0.9, 0.999),
            fused=True,
        )

    def __call__(self, iteration: int, batch: Batch, total_weight: float) -> torch.Tensor:
        """Take one step and return the loss.

        Args:
            iteration: from 0.
            batch: this process's part of the global batch.
            total_weight: sum of the class weights of the labels of the global batch.

        Returns:
            This process's part of the loss; the parts of all processes sum to the mean over the global batch.
        """
        rate = self._rate(iteration)
        for layer, share in zip(self._optimiser.param_groups, self._shares, strict=True):
            layer["lr"] = rate * share
        pixels = to_device(batch.pixels, self._device).permute(0, 3, 1, 2).float()
        labels = to_device(batch.labels, self._device).long()
        self._optimiser.zero_grad(set_to_none=True)
        with self._group.global_batch(self._batch), autocast(self._device, self._precision):
            logits, auxiliary = self._network(pixels)
        # Enlarging may lose a lone annotated pixel: a batch without any has the loss 0.
        total_weight = max(total_weight, EPSILON)
        loss = weighted_cross_entropy(logits, labels, self._class_weights, total_weight)
        if auxiliary is not None:
            loss = loss + AUXILIARY_WEIGHT * weighted_cross_entropy(
                auxiliary, labels, self._class_weights, total_weight
            )
        self._group.backward(loss)
        self._optimiser.step()
        return loss.detach()
