"""BADGE: regions whose gradients are large and differ from one another (Sec. 6 of the method notes).

References:
    Ash, Zhang, Krishnamurthy, Langford and Agarwal, "Deep Batch Active Learning by Diverse, Uncertain Gradient Lower
    Bounds", ICLR 2020.
    Arthur and Vassilvitskii, "k-means++: The advantages of careful seeding", SODA 2007.
    As used for comparison in Qiu et al., "Decomposition Sampling for Efficient Region Annotations in Active Learning",
    2025, https://arxiv.org/abs/2512.07606.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field
from typing_extensions import override

from decomp.platform.samplers.base import CandidateRegions, JointRegionSelector
from decomp.platform.samplers.clustering import OuterProducts, kmeans_plus_plus, most_uncertain, outer_kmeans
from decomp.platform.samplers.needs import Need
from decomp.platform.samplers.uncertainty import UncertaintyRegions


@dataclass(frozen=True)
class BadgeRegions(UncertaintyRegions, JointRegionSelector):
    """Gradient embeddings g_i = a_i (x) b_i of the candidate regions, clustered, or seeds of k-means++ among them.

    a is the max-pooled feature of a region and b the mean over its pixels of one-hot(Y) - p, the negative gradient of
    the cross-entropy in the logits with the predicted class Y as the label. Unlike the original, which embeds whole
    images and considers all of them, the candidates are the most uncertain windows; a region's pixels are pooled before
    the product is taken; and g is never formed: norms and distances are computed from its factors.
    """

    seeding: Literal["kmeans", "kmeans++"] = "kmeans"
    """What is chosen: "kmeans", the most uncertain of each of n clusters of k-means (which DECOMP's authors compare
    with), or "kmeans++", the n seeds of k-means++ themselves (Ash et al.)."""

    factor: Annotated[int, Field(ge=1)] = 3
    """Candidate regions per region of the budget."""

    needs = Need.UNCERTAINTY | Need.GRADIENTS

    @override
    def select(self, candidates: CandidateRegions, n: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
        """Seeds of k-means++, or the most uncertain of each cluster, the most uncertain first."""
        embeddings = OuterProducts(candidates.features, candidates.residuals)
        if self.seeding == "kmeans++":
            return kmeans_plus_plus(embeddings, n, rng)
        return most_uncertain(outer_kmeans(embeddings, n, rng), candidates.uncertainty, n, rng)
