"""What the loop tells the shards of the pool to do in a cycle: predict images, choose regions in some of them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from decomp.platform.grid import Component, RegionShape
from decomp.platform.passes import Passes
from decomp.platform.predictions import Measure
from decomp.platform.randomness import stream
from decomp.platform.regions import Region
from decomp.platform.samplers import ImageSelector, JointRegionSelector, Need, RegionSelector
from decomp.platform.storage.location import Location


@dataclass(frozen=True)
class Checkpoint:
    """A trained model: its file and the digest of its bytes, which tells versions of a shard's state apart.

    Attributes:
        file: the file; of an ensemble, that of the first model.
        sha256: its digest.
        others: the further models of an ensemble.
    """

    file: Location
    sha256: str
    others: tuple["Checkpoint", ...] = ()

    @classmethod
    def joined(cls, members: Sequence["Checkpoint"]) -> "Checkpoint":
        """An ensemble of models; a single one is itself."""
        return replace(members[0], others=tuple(members[1:]))

    @property
    def members(self) -> tuple["Checkpoint", ...]:
        """The models one by one."""
        return replace(self, others=()), *self.others


@dataclass(frozen=True)
class PassStreams:
    """The passes in which images are predicted, and the key of their random streams.

    Attributes:
        passes: how many, and of which kind.
        purpose: what the images are predicted for.
        seed, fold, cycle: the rest of the key.
    """

    passes: Passes
    purpose: str
    seed: int
    fold: int
    cycle: int

    @classmethod
    def of(cls, passes: Passes | None, purpose: str, seed: int, fold: int, cycle: int) -> "PassStreams | None":
        """With the key of the streams; None where there is a single pass."""
        return None if passes is None else cls(passes, purpose, seed, fold, cycle)

    def seeds(self, image: str) -> tuple[int | None, ...]:
        """A seed for each pass of an image, from a stream of its own; None for passes that draw nothing."""
        if self.passes.method != "mc-dropout":
            return (None,) * self.passes.n
        purposes = [f"{self.purpose} {number}" for number in range(1, self.passes.n + 1)]
        streams = [stream(self.seed, purpose, fold=self.fold, cycle=self.cycle, image=image) for purpose in purposes]
        return tuple(int(rng.integers(2**63)) for rng in streams)


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
    """The images that a shard predicts, and what it counts and keeps of them.

    Attributes:
        model: the model of the cycle before.
        images: ids of the shard's candidates and of the images in `annotated_only`, at least one.
        annotated: annotated regions of those that have any.
        tau: confidence threshold of Eq. 1.
        measure: how uncertainty is measured, or the user's own class for it; None for the learner's own way.
        needs: what the selectors read.
        ranking: the image selector if images can be ranked within a shard, else None.
        selected: ids of the selected images, if they are known already.
        n_image: how many images will be selected in the whole pool.
        request: the regions that will be wanted of the selected images.
        image_features: whether the image selector reads features of images.
        histogram: whether confidences are counted by class, for a threshold that is a quantile.
        passes: the passes in which each image is predicted; None for a single one.
        reselect_below: mean confidence below which an annotated region is offered again; None for never.
        annotated_only: ids of the images of which nothing is wanted but features of their annotated regions.
    """

    model: Checkpoint
    images: tuple[str, ...]
    annotated: Mapping[str, Sequence[Region]]
    tau: float
    measure: Measure | Component | None
    needs: Need
    ranking: ImageSelector | None
    selected: Collection[str] | None
    n_image: int
    request: RegionRequest
    image_features: bool = False
    histogram: bool = False
    passes: PassStreams | None = None
    reselect_below: float | None = None
    annotated_only: Collection[str] = frozenset()


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
