"""ClaSP PE: a share of the budget is stratified by predicted class (Sec. 13 of the method notes).

References:
    Lüth et al., "Finally Outshining the Random Baseline: A Simple and Effective Solution for Active Learning in 3D
    Biomedical Imaging" (ClaSP PE), TMLR 2026.
"""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import Field
from typing_extensions import override

from decomp.platform.predictions import Measure
from decomp.platform.samplers.base import CandidateRegions, Choice, ImageView, JointRegionSelector
from decomp.platform.samplers.needs import Need
from decomp.platform.samplers.stochastic import best_of, power

LAST_BETA = 100.0
"""Inverse scale of the noise in the last selection."""


@dataclass(frozen=True)
class ClaspRegions(JointRegionSelector):
    """Regions of highest predictive entropy, a share of them by class, with noise that fades from cycle to cycle.

    Of N regions, a share is stratified: for each of the C classes but the background, the floor(share * N / C) regions
    of highest mean u_c = p_c H(p), what is left over going to classes in seeded order. The others have the highest mean
    H(p). All scores are log s + g with Gumbel noise g of scale 1 / beta (`stochastic.power`), and
    beta_t = 100 ** ((t - 1) / (T - 1)) in the t-th of T selections.
    """

    share: Annotated[float, Field(ge=0, le=1)] = 0.66
    """Share of the budget that is stratified."""

    selections: Annotated[int, Field(ge=1)] | None = None
    """Number T of selections in which the noise fades; by default those of the experiment, its cycles but the first."""

    needs = Need.MAPS

    @override
    def n_candidates(self, n_region: int, n_classes: int) -> int:
        """Those of each class and those of no class."""
        return self._per_class(n_region, n_classes) * n_classes + self._of_no_class(n_region)

    @override
    def choose(self, view: ImageView, n_region: int, rng: np.random.Generator) -> list[Choice]:
        """Of each class, in seeded order, max(1, floor(m share / (C + 1))) regions, then max(1, floor(m (1 - share)))
        of any, m being the budget's regions of an image; none overlap.
        """
        classes = np.delete(np.arange(view.maps.n_classes), [] if view.background is None else view.background)
        chosen: list[Choice] = []
        for class_ in rng.permutation(classes):
            scores = view.places.mean_values(view.maps.class_entropy(int(class_)))
            noisy = power(scores, self._beta(view.cycle), rng)
            chosen += best_of(view.places, noisy, self._per_class(view.n_region, len(classes)), rng, int(class_))
        scores = view.places.mean_values(view.maps.measure(Measure.ENTROPY))
        return chosen + best_of(
            view.places, power(scores, self._beta(view.cycle), rng), self._of_no_class(view.n_region), rng
        )

    @override
    def select(self, candidates: CandidateRegions, n: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
        """The best of each class, then the best of those chosen for none; where these do not suffice, the best left."""
        order = np.lexsort((rng.permutation(len(candidates.image)), -candidates.uncertainty))
        classes = rng.permutation(np.unique(candidates.drawn_class[candidates.drawn_class >= 0]))
        n_stratified = int(self.share * n + 1e-9) if len(classes) else 0
        quota = dict.fromkeys(classes.tolist(), n_stratified // max(1, len(classes)))
        for class_ in classes[: n_stratified - sum(quota.values())].tolist():
            quota[class_] += 1
        quota[-1] = n - n_stratified
        left = np.full(candidates.image.max() + 1, candidates.n_region)
        taken: dict[int, None] = {}

        def take(numbers: npt.NDArray[np.int64], most: int) -> None:
            for number in numbers.tolist():
                if most > 0 and left[candidates.image[number]] > 0 and number not in taken:
                    taken[number] = None
                    left[candidates.image[number]] -= 1
                    most -= 1

        for class_, most in quota.items():
            take(order[candidates.drawn_class[order] == class_], most)
        take(order, n - len(taken))
        left[:] = n  # images that were given may have too few regions for the budget of each
        take(order, n - len(taken))
        return np.array(list(taken), np.int64)

    def _per_class(self, n_region: int, n_classes: int) -> int:
        return max(1, int(n_region * self.share / (n_classes + 1) + 1e-9)) if self.share else 0

    def _of_no_class(self, n_region: int) -> int:
        return max(1, int(n_region * (1 - self.share) + 1e-9)) if self.share < 1 else 0

    def _beta(self, cycle: int) -> float:
        last = max(1, (self.selections or 1) - 1)
        return float(LAST_BETA ** (min(cycle - 2, last) / last)) if self.selections else 1.0
