"""Prediction of whole volumes by sliding windows, and their score in the original geometry."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from torch import nn
from typing_extensions import override

from decomp.platform.datasets.base import Dataset
from decomp.platform.errors import UserError
from decomp.platform.learners.inference.bottleneck import Bottleneck
from decomp.platform.learners.inference.maps import not_finite
from decomp.platform.learners.inference.passes import ForwardPredictor, dropout_on
from decomp.platform.learners.nnunet.bottleneck import Mosaic
from decomp.platform.learners.nnunet.environment import quiet
from decomp.platform.learners.nnunet.heads import Heads
from decomp.platform.learners.nnunet.prepared import PreparedVolumes
from decomp.platform.learners.reproducible import reproducible
from decomp.platform.metrics import confusion_matrix

if TYPE_CHECKING:
    from decomp.platform.learners.nnunet.planning import Plans


def new_network(plans: "Plans", heads: Heads) -> nn.Module:
    """nnU-Net's network for these plans, without deep supervision, with random weights."""
    manager = PlansManager(plans)
    (configuration,) = plans["configurations"]
    network: nn.Module = nnUNetTrainer.build_network_architecture(
        manager,
        manager.get_configuration(configuration),
        len(heads.channels),
        heads.count,
        enable_deep_supervision=False,
    )
    return network


class NnUNetPredictor(ForwardPredictor):
    """A trained nnU-Net; `Learner.load` makes it.

    Args:
        network: its network, on the CPU.
        plans: the plans that it was trained with.
        heads: what the network's heads stand for.
        device: where to predict.
        mirroring: whether to average over all mirrorings of each window, at 8 times the cost (2-D: 4 times).
        threads: CPU threads.
    """

    def __init__(
        self,
        network: nn.Module,
        plans: "Plans",
        heads: Heads,
        device: torch.device,
        mirroring: bool,
        threads: int,
    ) -> None:
        super().__init__(network.to(device), device, threads)
        self._heads = heads
        manager = PlansManager(plans)
        (configuration,) = plans["configurations"]
        axes = tuple(range(len(plans["configurations"][configuration]["patch_size"])))
        with quiet(), reproducible(threads, device):  # it changes the choice of kernels
            self._windows = _SlidingWindows(use_mirroring=mirroring, device=device, allow_tqdm=False)
            self._windows.manual_initialization(
                self.network,
                manager,
                manager.get_configuration(configuration),
                None,
                heads.dataset_json(),
                "nnUNetTrainer",
                axes,
            )

    @override
    def forward(self, image: npt.NDArray[np.generic], regions: bool = False) -> tuple[torch.Tensor, Bottleneck | None]:
        """Outputs of the heads, shape (H, z, y, x), half precision as nnU-Net adds them up.

        Args:
            image: standardised intensities of shape (z, y, x, channels), as `PreparedVolumes.image` gives them.
            regions: whether the bottleneck is needed.

        Raises:
            UserError: if the image has another shape.
        """
        n_channels = len(self._heads.channels)
        if image.ndim != 4 or image.shape[3] != n_channels:
            raise UserError(f"nnU-Net predicts volumes of shape (z, y, x, {n_channels}), not {image.shape}.")
        voxels = torch.from_numpy(np.ascontiguousarray(np.moveaxis(image, -1, 0), np.float32))
        self._windows.watch(image.shape[:-1] if regions else None)
        with quiet():
            outputs: torch.Tensor = self._windows.predict_sliding_window_return_logits(voxels)
        return outputs, None if self._windows.mosaic is None else self._windows.mosaic.bottleneck()

    @override
    def logits(self, output: torch.Tensor) -> torch.Tensor:
        return self._heads.class_logits(output.float())

    @override
    def dropping(self) -> AbstractContextManager[object]:
        return self._windows.dropping()

    @override
    def evaluate(self, dataset: Dataset, image: str, pixels: npt.NDArray[np.generic]) -> npt.NDArray[np.int64]:
        """Confusion matrix in the voxels of the volume itself, as nnU-Net evaluates.

        The heads' outputs are resampled to the volume; nested sets are thresholded at a probability of 0.5 each, of
        exclusive classes the greatest output counts.
        """
        with self.computing():
            return self.compared(dataset, image, [self.forward(pixels)[0]])

    @override
    def compared(self, dataset: Dataset, image: str, outputs: Iterable[torch.Tensor]) -> npt.NDArray[np.int64]:
        """As `evaluate`; of several passes, the probabilities are averaged (`Heads.joined`).

        Those of nested heads are all kept till then, in half precision and on the grid of the prediction.
        """
        if not isinstance(dataset, PreparedVolumes):
            raise UserError(f"nnU-Net evaluates volumes that it has prepared, not {type(dataset).__name__}.")
        volume, grid = dataset.geometry(image), dataset.grid(image)
        passes = self._heads.joined(map(_finite, outputs))
        resample = self._windows.configuration_manager.resampling_fn_probabilities
        # Head by head, because nnU-Net's function for all of them needs several times the memory.
        resampled = (
            [torch.as_tensor(resample(head[None], volume.shape, grid.voxel, volume.voxel))[0] for head in of_passes]
            for of_passes in zip(*passes, strict=True)
        )
        labels = self._heads.segmentation(resampled, volume.shape)
        return confusion_matrix(dataset.source.labels(image), labels, len(dataset.classes))


def _finite(output: torch.Tensor) -> torch.Tensor:
    """An output on the CPU; `FloatingPointError` if it is not finite."""
    output = output.cpu()
    if not bool(torch.isfinite(output).all()):
        raise not_finite()
    return output


class _SlidingWindows(nnUNetPredictor):  # type: ignore[misc]  # untyped
    """nnU-Net's predictor, which can also give the bottleneck."""

    mosaic: Mosaic | None = None
    _shape: Sequence[int] | None = None

    _drops = False

    @contextmanager
    def dropping(self) -> Iterator[None]:
        """A context in which dropout is on, although nnU-Net turns it off before it predicts."""
        self._drops = True
        try:
            yield
        finally:
            self._drops = False

    def watch(self, shape: Sequence[int] | None) -> None:
        """Collect in `mosaic` the bottleneck maps of the next volume, which has this shape; None to collect nothing."""
        self._shape = shape

    def _internal_predict_sliding_window_return_logits(
        self, data: torch.Tensor, slicers: Sequence[tuple[Any, ...]], do_on_device: bool = True
    ) -> torch.Tensor:
        # Called once more when a device's memory is too small, so the collection starts here.
        self.mosaic = None
        if self._shape is not None:
            padding = [(padded - n) // 2 for padded, n in zip(data.shape[1:], self._shape, strict=True)]
            windows = [
                [(k, k + 1) if isinstance(k, int) else (k.start, k.stop) for k in window[1:]] for window in slicers
            ]
            starts = [[first for first, _ in window] for window in windows]
            self.mosaic = Mosaic(self._shape, padding, starts, [last - first for first, last in windows[0]])
        with dropout_on(self.network) if self._drops else nullcontext():
            logits: torch.Tensor = super()._internal_predict_sliding_window_return_logits(data, slicers, do_on_device)
        return logits

    def _internal_maybe_mirror_and_predict(self, x: torch.Tensor) -> torch.Tensor:
        maps: list[torch.Tensor] = []
        if self.mosaic is None:
            return self._predict(x)
        hook = self.network.encoder.stages[-1].register_forward_hook(lambda *call: maps.append(call[2]))
        try:
            logits = self._predict(x)
        finally:
            hook.remove()
        features = maps[0][0]  # the first call sees the window as it is, the others mirrored
        flat = len(self.configuration_manager.patch_size) == 2
        self.mosaic.add(features[:, None] if flat else features)
        return logits

    def _predict(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = super()._internal_maybe_mirror_and_predict(x)
        return logits
