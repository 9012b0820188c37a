"""What the loop tells the shards of the pool to do in a cycle: predict images, choose regions in some of them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from decomp.platform.predictions import Measure
from decomp.platform.regions import Region
from decomp.platform.samplers import ImageSelector, JointRegionSelector, Need, RegionSelector
from decomp.platform.spec import RegionShape
from decomp.platform.storage.location import Location


@dataclass(frozen=True)
class Checkpoint:
    """A trained model: its file and the digest of its bytes, which tells versions of a shard's state apart."""

    file: Location
    sha256: str


@dataclass(frozen=True)
class RegionRequest:
    """The regions that are wanted in each image that is selected in a cycle.

    Attributes:
        selector: the region selector.
        region_shape: shape of the regions.
        n_region: regions per image, at most.
        background: class that is never drawn, or None.
        seed, fold, cycle: key of the random streams.
    """

    selector: RegionSelector
    region_shape: RegionShape
    n_region: int
    background: int | None
    seed: int
    fold: int
    cycle: int

    def n_candidates(self, n_classes: int) -> int:
        """Regions that the selector is asked for in one image."""
        if isinstance(self.selector, JointRegionSelector):
            return self.selector.n_candidates(self.n_region, n_classes)
        return self.n_region

    @property
    def at_once(self) -> bool:
        """Whether regions are chosen while the prediction is in memory: the selector needs it, but not the weights."""
        return bool(self.selector.needs.predictions) and Need.COUNTS not in self.selector.needs


@dataclass(frozen=True)
class PredictTask:
    """The candidate images that a shard predicts, and what it counts and keeps of them.

    Attributes:
        model: the model of the cycle before.
        images: ids of the shard's candidates, at least one.
        annotated: annotated regions of those that have any.
        tau: confidence threshold of Eq. 1.
        measure: how uncertainty is measured; None for the learner's own way.
        needs: what the selectors read.
        ranking: the image selector if images can be ranked within a shard, else None.
        selected: ids of the selected images, if they are known already.
        n_image: how many images will be selected in the whole pool.
        request: the regions that will be wanted of the selected images.
        image_features: whether the image selector reads features of images.
    """

    model: Checkpoint
    images: tuple[str, ...]
    annotated: Mapping[str, Sequence[Region]]
    tau: float
    measure: Measure | None
    needs: Need
    ranking: ImageSelector | None
    selected: Collection[str] | None
    n_image: int
    request: RegionRequest
    image_features: bool = False


@dataclass(frozen=True)
class ChooseTask:
    """The selected images in which a shard chooses regions.

    Attributes:
        model: the model of the preceding `PredictTask`; None where the selector needs no prediction.
        images: ids of selected images that the shard owns.
        annotated: annotated regions of those that have any.
        weights: class weights w, shape (C,), or None.
        request: the regions that are wanted of each.
    """

    model: Checkpoint | None
    images: tuple[str, ...]
    annotated: Mapping[str, Sequence[Region]]
    weights: npt.NDArray[np.float64] | None
    request: RegionRequest
