"""Samplers: pairs of an image selector and a region selector.

`base` holds the contracts; `contract` asks selectors and checks their answers, `trial` tries them on `tiny` images;
`places` are the regions that can still be annotated (`windows`, `segments`). Every other module is a family of samplers
or what they compute with (`weights`, `clustering`).

References:
    DECOMP: Qiu, Wilm, Öttl, Utz, Schlereth, Schillinger, Aubreville and Breininger, "Decomposition Sampling for
    Efficient Region Annotations in Active Learning", 2025, https://arxiv.org/abs/2512.07606; its authors' code:
    https://github.com/JingnaQiu/DECOMP.
"""

from decomp.platform.samplers.base import (
    CandidateRegions,
    Choice,
    ImageSelector,
    ImageView,
    JointImageSelector,
    JointRegionSelector,
    PoolView,
    RegionSelector,
    select_images,
)
from decomp.platform.samplers.needs import Need, UndeclaredNeed
from decomp.platform.samplers.weights import class_confidence, class_weights

IMAGE_SELECTORS = {
    "random": "decomp.platform.samplers.random:RandomImages",
    "uncertainty": "decomp.platform.samplers.uncertainty:UncertaintyImages",
    "core-set": "decomp.platform.samplers.diversity:CoreSetImages",
    "power": "decomp.platform.samplers.stochastic:PowerImages",
    "softmax": "decomp.platform.samplers.stochastic:SoftmaxImages",
    "softrank": "decomp.platform.samplers.stochastic:SoftrankImages",
    "decomposition": "decomp.platform.samplers.decomposition:DecompositionImages",
    "all": "decomp.platform.samplers.whole_pool:AllImages",
}

REGION_SELECTORS = {
    "random": "decomp.platform.samplers.random:RandomRegions",
    "uncertainty": "decomp.platform.samplers.uncertainty:UncertaintyRegions",
    "cluster": "decomp.platform.samplers.diversity:ClusterRegions",
    "core-set": "decomp.platform.samplers.diversity:CoreSetRegions",
    "badge": "decomp.platform.samplers.badge:BadgeRegions",
    "typiclust": "decomp.platform.samplers.coverage:TypiClustRegions",
    "probcover": "decomp.platform.samplers.coverage:ProbCoverRegions",
    "power": "decomp.platform.samplers.stochastic:PowerRegions",
    "softmax": "decomp.platform.samplers.stochastic:SoftmaxRegions",
    "softrank": "decomp.platform.samplers.stochastic:SoftrankRegions",
    "clasp": "decomp.platform.samplers.clasp:ClaspRegions",
    "foreground": "decomp.platform.samplers.foreground:ForegroundRegions",
    "predicted-foreground": "decomp.platform.samplers.foreground:PredictedForegroundRegions",
    "class": "decomp.platform.samplers.foreground:ClassRegions",
    "decomposition": "decomp.platform.samplers.decomposition:DecompositionRegions",
}

__all__ = [
    "IMAGE_SELECTORS",
    "REGION_SELECTORS",
    "CandidateRegions",
    "Choice",
    "ImageSelector",
    "ImageView",
    "JointImageSelector",
    "JointRegionSelector",
    "Need",
    "PoolView",
    "RegionSelector",
    "UndeclaredNeed",
    "class_confidence",
    "class_weights",
    "select_images",
]
