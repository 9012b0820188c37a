"""What a shard keeps in memory: what choosing regions will need of its predictions, and partitions of its images."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from decomp.platform.components import build_partition
from decomp.platform.datasets.base import Dataset
from decomp.platform.grid import Component, RegionShape
from decomp.platform.predictions import Prediction, UncertaintyMap
from decomp.platform.regions import Region
from decomp.platform.samplers import Need
from decomp.platform.samplers.places import Places
from decomp.platform.samplers.segments import Segments
from decomp.platform.samplers.windows import Windows


@dataclass(frozen=True)
class CompressedMap:
    """A map compressed with LZ4."""

    data: bytes
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @classmethod
    def of(cls, values: npt.NDArray[Any]) -> "CompressedMap":
        """Compress an array of any shape and dtype."""
        return cls(pa.compress(np.ascontiguousarray(values), codec="lz4", asbytes=True), values.shape, values.dtype)

    @property
    def array(self) -> npt.NDArray[Any]:
        """The decompressed array, read-only."""
        size = int(np.prod(self.shape)) * self.dtype.itemsize
        raw = pa.decompress(self.data, decompressed_size=size, codec="lz4", asbytes=True)
        return np.frombuffer(raw, self.dtype).reshape(self.shape)


@dataclass(frozen=True)
class KeptMaps:
    """The maps of a prediction that a region selector reads, compressed; fields as in `ImageView`.

    Attributes:
        again: annotated regions of the image that may be annotated again.
    """

    labels: CompressedMap | None = None
    predicted: npt.NDArray[np.int64] | None = None
    levels: CompressedMap | None = None
    unit: float = 1.0
    confidence: npt.NDArray[np.float32] | None = None
    again: tuple[Region, ...] = ()

    @classmethod
    def of(cls, prediction: Prediction, needs: Need, again: Sequence[Region]) -> "KeptMaps":
        """Keep what `needs` declares, and which annotated regions may be annotated again."""
        fields: dict[str, Any] = {"again": tuple(again)}
        if Need.LABELS in needs:
            fields |= {
                "labels": CompressedMap.of(prediction.labels),
                "predicted": prediction.predicted,
                "confidence": prediction.confidence if prediction.labels.ndim == 1 else None,
            }
        if Need.UNCERTAINTY in needs:
            assert prediction.uncertainty is not None
            levels = prediction.uncertainty.levels
            levels = levels if isinstance(levels, np.ndarray) else levels.cpu()
            fields |= {"levels": CompressedMap.of(np.asarray(levels, np.uint16)), "unit": prediction.uncertainty.unit}
        return cls(**fields)

    @property
    def nbytes(self) -> int:
        """Size of the maps."""
        return sum(len(kept.data) for kept in (self.labels, self.levels) if kept is not None)

    def fields(self) -> dict[str, Any]:
        """Fields of `ImageView`."""
        return {
            "labels": self.labels and self.labels.array,
            "predicted": self.predicted,
            "uncertainty": self.levels and UncertaintyMap(self.levels.array, self.unit),
            "confidence": self.confidence,
        }


class Shortlist:
    """What is kept of each image that can still be selected.

    Where images are ranked within the shard, these are its own `n_image` images of highest score, since the global top
    `n_image` is a subset of the union of the local ones. Images that tie with the last of them stay too: the global
    tie-break is not the shard's business.

    Args:
        n_image: how many images will be selected in the whole pool; None where the shard can't rank, so that every
            image stays.
    """

    def __init__(self, n_image: int | None = None) -> None:
        self._n_image = n_image
        self._entries: dict[str, tuple[float, pa.Table | KeptMaps]] = {}

    def admits(self, score: float) -> bool:
        """Whether an image of this score can still be selected."""
        return not score < self._bar()

    def add(self, image: str, score: float, kept: pa.Table | KeptMaps) -> None:
        """Keep the `Proposals` of an image as an Arrow table, or its maps; drop the images that now fall behind."""
        self._entries[image] = score, kept
        if self._n_image is not None:
            bar = self._bar()
            self._entries = {name: entry for name, entry in self._entries.items() if not entry[0] < bar}

    def _bar(self) -> float:
        """Score below which an image can't be selected any more."""
        if self._n_image is None or len(self._entries) < self._n_image:
            return -np.inf
        return sorted((score for score, _ in self._entries.values()), reverse=True)[self._n_image - 1]

    def __getitem__(self, image: str) -> Any:
        return self._entries[image][1]

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def nbytes(self) -> int:
        """Size of all that is kept."""
        return sum(kept.nbytes for _, kept in self._entries.values())


class PartitionCache:
    """Makes the `Places` of images; partitions into irregular regions are kept, compressed, since they never change."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        self._component: Component | None = None
        self._partitions: dict[str, CompressedMap] = {}

    def places(
        self, image: str, region_shape: RegionShape, annotated: Sequence[Region], again: Collection[Region] = ()
    ) -> Places:
        """The places of an image that are still free, and those of the annotated regions that are free `again`.

        Raises:
            ValueError: if a partition does not cover its image.
        """
        if not isinstance(region_shape, Component):
            return Windows(image, self._dataset.shape(image), region_shape, annotated, again)
        if region_shape != self._component:
            self._component, self._partitions = region_shape, {}
        if image not in self._partitions:
            partition = build_partition(region_shape).of(self._dataset, image)
            self._partitions[image] = CompressedMap.of(self._checked(partition, image))
        return Segments(image, self._partitions[image].array, annotated, again)

    def _checked(self, partition: npt.NDArray[Any], image: str) -> npt.NDArray[np.int32]:
        shape = self._dataset.shape(image)
        if partition.shape != shape or partition.dtype.kind not in "iu" or partition.min(initial=0) < 0:
            raise ValueError(
                f"The partition of image {image!r} must be integers from 0 of shape {shape}, not {partition.dtype} of "
                f"shape {partition.shape} from {partition.min(initial=0)}."
            )
        return partition.astype(np.int32)
