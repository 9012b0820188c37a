"""BADGE: regions whose gradients are large and differ from one another (Sec. 6 of the method notes).

References:
    Ash et al., "Deep Batch Active Learning by Diverse, Uncertain Gradient Lower Bounds", ICLR 2020.
    Arthur and Vassilvitskii, "k-means++: The advantages of careful seeding", SODA 2007.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from decomp.platform.samplers.base import CandidateRegions, JointRegionSelector, Need
from decomp.platform.samplers.clustering import OuterProducts, kmeans_plus_plus, most_uncertain, outer_kmeans
from decomp.platform.samplers.uncertainty import UncertaintyRegions


@dataclass(frozen=True)
class BadgeRegions(UncertaintyRegions, JointRegionSelector):
    """Gradient embeddings g_i = a_i (x) b_i of the pool, clustered, or seeds of k-means++ among them.

    a is the max-pooled feature of a region and b the mean over its pixels of one-hot(Y) - p, the negative gradient of
    the cross-entropy in the logits with the predicted class Y for label. Unlike the original, which embeds whole images
    and considers all of them, the pool is that of the most uncertain windows; a region's pixels are pooled before the
    product is taken; and g is never formed: norms and distances are computed from its factors.

    Attributes:
        seeding: "kmeans", k-means with n clusters and the most uncertain of each (as DECOMP's authors compare with), or
            "kmeans++", the n seeds of k-means++ themselves (Ash et al.).
    """

    seeding: Literal["kmeans", "kmeans++"] = "kmeans"

    needs = Need.UNCERTAINTY | Need.GRADIENTS

    def select(self, pool: CandidateRegions, n: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
        """See `JointRegionSelector.select`; with "kmeans" the most uncertain come first."""
        assert pool.residuals is not None
        embeddings = OuterProducts(pool.features, pool.residuals)
        if self.seeding == "kmeans++":
            return kmeans_plus_plus(embeddings, n, rng)
        return most_uncertain(outer_kmeans(embeddings, n, rng), pool.uncertainty, n, rng)
