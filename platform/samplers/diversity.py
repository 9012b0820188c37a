"""DIVERS: regions that are uncertain and differ from one another (Sec. 6 of the method notes).

References:
    Sener and Savarese, "Active Learning for Convolutional Neural Networks: A Core-Set Approach", ICLR 2018.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from decomp.platform.samplers.base import CandidateRegions, JointRegionSelector, Need
from decomp.platform.samplers.clustering import farthest_first, kmeans, most_uncertain
from decomp.platform.samplers.uncertainty import UncertaintyRegions


@dataclass(frozen=True)
class ClusterRegions(UncertaintyRegions, JointRegionSelector):
    """DIVERS(cluster): k-means with n clusters over the features of the pool, the most uncertain of each cluster.

    The choice is { argmax_{i in cluster k} u_i : k = 1..n }, where the clusters minimise sum_i |x_i - c_{k(i)}|^2 over
    region features x. Clusters are over all selected images, so that like regions of two images are rivals; clusters
    left empty by duplicates are made up for by the most uncertain of the rest.
    """

    needs = Need.UNCERTAINTY | Need.FEATURES

    def select(self, pool: CandidateRegions, n: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
        """See `JointRegionSelector.select`; the most uncertain come first."""
        return most_uncertain(kmeans(pool.features, n, rng), pool.uncertainty, n, rng)


@dataclass(frozen=True)
class CoreSetRegions(UncertaintyRegions, JointRegionSelector):
    """DIVERS(core-set): farthest-first traversal of the features of the pool (Sener and Savarese 2018, Algorithm 1).

    Next is argmax_i min_{j chosen} |x_i - x_j|, a 2-approximation of the smallest radius within which the n chosen
    cover the pool. Uncertainty counts only by what is in the pool. Unlike the original, the traversal starts from a
    random candidate rather than from all that was annotated before, whose features an ever better model would have to
    compute anew each cycle, and its solution is not refined by an integer programme.
    """

    needs = Need.UNCERTAINTY | Need.FEATURES

    def select(self, pool: CandidateRegions, n: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
        """See `JointRegionSelector.select`."""
        return farthest_first(pool.features, n, rng)
