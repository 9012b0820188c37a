"""A small U-Net for 2-D images that trains in seconds on one CPU core.

Ronneberger, Fischer and Brox, "U-Net: Convolutional Networks for Biomedical Image Segmentation", MICCAI 2015;
one-cycle schedule: Smith and Topin, "Super-Convergence", 2018.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional

from decomp.platform.datasets.base import IGNORE, Dataset
from decomp.platform.errors import UserError
from decomp.platform.learners.base import Learner, Predictor, Training, check_options
from decomp.platform.learners.checkpoints import read_checkpoint, write_checkpoint
from decomp.platform.learners.inference.bottleneck import Bottleneck
from decomp.platform.learners.inference.decode import decode
from decomp.platform.learners.inference.segmentation import to_device
from decomp.platform.learners.reproducible import reproducible
from decomp.platform.learners.training.crops import Crops
from decomp.platform.learners.training.distributed import Group, joined
from decomp.platform.predictions import Prediction, Wanted

FORMAT = "decomp-unet-1"
REPORT_EVERY = 10  # iterations between two looks at the loss, which make a GPU wait


@dataclass(frozen=True)
class UNet(Learner):
    """U-Net with a stride-2 stem, trained on crops around annotated regions; everything else is ignored.

    A crop is centred near an annotated pixel. A share `balanced` of these pixels is drawn by class first, uniformly
    over the annotated classes, the rest uniformly over the annotated area. The loss is cross-entropy with class
    weights f_c ** -class_weight_power, f_c being the share of class c in the annotated area.

    Attributes:
        iterations: training iterations, each with one batch.
        batch: crops per iteration.
        crop: side of a crop in pixels, a multiple of 2 ** len(widths).
        widths: channels per resolution, from half the image's resolution downwards.
        learning_rate: peak of the one-cycle schedule.
        weight_decay: AdamW's weight decay.
        warmup: share of the iterations in which the learning rate rises.
        balanced: share of the crops that are drawn by class.
        class_weight_power: how strongly rare classes weigh in the loss; 0 for not at all.
        jitter: standard deviation of a crop's random gain and offset, in standard deviations of the pixels.
        threads: CPU threads of training and prediction.
    """

    iterations: int = 250
    batch: int = 24
    crop: int = 32
    widths: tuple[int, ...] = (16, 32, 48, 64)
    learning_rate: float = 7e-3
    weight_decay: float = 1e-4
    warmup: float = 0.25
    balanced: float = 0.7
    class_weight_power: float = 0.25
    jitter: float = 0.1
    threads: int = 1

    def __post_init__(self) -> None:
        stride = 2 ** len(self.widths)
        rules = {
            "iterations": (self.iterations >= 1, "at least 1"),
            "batch": (self.batch >= 2, "at least 2, because of batch normalisation"),
            "widths": (bool(self.widths) and min(self.widths) >= 1, "one or more positive numbers"),
            "crop": (self.crop >= stride and self.crop % stride == 0, f"a multiple of {stride}"),
            "learning_rate": (0 < self.learning_rate < math.inf, "positive"),
            "weight_decay": (0 <= self.weight_decay < math.inf, "0 or more"),
            "warmup": (0 <= self.warmup < 1, "from 0 to less than 1"),
            "balanced": (0 <= self.balanced <= 1, "from 0 to 1"),
            "class_weight_power": (0 <= self.class_weight_power < math.inf, "0 or more"),
            "jitter": (0 <= self.jitter < math.inf, "0 or more"),
            "threads": (self.threads >= 1, "at least 1"),
        }
        check_options(self, rules)

    @property
    def most_processes(self) -> int:
        """As many as there are crops in a batch."""
        return self.batch

    def fit(self, dataset: Dataset, training: Training, checkpoint: Path) -> None:
        """Train on the annotated regions and write a safetensors file to exactly the path `checkpoint`.

        Raises:
            UserError: if nothing is annotated, or the warm start's checkpoint does not fit.
            RuntimeError: if the training diverges.
        """
        crops = Crops(dataset, training.ledger, self.crop, self.batch, self.balanced, self.jitter)
        device = torch.device(training.device)
        with joined(training.processes, device) as group, reproducible(self.threads, device):
            network = self._initial_network(dataset, training, crops).to(device).to(memory_format=torch.channels_last)
            self._train(network, crops, training, device, group)
        if training.processes.rank > 0:
            return
        description = {
            "format": FORMAT,
            "in_channels": network.in_channels,
            "n_classes": network.n_classes,
            "classes": dataset.classes,
            "widths": network.widths,
        }
        write_checkpoint(checkpoint, network.state_dict(), description)

    def load(self, checkpoint: Path, dataset: Dataset, device: str) -> Predictor:
        """Read a checkpoint; `UserError` if it is none of a U-Net or was trained for other classes."""
        network = _from_file(checkpoint, dataset.classes).to(device).to(memory_format=torch.channels_last)
        return UNetPredictor(network.eval(), torch.device(device), self.threads)

    def _initial_network(self, dataset: Dataset, training: Training, crops: Crops) -> "Network":
        if training.warm_start is None:
            # The seed is drawn on both paths, so that a warm start trains on the same crops.
            return _new_network(crops, len(dataset.classes), self.widths, int(training.rng.integers(2**63)))
        training.rng.integers(2**63)
        network = _from_file(training.warm_start, dataset.classes)
        if (network.widths, network.in_channels) != (self.widths, crops.channels):
            raise UserError(
                f"The warm start {training.warm_start} is a U-Net of widths {network.widths} for {network.in_channels} "
                f"channels, not {self.widths} for {crops.channels}; train from scratch or keep the options."
            )
        return network

    def _train(self, network: "Network", crops: Crops, training: Training, device: torch.device, group: Group) -> None:
        trained = group.parallel(network.train())
        own = group.part(self.batch)
        class_weights = crops.class_weights(self.class_weight_power)
        weights = torch.from_numpy(class_weights[: network.n_classes]).to(device)
        # Fused, because the other implementations spend more time in Python than in arithmetic at this size.
        optimiser = torch.optim.AdamW(
            network.parameters(), lr=self.learning_rate, weight_decay=self.weight_decay, fused=True
        )
        for iteration in range(self.iterations):
            for parameters in optimiser.param_groups:
                parameters["lr"] = self.learning_rate * _one_cycle((iteration + 0.5) / self.iterations, self.warmup)
            pixels, labels = crops.draw(training.rng)
            optimiser.zero_grad(set_to_none=True)
            with group.as_one(self.batch):
                logits = trained(to_device(pixels[own], device).permute(0, 3, 1, 2))
            # Averaged here, because the built-in average of a 2-D loss is not reproducible on CUDA.
            losses = functional.cross_entropy(
                logits, to_device(labels[own], device), weight=weights, ignore_index=IGNORE, reduction="none"
            )
            loss = losses.sum() / float(class_weights[labels].sum())
            group.backward(loss)
            optimiser.step()
            if iteration % REPORT_EVERY == REPORT_EVERY - 1 or iteration == self.iterations - 1:
                if not math.isfinite(group.sum(loss.item())):
                    raise RuntimeError(
                        f"The U-Net's training diverged by iteration {iteration + 1}; lower learning_rate."
                    )
                training.progress((iteration + 1) / self.iterations)


class UNetPredictor(Predictor):
    """A trained U-Net; `Learner.load` makes it."""

    def __init__(self, network: "Network", device: torch.device, threads: int) -> None:
        self._network = network
        self._device = device
        self._threads = threads

    def predict(self, image: npt.NDArray[np.generic], wanted: Wanted) -> Prediction:
        """Predict an image of shape (H, W, channels), any H and W; regions are read from the deepest feature map.

        Raises:
            UserError: if the image has another number of channels than those trained on.
            FloatingPointError: if the network's output is not finite.
        """
        channels = self._network.in_channels
        if image.ndim != 3 or image.shape[2] != channels:
            raise UserError(f"The U-Net was trained on images of shape (H, W, {channels}), not {image.shape}.")
        with torch.inference_mode(), reproducible(self._threads, self._device):
            logits, bottleneck = self._forward(image)
            return decode(logits, wanted, bottleneck)

    def _forward(self, image: npt.NDArray[np.generic]) -> tuple[torch.Tensor, Bottleneck]:
        network = self._network
        pixels = to_device(np.ascontiguousarray(image[None], np.float32), self._device)
        maps = network.encode(pixels.permute(0, 3, 1, 2))
        logits = network.decode(maps, image.shape[0], image.shape[1])
        return logits[0].contiguous(), Bottleneck(maps[-1][0], (network.stride, network.stride))


class Network(nn.Module):
    """The network: raw pixels (N, channels, H, W) to logits (N, C, H, W), any H and W; 195k parameters by default.

    Args:
        in_channels: channels of the image.
        n_classes: number of classes C.
        widths: channels at 1/2, 1/4, ... of the resolution.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, in_channels: int, n_classes: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.in_channels, self.n_classes, self.widths = in_channels, n_classes, widths
        self.stride = 2 ** len(widths)  # pixels per cell of the bottleneck
        self.register_buffer("mean", torch.zeros(1, in_channels, 1, 1))
        self.register_buffer("std", torch.ones(1, in_channels, 1, 1))
        pairs = list(zip((in_channels, *widths), widths, strict=False))
        self.down = nn.ModuleList(nn.Sequential(_block(a, b, stride=2), _block(b, b)) for a, b in pairs)
        self.up = nn.ModuleList(_block(a + b, a) for a, b in reversed(pairs[1:]))
        self.head = nn.Conv2d(widths[0], n_classes, 1)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Logits of a batch of images."""
        return self.decode(self.encode(pixels), pixels.shape[-2], pixels.shape[-1])

    def encode(self, pixels: torch.Tensor) -> list[torch.Tensor]:
        """Feature maps at 1/2, 1/4, ... of the resolution, shapes (N, width, h, w); the last one is the bottleneck.

        The image is padded at its lower right to a multiple of `stride`.
        """
        height, width = pixels.shape[-2:]
        x = (pixels - self.mean) / self.std
        if height % self.stride or width % self.stride:
            x = functional.pad(x, (0, -width % self.stride, 0, -height % self.stride), mode="replicate")
        maps: list[torch.Tensor] = []
        for down in self.down:
            x = down(x)
            maps.append(x)
        return maps

    def decode(self, maps: list[torch.Tensor], height: int, width: int) -> torch.Tensor:
        """Logits of images of height x width pixels from what `encode` gave."""
        *skips, x = maps
        for up, skip in zip(self.up, reversed(skips), strict=True):
            x = up(torch.cat([functional.interpolate(x, scale_factor=2, mode="nearest"), skip], dim=1))
        x = functional.interpolate(self.head(x), scale_factor=2, mode="bilinear", align_corners=False)
        return x[..., :height, :width]


def _block(in_channels: int, out_channels: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )


def _new_network(crops: Crops, n_classes: int, widths: tuple[int, ...], seed: int) -> Network:
    with torch.random.fork_rng(devices=[]):
        # Not torch.manual_seed: it would reseed the caller's CUDA generators too.
        torch.default_generator.manual_seed(seed)
        network = Network(crops.channels, n_classes, widths)
    network.mean.copy_(torch.from_numpy(crops.mean)[None, :, None, None])
    network.std.copy_(torch.from_numpy(crops.std)[None, :, None, None])
    return network


def _one_cycle(done: float, warmup: float) -> float:
    """Share of the peak learning rate: half a cosine up from 1/25, then half a cosine down to 0."""
    if done < warmup:
        return 0.52 - 0.48 * math.cos(math.pi * done / warmup)
    return 0.5 + 0.5 * math.cos(math.pi * (done - warmup) / (1 - warmup))


def _from_file(checkpoint: Path, classes: tuple[str, ...]) -> Network:
    description, tensors = read_checkpoint(checkpoint, FORMAT, "U-Net", classes)
    with torch.random.fork_rng(devices=[]):  # the initial weights are drawn and thrown away
        network = Network(description["in_channels"], len(classes), tuple(description["widths"]))
    network.load_state_dict(tensors)
    return network
