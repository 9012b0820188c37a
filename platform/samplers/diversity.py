"""DIVERS: regions that are uncertain and differ from one another (Sec. 6 of the method notes).

References:
    Sener and Savarese, "Active Learning for Convolutional Neural Networks: A Core-Set Approach", ICLR 2018.
    As used for comparison in Qiu et al., "Decomposition Sampling for Efficient Region Annotations in Active Learning",
    2025, https://arxiv.org/abs/2512.07606.
"""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import Field
from typing_extensions import override

from decomp.platform.samplers.base import CandidateRegions, JointImageSelector, JointRegionSelector, PoolView
from decomp.platform.samplers.clustering import farthest_first, kmeans, most_uncertain
from decomp.platform.samplers.needs import Need
from decomp.platform.samplers.uncertainty import UncertaintyRegions


@dataclass(frozen=True)
class ClusterRegions(UncertaintyRegions, JointRegionSelector):
    """DIVERS(cluster): k-means with n clusters over the features of the candidate regions, the most uncertain of each.

    The choice is { argmax_{i in cluster k} u_i : k = 1..n }, where the clusters minimise sum_i |x_i - c_{k(i)}|^2 over
    region features x. Clusters span all selected images, so that similar regions of two images compete; clusters
    left empty by duplicates are made up for by the most uncertain of the rest.
    """

    factor: Annotated[int, Field(ge=1)] = 3
    """Candidate regions per region of the budget."""

    needs = Need.UNCERTAINTY | Need.FEATURES

    @override
    def select(self, candidates: CandidateRegions, n: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
        """The most uncertain of each cluster, the most uncertain first."""
        return most_uncertain(kmeans(candidates.features, n, rng), candidates.uncertainty, n, rng)


@dataclass(frozen=True)
class CoreSetRegions(UncertaintyRegions, JointRegionSelector):
    """DIVERS(core-set): farthest-first traversal of the candidate regions' features (Sener and Savarese, Algorithm 1).

    The next is argmax_i min_{j chosen} |x_i - x_j|, a 2-approximation of the smallest radius within which the n chosen
    cover all candidates. Uncertainty only decides what is a candidate. Unlike the original, the traversal starts from
    a random candidate rather than from all that was annotated before, whose features an ever better model would have to
    compute anew each cycle, and its solution is not refined by an integer programme.
    """

    factor: Annotated[int, Field(ge=1)] = 3
    """Candidate regions per region of the budget."""

    needs = Need.UNCERTAINTY | Need.FEATURES

    @override
    def select(self, candidates: CandidateRegions, n: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
        return farthest_first(candidates.features, n, rng)


@dataclass(frozen=True)
class CoreSetImages(JointImageSelector):
    """Farthest-first traversal of the images' features, each averaged over the image (Sener and Savarese, Algorithm 1).

    As in `CoreSetRegions` it starts from a random image rather than from those that are annotated.
    """

    needs = Need.FEATURES

    @override
    def select(self, pool: PoolView, n_image: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
        return farthest_first(pool.features, n_image, rng)
