"""Intensities as nnU-Net normalises them, without a label: channel by channel, by the schemes in its plans.

CT is clipped and standardised by statistics of all volumes, every other channel by its own mean and standard deviation:
those of the voxels that are not 0 in all channels, holes filled, or, where most of a volume is not 0, those of the box
around these. nnU-Net crops volumes to that box, which no header tells, so here they keep their size.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from nnunetv2.preprocessing.cropping.cropping import create_nonzero_mask
from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
from scipy import ndimage

from decomp.platform.learners.nnunet.intensities import ZSCORE

SMALLEST = 1e-8  # least standard deviation, as nnU-Net has it

Box = tuple[slice, ...]


def nonzero(volume: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Voxels that are not 0 in all channels, and those that they enclose; shape (z, y, x), from (z, y, x, channels)."""
    mask: npt.NDArray[np.bool_] = create_nonzero_mask(np.moveaxis(volume, -1, 0))
    return mask


def box_of(mask: npt.NDArray[np.bool_]) -> Box:
    """The box around a mask; the whole where it is empty."""
    boxes = ndimage.find_objects(mask.astype(np.uint8))
    return boxes[0] if boxes else tuple(slice(0, n) for n in mask.shape)


def share_of(mask: npt.NDArray[np.bool_]) -> float:
    """Share of the box around a mask in the whole."""
    return float(mask[box_of(mask)].size / mask.size)


class Preprocessor(DefaultPreprocessor):  # type: ignore[misc]  # untyped
    """nnU-Net's preprocessor, which is told what is not 0 instead of finding it out.

    Args:
        mask: what `nonzero` gives.
    """

    def __init__(self, mask: npt.NDArray[np.bool_]) -> None:
        super().__init__(verbose=False)
        self._mask = mask

    def _normalize(
        self, data: npt.NDArray[np.float32], seg: npt.NDArray[Any], configuration_manager: Any, properties: Any
    ) -> npt.NDArray[np.float32]:
        outside = np.where(self._mask, 0, -1)[None]
        normalised: npt.NDArray[np.float32] = super()._normalize(data, outside, configuration_manager, properties)
        schemes = zip(configuration_manager.normalization_schemes, configuration_manager.use_mask_for_norm, strict=True)
        box = box_of(self._mask)
        for channel, (scheme, is_masked) in zip(normalised, schemes, strict=True):
            if scheme == ZSCORE and not is_masked and channel[box].size < channel.size:
                channel -= channel[box].mean()
                channel /= max(channel[box].std(), SMALLEST)
        return normalised
