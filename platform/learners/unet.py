"""A small U-Net for 2-D images that trains in seconds on one CPU core; its network is `networks.unet`.

Torch is imported only by what computes: importing it takes seconds, and `decomp check` needs only the options.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field
from typing_extensions import override

from decomp.platform.datasets.base import Dataset
from decomp.platform.errors import UserError
from decomp.platform.learners.base import Learner, Predictor, Training
from decomp.platform.passes import Passes, flips

if TYPE_CHECKING:
    from decomp.platform.learners.networks.unet import Network
    from decomp.platform.learners.training.crops import Crops
    from decomp.platform.learners.training.distributed import Group

FORMAT, TITLE = "decomp-unet-1", "U-Net"
REPORT_EVERY = 10  # iterations between two looks at the loss, which make a GPU wait


@dataclass(frozen=True)
class UNet(Learner):
    """U-Net with a stride-2 stem, trained on crops around annotated regions; everything else is ignored.

    A crop is centred near an annotated pixel. A share `balanced` of these pixels is drawn by class first, uniformly
    over the annotated classes, the rest uniformly over the annotated area. The loss is cross-entropy with class
    weights f_c ** -class_weight_power, f_c being the share of class c in the annotated area.
    """

    axes = (2,)

    iterations: Annotated[int, Field(ge=1)] = 250
    """Training iterations, each with one batch."""

    batch: Annotated[int, Field(ge=2)] = 24
    """Crops per iteration, at least 2 because of batch normalisation."""

    crop: Annotated[int, Field(ge=2)] = 32
    """Side of a crop in pixels, a multiple of 2 ** len(widths)."""

    widths: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)] = (16, 32, 48, 64)
    """Channels per resolution, from half the image's resolution downwards."""

    learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 7e-3
    """Peak of the one-cycle schedule."""

    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1e-4
    """Weight decay of AdamW."""

    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.25
    """Share of the iterations in which the learning rate rises."""

    balanced: Annotated[float, Field(ge=0, le=1)] = 0.7
    """Share of the crops that are drawn by class."""

    class_weight_power: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.25
    """How strongly rare classes weigh in the loss; 0 for not at all."""

    jitter: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.1
    """Standard deviation of a crop's random gain and offset, in standard deviations of the pixels."""

    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the channels of each map that are dropped in training before the decoder enlarges it."""

    threads: Annotated[int, Field(ge=1)] = 1
    """CPU threads of training and prediction."""

    def __post_init__(self) -> None:
        if self.crop % (stride := 2 ** len(self.widths)):
            raise UserError(
                f"learner.crop: must be a multiple of {stride} for {len(self.widths)} widths, not {self.crop}."
            )

    @property
    @override
    def most_processes(self) -> int:
        """As many as there are crops in a batch."""
        return self.batch

    @override
    def check_passes(self, passes: Passes) -> None:
        passes.check(dropout=self.dropout, flips=len(flips(2)))

    @override
    def fit(self, dataset: Dataset, training: Training, checkpoint: Path) -> None:
        """Train on the annotated regions and write a safetensors file to exactly the path `checkpoint`.

        Raises:
            UserError: if nothing is annotated, or the warm start's checkpoint does not fit.
            RuntimeError: if the training diverges.
        """
        import torch

        from decomp.platform.learners.checkpoints import write_checkpoint
        from decomp.platform.learners.reproducible import reproducible
        from decomp.platform.learners.training.crops import Crops
        from decomp.platform.learners.training.distributed import process_group

        crops = Crops(dataset, training.ledger, self.crop, self.batch, self.balanced, self.jitter)
        device = torch.device(training.device)
        # A generator of its own, so that dropout changes no crop; alike in all processes that train together.
        seed = int(training.rng.spawn(1)[0].integers(2**63)) if self.dropout else None
        with process_group(training.processes, device) as group, reproducible(self.threads, device, seed):
            network = self._initial_network(dataset, training, crops).to(device).to(memory_format=torch.channels_last)
            self._train(network, crops, dataset, training, group)
        if training.processes.rank > 0:
            return
        description = {
            "format": FORMAT,
            "in_channels": network.in_channels,
            "n_classes": network.n_classes,
            "classes": dataset.classes,
            "widths": network.widths,
        }
        write_checkpoint(checkpoint, network, description)

    @override
    def load(self, checkpoint: Path, dataset: Dataset, device: str) -> Predictor:
        """Read a checkpoint; `UserError` if it is not that of a U-Net or was trained for other classes."""
        import torch

        from decomp.platform.learners.checkpoints import read_checkpoint
        from decomp.platform.learners.inference.segmentation import SegmentationPredictor

        network, _ = read_checkpoint(checkpoint, FORMAT, TITLE, dataset.classes, self._described)
        network.to(device).to(memory_format=torch.channels_last)
        return SegmentationPredictor(network.eval(), torch.device(device), TITLE, self.threads)

    def _initial_network(self, dataset: Dataset, training: Training, crops: Crops) -> Network:
        from decomp.platform.learners.checkpoints import read_warm_start

        # Drawn for a warm start too, which therefore trains on the same crops.
        seed = int(training.rng.integers(2**63))
        if training.warm_start is None:
            return self._new_network(crops, len(dataset.classes), seed)
        expected = {"widths": self.widths, "in_channels": crops.channels}
        return read_warm_start(training.warm_start, FORMAT, TITLE, dataset.classes, self._described, expected)

    def _new_network(self, crops: Crops, n_classes: int, seed: int) -> Network:
        import torch

        from decomp.platform.learners.networks.unet import Network

        with torch.random.fork_rng(devices=[]):
            # Not torch.manual_seed: it would reseed the caller's CUDA generators too.
            torch.default_generator.manual_seed(seed)
            network = Network(crops.channels, n_classes, self.widths, self.dropout)
        network.set_statistics(crops.mean, crops.std)
        return network

    def _described(self, description: Mapping[str, Any]) -> Network:
        from decomp.platform.learners.networks.unet import Network

        n_classes, widths = len(description["classes"]), tuple(description["widths"])
        return Network(description["in_channels"], n_classes, widths, self.dropout)

    def _train(self, network: Network, crops: Crops, dataset: Dataset, training: Training, group: Group) -> None:
        import torch

        from decomp.platform.learners.devices import to_device
        from decomp.platform.learners.training.divergence import diverged
        from decomp.platform.learners.training.losses import weighted_cross_entropy
        from decomp.platform.learners.training.schedules import one_cycle

        device = torch.device(training.device)
        trained = group.parallel(network.train())
        part = group.part(self.batch)
        weights = crops.class_weights(self.class_weight_power)
        class_weights = torch.from_numpy(weights[: network.n_classes]).to(device)
        # Fused, because the other implementations spend more time in Python than in arithmetic at this size.
        optimiser = torch.optim.AdamW(
            network.parameters(), lr=self.learning_rate, weight_decay=self.weight_decay, fused=True
        )
        for iteration in range(self.iterations):
            for parameters in optimiser.param_groups:
                parameters["lr"] = self.learning_rate * one_cycle((iteration + 0.5) / self.iterations, self.warmup)
            pixels, labels = crops.draw(training.rng)
            optimiser.zero_grad(set_to_none=True)
            with group.global_batch(self.batch):
                logits, _ = trained(to_device(pixels[part], device).permute(0, 3, 1, 2))
            loss = weighted_cross_entropy(
                logits, to_device(labels[part], device), class_weights, float(weights[labels].sum())
            )
            group.backward(loss)
            optimiser.step()
            if iteration % REPORT_EVERY == REPORT_EVERY - 1 or iteration == self.iterations - 1:
                if not math.isfinite(group.sum(loss.item())):
                    what = f"The U-Net's training diverged by iteration {iteration + 1}"
                    raise diverged(what, dataset, training.ledger.by_image)
                training.progress((iteration + 1) / self.iterations)
