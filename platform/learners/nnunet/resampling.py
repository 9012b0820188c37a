"""A volume as nnU-Net resamples and stores it."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import blosc2
import numpy as np
import numpy.typing as npt
from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
from nnunetv2.training.dataloading.nnunet_dataset import comp_blosc2_params, nnUNetDatasetBlosc2
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from decomp.platform.learners.nnunet.environment import quiet
from decomp.platform.learners.nnunet.geometry import Geometry
from decomp.platform.learners.nnunet.heads import Heads
from decomp.platform.learners.nnunet.intensities import ZSCORE
from decomp.platform.learners.nnunet.normalisation import Preprocessor, nonzero

if TYPE_CHECKING:
    from decomp.platform.learners.nnunet.planning import Plans

NOT_ZERO = np.float32(1e-9)
"""An intensity in place of 0, because nnU-Net would crop margins of 0; in HU it is the same in single precision."""


def resample(
    volume: npt.NDArray[np.float32],
    labels: npt.NDArray[np.uint8],
    geometry: Geometry,
    plans: "Plans",
    heads: Heads,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8]]:
    """Standardise and resample a volume by nnU-Net's preprocessor.

    Args:
        volume: intensities, shape (z, y, x, channels).
        labels: true classes, shape (z, y, x).
        geometry: the volume's geometry.
        plans: with intensity statistics and one configuration.
        heads: what the network's heads stand for.

    Returns:
        Intensities, float32, shape (channels, z, y, x), and true classes, uint8, shape (1, z, y, x).
    """
    manager = PlansManager(plans)
    ((configuration, planned),) = plans["configurations"].items()
    is_measured = ZSCORE in planned["normalization_schemes"]
    preprocessor = Preprocessor(nonzero(volume)) if is_measured else DefaultPreprocessor(verbose=False)
    description = heads.dataset_json()
    # Else it would look for the annotated voxels, which are chosen later.
    del description["labels"]["ignore"]
    with quiet():
        intensities, resampled, _ = preprocessor.run_case_npy(
            np.moveaxis(np.where(volume == 0, NOT_ZERO, volume), -1, 0),
            labels[None].astype(np.int16),
            {"spacing": list(geometry.voxel)},
            manager,
            manager.get_configuration(configuration),
            description,
        )
    return intensities.astype(np.float32, copy=False), resampled.astype(np.uint8)


def store(folder: Path, intensities: npt.NDArray[np.float32], labels: npt.NDArray[np.uint8], plans: "Plans") -> None:
    """Write ``case.b2nd`` and ``case_seg.b2nd``, compressed in blocks that suit the configuration's patches."""
    (configuration,) = plans["configurations"].values()
    blocks, chunks = comp_blosc2_params(intensities.shape, configuration["patch_size"], intensities.itemsize)
    blocks_seg, chunks_seg = comp_blosc2_params(labels.shape, configuration["patch_size"], labels.itemsize)
    nnUNetDatasetBlosc2.save_case(
        intensities,
        labels,
        {},
        str(folder / "case"),
        chunks=chunks,
        blocks=blocks,
        chunks_seg=chunks_seg,
        blocks_seg=blocks_seg,
    )
    (folder / "case.pkl").unlink()  # nothing is ever unpickled


def stored(file: Path) -> Any:
    """A blosc2 array that reads from the file only what is indexed."""
    return blosc2.open(urlpath=str(file), mode="r", mmap_mode="r", dparams={"nthreads": 1})
