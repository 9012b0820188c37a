"""Samplers: pairs of an image selector and a region selector; `base` holds the two contracts.

References:
    DECOMP, "Decomposition Sampling for Efficient Region Annotations in Active Learning".
"""

from decomp.platform.samplers.base import Choice, ImageSelector, ImageView, Need, RegionSelector, select_images
from decomp.platform.samplers.weights import class_confidence, class_weights

IMAGE_SELECTORS = {
    "random": "decomp.platform.samplers.random:RandomImages",
    "uncertainty": "decomp.platform.samplers.uncertainty:UncertaintyImages",
    "decomposition": "decomp.platform.samplers.decomposition:DecompositionImages",
}

REGION_SELECTORS = {
    "random": "decomp.platform.samplers.random:RandomRegions",
    "uncertainty": "decomp.platform.samplers.uncertainty:UncertaintyRegions",
    "decomposition": "decomp.platform.samplers.decomposition:DecompositionRegions",
}

SAMPLERS = {
    "rand": ("random", "random"),
    "uncert": ("uncertainty", "uncertainty"),
    "decomp": ("decomposition", "decomposition"),
}
"""Samplers of the paper by their usual names: image selector, region selector."""

__all__ = [
    "IMAGE_SELECTORS",
    "REGION_SELECTORS",
    "SAMPLERS",
    "Choice",
    "ImageSelector",
    "ImageView",
    "Need",
    "RegionSelector",
    "class_confidence",
    "class_weights",
    "select_images",
]
