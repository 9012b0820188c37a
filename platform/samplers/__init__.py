"""Samplers: pairs of an image selector and a region selector; `base` holds the two contracts.

References:
    DECOMP, "Decomposition Sampling for Efficient Region Annotations in Active Learning".
"""

from decomp.platform.samplers.base import (
    CandidateRegions,
    Choice,
    ImageSelector,
    ImageView,
    JointRegionSelector,
    Need,
    RegionSelector,
    select_images,
)
from decomp.platform.samplers.weights import class_confidence, class_weights

IMAGE_SELECTORS = {
    "random": "decomp.platform.samplers.random:RandomImages",
    "uncertainty": "decomp.platform.samplers.uncertainty:UncertaintyImages",
    "decomposition": "decomp.platform.samplers.decomposition:DecompositionImages",
}

REGION_SELECTORS = {
    "random": "decomp.platform.samplers.random:RandomRegions",
    "uncertainty": "decomp.platform.samplers.uncertainty:UncertaintyRegions",
    "cluster": "decomp.platform.samplers.diversity:ClusterRegions",
    "core-set": "decomp.platform.samplers.diversity:CoreSetRegions",
    "badge": "decomp.platform.samplers.badge:BadgeRegions",
    "decomposition": "decomp.platform.samplers.decomposition:DecompositionRegions",
}

__all__ = [
    "IMAGE_SELECTORS",
    "REGION_SELECTORS",
    "CandidateRegions",
    "Choice",
    "ImageSelector",
    "ImageView",
    "JointRegionSelector",
    "Need",
    "RegionSelector",
    "class_confidence",
    "class_weights",
    "select_images",
]
