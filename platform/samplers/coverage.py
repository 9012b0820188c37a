"""TypiClust and ProbCover: regions that stand for many others (Sec. 13 of the method notes).

Both were made for the first annotations, with features of self-supervised models; here they read the features of the
current model, as core-set does, among the candidate regions.

References:
    Hacohen, Dekel and Weinshall, "Active Learning on a Budget: Opposite Strategies Suit High and Low Budgets", ICML
    2022 (TypiClust).
    Yehuda, Dekel, Hacohen and Weinshall, "Active Learning Through a Covering Lens", NeurIPS 2022 (ProbCover).
"""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import Field
from typing_extensions import override

from decomp.platform.samplers.base import CandidateRegions, JointRegionSelector
from decomp.platform.samplers.clustering import BLOCK, Floats, Indices, kmeans
from decomp.platform.samplers.needs import Need
from decomp.platform.samplers.uncertainty import UncertaintyRegions

NEIGHBOURS = 20
"""Nearest neighbours within its cluster whose mean distance tells how typical a region is."""


@dataclass(frozen=True)
class TypiClustRegions(UncertaintyRegions, JointRegionSelector):
    """TypiClust: the most typical candidate region of each cluster that has no annotated region yet, the largest first.

    There are as many k-means clusters of features as annotated and wanted regions; how typical a region is is the
    inverse of its mean distance to its 20 nearest neighbours in the cluster.
    """

    factor: Annotated[int, Field(ge=1)] = 3
    """Candidate regions per region of the budget."""

    needs = Need.UNCERTAINTY | Need.FEATURES | Need.ANNOTATED

    @override
    def select(self, candidates: CandidateRegions, n: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
        """From cluster to cluster; those without any annotated region first, then the largest."""
        features, n_annotated = candidates.features, len(candidates.annotated)
        points = np.concatenate([features, candidates.annotated]) if n_annotated else features
        labels = kmeans(points, min(n_annotated + n, len(points)), rng)
        annotated = np.bincount(labels[len(features) :], minlength=labels.max() + 1)
        members = [np.flatnonzero(labels[: len(features)] == k) for k in range(len(annotated))]
        shuffled = rng.permutation(len(annotated))
        clusters = sorted(shuffled.tolist(), key=lambda k: (annotated[k], -len(members[k]) - annotated[k]))
        order = rng.permutation(len(features))
        ranked = [members[k][np.lexsort((order[members[k]], -typicality(features[members[k]])))] for k in clusters]
        in_turn = [(turn, place) for place, of_cluster in enumerate(ranked) for turn in range(len(of_cluster))]
        return np.array([ranked[place][turn] for turn, place in sorted(in_turn)[:n]], np.int64)


@dataclass(frozen=True)
class ProbCoverRegions(UncertaintyRegions, JointRegionSelector):
    """ProbCover: greedily, the candidate region whose ball in feature space covers most that nobody covers yet.

    The radius is the greatest at which `purity` of the candidates' balls hold a single predicted class. What the balls
    of annotated regions cover is covered from the start. When all is covered, the rest is drawn at random.
    """

    purity: Annotated[float, Field(gt=0, le=1)] = 0.95
    """Share of the balls that hold a single predicted class."""

    factor: Annotated[int, Field(ge=1)] = 3
    """Candidate regions per region of the budget."""

    needs = Need.UNCERTAINTY | Need.FEATURES | Need.ANNOTATED | Need.LABELS

    @override
    def select(self, candidates: CandidateRegions, n: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
        """Those that cover most first; ties, and what covers nothing, in seeded order."""
        features = candidates.features.astype(np.float64)
        radius = pure_squared_radius(features, candidates.predicted_class, self.purity)
        covered = (squared_distances(features, candidates.annotated.astype(np.float64)) < radius).any(axis=1)
        near = squared_distances(features, features) < radius
        order, chosen = rng.permutation(len(features)), np.empty(n, np.int64)
        gains = near[:, ~covered].sum(axis=1)
        for step in range(n):
            chosen[step] = best = order[np.argmax(gains[order])]
            newly = near[best] & ~covered
            gains -= near[:, newly].sum(axis=1)
            gains[chosen[: step + 1]] = -1
            covered |= newly
        return chosen


def typicality(features: npt.NDArray[np.floating]) -> Floats:
    """Inverse mean distance of each of N points to its 20 nearest neighbours among them, shape (N,)."""
    n_neighbours = min(NEIGHBOURS, len(features) - 1)
    if n_neighbours < 1:
        return np.full(len(features), np.inf)
    points = features.astype(np.float64)
    nearest = np.sort(np.sqrt(squared_distances(points, points)), axis=1)[:, 1 : n_neighbours + 1].mean(axis=1)
    return np.asarray(np.divide(1.0, nearest, out=np.full(len(nearest), np.inf), where=nearest > 0))


def pure_squared_radius(features: Floats, classes: Indices, purity: float) -> float:
    """Square of the greatest radius at which a share of the open balls around points hold points of one class alone.

    Squared, because it is the distance of two points, which are within it or not to the last bit.

    Args:
        features: shape (N, D).
        classes: class of each point, shape (N,).
        purity: the share.
    """
    nearest_other = np.empty(len(features))
    for first in range(0, len(features), BLOCK):
        block = slice(first, first + BLOCK)
        distances = squared_distances(features[block], features)
        distances[classes[block, None] == classes] = np.inf
        nearest_other[block] = distances.min(axis=1)
    impure = int((1 - purity) * len(features) + 1e-9)
    return float(np.sort(nearest_other)[impure]) if impure < len(features) else np.inf


def squared_distances(a: Floats, b: Floats) -> Floats:
    """Squared Euclidean distances, shape (N, M), exactly 0 between duplicates, which inner products would not give.

    Args:
        a: shape (N, D).
        b: shape (M, D).
    """
    from scipy.spatial.distance import cdist  # takes a while to import

    return np.asarray(cdist(a, b, "sqeuclidean")) if len(b) else np.zeros((len(a), 0))
